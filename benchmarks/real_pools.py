"""What real pools do for small targets: strategies, budgets and uses crossed, with intervals, on measured data.

python benchmarks/real_pools.py DATA --directory pools
python benchmarks/real_pools.py DATA --directory pools --pair mine --target a.csv SMILES LABEL --pool b.csv SMILES LABEL
python benchmarks/real_pools.py DATA --directory pools --pairs pairs.yaml
python benchmarks/real_pools.py DATA --directory pools --language-model

DATA is a folder with lipophilicity.csv, logd_chembl29_db29.csv, esol_delaney-processed.csv, aqsoldb_curated.csv and
biogen_adme_3521.csv. ``pairs.yaml`` has, by name, a ``target`` and a ``pool``, each a list of file, column of SMILES
and column of labels, and ``unit``. The package's own functions are called, without a workflow; each cell (a pair, a
test set, a size, a draw and a model) is a file below the directory, so that the same command goes on after a kill. It
takes hours; ``--minutes`` ends earlier with what there is.

Test molecules are set aside first, 500 at least: at random, or of scaffolds that no training molecule has. Each draw
then takes so many training molecules, and a quarter as many for validation, from the rest; the draws share no molecule
as long as there are enough, and as few as possible after. All draws of a test set are tested on the same molecules. A
draw also has unlabelled molecules, an eighth of the target and 420 at most, which stand for the list of what the model
is for (``target.unlabelled``): of the kind that the test molecules are, none of them tested, and no label of theirs
read. Of the pool, molecules that are of the target are left out (equal InChIKey blocks, or parents), as the workflow
does. Where both labels are columns of one file, these are the molecules of the draw and of the test set; else those of
the whole target file. Then 2,000 are drawn at random, the same for all draws where they are the same pool.

Selections are those of the closed form on the descriptors' own kernel, whose width and noise follow from the target's
molecules: ``v_optimal`` as in the package, for the molecules of the draw and the unlabelled ones; ``v_optimal_known``
for the training and validation molecules alone, as without such a list; ``influence`` the fall of the held-out squared
error in five folds of the training and validation molecules when one molecule is added; ``default``, what this
benchmark proposes: ``v_optimal`` whatever labels there are, used in the way that held-out errors prefer (``auto``). It
was settled on two draws, of two pairs, that no figure here has, the eleventh and twelfth; that the design is for the
unlabelled list, on three draws of ESOL in another arrangement of the test molecules.

With ``--language-model`` the workflow runs instead, for a part: one pair, 200 training molecules, a budget of 300.
The last line is one JSON object: figures and bars. ``--keep`` writes it to benchmarks/results/real_pools.json.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve import baselines, splitting  # noqa: E402
from chemsieve.baselines import _pipeline, gaussian_process, svr  # noqa: E402
from chemsieve.baselines._sources import Labelled, moments, uses  # noqa: E402
from chemsieve.data.acceptance import Reader  # noqa: E402
from chemsieve.data.descriptors import descriptors  # noqa: E402
from chemsieve.data.molecules import prepare  # noqa: E402
from chemsieve.data.reading import read_table  # noqa: E402
from chemsieve.influence import kernel as closed  # noqa: E402
from chemsieve.influence import posterior  # noqa: E402
from chemsieve.influence.kernel import Kernel  # noqa: E402
from chemsieve.models import backbone  # noqa: E402
from chemsieve.models.bundled import BUNDLED, local_folder  # noqa: E402
from chemsieve.runtime.files import write_json  # noqa: E402
from chemsieve.uses import Form  # noqa: E402

KEPT = ROOT / "benchmarks" / "results" / "real_pools.json"
HLM, RLM = "LOG HLM_CLint (mL/min/kg)", "LOG RLM_CLint (mL/min/kg)"
ESOL = "measured log solubility in mols per litre"
PAIRS: dict[str, dict[str, Any]] = {
    "lipophilicity": {
        "target": ["lipophilicity.csv", "smiles", "exp"],
        "pool": ["logd_chembl29_db29.csv", "smiles", "logD"],
        "unit": "log units",
    },
    "esol": {
        "target": ["esol_delaney-processed.csv", "smiles", ESOL],
        "pool": ["aqsoldb_curated.csv", "SMILES", "Solubility"],
        "unit": "log mol/L",
    },
    "human": {
        "target": ["biogen_adme_3521.csv", "SMILES", HLM],
        "pool": ["biogen_adme_3521.csv", "SMILES", RLM],
        "unit": "log mL/min/kg",
    },
    "rat": {
        "target": ["biogen_adme_3521.csv", "SMILES", RLM],
        "pool": ["biogen_adme_3521.csv", "SMILES", HLM],
        "unit": "log mL/min/kg",
    },
}
TESTS = ("random", "scaffold")
SIZES = (200, 100, 400)  # in the order in which they are measured
MODELS = ("gaussian_process", "svr")
BUDGETS = (100, 300, 1000)
LARGEST = 2000  # molecules of a pool
STRATEGIES = ("random", "v_optimal", "v_optimal_known", "influence", "default")
UNLABELLED = 420  # at most
FORMS = {"mixed": Form(), "weighted": Form(weight=None), "own_head": Form(weight=None, rho=None, own=True)}
NONE, AUTO = "none", "auto"
ALPHA = 0.05
ASKED = 200, 300  # training molecules and budget of the bars
MARGIN = 0.01


# -- molecules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """The accepted molecules of a target and of its pool, with their descriptors in the same order."""

    name: str
    target: pd.DataFrame
    pool: pd.DataFrame
    target_features: np.ndarray
    pool_features: np.ndarray
    shared: bool  # whether both labels are of the same molecules


def pair_of(name: str, given: dict[str, Any], data: Path, directory: Path) -> Pair:
    """Read a pair; what was read, and descriptors, are kept below the directory.

    Of a pool that does not depend on the draw those molecules alone are kept that it is made of.
    """
    target, pool = (accepted(data / given[side][0], *given[side][1:], directory) for side in ("target", "pool"))
    shared = given["target"][0] == given["pool"][0]
    if not shared:
        order = np.random.default_rng(2).permutation(len(pool))
        free = np.flatnonzero(~same(pool, target))
        pool = pool.iloc[np.sort(order[np.isin(order, free)][:LARGEST])].reset_index(drop=True)
    features = (described(frame, directory / "molecules" / f"{name}-{side}.npy")
                for frame, side in ((target, "target"), (pool, "pool")))  # fmt: skip
    return Pair(name, target, pool, *features, shared)


@cache
def accepted(path: Path, smiles: str, label: str, directory: Path) -> pd.DataFrame:
    """Molecules that the workflow would accept as a target."""
    where = directory / "molecules" / f"{path.stem}-{zlib.crc32(label.encode()):08x}.parquet"
    if not where.is_file():
        columns = {"smiles": smiles, "label": label, "fold": None, "delimiter": ",", "format": "csv", "where": {}}
        columns |= {"encoding": "utf-8", "decimal": ".", "relation": None, "censored": "exclude", "measured_in": None}
        columns |= {"transform": "none", "repeats": "first", "drop_if_apart": None, "identifier": None}
        frame = read_table(str(path), "target", columns)
        encoder = local_folder(BUNDLED)
        reader = Reader(backbone.load_tokenizer(encoder), backbone.token_limit(encoder, "molformer", None))
        molecules, _ = prepare(frame, frame.iloc[:0], reader, stereo=False)
        where.parent.mkdir(parents=True, exist_ok=True)
        kept = molecules[["molecule_id", "smiles", "encoder_smiles", "inchikey", "parent", "label"]]
        kept.to_parquet(where.with_suffix(".part"))
        where.with_suffix(".part").rename(where)
    return pd.read_parquet(where)


def described(molecules: pd.DataFrame, where: Path) -> np.ndarray:
    """Descriptors (n, d) of the molecules, kept in a file."""
    if not where.is_file():
        made = descriptors(molecules["encoder_smiles"].tolist())
        with open(where.with_suffix(".part"), "wb") as file:
            np.save(file, made)
        where.with_suffix(".part").rename(where)
    return np.load(where)


def same(molecules: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Which molecules (n,) are among others: equal first blocks of the InChIKey, or equal parents."""
    blocks, parents = (set(values) - {""} for values in (others["inchikey"].str[:14], others["parent"]))
    return (molecules["inchikey"].str[:14].isin(blocks) | molecules["parent"].isin(parents)).to_numpy()


