"""Run tracking: the curve of each training run for TensorBoard, Weights & Biases or MLflow.

It goes through transformers' own callbacks, under the names that ``Trainer`` gives (``loss``, ``grad_norm``,
``eval_loss`` ...), at the curve's epochs (steps, of pretraining). Everything stays below one folder and off the network
unless the user's environment says otherwise. A tracker computes nothing and draws nothing: no result depends on it.
One that fails is left out, and leaves a note of it for the table ``failures``; where the study is to stop at what fails
(``on_failure``), it is an error.
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
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.failures import Failure
from chemsieve.runtime.files import write_json

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback, TrainingArguments

log = logging.getLogger(__name__)

PLACE = "CHEMSIEVE_TRACKING"  # environment variable by which jobs know; no parameter of a rule, so that nothing reruns
# Each tracker is the package that it needs.
TRACKERS = {"tensorboard": "TensorBoardCallback", "wandb": "WandbCallback", "mlflow": "MLflowCallback"}
_FAILED = "failed"  # folder of the notes of trackers that failed
_NAMES = {"train_loss": "loss", "gradient_norm": "grad_norm", "masked_accuracy": "eval_masked_accuracy"}


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


class Tracker:
    """Follows one training run. A run that is trained again replaces its files for TensorBoard.

    Args:
        name: of the run, which is also its path below ``folder/tensorboard``.
        trackers: keys of ``TRACKERS``.
        stop: raise a :class:`ChemsieveError` where one of them fails.
    """

    def __init__(self, name: str, trackers: list[str], folder: Path, stop: bool = False):
        self.name, self.trackers, self.folder, self.stop = name, trackers, folder, stop
        self.callbacks: dict[str, TrainerCallback] = {}

    @contextlib.contextmanager
    def following(self, arguments: "TrainingArguments", model: "nn.Module | None" = None) -> Iterator[None]:
        """Begin, and end whatever happens. ``arguments`` are shown as the run's hyperparameters."""
        from transformers import TrainerControl, TrainerState

        arguments.run_name = self.name
        self.given = {"args": arguments, "state": TrainerState(), "control": TrainerControl()}
        for tracker in self.trackers:
            self._note(tracker).unlink(missing_ok=True)  # of this run as it was before
            with self._apart(tracker):
                self.callbacks[tracker] = self._callback(tracker)
        self._tell("on_train_begin", model=model)
        try:
            yield
        finally:
            self._tell("on_train_end")
            if "wandb" in self.callbacks:
                with self._apart("wandb"):
                    import wandb

                    wandb.finish()  # its callback leaves the run open
            self.callbacks.clear()  # MLflow's would end the next run when it is collected

    def record(self, row: Mapping[str, float | None]) -> None:
        """A row of the curve, as the result tables have it; what is missing there is left out."""
        self.given["state"].global_step = int(row["epoch"] if "epoch" in row else row["step"])
        self.given["state"].epoch = row.get("epoch")
        logs = {_name(key): value for key, value in row.items() if value is not None and key != "step"}
        self._tell("on_log", logs=logs)

    def _note(self, tracker: str) -> Path:
        return self.folder / _FAILED / self.name / f"{tracker}.json"

    def _callback(self, tracker: str) -> "TrainerCallback":
        from transformers import integrations

        self.folder.mkdir(parents=True, exist_ok=True)
        callback = getattr(integrations, TRACKERS[tracker])()
        if tracker == "tensorboard":
            place = self.folder / "tensorboard" / self.name
            shutil.rmtree(place, ignore_errors=True)
            callback.logging_dir = str(place)
        return callback

    def _tell(self, event: str, **more: object) -> None:
        for tracker, callback in list(self.callbacks.items()):
            with self._apart(tracker):
                getattr(callback, event)(**self.given, **more)

    @contextlib.contextmanager
    def _apart(self, tracker: str) -> Iterator[None]:
        """What a tracker draws or breaks is its own affair."""
        import numpy as np
        import torch

        drawn = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (what others draw from)
        try:
            yield
        except Exception as error:
            self.callbacks.pop(tracker, None)
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
    """The name that ``Trainer`` has for a column of a curve."""
    if column.startswith("validation_"):
        return f"eval_{column.removeprefix('validation_')}"
    return _NAMES.get(column, column)
