"""What a study does without where the labels of its pool are not used: one key instead of one for each part."""

import copy
from typing import Any

from chemsieve import registry, selection
from chemsieve.study.effective import baseline_selections, module_of, pool_is_labelled

Json = dict[str, Any]


def needs_labels(module: str) -> bool:
    """Whether a strategy reads labels of the pool, or is about being trained on it."""
    if module not in registry.choices("selection"):
        return False  # a mistake that is named elsewhere
    return module == "all" or not {"labels", "influence"}.isdisjoint(selection.load(module).NEEDS)


def stepped_aside(config: Json) -> tuple[Json, list[str]]:
    """The configuration without what asks for labels of the pool, where they are not used.

    Args:
        config: complete, with values of the right types.

    Returns:
        The configuration, and each key that is not followed, with what it asked for, in words.
    """
    if pool_is_labelled(config):
        return config, []
    config, left_out = copy.deepcopy(config), []
    config["pool"]["label"] = None  # not read, so that the file need not have such a column

    def leave_out(section: str, key: str, without: Any) -> None:
        if config[section][key] != without:
            left_out.append(f"{section}.{key} ({_said(config[section][key], without)})")
            config[section][key] = without

    strategies = config["selection"]["strategies"]

    def asks(name: str) -> bool:
        entry = strategies.get(name) or {}
        before = entry.get("after")
        return needs_labels(module_of(entry, name, "strategy")) or bool(before and asks(before))

    def without_labels(names: list[str]) -> list[str]:
        return [name for name in names if not asks(name)]

    leave_out("pool", "leaks", "keep")
    leave_out("influence", "run", [])
    leave_out("influence", "test_molecules", 0)
    leave_out("validation", "run", False)
    config["baselines"]["selections"] = baseline_selections(config)  # by name, so that the note has them
    leave_out("baselines", "selections", [])
    leave_out("selection", "budgets", [])
    leave_out("baselines", "uses", [])
    for key in ("run", "rank"):
        leave_out("selection", key, without_labels(config["selection"][key]))
    leave_out("grid", "selections", [name for name in config["grid"]["selections"] if name == "none"])
    return config, left_out


def _said(asked: Any, without: Any) -> str:
    if isinstance(asked, list):
        return ", ".join(str(item) for item in asked if item not in without)
    return str(asked).lower() if isinstance(asked, bool) else str(asked)
