"""What the report is made of: the tables of one study, and how its parts are named and ordered."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from chemsieve.runtime import failures
from chemsieve.statistics.families import CONTINUED, DESCRIPTORS
from chemsieve.study.effective import AT
from chemsieve.tables import DECLARED, read_table
from chemsieve.uses import MIXED

REPLICATE = ["splitter", "split_seed", "seed"]
RUN_PARTS = [*REPLICATE, "origin", "method", "selection", "use"]
CONTROLS = ("none", "random")
LONGEST = 40  # characters of a molecule's own name that are shown
AGGREGATE = -1  # the checkpoint that stands for all checkpoints of a model


@dataclass(frozen=True)
class Study:
    """The tables of a study and its effective configuration."""

    config: dict[str, Any]
    molecules: pd.DataFrame
    rejected: pd.DataFrame
    splits: pd.DataFrame
    learning_curves: pd.DataFrame
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    comparisons: pd.DataFrame
    influence: pd.DataFrame
    influence_diagnostics: pd.DataFrame
    selections: pd.DataFrame
    failures: pd.DataFrame
    pool_control: pd.DataFrame | None = None
    influence_validation: pd.DataFrame | None = None
    influence_on_test: pd.DataFrame | None = None
    audit: pd.DataFrame | None = None
    audit_identity: pd.DataFrame | None = None
    audit_labels: pd.DataFrame | None = None
    audit_shift: pd.DataFrame | None = None
    label_sources: pd.DataFrame | None = None
    nearest_training: pd.DataFrame | None = None
    pool_treatment: pd.DataFrame | None = None
    pool_use: pd.DataFrame | None = None
    pool_use_curves: pd.DataFrame | None = None
    tuning: pd.DataFrame | None = None
    limits: pd.DataFrame | None = None
    budget_curves: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """Name of the study."""
        named = self.config.get("study") or (self.metrics["study"].iloc[0] if len(self.metrics) else "")
        return str(named or "study")

    def named(self, molecule_id: str) -> str:
        """A molecule's own name before its name in the tables, where its file has one."""
        return self._names.get(molecule_id, molecule_id)

    @cached_property
    def _names(self) -> dict[str, str]:
        if "identifier" not in self.molecules:  # of an earlier release
            return {}
        given = self.molecules.dropna(subset=["identifier"])
        return {
            row.molecule_id: f"{row.identifier[:LONGEST]} ({row.molecule_id})" for row in given.itertuples(index=False)
        }

    @property
    def property_name(self) -> str:
        """Name of the property that is predicted."""
        return str(_part(self.config, "target").get("name") or "label")

    @property
    def unit(self) -> str:
        """Unit of the property; empty where it has none."""
        return str(_part(self.config, "target").get("unit") or "")

    @property
    def label_title(self) -> str:
        """The property with its unit, where it has one: the title of its axis, and of the page."""
        return f"{self.property_name} ({self.unit})" if self.unit else self.property_name

    @property
    def embedded(self) -> bool:
        """Whether the study runs on the small data set that is part of the project."""
        return _part(self.config, "target").get("source") == "embedded"

    @property
    def labelled(self) -> bool:
        """Whether the labels of the pool are used."""
        return _part(self.config, "pool").get("labels") != "unlabelled"

    @property
    def statistics(self) -> dict[str, Any]:
        """Margin, error probability and power by which differences are judged."""
        return _part(self.config, "statistics")

    @property
    def rmse_title(self) -> str:
        """Axis title of a test RMSE."""
        return f"test RMSE ({self.unit})" if self.unit else "test RMSE"

    @property
    def splitters(self) -> list[str]:
        """Splitters that have metrics, sorted."""
        return sorted(self.metrics["splitter"].unique())

    @property
    def selection_origin(self) -> str:
        """Origin of the encoder that methods are trained from."""
        return "adapted" if (self.metrics["origin"] == "adapted").any() else "baseline"

    @property
    def strategy_origin(self) -> str:
        """Origin of full fine-tuning on each selection."""
        return CONTINUED if (self.metrics["origin"] == CONTINUED).any() else self.selection_origin

    @property
    def test(self) -> pd.DataFrame:
        """Rows of ``metrics`` on the test fold."""
        return self.metrics[self.metrics["fold"] == "test"]

    @property
    def language_models(self) -> pd.DataFrame:
        """Rows of ``metrics`` of language models, on every fold."""
        return self.metrics[self.metrics["origin"] != DESCRIPTORS]

    @property
    def strategy_runs(self) -> pd.DataFrame:
        """Rows of ``metrics`` of full fine-tuning on each selection, the control ``none`` included."""
        metrics = self.metrics
        return metrics[(metrics["origin"] == self.strategy_origin) & (metrics["method"] == "full")]

    @property
    def methods(self) -> list[str]:
        """Training methods of the language models: full fine-tuning, then as configured, then others."""
        found = self.language_models["method"].unique()
        return ordered(found, ["full", *(_part(self.config, "grid").get("methods") or [])])

    @property
    def grid_selections(self) -> list[str]:
        """Selections that the grid crosses with the methods."""
        runs = self.language_models
        found = set(runs.loc[runs["method"] != "full", "selection"])
        return ordered(found, ["none", "random", *(_part(self.config, "grid").get("selections") or [])])