@dataclass(frozen=True)
class Draw:
    """Positions of a draw's molecules in the target, and of its pool's in the pool."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    unlabelled: np.ndarray
    pool: np.ndarray


def draws(pair: Pair, kind: str, size: int, count: int) -> tuple[list[Draw], float]:
    """The draws of a test set, and the share of its molecules that two draws have in common on average."""
    n = len(pair.target)
    wanted, each = max(500, n // 5), size + size // 4
    unlabelled = max(min(UNLABELLED, n // 8, n - wanted - each), 0)
    if kind == "scaffold":
        smiles, share = pair.target["encoder_smiles"].tolist(), (wanted + unlabelled) / n
        fold = np.random.default_rng(0).permutation(
            splitting.load("scaffold").split(smiles, (1 - share, 0.0, share), 0)[2]
        )
        asked_for, test = np.sort(fold[:unlabelled]), np.sort(fold[unlabelled:])
        test = test if len(test) >= 500 else np.array([], dtype=int)
    else:
        asked_for, test = None, np.sort(np.random.default_rng(0).permutation(n)[:wanted])
    rest = np.setdiff1d(np.arange(n), test if asked_for is None else np.concatenate([asked_for, test]))
    # Another draw begins where the last one ended; whenever all were drawn, the rest is shuffled anew.
    generator, queue, sets = np.random.default_rng(1), [], []
    for _ in range(count):
        taken: list[int] = []
        while len(taken) < each:
            if not queue:
                queue = generator.permutation(rest).tolist()
            place = next((i for i, one in enumerate(queue) if one not in set(taken)), None)
            if place is None:
                queue = []
                continue
            taken.append(queue.pop(place))
        sets.append(np.array(taken))
    overlaps = [len(np.intersect1d(one, other)) / each for one, other in itertools.combinations(sets, 2)]
    made = []
    for number, chosen in enumerate(sets):
        # Of a random test set all that the draw leaves are of its kind.
        left = np.random.default_rng([number, 3]).permutation(np.setdiff1d(rest, chosen))[:unlabelled]
        others = np.sort(left) if asked_for is None else asked_for
        known = pair.target.iloc[np.concatenate([chosen, test, others])] if pair.shared else pair.target
        free = np.flatnonzero(~same(pair.pool, known))
        order = np.random.default_rng(2).permutation(len(pair.pool))
        made.append(Draw(chosen[:size], chosen[size:], test, others, np.sort(order[np.isin(order, free)][:LARGEST])))
    return made, float(np.mean(overlaps)) if overlaps else 0.0


# -- selections --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """The molecules of one draw, and the kernel of all that may be known of them."""

    target: Labelled
    validation: Labelled
    test: Labelled
    pool: Labelled
    unlabelled: np.ndarray

    @classmethod
    def of(cls, pair: Pair, draw: Draw) -> "Cell":
        labels = pair.target["label"].to_numpy(dtype=float)
        folds = [Labelled(pair.target_features[at], labels[at]) for at in (draw.train, draw.validation, draw.test)]
        pool = Labelled(pair.pool_features[draw.pool], pair.pool["label"].to_numpy(dtype=float)[draw.pool])
        return cls(*folds, pool, pair.target_features[draw.unlabelled])


@dataclass(frozen=True)
class Space:
    """The descriptors' kernel over training, validation, unlabelled and pool molecules, and the noise of the labels."""

    matrix: np.ndarray
    train: int
    known: int  # training and validation molecules
    unlabelled: int
    labels: np.ndarray
    pool_labels: np.ndarray
    noise: float


