"""The learning rate of a fine-tuning method, tried on the validation molecules of a split before the method trains.

Each trial is a run as :func:`chemsieve.training.run.train_and_write` makes it, with another learning rate and number of
epochs, and without test molecules: these are out of reach here. Its error is that of its predictions of the validation
molecules. What trials gave is kept in a file of the tuning's own, so that one that was killed loses at most the trial
that it was in.
"""

import json
import logging
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import torch

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_json
from chemsieve.statistics.evaluation import regression_metrics
from chemsieve.study.runs import Identity, read_facts
from chemsieve.tables import read_table
from chemsieve.training.halving import Measured, Trial, learning_rates, successive_halving
from chemsieve.training.run import Folds, train_and_write
from chemsieve.training.saves import Saves

log = logging.getLogger(__name__)


@dataclass
class Ledger:
    """What the trials of a tuning gave, in a file that outlives a kill; trials of another tuning do not count.

    ``identity`` is made of all that the trials follow from.
    """

    path: Path
    identity: str

    def read(self) -> dict[str, Measured]:
        """The trials that were made, by rung and number."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            kept = found["trials"] if found["identity"] == self.identity else {}
            return {
                name: Measured(**measured | {"error": _number(measured["error"])}) for name, measured in kept.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("%s cannot be read: its trials are made again", self.path)
            return {}

    def write(self, trials: dict[str, Measured]) -> None:
        """JSON has no infinity, so that an error that is missing stands for it."""
        content = {
            name: asdict(one) | {"error": one.error if math.isfinite(one.error) else None}
            for name, one in trials.items()
        }
        write_json(self.path, {"identity": self.identity, "trials": content})


def _number(value: float | None) -> float:
    return math.inf if value is None else value


def tune(
    identity: Identity,
    encoder_folder: str | Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    spec: dict,
    device: torch.device,
    saves: Saves,
    regressor_checkpoint: str | Path | None = None,
) -> pd.DataFrame:
    """The table ``tuning`` of one method on one split.

    Args:
        train, validation: tables ``labelled``.
        spec: of the method as :func:`chemsieve.training.run.train_and_write` takes it, with ``trials`` and ``factor``.
        saves: of the state of the trial in hand; trials that ended stand in a file beside it.
        regressor_checkpoint: a fully fine-tuned regressor to start from, in place of the encoder and a fresh head.

    Raises:
        ChemsieveError: no learning rate could be trained with.
    """
    folder = saves.path.with_suffix(".trial")
    ledger = Ledger(saves.path.with_suffix(".trials.json"), saves.identity)
    done = ledger.read()
    folds = Folds(train, validation, validation.iloc[:0], train.iloc[:0])
    labels = validation.set_index("molecule_id")["label"]

    def measure(rung: int, number: int, rate: float, epochs: int) -> Measured:
        name = f"{rung + 1}-{number + 1}"
        if name not in done:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            files = {part: str(folder / part) for part in ("model", "curve", "predictions", "run")}
            try:
                train_and_write(
                    replace(identity, use=f"tuning_{name}"),
                    encoder_folder,
                    folds,
                    spec | {"training": spec["training"] | {"learning_rate": rate, "epochs": epochs}},
                    device,
                    SimpleNamespace(**files),
                    regressor_checkpoint,
                    replace(saves, identity=f"{saves.identity} {name}"),
                )
                done[name] = _measured(files, labels)
            except ChemsieveError as error:
                log.warning("learning rate %g, %d epochs: %s", rate, epochs, error)
                done[name] = Measured(math.inf, 0, 0.0, str(error))
            ledger.write(done)
        log.info("rung %d: learning rate %g, validation RMSE %.4f", rung + 1, rate, done[name].error)
        return done[name]

    training = spec["training"]
    rates = learning_rates(training["learning_rate"], spec["trials"], spec["factor"])
    trials, best = successive_halving(rates, training["epochs"], measure)
    shutil.rmtree(folder, ignore_errors=True)
    log.info("%s: learning rate %g, configured %g", identity.run_id, best.value, training["learning_rate"])
    return _table(identity, training["learning_rate"], trials, best)


def _measured(files: dict[str, str], labels: pd.Series) -> Measured:
    facts, predicted = read_facts(files["run"]), read_table(files["predictions"])
    truth = labels.loc[predicted["molecule_id"]].to_numpy()
    error = regression_metrics(truth, predicted["prediction"].to_numpy())["rmse"]
    return Measured(float(error), facts["epochs"], facts["train_seconds"])  # type: ignore[arg-type]  # never missing


def _table(identity: Identity, configured: float, trials: list[Trial], best: Trial) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **{key: getattr(identity, key) for key in ("splitter", "split_seed", "seed", "origin", "method")},
                "rung": trial.rung + 1,
                "trial": trial.number + 1,
                "learning_rate": trial.value,
                "configured": math.isclose(trial.value, configured, rel_tol=1e-9),
                "epochs_allowed": trial.allowed,
                "epochs": trial.measured.epochs,
                "validation_rmse": trial.measured.error if math.isfinite(trial.measured.error) else None,
                "seconds": trial.measured.seconds,
                "failure": trial.measured.failure or None,
                "chosen": trial is best,
            }
            for trial in trials
        ]
    )


def forget(saves: Saves) -> None:
    """Remove what a tuning left for the case that it is killed; to be called when its table is written."""
    saves.remove()
    saves.path.with_suffix(".trials.json").unlink(missing_ok=True)
