"""The file of an interrupted training's state: one safetensors file, whole or absent, and when it is written.

Beside the tensors, the file's header has JSON: counters, the curve, and the identity of the training, so that only the
training that left a state resumes from it. What a state holds is said in :mod:`chemsieve.training.state`.
"""

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chemsieve.runtime.files import write_atomically

log = logging.getLogger(__name__)

FORMAT = 2  # of what a state holds: to be raised with each change of it
SHARE = 0.02  # of the time that writing states may take


def write_state(path: str | Path, identity: str, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a state atomically; ``facts`` are JSON."""
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"state": json.dumps({"format": FORMAT, "identity": identity, "facts": facts})}
    write_atomically(path, lambda temporary: save_file(content, temporary, header))


def read_state(path: str | Path, identity: str) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and facts of the state that was left, or ``None`` where there is none that this training can resume."""
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["state"])
            if header.get("format") != FORMAT:
                log.warning("%s was written by another release and is not resumed: the training begins anew", path)
                return None
            if header["identity"] != identity:
                log.warning("%s is of another run and is not resumed", path)
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, header["facts"]  # noqa: SIM118 (no mapping)
    except (SafetensorError, AttributeError, KeyError, ValueError):
        log.warning("%s cannot be read: the training begins anew", path)
        return None


@dataclass
class Saves:
    """The states of one training: in which file, under which identity, and how often.

    A state is written when ``every`` seconds have passed since the last one, and later where writing would otherwise
    take more than a fiftieth of the time; 0 writes one after each step, and ``None`` none.
    """

    path: Path
    identity: str
    every: float | None
    written: float = field(default_factory=time.perf_counter)
    cost: float = 0.0

    def due(self, step: int) -> bool:
        """Whether to write a state now, after so many steps."""
        if self.every is None:
            return False
        return time.perf_counter() - self.written >= (max(self.every, self.cost / SHARE) if self.every else 0)

    def write(self, tensors: dict[str, Tensor], facts: dict) -> None:
        began = time.perf_counter()
        write_state(self.path, self.identity, tensors, facts)
        self.written = time.perf_counter()
        self.cost = self.written - began

    def read(self) -> tuple[dict[str, Tensor], dict] | None:
        return read_state(self.path, self.identity)

    def remove(self) -> None:
        """To be called when the training's files are written: until then a kill loses nothing."""
        self.path.unlink(missing_ok=True)


@dataclass
class SavesBySteps(Saves):
    """As :class:`Saves`, but ``every`` counts steps; one more state is written after the last step, ``steps``."""

    steps: int = 0
    last: int = 0  # the step after which a state was written last

    def due(self, step: int) -> bool:
        return step != self.last and (step % cast("int", self.every) == 0 or step == self.steps)

    def write(self, tensors: dict[str, Tensor], facts: dict) -> None:
        super().write(tensors, facts)
        self.last = facts["step"]
