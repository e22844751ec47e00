"""Results shared between checkouts: what a second clone takes, what a change trains anew, what must never be taken."""

import re
import shutil

import pandas as pd
import pytest
import yaml
from rdkit import Chem

from helpers import workflow
from helpers.sharing import made_once
from helpers.workflow import TINY, copy_workflow, edit

pytestmark = pytest.mark.slow

OVERLAY = {
    "study": "shared",
    "influence": {"run": ["exact"]},
    "validation": {"run": False},
    "selection": {"run": ["none", "random"], "rank": [], "estimator": "exact"},
    "grid": {"run": ["bitfit", "lora"], "selections": ["none"]},
    "baselines": {"run": []},
}
TRAINED = ("mlm", "finetune", "finetune_on_selection", "selection")
MEASURED = ("train_seconds", "peak_memory_mb")
TABLES = ("results/shared/tables/metrics.parquet", "results/shared/tables/predictions.parquet")
RUNS = "results/shared/runs/scaffold/0"


class Clone:
    """A checkout in a folder of its own."""

    def __init__(self, folder, cache):
        self.folder, self.cache = folder, cache

    @classmethod
    def made(cls, folder, cache, **changes):
        folder.mkdir(parents=True)
        copy_workflow(folder)
        (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY | changes), encoding="utf-8")
        return cls(folder, cache)

    def start(self, *arguments, targets=TABLES[:1]):
        arguments = [*arguments, *targets, "--configfile", TINY, "small.yaml"]
        return workflow.start(self.folder, *arguments, cores=1, environment={"SNAKEMAKE_OUTPUT_CACHE": self.cache})

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def planned(self, **options):
        """Of a dry run: the runs that would be taken, and those that would be trained."""
        found = re.findall(r"Output file (\S+) will be (obtained|written)", self.run("-n", **options))
        return tuple(
            {path.removeprefix(f"{RUNS}/").rpartition("/")[0] for path, how in found if how == kind}
            for kind in ("obtained", "written")
        )

    def worked(self):
        """Rules that did any work: only then is a log written to."""
        logs = self.folder / "results/shared/logs"
        return {path.relative_to(logs).parts[0] for path in logs.rglob("*.log") if path.stat().st_size}

    def table(self, path=TABLES[0]):
        return pd.read_parquet(self.folder / path).sort_values("run_id", kind="stable", ignore_index=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A cache, and two clones that filled it at the same time. Read them only."""

    def make(folder):
        (folder / "cache").mkdir()
        clones = [Clone.made(folder / name, folder / "cache") for name in ("first", "second")]
        for process in [clone.start() for clone in clones]:
            output, _ = process.communicate()
            assert process.returncode == 0, output

    folder = made_once(tmp_path_factory, "shared_cache", make)
    return folder / "cache", [Clone(folder / name, folder / "cache") for name in ("first", "second")]


def everything(shared):
    """The runs of the first clone."""
    base = shared[1][0].folder / RUNS
    return {str(path.parent.relative_to(base)) for path in base.rglob("*.*") if path.is_symlink()}


@pytest.fixture
def clone(shared, tmp_path):
    return Clone.made(tmp_path / "somewhere" / "else", shared[0])


def test_clones_that_write_at_once_agree_and_leave_whole_entries(shared):
    cache, (first, second) = shared
    one, other = (clone.table().drop(columns=[*MEASURED]) for clone in (first, second))
    pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(first.table(TABLES[1]), second.table(TABLES[1]))
    taken = [path for path in (first.folder / RUNS).rglob("*.*") if path.is_symlink()]
    # As many entries as results: no two results have one key. No temporary folder is left.
    assert {path.name for path in cache.iterdir()} == {path.resolve().name for path in taken}
    assert len({path.resolve() for path in taken}) == len(taken) > 20


def test_another_clone_trains_nothing_and_has_the_same_tables(shared, clone):
    clone.run()
    assert not clone.worked() & {*TRAINED}
    assert clone.worked() >= {"metrics_table.log", "data.log"}
    for path in TABLES:
        origin = shared[1][0].table(path)
        columns = [name for name in origin if name not in MEASURED]
        pd.testing.assert_frame_equal(clone.table(path)[columns], origin[columns])
    clone.cache = None
    again = clone.run("-n")  # nothing reruns, and nothing is said of a cache, where it is left out later
    assert "Nothing to be done" in again
    assert "between-workflow" not in again
    assert "eligible for caching" not in again


def test_a_hyperparameter_trains_its_own_part(shared, clone):
    grid = OVERLAY["grid"] | {"methods": {"lora": {"rank": 3}}}
    (clone.folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY | {"grid": grid}), encoding="utf-8")
    lora = "0/selected/lora/none"
    assert clone.planned() == (everything(shared) - {lora}, {lora})


@pytest.mark.parametrize(
    ("path", "old", "new", "trained"),
    [
        ("chemsieve/methods/bitfit.py", "OPTIONS", "UNUSED = 1\nOPTIONS", "0/selected/bitfit/none"),
        ("chemsieve/runtime/provenance.py", "platform.python_version()", "'another'", ".*"),
    ],
)
def test_edited_code_and_another_environment_are_other_keys(shared, clone, path, old, new, trained):
    edit(clone.folder / "workflow_scripts" / path, old, new)
    taken, anew = clone.planned()
    assert anew == {run for run in everything(shared) if re.fullmatch(trained, run)}
    assert taken == everything(shared) - anew


def test_replicates_are_other_keys(shared, tmp_path):
    taken, anew = Clone.made(tmp_path / "seeds", shared[0], seeds=[0, 1]).planned()
    assert taken == everything(shared)
    assert {run.replace("0/", "1/", 1) for run in taken} == anew


def test_an_entry_without_one_of_its_files_is_made_again(shared, clone):
    model = shared[1][0].folder / RUNS / "0/finetune/baseline/model.safetensors"
    copied = clone.folder / "cache"
    shutil.copytree(shared[0], copied)
    (copied / model.resolve().name).unlink()
    clone.cache = copied
    _, anew = clone.planned()
    assert anew == {"0/finetune/baseline"}


def test_files_that_change_places_are_not_mistaken_for_each_other(tmp_path):
    (tmp_path / "cache").mkdir()
    smiles = ["C" * n + "O" for n in range(1, 16)]
    pd.DataFrame({"smiles": smiles, "label": range(15)}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"smiles": [s + "C" for s in smiles], "label": range(15)}).to_csv(tmp_path / "b.csv", index=False)
    assert all(Chem.MolFromSmiles(text) for text in smiles)
    table = ["results/shared/tables/audit_labels.parquet"]
    found = {}
    for name, sides in {"first": "ab", "copy": "ab", "swapped": "ba"}.items():
        files = {side: {"source": "file", "path": f"../{letter}.csv", "smiles": "smiles", "label": "label"}
                 for side, letter in zip(("target", "pool"), sides, strict=True)}  # fmt: skip
        one = Clone.made(tmp_path / name, tmp_path / "cache", **files)
        if name == "first":
            one.run(targets=table)
        found[name] = [len(kind) for kind in one.planned(targets=table)] if name != "first" else None
    assert found == {"first": None, "copy": [1, 0], "swapped": [0, 1]}
