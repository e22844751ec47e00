"""The code hash: what changes it and what does not, on a copy of the scripts."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from chemsieve.runtime import provenance, sources

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "workflow_scripts"
CACHES = ("_source", "_digest", "_imports", "_data_files")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the scripts that the hash is taken over, tables beside them, and a hash that reads it afresh."""
    folder = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "resources" / "embedded", tmp_path / "resources" / "embedded")
    monkeypatch.setattr(provenance, "_ROOT", folder)

    def code_hash(script="mlm.py", modules=()):
        for name in CACHES:
            getattr(provenance, name).cache_clear()
        return provenance.code_hash(folder / script, tuple(modules))

    yield folder, code_hash
    for name in CACHES:
        getattr(provenance, name).cache_clear()


def hashes(folder):
    """The hash of every script, with what is cached."""
    return {path.stem: provenance.code_hash(path) for path in folder.glob("*.py")}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file in which facts about sources are kept, not there yet, and what forgets those in memory."""
    monkeypatch.setenv("CHEMSIEVE_CACHE", str(tmp_path / "cache"))
    sources._kept.cache_clear()
    yield sources._file(), sources._kept.cache_clear
    sources._kept.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_the_hash_does_not_depend_on_where_the_code_lies(copy, monkeypatch, tmp_path):
    _, code_hash = copy
    found = code_hash()
    monkeypatch.chdir(tmp_path)
    assert code_hash() == found
    monkeypatch.setattr(provenance, "_ROOT", SCRIPTS)
    assert provenance.code_hash(SCRIPTS / "mlm.py") == found
    assert len(found) == 16
    int(found, 16)


@pytest.mark.slow
def test_scripts_differ(copy):
    found = hashes(copy[0])
    assert len(found) > 15
    assert len(set(found.values())) == len(found)


# Imported by mlm.py: directly, through one module, through several.
USED = [
    "mlm.py",
    "chemsieve/training/mlm.py",
    "chemsieve/training/loop.py",
    "chemsieve/models/checkpoints.py",
    "chemsieve/models/tokenization.py",
    "chemsieve/runtime/files.py",
    "chemsieve/training/__init__.py",
]
UNUSED = [
    "finetune.py",
    "chemsieve/report/page.py",
    "chemsieve/selection/diversity.py",
    "chemsieve/training/pretraining.py",
    "chemsieve/splitting/__init__.py",
]


@pytest.mark.parametrize("name", USED)
def test_code_at_any_depth_changes_the_hash_and_undoing_it_changes_it_back(copy, name):
    folder, code_hash = copy
    before = code_hash()
    text = (folder / name).read_text(encoding="utf-8")
    append(folder / name, "\nADDED = 1\n")
    changed = code_hash()
    assert changed != before
    (folder / name).write_text(text + "\nADDED = 2\n", encoding="utf-8")
    assert code_hash() not in (before, changed)
    (folder / name).write_text(text, encoding="utf-8")
    assert code_hash() == before


@pytest.mark.parametrize("name", UNUSED)
def test_code_that_is_not_imported_leaves_the_hash(copy, name):
    folder, code_hash = copy
    before = code_hash()
    append(folder / name, "\nADDED = 1\n")
    assert code_hash() == before


def test_comments_docstrings_and_formatting_leave_the_hash(copy):
    folder, code_hash = copy
    module = folder / "chemsieve" / "runtime" / "files.py"
    before = code_hash()
    append(module, "\n\n\n# A comment.\n")
    edit(module, '"""Write UTF-8 text atomically."""', '"""Another docstring,\n\n    of two lines.\n    """')
    edit(module, '"""Atomic writes:', '"""Something else:')
    edit(module, "import hashlib\n", "\nimport hashlib  # for sums\n")
    edit(module, "suffix=_PARTIAL, dir=path.parent", "suffix=_PARTIAL,\n        dir=(path.parent),\n    ")
    assert code_hash() == before
    edit(module, "0o666", "0o660")
    assert code_hash() != before


def test_text_that_is_not_a_docstring_is_code(copy):
    folder, code_hash = copy
    module = folder / "chemsieve" / "runtime" / "files.py"
    append(module, '\n\ndef message():\n    """Says it."""\n    return "one"\n')
    before = code_hash()
    edit(module, 'return "one"', 'return "two"')
    assert code_hash() != before


def test_imports_inside_functions_and_main_blocks_count(copy):
    folder, code_hash = copy
    (folder / "chemsieve" / "fresh.py").write_text("VALUE = 1\n", encoding="utf-8")
    before = code_hash()
    append(folder / "chemsieve" / "errors.py", "\n\ndef late():\n    from chemsieve import fresh\n\n    return fresh\n")
    imported = code_hash()
    assert imported != before
    edit(folder / "chemsieve" / "fresh.py", "1", "2")
    assert code_hash() != imported


def test_modules_that_import_each_other_are_hashed_once(copy):
    folder, code_hash = copy
    for one, other in (("ring_a", "ring_b"), ("ring_b", "ring_a")):
        (folder / "chemsieve" / f"{one}.py").write_text(f"from chemsieve import {other}\n", encoding="utf-8")
    (folder / "script.py").write_text("import chemsieve.ring_a\n", encoding="utf-8")
    before = code_hash("script.py")
    append(folder / "chemsieve" / "ring_b.py", "X = 1\n")
    assert code_hash("script.py") != before


def test_a_choice_loaded_by_name_counts_where_it_is_named(copy):
    folder, code_hash = copy
    with_one = code_hash("selection.py", ["chemsieve.selection.diversity"])
    with_other = code_hash("selection.py", ["chemsieve.selection.random"])
    assert len({with_one, with_other, code_hash("selection.py")}) == 3
    append(folder / "chemsieve" / "selection" / "diversity.py", "\nADDED = 1\n")
    assert code_hash("selection.py", ["chemsieve.selection.diversity"]) != with_one
    assert code_hash("selection.py", ["chemsieve.selection.random"]) == with_other
    with pytest.raises(FileNotFoundError, match=r"chemsieve\.selection\.none_such"):
        code_hash("selection.py", ["chemsieve.selection.none_such"])


def test_moving_code_between_files_changes_the_hash(copy):
    folder, code_hash = copy
    module, other = folder / "chemsieve" / "runtime" / "files.py", folder / "chemsieve" / "errors.py"
    append(module, "\nMOVED = 1\n")
    here = code_hash()
    edit(module, "\nMOVED = 1\n", "")
    append(other, "\nMOVED = 1\n")
    assert code_hash() != here


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("scripts/chemsieve/report/templates/page.html.j2", {"report"}),
        ("scripts/chemsieve/report/static/page.css", {"report"}),
        ("scripts/chemsieve/report/static/draw.js", {"figures"}),
        ("resources/embedded/building_blocks.csv", {"embedded_data"}),
        ("resources/embedded/reactions.csv", {"embedded_data"}),
    ],
)
def test_a_file_beside_the_code_changes_the_hash_of_the_steps_that_read_it_and_of_no_other(copy, name, scripts):
    folder, _ = copy
    before = hashes(folder)
    append(folder.parent / name, "\n")
    provenance._digest.cache_clear()
    changed = hashes(folder)
    assert {script for script in before if changed[script] != before[script]} == scripts


def test_every_file_beside_the_code_counts_somewhere(copy):
    folder, _ = copy
    read = set().union(*map(provenance._data_files, folder.rglob("*.py")))
    lying = {path for path in folder.joinpath("chemsieve").rglob("*") if path.is_file() and path.suffix != ".py"}
    lying |= set(folder.parent.joinpath("resources", "embedded").iterdir())
    assert read == lying - {folder / "chemsieve" / "py.typed"}


def test_what_is_kept_of_sources_is_what_parsing_them_says(kept, monkeypatch):
    file, forget = kept
    paths = sorted(SCRIPTS.rglob("*.py"))
    parsed = [sources.read(path) for path in paths]
    sources._write(os.getpid())
    assert file.is_file()
    forget()
    monkeypatch.setattr(sources, "_parse", None)  # nothing is parsed again
    assert [sources.read(path) for path in paths] == parsed


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"KEY": 1}', b'{"KEY": {"digest": "x"}}', b"\xff"])
def test_a_damaged_file_of_sources_changes_no_hash(kept, content):
    file, forget = kept
    script = SCRIPTS / "mlm.py"
    found = sources.read(script)
    file.parent.mkdir(parents=True)
    file.write_bytes(content.replace(b"KEY", hashlib.sha256(script.read_bytes()).hexdigest().encode()))
    forget()
    assert sources.read(script) == found


def test_sources_are_kept_by_their_text_and_where_nothing_can_be_kept_they_are_read(kept, tmp_path):
    file, _ = kept
    path = tmp_path / "a.py"
    path.write_text("from chemsieve import errors\n", encoding="utf-8")
    assert sources.read(path).imported == ["chemsieve", "chemsieve.errors"]
    path.write_text('"""Words."""\nimport json\nproject_data("x")\nproject_data(json)\n', encoding="utf-8")
    found = sources.read(path)
    assert (found.imported, found.calls) == (["json"], [["project_data", 3, "x"], ["project_data", 4, None]])
    file.parent.write_bytes(b"a file where a folder would be")
    sources._write(os.getpid())
    assert file.parent.is_file()


def test_what_the_hash_knows_of_files_is_where_they_are_read():
    assert provenance.package_data("report").samefile(SCRIPTS / "chemsieve" / "report")
    assert provenance.project_data("embedded").samefile(ROOT / "resources" / "embedded")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ('project_data("em" + "bedded")', ValueError, r"files\.py, line \d+: project_data takes one literal name"),
        ('package_data(name="report")', ValueError, "package_data takes one literal name"),
        ('package_data("report/none_such.css")', FileNotFoundError, "there is no file report/none_such.css"),
    ],
)
def test_a_file_that_the_hash_cannot_see_is_an_error(copy, call, error, said):
    folder, code_hash = copy
    append(folder / "chemsieve" / "runtime" / "files.py", f"\n\ndef late():\n    return {call}\n")
    with pytest.raises(error, match=said):
        code_hash()


def test_hidden_files_leave_the_hash(copy):
    folder, code_hash = copy
    before = code_hash("embedded_data.py")
    (folder.parent / "resources" / "embedded" / ".DS_Store").write_bytes(b"")
    assert code_hash("embedded_data.py") == before


def test_every_script_of_a_rule_can_be_hashed_and_reaches_what_it_imports():
    """A project module that is imported but not found would silently be left out."""
    import ast

    for path in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path.name}: a relative import is not seen"
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "chemsieve":
                assert provenance._file(node.module) is not None, f"{path.name} imports {node.module}"
