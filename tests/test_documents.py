"""What the documents refer to is there, and their tables are what was measured."""

import importlib.util
import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from chemsieve import __version__

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("resources/*/README.md"), *ROOT.glob(".github/*/*.md")]
)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(text):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    found = []
    for heading in HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def broken(path):
    """Relative links of a file that lead nowhere."""
    for target in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            yield target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_and_anchors_lead_somewhere(path):
    assert list(broken(path)) == []


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "other.md").write_text("# A thing: of `two`, and more\n```\n# no heading\n```\n", encoding="utf-8")
    text = "[a](other.md#a-thing-of-two-and-more) [b](other.md) [c](https://example.org/x) `[d](none.md)`\n"
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text(text + "## Here\n[e](#here)", encoding="utf-8")
    bad.write_text(text + "[f](none.md) [g](other.md#no-heading) [h](#here)", encoding="utf-8")
    assert list(broken(good)) == []
    assert list(broken(bad)) == ["none.md", "other.md#no-heading", "#here"]


def test_sections_that_are_named_in_words_are_there():
    headings = {heading for path in DOCUMENTS for heading in HEADING.findall(path.read_text(encoding="utf-8"))}
    files = [
        path for folder in ("workflow_scripts", "studies", "benchmarks", "tests") for path in (ROOT / folder).rglob("*")
    ]
    named = {
        " ".join(name.split())
        for path in files
        if path.suffix in {".py", ".yaml"}
        for name in re.findall(
            r"\(docs/\w+\.md, ([A-Z][^().]*)\)", re.sub(r"\n#? *", " ", path.read_text(encoding="utf-8"))
        )
    }
    assert len(named) > 2
    assert named - headings == set()


@pytest.fixture(scope="module")
def results_page():
    specification = importlib.util.spec_from_file_location("results_page", ROOT / "benchmarks" / "results_page.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


MEASURED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_tables_of_the_results_page_are_those_of_the_files(results_page):
    pages = [page.read_text(encoding="utf-8") for page in results_page.PAGES]
    page = "".join(pages)
    blocks = re.findall(r"<!-- table: (\S+) -->", page)
    assert len(blocks) == len(set(blocks)) > 15
    assert page.count("<!-- end -->") == len(blocks)
    # By another way than the generator's: every shown cell of every row, in its row.
    for name in blocks:
        part = page[page.index(f"<!-- table: {name} -->") :]
        lines = part[: part.index("<!-- end -->")].splitlines()
        measured = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
        assert len(rows) - 2 <= len(measured["rows"])
        assert set(rows[0]) <= set(measured["columns"]), name
        assert measured["command"] in part
        assert measured["commit"] in part
    assert [results_page.rewritten(page) for page in pages] == pages, "run python benchmarks/results_page.py"


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_measurements_say_where_they_come_from_and_are_referred_to(results_page, path):
    measured = results_page.load(path)
    assert measured["command"].strip()
    assert measured["machine"].strip()
    assert re.fullmatch(r"[0-9a-f]{7,40}|not recorded", measured["commit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d|not recorded", measured["date"])
    assert measured["rows"]
    assert any(path.name in document.read_text(encoding="utf-8") for document in DOCUMENTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [[1, 2, 3]]}, "x.json: row 1: 3 cells for 2 columns"),
        ({"shown": {"columns": ["c"]}}, "x.json: unknown: c"),
        ({"extra": 1}, "x.json: unknown: extra"),
        ({"machine": None}, "x.json: no machine"),
    ],
)
def test_measurements_that_are_not_whole_are_refused(results_page, tmp_path, change, said):
    whole = {"command": "x", "commit": "not recorded", "date": "2026-01-01", "machine": "m"}
    whole |= {"columns": ["a", "b"], "rows": [[1, None]]} | change
    (tmp_path / "x.json").write_text(json.dumps({k: v for k, v in whole.items() if v is not None}), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(said)):
        results_page.load(tmp_path / "x.json")


def test_a_table_shows_what_it_is_told_to(results_page):
    measured = {
        "columns": ["name", "value", "left out"],
        "rows": [["a", 0.12345, 1], ["b|c", None, 2], ["d", 12345, None]],
        "formats": {"value": ",.2f"},
        "shown": {"columns": ["value", "name"], "rows": {"left out": None}},
    }
    assert results_page.table(measured) == "| value | name |\n| --- | --- |\n| 0.12 | a |\n|  | b\\|c |"
    measured["shown"]["rows"] = {"name": ["d"]}
    assert results_page.table(measured).splitlines()[2:] == ["| 12,345.00 | d |"]


def test_versions_agree():
    said = __version__
    released = re.findall(
        r"^## ([\d.]+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )
    newest, date = released[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], str(citation["date-released"])) == (newest, date)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "chemsieve.__version__"}
    # A released state, or one on the way to a later release.
    assert said == newest or (".dev" in said and Version(said) > Version(newest))


def test_authors_and_licence_are_those_of_the_licence_file():
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (holder,) = re.findall(r"^Copyright \(c\) \d+ (.+)$", licence, re.MULTILINE)
    assert [author["name"] for author in citation["authors"]] == [holder]
    assert licence.startswith(f"{citation['license']} License")


def test_continuous_integration_runs_what_everybody_runs():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert commands["locked"] == [".ci/run"]
    assert commands["newest"][-1] == ".ci/run"
    assert not any("requirements.lock" in command for command in commands["newest"])
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = re.findall(r"^make (.+)$", "\n".join(itertools.chain(*commands.values())), re.MULTILINE)
    assert made
    assert set(" ".join(made).split()) <= rules
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = project["requires-python"].removeprefix(">=")
    assert {job["strategy"]["matrix"]["python"][0] for job in (jobs["locked"], jobs["newest"])} == {least}


def test_site_has_every_document():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = re.findall(r"[\w/]+\.md", json.dumps(site["nav"]))
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in DOCUMENTS)
    # What their links lead to is copied beside them.
    (copied,) = re.findall(
        r"^\tcp -R (\*\.md .+) build/pages$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    kept = [*copied.split()[1:], "benchmarks/results", "resources/encoder/README.md", "resources/config.schema.json"]
    for path in DOCUMENTS:
        for target in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:|#", target):
                continue
            place = (path.parent / target.partition("#")[0]).resolve().relative_to(ROOT)
            assert place.match("*.md") or any(place.is_relative_to(name) for name in kept), (path.name, target)
