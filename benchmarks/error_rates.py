"""How often the first screen states a difference where there is none.

python benchmarks/error_rates.py [--studies 300] [--designs "5 random splits" ...]
    [--keep benchmarks/results/error_rates.json]    # update a file of benchmarks/results, design by design

Simulates the errors of whole studies with the configurations of config.yaml, all equally good on average, and counts
the studies of which the report's first screen states any difference. The comparisons are made, and the
sentences written, by the functions that a study uses. Prints a table, and as its last line one JSON object.

Designs: several random splits, whose shared training molecules correlate the differences as Nadeau and Bengio 2003
assume (with an eighth as many test as training molecules: a ninth of their variance is common to all splits); draws,
whose training molecules are disjoint and whose test molecules are the same; and seeds of one split. Draws and seeds
have predictions of their test molecules. ``beyond`` counts the studies that state a difference and do not say that it
holds for the one split that was made.

With ``--controls`` it asks instead how often the intervals of a mean difference hold it, the plain one and that which a
control variate adjusts, at several correlations of the two and numbers of trained and of merely predicted draws, and
how wide the adjusted one is (benchmarks/control_variates.py measures the correlation of a study).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve.report import answers  # noqa: E402
from chemsieve.report.summary import verdicts  # noqa: E402
from chemsieve.statistics import power, tukey  # noqa: E402
from chemsieve.statistics.comparisons import Planned, compare  # noqa: E402
from chemsieve.statistics.control_variates import adjusted  # noqa: E402
from chemsieve.study.plan import Plan  # noqa: E402

COMMON = 1 / 9  # share of the variance of differences that all splits of the same molecules have in common
TESTED = 64  # test molecules of a split
ALONE = "holds for the one split"
# What else the sentences of the first screen take from a study.
SHOWN = {
    "strategy_origin": "continued",
    "labelled": True,
    "unit": "",
    "strategy_runs": pd.DataFrame(columns=["selection", "splitter", "n_selected"]),
}
COLUMNS = ["splitter", "split_seed", "seed", "origin", "method", "selection", "fold", "run_id", "rmse", "r2"]

Noise = Callable[[np.random.Generator, int], np.ndarray]
Study = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) standard normal values."""
    return rng.normal(size=n)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) values of mean 0 and variance 1 that are exponential, with the long side up."""
    return rng.exponential(size=n) - 1


def random_splits(
    rng: np.random.Generator, configurations: list[list[str]], splits: int, seeds: int, noise: Noise, one_is: float
) -> Study:
    """Errors on several random splits; the noise of the last strategy is ``one_is`` times that of the others."""
    scale = np.where([c[1:] == ["full", "influence"] for c in configurations], one_is, 1.0) * 0.02
    common = rng.normal(size=len(configurations))
    rows = []
    for split in range(splits):
        level = 0.7 + rng.normal(0, 0.05)
        own = np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * noise(rng, len(configurations))
        for configuration, deviation, size in zip(configurations, own, scale, strict=True):
            for seed in range(seeds) if configuration[0] != "descriptors" else [None]:
                error = level + size * (deviation + (0.5 * rng.normal() if seed is not None else 0))
                rows.append(("random", split, seed, *configuration, "test", "", error, 0.5))
    folds = np.array(["train"] * 16 + ["validation"] * 2 + ["test"] * 2)
    ids = [f"target-{i}" for i in range(20)]
    divided = [
        pd.DataFrame({"molecule_id": ids, "splitter": "random", "split_seed": split, "fold": rng.permutation(folds)})
        for split in range(splits)
    ]
    return pd.DataFrame(rows, columns=COLUMNS), pd.concat(divided, ignore_index=True), None


def one_split(rng: np.random.Generator, configurations: list[list[str]], seeds: int, differ: float) -> Study:
    """Predictions on one split; ``differ`` is the deviation, in logarithms, by which this split favours a
    configuration: all are equally good over many."""
    labels, rows, predictions = rng.normal(size=TESTED), [], []
    ids = [f"target-{i}" for i in range(TESTED)]
    for configuration in configurations:
        fixed = 0.5 * np.exp(rng.normal(0, differ)) * rng.normal(size=TESTED)
        for seed in range(seeds) if configuration[0] != "descriptors" else [None]:
            errors = fixed if seed is None else fixed + rng.normal(0, 0.1, TESTED)
            run = "/".join(["random", "0", "-" if seed is None else str(seed), *configuration])
            mse = float((errors**2).mean())
            rows.append(("random", 0, seed, *configuration, "test", run, mse**0.5, 1 - mse / labels.var()))
            known = {"run_id": run, "molecule_id": ids, "fold": "test", "label": labels, "prediction": labels + errors}
            predictions.append(pd.DataFrame(known))
    trained = [f"train-{i}" for i in range(8 * TESTED)]
    folds = ["train"] * len(trained) + ["test"] * TESTED
    divided = pd.DataFrame({"molecule_id": [*trained, *ids], "splitter": "random", "split_seed": 0, "fold": folds})
    return pd.DataFrame(rows, columns=COLUMNS), divided, pd.concat(predictions, ignore_index=True)


def drawn(rng: np.random.Generator, configurations: list[list[str]], draws: int) -> Study:
    """Predictions after training on disjoint molecules, on test molecules that all draws share.

    The squared errors of a configuration have the same mean over molecules and draws as those of any other: a part is
    its own on each molecule in every draw, a part each draw's, whose size varies by 3 % between draws.
    """
    labels, rows, predictions = rng.normal(size=TESTED), [], []
    ids = [f"target-{i}" for i in range(TESTED)]
    own = 0.3 * rng.normal(size=(len(configurations), TESTED))
    for draw in range(draws):
        hard = rng.normal(0, 0.3, TESTED)  # what no configuration could have learned from this draw
        for configuration, fixed in zip(configurations, own, strict=True):
            size = float(np.exp(rng.normal(0, 0.03)))
            errors = size * (hard + fixed + rng.normal(0, 0.1, TESTED))
            seed = None if configuration[0] == "descriptors" else 0
            run = "/".join(["draws", str(draw), "-" if seed is None else "0", *configuration])
            mse = float((errors**2).mean())
            rows.append(("draws", draw, seed, *configuration, "test", run, mse**0.5, 1 - mse / labels.var()))
            known = {"run_id": run, "molecule_id": ids, "fold": "test", "label": labels, "prediction": labels + errors}
            predictions.append(pd.DataFrame(known))
    divided = []
    for draw in range(draws):
        trained = [f"train-{draw}-{i}" for i in range(150)]
        folds = ["train"] * len(trained) + ["test"] * TESTED
        names = {"molecule_id": [*trained, *ids], "splitter": "draws", "split_seed": draw, "fold": folds}
        divided.append(pd.DataFrame(names))
    metrics = pd.DataFrame(rows, columns=COLUMNS)
    return metrics, pd.concat(divided, ignore_index=True), pd.concat(predictions, ignore_index=True)


DESIGNS: dict[str, tuple[Callable[..., Study], dict[str, Any]]] = {
    "3 random splits": (random_splits, {"splits": 3, "seeds": 2, "noise": normal, "one_is": 1}),
    "5 random splits": (random_splits, {"splits": 5, "seeds": 2, "noise": normal, "one_is": 1}),
    "5 random splits, one strategy noisier 4 times": (
        random_splits,
        {"splits": 5, "seeds": 2, "noise": normal, "one_is": 4},
    ),
    "5 random splits, skewed noise": (random_splits, {"splits": 5, "seeds": 2, "noise": skewed, "one_is": 1}),
    "8 draws, as the embedded study": (drawn, {"draws": 8}),
    "5 seeds of one split": (one_split, {"seeds": 5, "differ": 0.0}),
    "5 seeds of one split that favours some": (one_split, {"seeds": 5, "differ": 0.3}),
}


def shown_configurations() -> list[list[str]]:
    """The configurations of the embedded study that its first screen compares: all but the grid's."""
    plan = Plan(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    return [one for one in plan.configurations if one[0] == "descriptors" or one[1] == "full"]


def settings() -> dict[str, Any]:
    """How the embedded study judges differences."""
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["statistics"]


def leave_out_what_decides_nothing() -> None:
    """Planning of replicates and Tukey's p values take most of the time, and no verdict depends on them."""
    power.to_detect = power.to_equate = lambda *_: None
    power.detectable = lambda *_: 0.0
    tukey.p_values = lambda errors, *_: np.ones((errors.shape[1],) * 2)


def simulate(design: str, studies: int, seed: int = 0) -> tuple[int, int]:
    """Of so many studies, those that state a difference, and those that state one beyond the one split they have."""
    make, given = DESIGNS[design]
    configurations, chosen = shown_configurations(), settings()
    stated = beyond = 0
    for number in range(studies):
        metrics, splits, predictions = make(np.random.default_rng([seed, number]), configurations, **given)
        table = compare(metrics, splits, chosen, predictions, Planned(configurations))
        study = SimpleNamespace(comparisons=table, statistics=chosen, **SHOWN)
        (sentences,) = verdicts(study).values()
        differs = answers.asked(study)["verdict"].map(answers.outcome).isin([answers.HELPS, answers.HURTS]).any()
        stated += differs
        beyond += differs and not any(ALONE in sentence for sentence in sentences)
    return stated, beyond


# Draws that are trained, draws that are predicted alone, the correlation of the two quantities, and their noise.
CONTROLS: dict[str, tuple[int, int, float, Noise]] = {
    f"{trained} trained, {further} predicted, correlation {correlation:g}{said}": (trained, further, correlation, noise)
    for trained, further in ((6, 0), (6, 30), (8, 30), (12, 100))
    for correlation in (0.0, 0.4, 0.8, 0.95)
    for noise, said in ((normal, ""), (skewed, ", skewed"))
    if noise is normal or correlation == 0.4
}


def covered(case: str, studies: int, seed: int = 0) -> tuple[float, float, float]:
    """Shares of so many studies whose plain and whose adjusted interval of 95 % hold the mean difference.

    Returns:
        These, and the median width of the adjusted interval over that of the plain one.
    """
    trained, further, correlation, noise = CONTROLS[case]
    plain = held = 0
    widths = []
    for number in range(studies):
        rng = np.random.default_rng([seed, number])
        controls = noise(rng, trained + further)
        own = noise(rng, trained)
        differences = correlation * controls[:trained] + np.sqrt(1 - correlation**2) * own  # of mean zero
        made = adjusted(differences, controls[:trained], controls[trained:], 0.05)
        plain += made.plain_low <= 0 <= made.plain_high
        held += made.low <= 0 <= made.high
        widths.append(made.narrower)
    return plain / studies, held / studies, float(np.median(widths))


def controls(studies: int) -> list[list]:
    """Print what :func:`covered` finds of every case, and return it."""
    rows = []
    print(f"{'case':60} {'plain':>6} {'adjusted':>8} {'width':>6}")
    for case in CONTROLS:
        found = covered(case, studies)
        rows.append([case, studies, *found])
        print(f"{case:60} {found[0]:6.3f} {found[1]:8.3f} {found[2]:6.2f}", flush=True)
    return rows


def keep(path: Path, columns: list[str], row: list) -> None:
    """Put a design's row into a file of measurements, in place of what it says of that design."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = {one[0]: one for one in kept.get("rows", [])} | {row[0]: row}
    kept |= {"columns": columns, "rows": [known[design] for design in DESIGNS if design in known]}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=list(DESIGNS))
    parser.add_argument("--keep", type=Path, help="update a file of benchmarks/results")
    parser.add_argument("--controls", action="store_true", help="the coverage of adjusted intervals, and nothing else")
    arguments = parser.parse_args()
    if arguments.controls:
        columns = ["case", "studies", "plain holds", "adjusted holds", "width"]
        print(json.dumps({"columns": columns, "rows": controls(arguments.studies)}))
        return
    leave_out_what_decides_nothing()
    rows, began = [], time.monotonic()
    columns = ["design", "studies", "share that state a difference", "low", "high", "beyond their split"]
    print(f"{'design':48} {'studies':>7} {'stated':>7} {'share':>6} {'95 %':>14} {'beyond':>7}")
    for design in arguments.designs:
        stated, beyond = simulate(design, arguments.studies)
        low, high = stats.binomtest(stated, arguments.studies).proportion_ci(method="exact")
        one = DESIGNS[design][0] is one_split
        rows.append([design, arguments.studies, stated / arguments.studies, low, high, beyond if one else None])
        share = f"{stated / arguments.studies:6.3f} {low:6.3f} to {high:.3f}"
        print(f"{design:48} {arguments.studies:7} {stated:7} {share} {beyond if one else '':>7}", flush=True)
        if arguments.keep:
            keep(arguments.keep, columns, rows[-1])
    seconds = round(time.monotonic() - began)
    print(json.dumps({"columns": columns, "rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
