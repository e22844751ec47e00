"""What rules and steps ask of a configuration that has been checked.

It imports no model of the configuration, so that steps may use it: see :mod:`chemsieve.study.sections.values`.
"""

import json
import re
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# Keys of an entry that are no options of its module.
STRATEGY_KEYS = ("strategy", "budget", "after")
METHOD_KEYS = ("method", "training")
BASELINE_KEYS = ("model", "features")
# Selections that descriptor models are fitted on where baselines.selections says nothing.
USUAL_SELECTIONS = ("all", "influence")
USE_KEYS = ("use",)
AT = "@"  # between a strategy and the budget of a sweep that its selection is cut by: a character that no name has
# Keys of finetune that concern its own run, and that no method of the grid has.
_FINETUNE_ALONE = ("checkpoints", "dropout", "head")


def module_of(entry: Json, name: str, key: str) -> str:
    """Module that an entry such as ``{strategy: influence, budget: ...}`` names; its own name by default."""
    return entry.get(key, name)


def options_of(entry: Json, reserved: tuple[str, ...]) -> Json:
    """The options of an entry that belong to its module."""
    return {key: value for key, value in entry.items() if key not in reserved}


def pool_is_labelled(config: Json) -> bool:
    """Whether the pool's labels are used."""
    return config["pool"]["labels"] != "unlabelled"


def all_strategies(config: Json) -> list[str]:
    """Strategies that the study needs: fine-tuned fully, of the grid, that only rank the pool, that go before one."""
    chosen = config["selection"]
    names = [*chosen["run"], *config["grid"]["selections"], *chosen["rank"]]
    before = [chosen["strategies"].get(name, {}).get("after") for name in names]
    control = ["none"] if chosen["start"] == "regressor" else []  # it is continued as the others are
    return list(dict.fromkeys([*names, *filter(None, before), *control]))


def baseline_selections(config: Json) -> list[str]:
    """Strategies whose molecules the descriptor models are also fitted on; without the control that adds none."""
    chosen = config["baselines"]["selections"]
    if chosen is None:
        chosen = [name for name in USUAL_SELECTIONS if name in config["selection"]["run"]]
    return [name for name in chosen if name != "none"]


def sweep(config: Json) -> dict[str, Json]:
    """The budgets of a sweep, each by the text that it goes by: a count, or a fraction of the pool."""
    return {
        f"{value:.12g}": {"count": int(value)} if value >= 1 else {"fraction": value}
        for value in config["selection"]["budgets"]
        if pool_is_labelled(config)
    }


def budget_points(config: Json) -> dict[str, dict[str, str]]:
    """Of each strategy that a sweep cuts, and of each of its budgets, the name of the selection.

    At the strategy's own budget that is its own selection, so that nothing is trained twice.
    """
    chosen, found = config["selection"], {}
    for name in dict.fromkeys([*chosen["run"], *baseline_selections(config)]):
        own = chosen["strategies"][name].get("budget")
        if own is not None:
            found[name] = {
                text: name if budget == own else f"{name}{AT}{text}" for text, budget in sweep(config).items()
            }
    return {name: points for name, points in found.items() if points}


def swept(config: Json) -> dict[str, tuple[str, Json]]:
    """Strategy and budget of each selection of a sweep that is not a strategy's own, by name."""
    budgets = sweep(config)
    return {
        selection: (name, budgets[text])
        for name, points in budget_points(config).items()
        for text, selection in points.items()
        if selection != name
    }


def training_of(config: Json, method: str) -> Json:
    """Hyperparameters of a grid method: those of ``finetune`` with its own on top."""
    shared = {key: value for key, value in config["finetune"].items() if key not in _FINETUNE_ALONE}
    return shared | config["grid"]["methods"][method].get("training", {})


def tuned_methods(config: Json) -> list[str]:
    """Methods whose learning rate is chosen before they train: full fine-tuning first, then as the grid has them."""
    methods, wanted = ["full", *config["grid"]["run"]], config["tuning"]["run"]
    return [name for name in methods if wanted is None or name in wanted]


def canonical(value: object) -> str:
    """One JSON string for a slice of the configuration: the same for equal slices.

    A brace before a word, which is in a text of the user's, is escaped: Snakemake would read a wildcard.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return re.sub(r"\{(?=\s*\w)", r"\\u007b", text)


def read(path: str | Path) -> Json:
    """A study's effective configuration, as a rule wrote it."""
    import yaml

    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
