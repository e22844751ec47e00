"""Print a finished study as Markdown: test errors, influence diagnostics, and where the time went.

python benchmarks/summarise.py results/embedded
python benchmarks/summarise.py results/embedded --demands    the memory and time of its jobs, measured and asked for
python benchmarks/summarise.py results/embedded --so-far     the test errors of an unfinished study's runs
"""

import argparse
import itertools
import json
import re
import sys
from pathlib import Path

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

DONE = re.compile(r"done in ([0-9.]+) s, peak memory ([0-9]+) MB(?:, processor time ([0-9.]+) s)?")


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; missing values are left blank."""
    text = frame.map(lambda value: "" if pd.isna(value) else f"{value}")
    rows = [list(text.columns), ["---"] * text.shape[1], *text.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def errors(tables: Path) -> pd.DataFrame:
    """Test RMSE by method and selection: mean, and standard deviation over replicates."""
    metrics = pd.read_parquet(tables / "metrics.parquet").query("fold == 'test'")
    used = ["use"] if "use" in metrics and metrics["use"].nunique() > 1 else []
    groups = metrics.groupby(["splitter", "origin", "method", "selection", *used], sort=False)
    frame = groups.agg(
        replicates=("rmse", "size"),
        rmse=("rmse", "mean"),
        sd=("rmse", "std"),
        r2=("r2", "mean"),
        trainable=("trainable_parameters", "mean"),
        seconds=("train_seconds", "mean"),
    ).reset_index()
    for column, digits in {"rmse": 3, "sd": 3, "r2": 3, "seconds": 1}.items():
        frame[column] = frame[column].map(lambda value, d=digits: value if pd.isna(value) else f"{value:.{d}f}")
    frame["trainable"] = frame["trainable"].map(lambda value: value if pd.isna(value) else f"{value:,.0f}")
    return frame


def errors_so_far(study: Path) -> pd.DataFrame:
    """Test RMSE of the runs without a pool that an unfinished study has: mean, deviation over seeds, and each."""
    from chemsieve.statistics.evaluation import regression_metrics

    rows = []
    found = (study.glob(f"runs/*/*/*/{kind}/*/predictions.parquet") for kind in ("finetune", "descriptors"))
    for path in sorted(itertools.chain(*found)):
        splitter, split_seed, seed, _, what = path.relative_to(study / "runs").parts[:5]
        labels = pd.read_parquet(study / "splits" / splitter / split_seed / "test_labels.parquet")
        joined = pd.read_parquet(path).query("fold == 'test'")[["molecule_id", "prediction"]].merge(labels)
        rmse = regression_metrics(joined["label"], joined["prediction"])["rmse"]
        facts = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))
        rows.append(facts | {"splitter": splitter, "what": what, "seed": int(seed), "rmse": rmse})
    groups = pd.DataFrame(rows).sort_values("seed").groupby(["splitter", "what"])
    frame = groups.agg(
        replicates=("rmse", "size"), mean=("rmse", "mean"), sd=("rmse", "std"), seconds=("train_seconds", "mean")
    )
    each = groups["rmse"].agg(lambda values: ", ".join(f"{value:.3f}" for value in values))
    return frame.round({"mean": 3, "sd": 3, "seconds": 0}).assign(each=each).reset_index()


def diagnostics(tables: Path) -> pd.DataFrame:
    """Influence diagnostics, averaged over replicates."""
    frame = pd.read_parquet(tables / "influence_diagnostics.parquet")
    keep = [
        "relative_residual",
        "estimated_residual",
        "gram_error",
        "effective_damping",
        "scale",
        "largest_eigenvalue",
        "spearman_vs_half",
    ]
    keep += ["spearman_vs_last"]
    keep = [name for name in [*keep, "seconds"] if name in frame]
    means = frame.groupby(["origin", "checkpoint", "estimator"])[keep].mean().map("{:.3g}".format)
    share = frame.groupby(["origin", "checkpoint", "estimator"])["converged"].agg(lambda c: f"{c.sum()} of {len(c)}")
    return means.assign(converged=share).replace("nan", "").reset_index()


def agreement(tables: Path) -> pd.DataFrame:
    """Spearman correlation of the estimators' scores over the pool, per model and checkpoint."""
    scores = pd.read_parquet(tables / "influence.parquet")
    axes = ["splitter", "split_seed", "seed", "origin", "checkpoint"]
    wide = scores.pivot_table(index=[*axes, "molecule_id"], columns="estimator", values="influence")
    pairs = wide.groupby(axes).corr(method="spearman").reset_index()
    names = sorted(wide.columns)
    rows = pairs[pairs["estimator"] == names[0]].drop(columns=["estimator", names[0]])
    return rows.rename(columns={name: f"{names[0]} ~ {name}" for name in names[1:]}).round(2)


