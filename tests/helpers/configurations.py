"""The embedded study's configuration, and changes of it."""

import copy

import yaml

from helpers.workflow import ROOT

EMBEDDED = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
LEFT_OUT = object()


def changed(changes: dict) -> dict:
    """The embedded study with the values at dotted keys changed."""
    config = copy.deepcopy(EMBEDDED)
    for key, value in changes.items():
        *way, last = key.split(".")
        part = config
        for name in way:
            part = part.setdefault(name, {})
        if value is LEFT_OUT:
            del part[last]
        else:
            part[last] = value
    return config


UNLABELLED = {
    "pool.labels": "unlabelled",
    "pool.label": None,
    "influence.run": [],
    "validation.run": False,
    "grid.selections": ["none"],
    "selection.run": ["none", "random", "uncertainty", "diversity"],
    "selection.rank": [],
}
