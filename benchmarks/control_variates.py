"""Whether predicted effects would sharpen a finished embedded study's comparisons of selections.

python benchmarks/control_variates.py results/embedded

A ridge on the encoder's output as it came is what is left of the linearised regressor where only its head is trained.
Its refits have a closed form (chemsieve/influence/kernel.py), so that the test error of each selection is predicted in
milliseconds for any draw, trained or not. Further draws, as large as the study's, are made of all molecules that the
building blocks yield and no draw has. Of these everything is predicted and nothing trained: what each selection takes
(the influence strategies by Shapley values in this model), and what that does to its error on the study's test
molecules. By chemsieve/statistics/control_variates.py this adjusts the differences that the study found.

Prints for each pair of selections the plain and the adjusted mean difference with their intervals of 95 % (each for
itself, the noise of the test molecules included), the correlation that the adjustment rests on, and the width of the
adjusted interval over that of the plain one. The verdicts of a study are those of the plain intervals. The last line is
one JSON object; ``pooled`` is the correlation within pairs, over all of them.
"""

import argparse
import json
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from summarise import markdown

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

from chemsieve.data import chemistry, embedded
from chemsieve.influence.kernel import Kernel, choose_damping, group_effect, refit, shapley
from chemsieve.models.frozen import of_folder
from chemsieve.selection import Context, disagreement
from chemsieve.statistics.control_variates import adjusted
from chemsieve.study import configuration

ARMS = ("none", "random", "all", "disagreement", "influence", "influence_bottom")
PERMUTATIONS = 100
MADE = 3000  # of the 3,245 products that the building blocks have; those of the study are left out
COLUMNS = (
    *("what", "versus", "difference", "low", "high", "adjusted", "adjusted low", "adjusted high"),
    *("correlation", "width"),
)


def predicted(
    training: pd.DataFrame, validation: pd.DataFrame, pool: pd.DataFrame, test: pd.DataFrame, take: int, seed: int
) -> dict[str, float]:
    """Test RMSE of each arm by refits of the ridge, in the unit of the label.

    Args:
        training, validation, pool, test: molecules with ``label`` and ``values``, what the encoder says of each.
        take: molecules of a selection.
        seed: of what is random.
    """
    middle = float(training["label"].mean())

    def kernel(query: pd.DataFrame) -> Kernel:
        parts = [training, query, pool]
        rows = np.stack([value for part in parts for value in part["values"]]).astype(float)
        rows = np.column_stack([(rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9), np.ones(len(rows))])
        labels = np.concatenate([part["label"].to_numpy(dtype=float) for part in parts]) - middle
        return Kernel(rows @ rows.T, -labels, len(training), len(query), labels)

    inner, outer = kernel(validation), kernel(test)
    damping, _ = choose_damping(inner, inner.labels[: len(training)], seed=seed)
    values = shapley(refit(inner, damping), PERMUTATIONS, seed).values
    embeddings = tuple(np.stack(list(part["values"])) for part in (training, pool))
    sound = disagreement.score(pool, Context(training=training, embeddings=lambda: embeddings), seed)
    chosen = {
        "none": [],
        "all": range(len(pool)),
        "random": np.random.default_rng(seed).permutation(len(pool))[:take],
        "disagreement": np.argsort(-sound, kind="stable")[:take],
        "influence": np.argsort(-values, kind="stable")[:take],
        "influence_bottom": np.argsort(values, kind="stable")[:take],
    }
    model = refit(outer, damping)
    return {name: float(np.sqrt(model.loss + group_effect(model, group))) for name, group in chosen.items()}


