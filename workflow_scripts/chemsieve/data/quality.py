"""What the accepted labels say of themselves: repeats and their noise, limits, floors and ceilings.

Facts, and the sentences about them that the data step logs and the table ``audit`` has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chemsieve.data import unusual
from chemsieve.data.measured import FIRST, MEASURED, Repeats

WARNING, NOTE = "warning", "note"
MANY = 0.05  # share of the labels that one value must hold to be called a floor or a ceiling
FEWEST = 3  # molecules that must hold it
FEW_REPEATS = 10  # measurements beyond the first of each molecule, below which an estimate of noise is rough
_SHOWN = 5  # contradictions that a sentence names

Sentence = tuple[str, str, int, int]  # severity, words, molecules that they concern, among so many


@dataclass(frozen=True)
class Noise:
    """The labels' own noise, of repeated measurements.

    Attributes:
        deviation: pooled standard deviation within molecules, in the unit of the label: the root of the squared
            deviations from each molecule's mean, over ``repeats`` less ``molecules``.
        molecules: molecules with two measured labels or more.
        repeats: their measured labels.
        identical: molecules of which all labels are equal, which may be copies of one measurement.
    """

    deviation: float
    molecules: int
    repeats: int
    identical: int

    @property
    def free(self) -> int:
        """Measurements beyond the first of each molecule."""
        return self.repeats - self.molecules


def floor(found: Noise, molecules: pd.DataFrame, policy: str) -> float:
    """The root mean square noise of the labels of some rows of the table ``molecules``.

    Args:
        policy: what the label of several measurements is: that of the ``first``, else the noise of their mean counts.
    """
    if policy == FIRST or molecules.empty:
        return found.deviation
    return found.deviation * float(np.sqrt((1 / molecules["repeats"].clip(lower=1)).mean()))


def noise(molecules: pd.DataFrame) -> Noise | None:
    """The noise of the labels in some rows of the table ``molecules``; None where no molecule was measured twice."""
    several = molecules[(molecules["relation"] == MEASURED) & (molecules["repeats"] > 1)].dropna(subset="repeats_sd")
    if several.empty:
        return None
    free = several["repeats"] - 1
    variance = float((several["repeats_sd"] ** 2 * free).sum() / free.sum())
    counts = len(several), int(several["repeats"].sum()), int((several["spread"] == 0).sum())
    return Noise(float(np.sqrt(variance)), *counts)


def extremes(labels: pd.Series) -> Iterator[tuple[str, float, int]]:
    """Lowest and highest label where it holds 5 % of (n,) labels: floor or ceiling, the value, how many have it."""
    known = labels.dropna()
    if known.nunique() < 2:
        return
    for name, value in (("floor", known.min()), ("ceiling", known.max())):
        holding = int((known == value).sum())
        if holding >= max(FEWEST, MANY * len(known)):
            yield name, float(value), holding


def sentences(
    molecules: pd.DataFrame, rejected: pd.DataFrame, repeats: Mapping[str, Repeats], censored: bool = False
) -> Iterator[tuple[str, Sentence]]:
    """What there is to say of the labels of each source, with the source.

    Args:
        molecules, rejected: the tables of those names.
        repeats: by source, what becomes of several rows of one molecule.
        censored: whether limits of the target are trained on as what they are.
    """
    for source, rule in repeats.items():
        accepted = molecules[molecules["source"] == source]
        refused = rejected[rejected["source"] == source]
        parts = (_contradictions(source, rule, accepted, refused), _repeats(source, rule, accepted))
        limits = _limits(source, accepted, refused, censored and source == "target")
        told = accepted[accepted["relation"] == MEASURED] if censored and source == "target" else accepted
        for part in (*parts, limits, _extremes(source, told), _unusual(source, accepted, refused)):
            for sentence in part:
                yield source, sentence


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _were(n: int, what: str) -> str:
    return f"{_many(n, what)} {'was' if n == 1 else 'were'}"


def _contradictions(source: str, rule: Repeats, accepted: pd.DataFrame, refused: pd.DataFrame) -> Iterator[Sentence]:
    dropped = refused[refused["reason"] == "contradiction"]
    if len(dropped):
        yield (
            WARNING,
            f"{source}: {_were(len(dropped), 'row')} left out, since labels of one molecule lie more than "
            f"{rule.apart:g} apart ({source}.drop_if_apart).",
            len(dropped),
            len(accepted) + len(refused),
        )
    limit = rule.apart if rule.apart is not None else accepted["label"].std()
    far = accepted[accepted["spread"] > limit].sort_values("spread", ascending=False, kind="stable")
    if far.empty:
        return
    named = ", ".join(f"{row.molecule_id} by {row.spread:.3g}" for row in far.head(_SHOWN).itertuples(index=False))
    more = f" and {len(far) - _SHOWN:,} more" if len(far) > _SHOWN else ""
    yield (
        WARNING,
        f"{source}: the rows of {_many(len(far), 'molecule')} contradict each other: their labels differ by more than "
        f"{limit:.3g}, the standard deviation of all labels ({named}{more}). {source}.drop_if_apart leaves such "
        "molecules out.",
        len(far),
        len(accepted),
    )


def _repeats(source: str, rule: Repeats, accepted: pd.DataFrame) -> Iterator[Sentence]:
    differing = accepted[accepted["spread"] > 0]
    if len(differing):
        said = "the label of the first row is used" if rule.policy == FIRST else f"their {rule.policy} is used"
        stand = f"{_many(len(differing), 'molecule')} {'stands' if len(differing) == 1 else 'stand'}"
        yield (
            NOTE,
            f"{source}: {stand} in several rows whose labels differ, by up to {differing['spread'].max():.3g} and "
            f"{differing['spread'].median():.3g} in the median; {said} ({source}.repeats).",
            len(differing),
            len(accepted),
        )
    if found := noise(accepted):
        few = found.free < FEW_REPEATS
        rests = "too few to rely on" if few else "a test error much below it is no merit of a model"
        have = f"{found.identical:,} of them {'has' if found.identical == 1 else 'have'}"
        copies = f" {have} equal labels, which may be copies." if found.identical else ""
        yield (
            NOTE,
            f"{source}: the noise of the labels themselves is {found.deviation:.3g}, the pooled standard deviation of "
            f"{found.repeats:,} measurements of {_many(found.molecules, 'molecule')}; {rests}.{copies}",
            found.molecules,
            len(accepted),
        )


def _limits(source: str, accepted: pd.DataFrame, refused: pd.DataFrame, censored: bool) -> Iterator[Sentence]:
    used, left_out = int((accepted["relation"] != MEASURED).sum()), int((refused["reason"] == "censored").sum())
    if used and censored:
        yield (
            NOTE,
            f"{source}: {used:,} of {len(accepted):,} labels are limits (<, >). Fine-tuning has no loss on their right "
            "side; validation, descriptor models and influence leave them out; test errors are of measured labels, and "
            "the table limits has how predictions go with the limits.",
            used,
            len(accepted),
        )
    elif used:
        yield (
            WARNING,
            f"{source}: {used:,} of {len(accepted):,} labels are limits (<, >), which are trained on and judged as if "
            f"they had been measured; {source}.censored: exclude leaves them out.",
            used,
            len(accepted),
        )
    if left_out:
        yield (
            NOTE,
            f"{source}: {_were(left_out, 'row')} left out: labels that are limits (<, >) and no measurements "
            f"({source}.censored).",
            left_out,
            len(accepted) + len(refused),
        )


def _unusual(source: str, accepted: pd.DataFrame, refused: pd.DataFrame) -> Iterator[Sentence]:
    """What is hardly a molecule of the kind, and labels that stand for none, accepted or refused."""
    found = accepted["smiles"].map(unusual.kind_of)
    none = accepted["label"].isin(unusual.sentinels(accepted["label"]))
    total = len(accepted) + len(refused)
    for reason, words in unusual.WORDS.items():
        rows = accepted[none if reason == unusual.SENTINEL else found == reason]
        left_out = int((refused["reason"] == reason).sum())
        if left_out:
            words_out = f"{source}: {_were(left_out, 'row')} left out: molecules that {words} ({source}.unusual)."
            yield NOTE, words_out, left_out, total
        if len(rows):
            shown = [
                name if isinstance(name, str) else one
                for name, one in zip(rows["identifier"], rows["molecule_id"], strict=True)
            ]
            more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
            yield (
                WARNING if reason == unusual.SENTINEL else NOTE,
                f"{source}: {len(rows):,} of {len(accepted):,} molecules {words} ({', '.join(shown[:_SHOWN])}{more}); "
                f"{source}.unusual: refuse leaves them out.",
                len(rows),
                len(accepted),
            )


def _extremes(source: str, accepted: pd.DataFrame) -> Iterator[Sentence]:
    for name, value, holding in extremes(accepted["label"]):
        end = "lowest" if name == "floor" else "highest"
        yield (
            WARNING,
            f"{source}: {holding:,} of {len(accepted):,} labels ({holding / len(accepted):.0%}) are {value:g}, the "
            f"{end} of all: a {name} of the assay rather than as many measurements. A column of relations "
            f"({source}.relation) or {source}.where can leave them out.",
            holding,
            len(accepted),
        )