def overlap(tables: Path, top: int) -> pd.DataFrame:
    """Share of the ``top`` most helpful molecules that two estimators have in common, by their aggregated scores."""
    scores = pd.read_parquet(tables / "influence.parquet").query("checkpoint == -1")
    axes = ["splitter", "split_seed", "seed", "origin"]
    rows = []
    for key, part in scores.groupby(axes):
        best = {name: set(g.nlargest(top, "expected_gain")["molecule_id"]) for name, g in part.groupby("estimator")}
        shares = {f"{a} ~ {b}": round(len(best[a] & best[b]) / top, 2) for a, b in itertools.combinations(best, 2)}
        chance = round(top / part["molecule_id"].nunique(), 2)
        rows.append(dict(zip(axes, key, strict=True)) | {"top": top, "by_chance": chance} | shares)
    return pd.DataFrame(rows)


def validation(tables: Path) -> pd.DataFrame:
    """How well each estimator's aggregated scores foresaw retraining, where that was tried."""
    path = tables / "influence_validation.parquet"
    if not path.exists():
        return pd.DataFrame({"": ["not tried in this study"]})
    frame = pd.read_parquet(path).query("checkpoint == -1")
    columns = ["origin", "estimator", "datamodelling_score", "low", "high", "ceiling", "subsets", "retrain_seeds"]
    return frame.sort_values(["origin", "datamodelling_score"], ascending=[True, False])[columns].round(2)


def times(logs: Path) -> pd.DataFrame:
    """Seconds, of them those of the processor, and peak memory of each step, from the jobs' logs."""
    found = []
    for path in sorted(logs.rglob("*.log")):
        if match := DONE.search(path.read_text(encoding="utf-8")):
            step = path.relative_to(logs).parts[0].removesuffix(".log")
            found.append((step, float(match[1]), float(match[2]), float(match[3] or "nan")))
    frame = pd.DataFrame(found, columns=["step", "seconds", "memory", "processor"])
    return (
        frame.groupby("step", sort=False)
        .agg(
            jobs=("seconds", "size"),
            total=("seconds", "sum"),
            processor=("processor", lambda values: values.sum(min_count=1)),
            longest=("seconds", "max"),
            peak_mb=("memory", "max"),
        )
        .sort_values("total", ascending=False)
        .round(1)
        .reset_index()
    )


def demanded(study: Path) -> pd.DataFrame:
    """What each step took, and what its jobs would ask a cluster for."""
    from chemsieve.study import resources, steps

    config = yaml.safe_load((study / "config.yaml").read_text(encoding="utf-8"))
    sizes = resources.sizes(config, study)
    frame = times(study / "logs")
    asked = [resources.ask(steps.step(name).takes(sizes, config)) for name in frame["step"]]
    return frame.assign(asked_mb=[mb for mb, _ in asked], asked_minutes=[minutes for _, minutes in asked])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder below results/")
    parser.add_argument("--top", type=int, default=100, help="molecules whose choice is compared between estimators")
    parser.add_argument("--demands", action="store_true", help="only what jobs took, and what they ask a cluster for")
    parser.add_argument("--so-far", action="store_true", help="only the test errors of an unfinished study's runs")
    arguments = parser.parse_args()
    study = arguments.study
    if arguments.demands:
        print(markdown(demanded(study)))
        return
    if arguments.so_far:
        print(markdown(errors_so_far(study)))
        return
    tables = study / "tables"
    for title, frame in {
        "Test error": errors(tables),
        "Influence diagnostics, means over replicates": diagnostics(tables),
        "Scores against retraining": validation(tables),
        "Agreement of the estimators (checkpoint -1: aggregate)": agreement(tables),
        "Share of the most helpful molecules that estimators have in common": overlap(tables, arguments.top),
        "Seconds of the jobs (sum over jobs, which run side by side)": times(study / "logs"),
    }.items():
        print(f"**{title}**\n\n{markdown(frame)}\n")


if __name__ == "__main__":
    main()
