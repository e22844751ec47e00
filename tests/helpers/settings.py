"""What tests train with where they do not say. The package's settings have no defaults: a study gives them all."""

from functools import partial

from chemsieve.training import epochs, pretraining

PLAIN = {
    "weight_decay": 0.01,
    "warmup": 0.1,
    "schedule": "linear",
    "patience": None,
    "minimum_delta": 0.0,
    "gradient_clip": 1.0,
    "group_by_length": True,
    "precision": "float32",
    "layer_decay": 1.0,
    "average": None,
}
PRETRAINING = {
    "weight_decay": 0.01,
    "warmup": 0.02,
    "gradient_clip": 1.0,
    "precision": "auto",
    "final_rate": 0.1,
    "properties_weight": 1.0,
    "unmasked": 0.0,
    "evaluate_every": 500,
    "save_every": 250,
}
Settings = partial(epochs.Settings, **PLAIN)
PretrainingSettings = partial(pretraining.Settings, **PRETRAINING)
