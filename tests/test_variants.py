"""Parts of a study that the small one does not have, run to their tables: one change each, on a copy of it."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import read_tensors
from helpers.tiny import rounding
from helpers.workflow import RESULTS, overlay, plan, snakemake, study

pytestmark = pytest.mark.slow


def test_full_fine_tuning_by_a_curriculum_is_a_method_of_the_grid(workspace):
    easy = {"method": "full", "training": {"curriculum": "length", "epochs": 2}}
    cell = RESULTS / "runs/scaffold/0/0/selected/easy/none"
    arguments = overlay(workspace, {"grid": {"run": ["easy"], "methods": {"easy": easy}}})
    done = snakemake(workspace, str(cell / "run.json"), *arguments)
    assert done.returncode == 0, done.stdout
    facts = yaml.safe_load((workspace / cell / "run.json").read_text(encoding="utf-8"))
    assert (facts["method"], facts["n_selected"], facts["epochs"]) == ("easy", 0, 2)
    assert facts["trainable_parameters"] == facts["total_parameters"] > 0
    lengths = pd.read_parquet(workspace / RESULTS / "splits/scaffold/0/train.parquet")["encoder_smiles"].str.len()
    short = (lengths <= (lengths.min() + lengths.max()) / 2).sum()
    assert 0 < short < len(lengths)
    log = next((workspace / RESULTS / "logs/finetune_on_selection").rglob("easy/none.log")).read_text(encoding="utf-8")
    assert f"curriculum: {short}, {len(lengths)} molecules in the epochs" in log


def test_influence_on_single_test_molecules_is_for_the_report_alone(workspace):
    """With a damping that drowns the curvature, I(z) is the product of two explicit gradients, divided by it."""
    damping = 1e7
    change = {
        "influence": {"test_molecules": 3, "gram": {"tolerance": 0}, "estimators": {"exact": {"damping": damping}}}
    }
    arguments = overlay(workspace, change)
    readers = {}
    for job in plan(workspace, "all", *arguments):
        for path in job.input if job.rule != "all" else []:
            readers.setdefault(path.removeprefix(f"{RESULTS}/"), set()).add(job.rule)
    assert readers["tables/influence_on_test.parquet"] == {"report", "failures_table"}, "nothing else"
    table = str(RESULTS / "tables/influence_on_test.parquet")
    done = snakemake(workspace, table, str(RESULTS / "report.html"), *arguments)
    assert done.returncode == 0, done.stdout
    found = pd.read_parquet(workspace / table)
    split, seed = workspace / RESULTS / "splits/scaffold/0", workspace / RESULTS / "runs/scaffold/0/0"
    test, pool = pd.read_parquet(split / "test.parquet"), pd.read_parquet(workspace / RESULTS / "data/pool.parquet")
    labels = pd.read_parquet(split / "test_labels.parquet").set_index("molecule_id")["label"]
    first = found[found["seed"] == 0]
    assert first["test_id"].nunique() == 3
    assert set(first["test_id"]) <= set(test["molecule_id"])
    assert (first.groupby("test_id")["molecule_id"].apply(set) == set(pool["molecule_id"])).all()

    checkpoint = seed / f"finetune/adapted/checkpoint-{found['checkpoint'].iloc[0]}.safetensors"
    model = regressor.restore(seed / "mlm", "molformer", "full", {}, checkpoint)
    tokenizer = backbone.load_tokenizer(seed / "mlm")
    mean, scale = float(model.label_mean), float(model.label_scale)

    def gradient(smiles, label):
        tokens = torch.tensor(tokenization.encode(tokenizer, [smiles]))
        error = model(tokens, torch.ones_like(tokens)).squeeze() - (label - mean) / scale
        parts = torch.autograd.grad(error**2, [part for part in model.parameters() if part.requires_grad])
        return torch.cat([part.flatten() for part in parts]), error.item() * scale

    smiles = test.set_index("molecule_id")["encoder_smiles"]
    of_pool = pool.set_index("molecule_id")
    rows = first.groupby("test_id").sample(4, random_state=0)
    for row in rows.itertuples():
        of_test, error = gradient(smiles[row.test_id], labels[row.test_id])
        other, _ = gradient(of_pool.at[row.molecule_id, "encoder_smiles"], of_pool.at[row.molecule_id, "label"])
        assert row.error == pytest.approx(error, abs=10 * rounding(width=32, products=15) * scale)
        # A product of gradients may be far smaller than they are: its error is not.
        size = float(of_test.norm() * other.norm()) / damping
        assert row.influence == pytest.approx(
            -float(of_test @ other) / damping, abs=2 * rounding(width=32, products=30) * size
        )
    page = (workspace / RESULTS / "report.html").read_text(encoding="utf-8")
    assert all(f"<summary>{name}: error" in page for name in first["test_id"].unique())


def test_cut_labels_are_those_of_the_training_mean_wherever_labels_are_read(workspace):
    arguments = overlay(workspace, {"target": {"binarise": "mean"}})
    split = RESULTS / "splits/scaffold/0"
    before = {name: pd.read_parquet(workspace / split / f"{name}.parquet") for name in ("train", "validation")}
    before |= {"test_labels": pd.read_parquet(workspace / split / "test_labels.parquet")}
    before |= {"pool": pd.read_parquet(workspace / RESULTS / "data/pool.parquet")}
    done = snakemake(workspace, str(split / "pool.parquet"), *arguments)
    assert done.returncode == 0, done.stdout
    mean = np.mean(before["train"]["label"].to_numpy())
    for name, table in before.items():
        cut = pd.read_parquet(workspace / split / f"{name}.parquet")
        assert list(cut["molecule_id"]) == list(table["molecule_id"])
        assert cut["label"].tolist() == [float(label > mean) for label in table["label"]]
        assert set(cut["label"]) == {0.0, 1.0}, name
    wanted = {"gram", "influence", "selection", "finetune_on_selection", "retrain"}
    readers = {job.rule for job in plan(workspace, "all", *arguments) if str(split / "pool.parquet") in job.input}
    assert readers == wanted
    plain = plan(workspace, "all", "--forceall", *study(workspace))
    assert not [job.rule for job in plain if str(split / "pool.parquet") in job.input + job.output]


def test_a_selection_is_used_in_every_way_and_beside_it_stands_what_the_closed_form_foresaw(workspace):
    uses = ["mixed", "weighted", "own_head", "then_target", "robust", "auto"]
    change = {"selection": {"run": ["none", "random"]}, "use": {"run": uses}}
    change |= {"predict": {"model": "scaffold/0/0/adapted/full/random/own_head"}}
    arguments = overlay(workspace, change)
    tables = workspace / RESULTS / "tables"
    wanted = [str(RESULTS / f"tables/{name}.parquet") for name in ("pool_use", "pool_use_curves")]
    done = snakemake(workspace, *wanted, str(RESULTS / "model/chemsieve.json"), *arguments)
    assert done.returncode == 0, done.stdout
    metrics = pd.read_parquet(tables / "metrics.parquet").query("method == 'full' and origin == 'adapted'")
    validation = metrics[metrics["fold"] == "validation"]
    random = validation[validation["selection"] == "random"].set_index("use")
    assert set(random.index) == set(uses)
    assert set(validation.loc[validation["selection"] == "none", "use"]) == {"mixed"}
    assert random["rmse"].nunique() >= len(uses) - 1, "auto is one of the others"
    table = pd.read_parquet(tables / "pool_use.parquet").set_index("use")
    assert set(table.index) == {"none", *uses}
    for use, rmse in random["rmse"].items():
        assert table.loc[use, "validation_rmse"] == rmse
    alone = validation.loc[validation["selection"] == "none", "rmse"].item()
    assert table.loc["none", "validation_rmse"] == alone
    known = ["none", "mixed", "weighted", "own_head"]
    assert table["loo_rmse"].notna().pipe(lambda found: set(found.index[found])) == set(known)
    assert table.index[table["chosen"]].tolist() == [table["loo_rmse"].idxmin()]
    if (chosen := table["loo_rmse"].idxmin()) != "none":
        assert random.loc["auto", "rmse"] == random.loc[chosen, "rmse"]
    # Whatever it was trained with, a model has the target's head alone; the export holds it against its predictions.
    folder = workspace / RESULTS / "runs/scaffold/0/0"
    places = [folder / "selected/full/random", *(folder / f"used/{use}/full/random" for use in uses[1:])]
    assert len({tuple(sorted(read_tensors(place / "model.safetensors"))) for place in places}) == 1
    assert "adapted/full/random/own_head" in (workspace / RESULTS / "model/README.md").read_text(encoding="utf-8")