def space(cell: Cell) -> Space:
    target, validation, pool = cell.target, cell.validation, cell.pool
    ready = _pipeline.prepared(target.features, [target.features.shape[1]])
    others = (ready.transform(part) for part in (validation.features, cell.unlabelled, pool.features))
    values = np.concatenate([ready.features, *others])
    mean, scale = moments(target.labels)
    labels = (np.concatenate([target.labels, validation.labels]) - mean) / scale
    known = len(labels)
    gamma, noise = min(
        itertools.product(gaussian_process.GAMMAS, gaussian_process.NOISES),
        key=lambda both: gaussian_process._squares(values[:known], labels, *both).mean(),
    )
    own_mean, own_scale = moments(pool.labels, (mean, scale))
    matrix = svr.kernel(values, values, gamma)
    parts = len(target.labels), known, len(cell.unlabelled)
    return Space(matrix, *parts, labels, (pool.labels - own_mean) / own_scale, noise)


def orders(cell: Cell, seed: int) -> dict[str, np.ndarray]:
    """The pool's molecules in the order in which each strategy takes them, as many as the largest budget needs."""
    found, n = space(cell), len(cell.pool.labels)
    most = min(max(BUDGETS), n)
    damping = 2 * found.noise / found.train  # so that Kernel.constant is the noise
    residuals = np.concatenate([-found.labels, -found.pool_labels])
    all_labels = np.concatenate([found.labels, found.pool_labels])
    labelled = np.delete(np.arange(len(found.matrix)), slice(found.known, found.known + found.unlabelled))
    query = found.known - found.train
    whole = Kernel(found.matrix[np.ix_(labelled, labelled)], residuals, found.train, query, all_labels)
    # No residual enters a design.
    design = Kernel(found.matrix, np.zeros(len(found.matrix)), found.train, query + found.unlabelled)

    def designed(kernel: Kernel) -> np.ndarray:
        start = posterior.of_kernel(kernel, damping)
        return np.argsort(-posterior.greedy(start, posterior.falls, most), kind="stable")[:most]

    v_optimal = designed(design)
    # The noise of a fold is that of the whole, however many molecules train in it.
    folds = [
        (share, closed.refit(fold, 2 * found.noise / fold.train)) for share, fold in closed.cross_fitted(whole, seed)
    ]
    return {
        "random": np.random.default_rng([seed, 7]).permutation(n)[:most],
        "v_optimal": v_optimal,
        "v_optimal_known": designed(whole),
        "influence": np.argsort(-single_falls(folds), kind="stable")[:most],
        "default": v_optimal,
    }


