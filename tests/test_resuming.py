"""Trainings that are interrupted anywhere end as if they had not been."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from chemsieve.models import backbone, regressor
from chemsieve.models.checkpoints import read_tensors, trained_state
from chemsieve.training import saves as state_file
from chemsieve.training.loop import Conditions
from chemsieve.training.mlm import Masking, Structures, adapt
from chemsieve.training.objectives import Objectives
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.saves import Saves, read_state, write_state
from chemsieve.training.state import generator_states, set_generators
from helpers.settings import Settings
from helpers.tiny import SMILES

CPU = torch.device("cpu")
LABELS = np.sin(np.arange(len(SMILES)))
# 18 molecules in batches of 4 are 5 steps, the last of them of 2; 3 epochs have 15.
TRAIN, HELD = slice(0, 18), slice(18, 24)
PLAIN = Settings(epochs=3, batch_size=4, learning_rate=5e-3, checkpoints=(2,), patience=5)
VARIANTS = {
    "plain": {},
    "unsorted": {"group_by_length": False},
    "average": {"average": 0.9, "layer_decay": 0.8, "schedule": "cosine"},
    "randomised": {"randomise": True, "writings": 2, "draws": 2},
    "curriculum": {"curriculum": "length"},
    "packed": {"batch_tokens": 40},
    "stopping": {"patience": 1, "minimum_delta": 10.0},
}
MEASURED = {"seconds", "evaluation_seconds"}


class Killed(Exception):
    pass


class Watched(Saves):
    """States after every ``interval``-th chance to write one; killed at the chance ``stop``, before it is written."""

    def __init__(self, path, interval=2, stop=None):
        super().__init__(path, "this training", 0)
        self.interval, self.stop, self.chances = interval, stop, 0

    def due(self, step):
        self.chances += 1
        if self.chances == self.stop:
            raise Killed
        return self.chances % self.interval == 0


def tuned(folder, saves, **changes):
    """Fine-tune; the outcome and the weights left."""
    torch.manual_seed(7)
    model = regressor.build(folder, "molformer", {"hidden": 0.1, "embedding": 0.1, "head": 0.1})
    settings = replace(PLAIN, **changes)
    tokenizer = backbone.load_tokenizer(folder)
    given = Labelled(SMILES[TRAIN], LABELS[TRAIN]), Labelled(SMILES[HELD], LABELS[HELD])
    outcome = fine_tune(model, tokenizer, *given, settings, Conditions(7, CPU, saves))
    return outcome, trained_state(model)


def same(found, expected):
    """Equal to the bit: curve but for measured times, best and kept weights, weights left."""
    for (outcome, left), (other, right) in [(found, expected)]:
        rows = [[{k: v for k, v in row.items() if k not in MEASURED} for row in o.curve] for o in (outcome, other)]
        assert rows[0] == rows[1]
        assert (outcome.best_epoch, outcome.best_loss) == (other.best_epoch, other.best_loss)
        assert outcome.kept.keys() == other.kept.keys()
        pairs = [(left, right), (outcome.best_state, other.best_state)]
        pairs += [(outcome.kept[epoch], other.kept[epoch]) for epoch in other.kept]
        for one, two in pairs:
            assert one.keys() == two.keys()
            assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(
    "variant",
    [name if name == "curriculum" else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS],
)
def test_fine_tuning_killed_at_any_step_ends_the_same(encoder_folder, tmp_path, variant):
    changes = VARIANTS[variant]
    expected = tuned(encoder_folder, None, **changes)
    whole = Watched(tmp_path / "whole", interval=1)
    same(tuned(encoder_folder, whole, **changes), expected)  # writing states changes nothing
    # At 6 and 12 an epoch has ended; at 5, 11 and 17 all was left was to validate it, at 18 to predict.
    for stop in (2, 5, 6, 7, 11, 12, 17, 18) if variant == "plain" else (5, 9, 12):
        if stop > whole.chances:
            continue
        path = tmp_path / f"state-{stop}"
        with pytest.raises(Killed):
            tuned(encoder_folder, Watched(path, stop=stop), **changes)
        resumed = Watched(path)
        same(tuned(encoder_folder, resumed, **changes), expected)
        lost = (stop - 1) % 2
        assert resumed.chances <= whole.chances - stop + 1 + lost, "what was kept is not done again"
        assert resumed.chances >= whole.chances - stop


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_the_same(encoder_folder, tmp_path):
    expected = tuned(encoder_folder, None, average=0.9, randomise=True)
    for _ in itertools.repeat(None, 40):
        try:
            found = tuned(encoder_folder, Watched(tmp_path / "state", 1, stop=3), average=0.9, randomise=True)
        except Killed:
            continue
        break
    same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [{"mlm": 1.0}, {"mlm": 0.5, "descriptors": 1.0}, {"descriptors": 1.0}], ids=str)
def test_adaptation_killed_at_any_step_ends_the_same(encoder_folder, tmp_path, weights):
    settings = Settings(epochs=2, batch_size=4, learning_rate=5e-3, patience=3)

    def adapted(name, saves):
        masking = Masking(0.3, 0.2, 0.5 if len(weights) > 1 else 0.0)
        given = encoder_folder, "molformer", Structures(SMILES), tmp_path / name, settings, masking
        outcome = adapt(*given, Objectives(weights), Conditions(3, CPU, saves))
        return outcome, read_tensors(tmp_path / name / "model.safetensors")

    expected = adapted("whole", None)
    for stop in (3, 5, 6, 9):
        path = tmp_path / f"state-{stop}"
        with pytest.raises(Killed):
            adapted("killed", Watched(path, stop=stop))
        assert not (tmp_path / "killed").exists()
        same(adapted(f"resumed-{stop}", Watched(path)), expected)


CHILD = """
import json, sys
sys.path[:0] = [{scripts!r}, {tests!r}]
from pathlib import Path
import torch
import test_resuming
from chemsieve.models.checkpoints import write_tensors
torch.set_num_threads(1)
told = print
class Told(test_resuming.Saves):
    def due(self, step):
        told("step", flush=True)
        return super().due(step)
