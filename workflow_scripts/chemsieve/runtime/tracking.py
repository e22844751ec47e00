"""Run tracking: the curve of each training run for TensorBoard, Weights & Biases or MLflow.

Figures have the names that users of transformers know (``train/loss``, ``train/grad_norm``, ``eval/loss`` ...), at the
curve's epochs (steps, of pretraining). Everything stays below one folder and off the network unless the user's
environment says otherwise. A tracker computes nothing and draws nothing: no result depends on it. One that fails is
left out, and leaves a note of it for the table ``failures``; where the study is to stop at what fails (``on_failure``),
it is an error.
"""

import contextlib
import importlib.util
import json
import logging
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.failures import Failure
from chemsieve.runtime.files import write_json

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

PLACE = "CHEMSIEVE_TRACKING"  # environment variable by which jobs know; no parameter of a rule, so that nothing reruns
_FAILED = "failed"  # folder of the notes of trackers that failed
_NAMES = {"train_loss": "loss", "gradient_norm": "grad_norm", "masked_accuracy": "eval_masked_accuracy"}
_AT_ONCE = 100  # parameters, the most that MLflow takes in one call


def check(trackers: list[str]) -> None:
    """Check that what a configuration asks for is installed.

    Raises:
        ChemsieveError: it is not.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise ChemsieveError(
                f"configuration: tracking.run: {name} is not installed; run pip install {name}, or leave it out"
            )


def environment(study: str, trackers: list[str], folder: str | Path, stop: bool = False) -> dict[str, str]:
    """Environment variables for a study's jobs: what :func:`of` reads, and the trackers' own, offline.

    ``stop`` makes an error of a tracker that fails.
    """
    if not trackers:
        return {}
    folder = Path(folder).resolve()
    return {
        PLACE: json.dumps({"run": trackers, "folder": str(folder), "stop": stop}),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),  # it makes a folder wandb in it
        "WANDB_PROJECT": study,
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_TRACKING_URI": (folder / "mlflow").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # many jobs write at once, which a database in one file does not bear
        "MLFLOW_EXPERIMENT_NAME": study,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def of(name: str) -> "Tracker | None":
    """The tracker of a run by its name, or None where nothing is tracked."""
    if not (given := os.environ.get(PLACE)):
        return None
    given = json.loads(given)
    return Tracker(name, given["run"], Path(given["folder"]), given.get("stop", False))


def failed() -> list[Failure]:
    """The trackers that failed in this study, one failure for each run that they were left out of."""
    if not (given := os.environ.get(PLACE)):
        return []
    notes = sorted((Path(json.loads(given)["folder"]) / _FAILED).rglob("*.json"))
    return [Failure(**json.loads(note.read_text(encoding="utf-8"))) for note in notes]


class _Service(Protocol):
    """One run in one of the trackers; it begins when this is made of the run's name, folder and hyperparameters."""

    def __init__(self, name: str, folder: Path, hyperparameters: dict[str, object]): ...

    def log(self, figures: dict[str, float], step: int) -> None:
        """Show figures at an epoch or a step."""

    def end(self) -> None:
        """End the run."""


class _TensorBoard:
    def __init__(self, name: str, folder: Path, hyperparameters: dict[str, object]):
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard" / name
        shutil.rmtree(place, ignore_errors=True)
        self.writer = SummaryWriter(log_dir=str(place))
        self.writer.add_text("hyperparameters", json.dumps(hyperparameters, indent=2, default=str))

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in _grouped(figures).items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    def __init__(self, name: str, folder: Path, hyperparameters: dict[str, object]):
        import wandb

        self.run = wandb.init(name=name, config=hyperparameters)  # the project's name is in the environment
        self.run.define_metric("train/global_step")
        self.run.define_metric("*", step_metric="train/global_step", step_sync=True)

    def log(self, figures: dict[str, float], step: int) -> None:
        self.run.log({**_grouped(figures), "train/global_step": step})

    def end(self) -> None:
        self.run.finish()