def single_falls(folds: list[tuple[float, closed.Refit]]) -> np.ndarray:
    """By how much each pool molecule (pool,) alone lowers the held-out squared error."""
    total = 0.0
    for share, model in folds:
        step = model.pool_residuals / (np.diag(model.pool) + model.constant)
        change = np.mean(model.cross**2, axis=1) * step**2
        change -= 2 * step * (model.cross @ model.query_residuals) / len(model.query_residuals)
        total = total - share * change
    return total


# -- a cell ------------------------------------------------------------------------------------------------------------


def measure(pair: Pair, draw: Draw, model: str, seed: int) -> dict[str, Any]:
    """Held-out and test errors of every strategy, budget and use, and the squared errors of the test molecules."""
    cell, module = Cell.of(pair, draw), baselines.load(model)
    began = time.perf_counter()
    taken = {(NONE, 0): np.array([], dtype=int), ("all", len(cell.pool.labels)): np.arange(len(cell.pool.labels))}
    for strategy, order in orders(cell, seed).items():
        taken |= {(strategy, budget): np.sort(order[:budget]) for budget in BUDGETS if budget <= len(order)}
    seconds = time.perf_counter() - began
    rows, squares, done = [], [], {}
    for (strategy, budget), places in taken.items():
        key = places.tobytes()
        if key not in done:
            forms = {NONE: Form(weight=0.0, rho=0.0), **(FORMS if len(places) else {})}
            found = uses(module, cell.target, cell.validation, cell.pool.at(places), forms, seed)
            done[key] = {
                name: (chosen, (cell.test.labels - chosen.model().predict(cell.test.features)) ** 2)
                for name, chosen in found.items()
            }
        best = min(done[key], key=lambda name: done[key][name][0].rmse)
        for name, (chosen, errors) in done[key].items():
            rows.append(
                {"strategy": strategy, "budget": budget, "use": name, "held_out": chosen.rmse}
                | {"weight": chosen.weight, "rho": chosen.rho, "offset": chosen.offset}
                | {"chosen": name == best, "test": float(np.sqrt(errors.mean()))}
            )
            squares.append(errors.astype(np.float32).tolist())
    seconds_all = time.perf_counter() - began
    return {"rows": rows, "squares": squares, "seconds": seconds_all, "seconds_selecting": seconds}


def cells(given: argparse.Namespace) -> Iterator[tuple[str, str, int, int, str]]:
    """Every cell, the most asked for first."""
    for model, size, draw in itertools.product(given.models, given.sizes, range(given.draws)):
        for name, kind in itertools.product(given.chosen, TESTS):
            yield name, kind, size, draw, model


def file_of(directory: Path, name: str, kind: str, size: int, draw: int, model: str) -> Path:
    return directory / "cells" / f"{name}-{kind}-{size}-{draw}-{model}.json"