every = float(sys.argv[2])
saves = Told(Path(sys.argv[1], "state"), "child", every)
outcome, left = test_resuming.tuned({encoder!r}, saves, epochs=12, patience=None, average=0.9, randomise=True)
write_tensors(left, Path(sys.argv[1], "left"))
curve = [{{k: v for k, v in row.items() if k not in test_resuming.MEASURED}} for row in outcome.curve]
Path(sys.argv[1], "curve").write_text(json.dumps(curve))
"""


@pytest.mark.slow
def test_sigkill_within_an_epoch_costs_no_more_than_the_interval(encoder_folder, tmp_path):
    root = Path(__file__).parent
    scripts = str(root.parent / "workflow_scripts")
    script = CHILD.format(scripts=scripts, tests=str(root), encoder=str(encoder_folder))

    def start(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", script, str(folder), "0"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with start(tmp_path / "whole") as whole:
        output, errors = whole.communicate(timeout=200)
        assert whole.returncode == 0, errors
    steps = output.count("step")
    assert steps == 12 * (5 + 1)  # each step and each end of an epoch is a chance to write a state
    made = 0
    with start(tmp_path / "killed") as killed:
        while made < 25:
            assert killed.stdout.readline() == "step\n"
            made += 1
        os.kill(killed.pid, signal.SIGKILL)
        made += len(re.findall("step\n", killed.stdout.read()))  # what it did before the signal came
    assert killed.returncode == -signal.SIGKILL
    assert made < steps
    assert (tmp_path / "killed" / "state").exists()
    with start(tmp_path / "killed") as resumed:
        output, errors = resumed.communicate(timeout=200)
        assert resumed.returncode == 0, errors
    # A state follows each chance, so that one step is what the kill can cost.
    assert steps - made <= output.count("step") <= steps - made + 1
    for name in ("left", "curve"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# -- states ------------------------------------------------------------------------------------------------------------


def test_a_state_of_another_training_or_a_spoilt_one_is_not_resumed(encoder_folder, tmp_path, caplog):
    path = tmp_path / "state"
    write_state(path, "one", {"a": torch.ones(2)}, {"step": 3})
    tensors, facts = read_state(path, "one")
    assert torch.equal(tensors["a"], torch.ones(2))
    assert facts == {"step": 3}
    assert read_state(path, "other") is None
    assert read_state(tmp_path / "absent", "one") is None
    older = {"state": json.dumps({"identity": "one", "facts": {}})}
    save_file({"a": torch.ones(2)}, tmp_path / "older", older)
    assert read_state(tmp_path / "older", "one") is None
    (warning,) = [record.getMessage() for record in caplog.records if "older" in record.getMessage()]
    assert warning.endswith("was written by another release and is not resumed: the training begins anew")
    for spoilt in (b"", b"not safetensors at all", path.read_bytes()[:-3]):
        path.write_bytes(spoilt)
        assert read_state(path, "one") is None
    expected = tuned(encoder_folder, None)
    with pytest.raises(Killed):
        tuned(encoder_folder, Watched(path, stop=7))
    other = Watched(path)
    other.identity = "another training"
    same(tuned(encoder_folder, other), expected)
    assert other.chances == 15 + 3


def test_states_take_no_more_than_their_share_of_the_time(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(state_file.time, "perf_counter", lambda: now)

    def slow(*_):
        nonlocal now
        now += 2.0

    monkeypatch.setattr(state_file, "write_state", slow)
    saves = Saves(tmp_path / "state", "", 30, written=0.0)
    spent = 0.0
    for step in range(1, 1001):
        now += 1.0
        if saves.due(step):
            saves.write({}, {})
            spent += 2.0
    assert 10 < spent <= state_file.SHARE * now
    now = 0.0
    assert not Saves(tmp_path / "state", "", None, written=0.0).due(1)
    assert Saves(tmp_path / "state", "", 0, written=0.0).due(1)


def test_every_generator_goes_on_where_it_stood():
    import random

    def drawn():
        return [torch.rand(3).tolist(), random.gauss(0, 1), random.random(), np.random.normal(), np.random.random()]  # noqa: NPY002

    drawn()
    kept = {name: tensor.clone() for name, tensor in generator_states().items()}
    expected = drawn()
    drawn()
    set_generators(kept)
    assert drawn() == expected