class _MLflow:
    def __init__(self, name: str, folder: Path, hyperparameters: dict[str, object]):
        import mlflow

        self.mlflow = mlflow
        mlflow.set_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
        mlflow.start_run(run_name=name)
        items = list(hyperparameters.items())
        for start in range(0, len(items), _AT_ONCE):
            mlflow.log_params(dict(items[start : start + _AT_ONCE]))

    def log(self, figures: dict[str, float], step: int) -> None:
        self.mlflow.log_metrics(figures, step=step)

    def end(self) -> None:
        self.mlflow.end_run()


# Each tracker is the package that it needs.
TRACKERS: dict[str, type[_Service]] = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases, "mlflow": _MLflow}


class Tracker:
    """Follows one training run. A run that is trained again replaces its files for TensorBoard.

    Args:
        name: of the run, which is also its path below ``folder/tensorboard``.
        trackers: keys of ``TRACKERS``.
        stop: raise a :class:`ChemsieveError` where one of them fails.
    """

    def __init__(self, name: str, trackers: list[str], folder: Path, stop: bool = False):
        self.name, self.trackers, self.folder, self.stop = name, trackers, folder, stop
        self.services: dict[str, _Service] = {}

    @contextlib.contextmanager
    def following(self, hyperparameters: dict[str, object], model: "nn.Module | None" = None) -> Iterator[None]:
        """Begin, and end whatever happens. The model's configuration is shown beside the hyperparameters."""
        config = getattr(model, "config", None)
        shown = {**(config.to_dict() if config is not None else {}), **hyperparameters}
        for tracker in self.trackers:
            self._note(tracker).unlink(missing_ok=True)  # of this run as it was before
            with self._apart(tracker):
                self.folder.mkdir(parents=True, exist_ok=True)
                self.services[tracker] = TRACKERS[tracker](self.name, self.folder, shown)
        try:
            yield
        finally:
            for tracker, service in list(self.services.items()):
                with self._apart(tracker):
                    service.end()
            self.services.clear()

    def record(self, row: Mapping[str, float | None]) -> None:
        """A row of the curve, as the result tables have it; what is missing there is left out."""
        step = int(cast("float", row["epoch" if "epoch" in row else "step"]))
        figures = {_name(key): value for key, value in row.items() if value is not None and key != "step"}
        for tracker, service in list(self.services.items()):
            with self._apart(tracker):
                service.log(figures, step)

    def _note(self, tracker: str) -> Path:
        return self.folder / _FAILED / self.name / f"{tracker}.json"

    @contextlib.contextmanager
    def _apart(self, tracker: str) -> Iterator[None]:
        """What a tracker draws or breaks is its own affair."""
        import numpy as np
        import torch

        drawn = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (what others draw from)
        try:
            yield
        except Exception as error:
            self.services.pop(tracker, None)
            reason = f"{type(error).__name__}: {error}"
            if self.stop:
                raise ChemsieveError(f"tracking.run: {tracker} failed for the run {self.name} ({reason})") from error
            log.warning("tracking: %s is left out of %s (%s)", tracker, self.name, reason)
            failure = Failure("tracking", {"run": self.name, "tracker": tracker}, " ".join(reason.split()), "")
            with contextlib.suppress(ChemsieveError):  # whatever broke it may keep a note from being written, too
                write_json(self._note(tracker), asdict(failure))
        finally:
            random.setstate(drawn[0])
            np.random.set_state(drawn[1])  # noqa: NPY002
            torch.set_rng_state(drawn[2])


def _name(column: str) -> str:
    """The name that users of transformers know for a column of a curve."""
    if column.startswith("validation_"):
        return f"eval_{column.removeprefix('validation_')}"
    return _NAMES.get(column, column)


def _grouped(figures: dict[str, float]) -> dict[str, float]:
    """Names with the group that a tracker's page puts them in, ``eval/`` or ``train/``."""
    return {
        f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}": value
        for name, value in figures.items()
    }