# -- figures -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The cells of one pair, test set, size and model.

    Attributes:
        squares: squared errors (draws, test molecules) by strategy, budget and use.
        held_out: their held-out errors (draws,).
        overlap: share of its molecules that two draws have in common, on average.
    """

    squares: dict[tuple[str, int, str], np.ndarray]
    held_out: dict[tuple[str, int, str], np.ndarray]
    overlap: float

    def errors(self, key: tuple[str, int, str]) -> np.ndarray:
        return np.sqrt(self.squares[key].mean(axis=1))


def gathered(found: list[dict[str, Any]], overlap: float) -> Group:
    """Cells of one place side by side, those that all draws have; auto beside the uses it chose from."""
    squares: dict[tuple[str, int, str], list] = {}
    held_out: dict[tuple[str, int, str], list] = {}
    for cell in found:
        for row, errors in zip(cell["rows"], cell["squares"], strict=True):
            budget = 0 if row["strategy"] == "all" else row["budget"]
            names = [row["use"], *([AUTO] if row["chosen"] else [])]
            for name in names:
                key = (row["strategy"], budget, name)
                squares.setdefault(key, []).append(errors)
                held_out.setdefault(key, []).append(row["held_out"])
    whole = {key for key, rows in squares.items() if len(rows) == len(found)}
    return Group(
        {key: np.array(squares[key], dtype=float) for key in whole},
        {key: np.array(held_out[key]) for key in whole},
        overlap,
    )


def compared(group: Group, one: tuple, other: tuple, comparisons: int) -> dict[str, float]:
    """Mean difference of test RMSE, one less other, and its interval among so many (Bonferroni).

    Draws that share a part o of their molecules are taken as correlated by o: the variance of their mean is
    s^2 (1 + (n - 1) o) / (n (1 - o)). All are tested on the same molecules, whose own variance is added: that of the
    mean over draws of (e1 - m1) / (2 RMSE1) - (e2 - m2) / (2 RMSE2), e squared errors and m their means.
    """
    a, b = group.squares[one], group.squares[other]
    apart = group.errors(one) - group.errors(other)
    n, o = len(apart), min(group.overlap, 0.99)
    spread = float(np.var(apart, ddof=1)) * (1 + (n - 1) * o) / (n * (1 - o)) if n > 1 else np.nan
    shares = [(e - e.mean(axis=1, keepdims=True)) / (2 * np.sqrt(e.mean(axis=1, keepdims=True))) for e in (a, b)]
    molecules = float(np.var((shares[0] - shares[1]).mean(axis=0), ddof=1)) / a.shape[1]
    half = float(stats.t.ppf(1 - ALPHA / (2 * comparisons), max(n - 1, 1)) * np.sqrt(spread + molecules))
    mean = float(apart.mean())
    return {"difference": mean, "low": mean - half, "high": mean + half, "draws": n}


def figures(given: argparse.Namespace, pairs: dict[str, Pair]) -> tuple[list[dict], dict[tuple, Group]]:
    """Mean test errors of every place, strategy, budget and use; and the groups that they are of."""
    rows, groups = [], {}
    for model, name, kind, size in itertools.product(given.models, pairs, TESTS, given.sizes):
        paths = [file_of(given.directory, name, kind, size, draw, model) for draw in range(given.draws)]
        found = [json.loads(path.read_text()) for path in paths if path.is_file()]
        if len(found) < 2:
            continue
        group = gathered(found, found[0]["overlap"])
        groups[name, kind, size, model] = group
        for key in sorted(group.squares):
            errors = group.errors(key)
            rows.append(
                {"pair": name, "test": kind, "size": size, "model": model}
                | dict(zip(("strategy", "budget", "use"), key, strict=True))
                | {"rmse": float(errors.mean()), "sd": float(errors.std(ddof=1)), "draws": len(errors)}
                | {"test_molecules": group.squares[key].shape[1], "overlap": round(group.overlap, 3)}
            )
    return rows, groups


def bars(groups: dict[tuple, Group], model: str) -> list[dict[str, Any]]:
    """What was wished for, and where it landed."""
    size, budget = ASKED
    here = {key[:2]: group for key, group in groups.items() if key[2:] == (size, model)}
    made: list[dict[str, Any]] = []
    default, blind = ("default", budget, AUTO), ("random", budget, "mixed")
    for (name, kind), group in here.items():
        if {default, blind} <= set(group.squares):
            found = compared(group, default, blind, len(here))
            wished = -0.05 if name == "lipophilicity" else 0.0
            met = found["high"] < 0 and found["difference"] <= wished
            made.append(_bar("default better than random, mixed", model, name, kind, size, found, met))
            near = found["difference"] <= MARGIN
            made.append(_bar("default not worse than random, mixed", model, name, kind, size, found, near))
        for use in ("mixed", AUTO):
            few, many = ("v_optimal", budget, use), ("random", 1000, use)
            if name == "lipophilicity" and {few, many} <= set(group.squares):
                found = compared(group, few, many, 1)
                said = f"v_optimal {budget} as good as random 1,000, {use}"
                made.append(_bar(said, model, name, kind, size, found, found["difference"] <= 0))
    for (name, kind, n, of), group in groups.items():
        if of != model:
            continue
        for strategy, taken in {key[:2] for key in group.squares if key[0] != NONE}:
            errors = {use: group.errors((strategy, taken, use)).mean() for use in (NONE, *FORMS, AUTO)}
            best = min(errors[use] for use in (NONE, *FORMS))
            for said, against in (("chosen use near the best", best), ("chosen use not worse than none", errors[NONE])):
                apart = float(errors[AUTO] - against)
                place = {"strategy": strategy, "budget": taken}
                made.append(_bar(said, model, name, kind, n, {"difference": apart}, apart <= MARGIN) | place)
    return made


def _bar(what: str, model: str, name: str, kind: str, size: int, found: dict[str, float], met: bool) -> dict[str, Any]:
    place = {"bar": what, "model": model, "pair": name, "test": kind, "size": size}
    return place | {key: round(value, 4) for key, value in found.items()} | {"met": bool(met)}


def summed_up(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many places met each bar, by model, and the worst of them."""
    frame = pd.DataFrame(made)
    if frame.empty:
        return []
    groups = frame.groupby(["model", "bar"], sort=False)
    return [
        {"model": model, "bar": bar, "met": int(rows["met"].sum()), "of": len(rows)}
        | {"worst": float(rows["difference"].max()), "median": float(rows["difference"].median())}
        for (model, bar), rows in groups
    ]


