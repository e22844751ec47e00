"""What holds for the sources whatever they compute: style, lint, plans of every study, files that agree."""

import ast
import importlib.util
import re

import pytest
import yaml

from chemsieve.models.bundled import BUNDLED
from helpers import processes
from helpers.workflow import PACKAGE, ROOT, RULES, SOURCES, STUDIES, copy_workflow, merged, planned


def run(*command, folder=ROOT):
    """Run a module of this interpreter; the completed process with both streams in ``stdout``."""
    return processes.run("-m", *command, cwd=folder)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "."),
        ("snakefmt", "--check", "Snakefile", "rules"),
    ],
    ids=["ruff check", "ruff format", "snakefmt"],
)
def test_style(command):
    done = run(*command)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_lint(copied):
    done = run("snakemake", "--lint", folder=copied)
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout, done.stdout


def missing_files(folder, given):
    """Stand-ins for the files that a study expects its user to have; the arguments that name them."""
    arguments = []
    for section in ("target", "pool"):
        table = given[section]
        if table["source"] == "file" and not (table["path"] or table.get("downloads")):
            table["path"] = f"my_{section}.csv"
            arguments.append(f"{section}={{path: {table['path']}}}")
        if table["source"] == "file" and table["path"]:
            columns = [table["smiles"], table["label"], *filter(None, [table.get("fold")])]
            (folder / table["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / table["path"]).write_text(table["delimiter"].join(columns) + "\n", encoding="utf-8")
    encoder = given["encoder"]
    if encoder["path"] not in (None, BUNDLED):
        (folder / encoder["path"]).mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / encoder["path"] / name).touch()
    if encoder["tokenizer"] and not (folder / encoder["tokenizer"]).exists():
        (folder / encoder["tokenizer"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / encoder["tokenizer"]).touch()
    return ["--config", *arguments] if arguments else []


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_planned(tmp_path, name):
    copy_workflow(tmp_path)
    base, change = (
        yaml.safe_load((tmp_path / file).read_text(encoding="utf-8")) for file in ("config.yaml", f"studies/{name}")
    )
    extra = missing_files(tmp_path, merged(base, change or {}))
    jobs = planned(tmp_path, "all", "--configfile", f"studies/{name}", *extra)
    assert jobs["report"] == jobs["metrics_table"] == jobs["all"] == 1
    assert jobs["finetune"] >= 2  # the baseline and the adapted model of at least one replicate


@pytest.mark.slow
def test_embedded_study_can_be_planned(copied):
    jobs = planned(copied, "all")
    assert jobs["finetune"] == 16  # two origins, eight draws
    assert jobs["report"] == 1


def test_conda_environment_has_the_pins_of_the_lock_file():
    specification = importlib.util.spec_from_file_location("write_environment", ROOT / "envs" / "write.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    stored = (ROOT / "envs" / "chemsieve.yaml").read_text(encoding="utf-8")
    assert stored == module.environment(lock)
    pins = yaml.safe_load(stored)["dependencies"][-1]["pip"]
    assert sorted(pins) == sorted(re.findall(r"^[\w.\-\[\]]+==[^\s;#]+", lock, re.MULTILINE))
    assert "torch==2.13.0" in pins


def test_image_installs_the_lock_file_on_the_conda_environments_python():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stored = yaml.safe_load((ROOT / "envs" / "chemsieve.yaml").read_text(encoding="utf-8"))
    version = re.search(r"^FROM python:([\d.]+)-", image, re.MULTILINE)[1]
    assert f"python={version}" in stored["dependencies"]
    copied = re.search(r"^COPY (.+) /tmp/$", image, re.MULTILINE)[1].split()
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in ("requirements.lock", "requirements-hashes.lock"):
        assert name in copied
        assert f"!{name}" in sent
    assert "pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/requirements-hashes.lock" in image


def test_all_pins_but_torch_have_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = set(re.findall(r"^[\w.\-\[\]]+==[^\s;#]+", lock, re.MULTILINE))
    entries = (ROOT / "requirements-hashes.lock").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    hashed = {entry.split()[0]: entry.split()[1:] for entry in entries}
    assert hashed.keys() == pins - {"torch==2.13.0"}
    assert all(hashes for hashes in hashed.values())
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", given) for hashes in hashed.values() for given in hashes)


def imported(path):
    """Top-level names that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_package_does_not_know_snakemake():
    assert [str(path) for path in PACKAGE.rglob("*.py") if "snakemake" in imported(path)] == []


def test_scripts_read_their_slice_of_the_configuration_and_not_all_of_it():
    # What a script would read there is in no parameter of its rule, so that a change of it would rerun nothing.
    found = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "snakemake.config"
    ]
    # Two check the budgets against the pool that they made; job.py locks the results, says how often a state is saved,
    # and (twice) whether the study goes on without what failed. No result that is written depends on them.
    assert sorted(place.split(":")[0] for place in found) == [*["job.py"] * 4, "sizes.py", "treat_pool.py"]


def test_every_rule_has_its_script_and_every_script_its_rule():
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    rules = [name or "collect_table" for name in re.findall(r"^ *rule ?(\w*):", text, re.MULTILINE)]  # of many tables
    scripts = re.findall(r'"\.\./workflow_scripts/(\w+)\.py"', text)
    assert rules == scripts
    assert sorted(rules) == sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py"))
    # Changes in the text of these go unseen, since the hash of the code is of scripts.
    assert re.findall(r"^ +(?:shell|run):", text, re.MULTILINE) == []


def test_scripts_do_nothing_when_imported():
    for path in (ROOT / "workflow_scripts").glob("*.py"):
        docstring, *body = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), path.name
        assert isinstance(docstring.value, ast.Constant), path.name
        *before, main = body
        assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in before), path.name
        assert isinstance(main, ast.If), path.name
        assert ast.unparse(main.test) == "__name__ == '__main__'", path.name


MACHINE = re.compile(r"(?<![\w.~$}/-])/(?:home|root|work|mnt|Users)/\w|\b[A-Z]:\\\\?Users")
TEXT = {"", ".py", ".smk", ".yaml", ".yml", ".toml", ".md", ".lock", ".json", ".sh", ".cff"}
KEPT = (
    "rules",
    "workflow_scripts",
    "studies",
    "profiles",
    "envs",
    "tests",
    "docs",
    "resources",
    "benchmarks",
    ".ci",
    ".github",
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("x = '/" + "home/someone/data.csv'", True),
        ("/" + "work/a", True),
        ("https://example.org/home/page", False),
        ("results/home/x", False),
        ("../shared/data/x", False),
    ],
)
def test_paths_of_a_machine_are_seen(text, seen):
    assert bool(MACHINE.search(text)) == seen


def test_no_paths_of_a_machine():
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for name in KEPT for path in (ROOT / name).rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix in TEXT and "__pycache__" not in path.parts]
    assert len(files) > 80
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in files
        if (match := MACHINE.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_ci_runs_the_documented_command_and_every_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.search(r"^make test-all$", script.read_text(encoding="utf-8"), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    # What one leaves out the other runs, after it.
    assert re.search(r'^test: env\n\t.* pytest .*-m "not slow"$', makefile, re.MULTILINE)
    assert re.search(r"^test-slow: env\n\t.* pytest .*-m slow$", makefile, re.MULTILINE)
    assert re.search(r"^test-all: env\n\t.* pytest \$\(PARALLEL\)$", makefile, re.MULTILINE)
    for command in ("make test", "make test-all"):
        assert command in (ROOT / "README.md").read_text(encoding="utf-8")
