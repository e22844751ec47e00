"""Runs of a study as they are exported: a language model restored, a descriptor model fitted anew as it was."""

import pandas as pd

from chemsieve.baselines._run import added, fitted
from chemsieve.data.features import Features
from chemsieve.deployment.export import DescribedRun, TrainedRun
from chemsieve.models import regressor
from chemsieve.tables import read_table
from chemsieve.uses import MIXED


def restored(
    chosen: dict, cells: dict[str, dict], family: str, train: list[str], predictions: pd.DataFrame
) -> TrainedRun:
    """A run of a language model.

    Args:
        chosen: as :func:`chemsieve.deployment.choice.choose` returns it.
        cells: what models are made of, by origin/method/selection, with /use where that is not mixed
            (:attr:`chemsieve.study.plan.Plan.exported_cells`).
        family: of the encoder.
        train: patterns of the tables of the training molecules.
        predictions: table ``predictions`` of all runs.
    """
    cell = cell_of(chosen, cells)
    training = [name for one in train for name in read_table(one.format(**chosen))["molecule_id"]]
    places = {name: cell[name] and cell[name].format(**chosen) for name in ("model", "encoder", "base", "selection")}
    if places["selection"]:
        selection = read_table(places["selection"])
        training += list(selection.loc[selection["selected"], "molecule_id"])
    model = regressor.restore(
        places["encoder"],
        family,
        cell["method"],
        cell["options"],
        places["model"],
        places["base"],
        cell["dropout"],
        cell["head"],
    )
    return TrainedRun(chosen, model, places["encoder"], training, _of_run(chosen, predictions))


def refitted(chosen: dict, cells: dict[str, dict], train: str, predictions: pd.DataFrame) -> DescribedRun:
    """A run of a descriptor model, of which no model is kept; arguments as of :func:`restored`.

    ``train`` is one pattern: descriptor models leave limits out.
    """
    cell, trained = cell_of(chosen, cells), read_table(train.format(**chosen))
    validation, known = read_table(cell["validation"].format(**chosen)), Features(cell["tables"])
    training, more = list(trained["molecule_id"]), None
    if "added" in cell:
        chosen_file, pool = (cell["added"][name].format(**chosen) for name in ("selection", "pool"))
        more = added(chosen_file, pool, Features(cell["added"]["tables"]))
        training += list(more.molecules["molecule_id"])
    model = fitted(cell, known, trained, validation, int(chosen["seed"]), more)
    columns = dict(zip(cell["features"], known.columns, strict=True))
    return DescribedRun(chosen, cell["model"], model, columns, cell["encoder"], training, _of_run(chosen, predictions))


def cell_of(chosen: dict, cells: dict[str, dict]) -> dict:
    """What a chosen run is made of."""
    name = "{origin}/{method}/{selection}".format(**chosen)
    return cells[name if chosen["use"] == MIXED else f"{name}/{chosen['use']}"]


def _of_run(chosen: dict, predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions[predictions["run_id"] == chosen["run_id"]]