# -- the language model ------------------------------------------------------------------------------------------------


def language_model(given: argparse.Namespace, pairs: dict[str, Pair]) -> list[dict[str, Any]]:
    """The workflow on some draws of the first pair: error of full fine-tuning by selection and use."""
    name = given.chosen[0]
    pair, (size, budget) = pairs[name], ASKED
    made, _ = draws(pair, "random", size, given.draws)
    rows: list[dict[str, Any]] = []
    for number, draw in enumerate(made[: given.language_draws]):
        folder = given.directory / "language" / f"{name}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        parts = [
            pair.target.iloc[at].assign(fold=fold)
            for at, fold in ((draw.train, "train"), (draw.validation, "validation"), (draw.test, "test"))
        ]
        pd.concat(parts)[["smiles", "label", "fold"]].to_csv(folder / "target.csv", index=False)
        pair.pool.iloc[draw.pool][["smiles", "label"]].to_csv(folder / "pool.csv", index=False)
        paths = {side: str((folder / f"{side}.csv").resolve()) for side in ("target", "pool")}
        table = {"source": "file", "smiles": "smiles", "label": "label"}
        strategies = {one: {"budget": {"count": budget}} for one in ("random", "v_optimal", "influence")}
        config = {
            "study": f"{name}_{number}",
            "target": table | {"path": paths["target"], "fold": "fold", "name": "label", "unit": ""},
            "pool": table | {"path": paths["pool"]},
            "split": {"splitters": ["column"], "seeds": [0]},
            "seeds": [number],
            "selection": {"run": ["none", "all", *strategies], "rank": [], "strategies": strategies}
            | {"start": "encoder"},
            "use": {"run": ["mixed", "weighted", "own_head", "auto"]},
            "influence": {"run": ["exact", "shapley"], "gram": {"largest": 3000}},
            "grid": {"run": []},
            "baselines": {"run": []},
            "validation": {"run": False},
        }
        (folder / "study.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
        wanted = f"results/{config['study']}/tables/metrics.parquet"
        done = subprocess.run([*command, "--rerun-incomplete", wanted, "--configfile", "study.yaml"], cwd=folder)
        if done.returncode == 0:
            metrics = pd.read_parquet(folder / wanted)
            tested = metrics[(metrics["fold"] == "test") & (metrics["origin"] == "adapted")]
            rows += [
                {"pair": name, "draw": number, "strategy": row.selection, "use": row.use, "rmse": row.rmse}
                for row in tested.itertuples()
            ]
    return rows


# -- the command -------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--pair", nargs="+", help="these pairs alone; with --target and --pool the name of your own")
    parser.add_argument("--pairs", type=Path, help="YAML of further pairs")
    parser.add_argument("--target", nargs=3, metavar=("FILE", "SMILES", "LABEL"))
    parser.add_argument("--pool", nargs=3, metavar=("FILE", "SMILES", "LABEL"))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--minutes", type=float, help="begin no cell after so long")
    parser.add_argument("--language-model", action="store_true")
    parser.add_argument("--language-draws", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="write the figures to benchmarks/results")
    given = parser.parse_args()
    known = dict(PAIRS)
    if given.pairs:
        known |= yaml.safe_load(given.pairs.read_text())
    if given.target and given.pool:
        if not given.pair or len(given.pair) != 1:
            parser.error("--target and --pool need the name of the pair: --pair NAME")
        known[given.pair[0]] = {"target": given.target, "pool": given.pool, "unit": ""}
    if unknown := sorted(set(given.pair or []) - set(known)):
        parser.error(f"unknown pair {unknown[0]}; known are {', '.join(known)}")
    given.chosen = given.pair or list(known)
    given.known = known
    return given


def main() -> None:
    given = arguments()
    (given.directory / "cells").mkdir(parents=True, exist_ok=True)
    began, pairs, skipped = time.monotonic(), {}, []
    for name in list(given.chosen):
        files = [given.data / given.known[name][side][0] for side in ("target", "pool")]
        if all(path.is_file() for path in files):
            pairs[name] = pair_of(name, given.known[name], given.data, given.directory)
        else:
            skipped.append(name)
            given.chosen.remove(name)
    divided = cache(lambda name, kind, size: draws(pairs[name], kind, size, given.draws))
    for name, kind, size, number, model in cells(given):
        path = file_of(given.directory, name, kind, size, number, model)
        if path.is_file():
            continue
        if given.minutes and time.monotonic() - began > 60 * given.minutes:
            skipped.append("cells after the time given")
            break
        made, overlap = divided(name, kind, size)
        found = measure(pairs[name], made[number], model, number)
        write_json(path, found | {"overlap": overlap, "pool": len(made[number].pool)})
        print(f"{path.stem}: {found['seconds']:.0f} s", flush=True)
    rows, groups = figures(given, pairs)
    made = [bar for model in given.models for bar in bars(groups, model)]
    language = language_model(given, pairs) if given.language_model else []
    shown = [row for row in rows if (row["size"], row["budget"]) in ((ASKED[0], ASKED[1]), (ASKED[0], 0))]
    print(pd.DataFrame(shown).round(3).to_string(index=False) if shown else "no cell yet")
    result = {"bars": summed_up(made), "skipped": skipped, "language_model": language}
    if given.keep:
        keep(rows, made, result)
    print(json.dumps(result | {"asked": [bar for bar in made if "strategy" not in bar]}))


def keep(rows: list[dict], made: list[dict], result: dict) -> None:
    """The measurement as benchmarks/results_page.py wants it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    columns = ["pair", "test", "size", "model", "strategy", "budget", "use", "rmse", "sd", "draws", "test_molecules"]
    columns.append("overlap")
    write_json(
        KEPT,
        {
            "command": "python benchmarks/real_pools.py DATA --directory pools --keep",
            "commit": commit or "not recorded",
            "date": date.today().isoformat(),
            "machine": "2 cores shared with other work, one thread",
            "columns": columns,
            "rows": [[_rounded(row[name]) for name in columns] for row in rows],
            "formats": {"rmse": ".3f", "sd": ".3f", "overlap": ".2f"},
            "shown": {
                "rows": {"size": [ASKED[0]], "budget": [0, ASKED[1]], "use": [NONE, "mixed", AUTO]},
                "columns": ["pair", "test", "model", "strategy", "budget", "use", "rmse", "sd", "draws"],
            },
            "raw": result | {"each": made},
        },
    )


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
