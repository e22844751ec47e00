"""Derivatives through training: against finite differences of training, and training itself against fine-tuning."""

import numpy as np
import pytest
import torch

from chemsieve.influence.problem import Molecules
from chemsieve.influence.replay import Replay
from chemsieve.models import tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.regressor import Regressor
from chemsieve.training.order import CommonOrder
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY

CPU = torch.device("cpu")
TRAIN, POOL = 8, 8
TRAINING = {"epochs": 3, "batch_size": 4, "learning_rate": 0.003, "weight_decay": 0.1, "warmup": 0.3}


def replay(dtype=torch.float64, attention="kernel", count=TRAIN + POOL, **changes):
    """A replay over some training and pool molecules on a small regressor, and its batches."""
    torch.manual_seed(0)
    tokenizer = tokenization.build()
    config = TINY | {"attention": attention, "initializer_range": 0.3, "vocab_size": tokenizer.get_vocab_size()}
    model = Regressor(MolformerModel(MolformerConfig(**config)), TINY["hidden_size"], 0.2).to(dtype)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    model.set_label_scale(0.3, 1.7)
    labels = np.random.default_rng(1).normal(1.0, 2.0, len(SMILES))
    molecules = Molecules(tokenization.encode(tokenizer, SMILES), labels)
    settings = Settings(**TRAINING | changes)
    taken, query = molecules.take(range(count)), molecules.take(range(TRAIN + POOL, len(SMILES)))
    made = Replay(model, taken, query, tokenization.special_id(tokenizer, "pad"), settings)
    order = CommonOrder(SMILES[:count], TRAIN, settings.batch_size, seed=5)
    return made, [batch for epoch in range(settings.epochs) for batch in order.batches(epoch)]


def mixed(count=TRAIN + POOL):
    """Weights of one for training molecules and between for the others."""
    weights = np.ones(count)
    weights[TRAIN:] = np.random.default_rng(2).uniform(0.3, 0.9, count - TRAIN)
    return weights


CASES = {
    "plain": {"gradient_clip": 1e9},
    "clipped": {"gradient_clip": 0.5},
    "layers and average": {"layer_decay": 0.7, "average": 0.8, "schedule": "cosine"},
    "random features": {"attention": "random_features"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_derivative_is_that_of_training(case):
    """Central differences of the whole training in each weight, those of the label's mean and deviation included."""
    made, batches = replay(**CASES[case])
    weights = mixed()
    found = made.gradient(weights, batches)
    wanted, step = np.empty(len(weights)), 1e-5
    for i in range(len(weights)):
        sides = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[i] += sign * step
            sides.append(made.loss(moved, batches))
        wanted[i] = (sides[0] - sides[1]) / (2 * step)
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