def others(study: Path, settings: dict[str, Any], known: pd.DataFrame) -> pd.DataFrame:
    """Molecules of the target's making that the study does not have: ``label`` and ``values``."""
    made = settings["embedded"]
    more, _, _ = embedded.make(MADE, len(embedded.GROUPS), made["noise"], made["seed"] + 1)
    keys = [chemistry.inchikey(chemistry.parse(text)) for text in more[embedded.SMILES]]
    more = more[~pd.Series(keys).isin(set(known["inchikey"]))]
    encoder = of_folder(study / "encoder", settings["encoder"]["family"], torch.device("cpu"))
    values = encoder.features(list(more[embedded.SMILES]))
    return pd.DataFrame({"label": more[embedded.LABEL].to_numpy(), "values": list(values)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a finished embedded study's folder below results/")
    arguments = parser.parse_args()
    study, settings = arguments.study, configuration.read(arguments.study / "config.yaml")
    molecules = pd.read_parquet(study / "tables/molecules.parquet").set_index("molecule_id")
    features = [pd.read_parquet(study / f"data/{of}embeddings.parquet") for of in ("", "pool_")]
    molecules["values"] = pd.concat(features).set_index("molecule_id")["values"]
    pool = molecules[molecules["source"] == "pool"].dropna(subset=["values"])
    folds = pd.read_parquet(study / "tables/splits.parquet")

    def fold(draw: int, name: str) -> pd.DataFrame:
        return molecules.loc[folds.loc[(folds["split_seed"] == draw) & (folds["fold"] == name), "molecule_id"]]

    draws = sorted(folds["split_seed"].unique())
    sizes = len(fold(draws[0], "train")), len(fold(draws[0], "validation"))
    test, take = fold(draws[0], "test"), settings["selection"]["strategies"]["random"]["budget"]["count"]
    idle = molecules[
        (molecules["source"] == "target") & ~molecules.index.isin(folds.loc[folds["fold"] != "", "molecule_id"])
    ]
    more = pd.concat([idle[["label", "values"]].dropna(), others(study, settings, molecules)], ignore_index=True)
    began = time.perf_counter()
    trained = [predicted(fold(one, "train"), fold(one, "validation"), pool, test, take, int(one)) for one in draws]
    further = []
    for place in range(len(more) // sum(sizes)):
        mine = more.iloc[place * sum(sizes) : (place + 1) * sum(sizes)]
        given = mine.iloc[: sizes[0]], mine.iloc[sizes[0] :]
        further.append(predicted(*given, pool, test, take, len(draws) + place))
    each = (time.perf_counter() - began) / (len(trained) + len(further))
    runs = pd.read_parquet(study / "tables/metrics.parquet").query("fold == 'test' and origin == 'continued'")
    found = runs.pivot_table(index="split_seed", columns="selection", values="rmse").loc[draws]
    noise = pd.read_parquet(study / "tables/comparisons.parquet").query("family == 'selections'")
    noise = noise.set_index(["what", "versus"])["molecules_sd"]
    of_trained, of_further = pd.DataFrame(trained), pd.DataFrame(further)
    rows, centred = [], []
    for versus, what in combinations(ARMS, 2):
        key = (what, versus) if (what, versus) in noise.index else (versus, what)
        difference = (found[what] - found[versus]).to_numpy()
        controls = [(one[what] - one[versus]).to_numpy() for one in (of_trained, of_further)]
        made = adjusted(difference, *controls, 0.05, float(noise[key]) ** 2)
        rows.append((what, versus, made.plain, made.plain_low, made.plain_high, made.mean, made.low, made.high))
        rows[-1] += (made.correlation, made.narrower)
        centred.append((difference - difference.mean(), controls[0] - controls[0].mean()))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    one, other = (np.concatenate(parts) for parts in zip(*centred, strict=True))
    pooled = float(one @ other / np.sqrt((one @ one) * (other @ other)))
    print(markdown(table.round(3)) + "\n")
    facts = {"trained": len(trained), "further": len(further), "pooled": pooled, "seconds_per_draw": each}
    print(json.dumps({"columns": COLUMNS, "rows": rows, **facts, "width": float(table["width"].median())}))


if __name__ == "__main__":
    main()
