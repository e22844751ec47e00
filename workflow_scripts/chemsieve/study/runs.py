"""One run: who it is, and the tables and facts that it leaves behind."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chemsieve.runtime.files import write_json
from chemsieve.runtime.processor import instruction_set
from chemsieve.uses import MIXED


@dataclass(frozen=True)
class Identity:
    """Where a run stands on the axes of the study."""

    splitter: str
    split_seed: int
    seed: int
    origin: str
    method: str
    selection: str
    use: str = MIXED

    @property
    def run_id(self) -> str:
        """Its values by ``/``, the use only where it is another than mixed."""
        values = {name: value for name, value in asdict(self).items() if (name, value) != ("use", MIXED)}
        return "/".join(str(value) for value in values.values())


def predictions_table(
    identity: Identity, validation: pd.DataFrame, test: pd.DataFrame, values: tuple[np.ndarray, np.ndarray]
) -> pd.DataFrame:
    """The table ``run_predictions`` of a run: validation and test molecules in their files' order."""
    return pd.concat(
        [
            pd.DataFrame(
                {"run_id": identity.run_id, "molecule_id": frame["molecule_id"], "fold": fold, "prediction": prediction}
            )
            for fold, frame, prediction in zip(("validation", "test"), (validation, test), values, strict=True)
        ]
    )


# Columns of a learning curve that not every stage has.
_OF_SOME = (
    *("validation_rmse", "masked_accuracy", "masked_loss"),
    *("descriptors_r2", "morgan_r2", "teacher_r2", "pool_molecules"),
)


def curve_table(identity: Identity, stage: str, curve: list[dict]) -> pd.DataFrame:
    """The table ``learning_curves`` of a run."""
    frame = pd.DataFrame(curve).assign(run_id=identity.run_id, stage=stage)
    for column in _OF_SOME:
        if column not in frame:
            frame[column] = None
    return frame


def write_facts(path: str | Path, identity: Identity, **facts: object) -> None:
    """Write ``run.json``: the identity, the processor, and facts; the metrics table repeats what is one value."""
    write_json(path, {"run_id": identity.run_id, **asdict(identity), "instruction_set": instruction_set(), **facts})


def read_facts(path: str | Path) -> dict:
    """A run's ``run.json``."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def of_metrics(facts: dict) -> dict:
    """Of a run's facts those that the metrics table repeats."""
    return {name: value for name, value in facts.items() if not isinstance(value, dict)}