def load(tables: Path, config: dict[str, Any]) -> Study:
    """Read the tables of a study; those that are declared optional may be absent, or hold the mark of a failure."""
    shown = [name for name in Study.__annotations__ if name != "config"]
    names = [name for name in shown if not DECLARED[name].optional]
    frames = {name: read_table(tables / f"{name}.parquet") for name in names}
    for frame in frames.values():
        if "seed" in frame:
            frame["seed"] = frame["seed"].astype("Int64")  # a missing seed must not turn the others into floats
    for name in set(shown).difference(names):
        path = tables / f"{name}.parquet"
        frames[name] = read_table(path) if path.exists() and not failures.of(path) else None
    for name in ("metrics", "predictions", "learning_curves"):
        # Runs of a sweep of budgets have their own part of the page, and would crowd the others.
        frames[name] = frames[name][~frames[name]["run_id"].str.contains(AT, regex=False)]
    if "use" in frames["metrics"]:  # not in those of an earlier release
        frames["metrics"] = used(frames["metrics"])
    return Study(config=config, **frames)


def meanings(table: str, columns: Iterable[str]) -> list[str]:
    """What columns of a table hold, with their unit, as it is declared; empty where it is no column of it."""
    known = DECLARED[table].columns
    told = [known.get(name) for name in columns]
    return [f"{one.description} ({one.unit})" if one and one.unit else one.description if one else "" for one in told]


def used(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the use of a selection behind its name, where that is another than mixed."""
    otherwise = ~frame["use"].isin(["", MIXED])
    return frame.assign(selection=frame["selection"].mask(otherwise, frame["selection"] + ", " + frame["use"]))


def ordered(names: Iterable[str], first: Iterable[str]) -> list[str]:
    """``names`` without repeats: those in ``first`` in that order, then the others sorted."""
    left = set(names)
    front = [name for name in dict.fromkeys(first) if name in left]
    return front + sorted(left - set(front))


def ordered_selections(names: Iterable[str]) -> list[str]:
    """Selections with the controls first."""
    return ordered(names, ["none", "random", "all"])


def run_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the parts of its ``run_id`` as columns; parts that a name lacks are empty."""
    parts = frame["run_id"].str.split("/")
    return used(frame.assign(**{name: parts.str.get(i).astype(object).fillna("") for i, name in enumerate(RUN_PARTS)}))


def mean_sd(frame: pd.DataFrame, by: list[str], value: str = "rmse") -> pd.DataFrame:
    """Mean, standard deviation and number of ``value`` per group; the deviation of one value is missing."""
    return frame.groupby(by)[value].agg(mean="mean", sd="std", n="count").reset_index()


def _part(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}
