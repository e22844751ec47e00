"""What the audit says, one sentence each, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from chemsieve.audit.label_source import LINEAR, NEIGHBOURS, PROPERTY, SMOOTHED
from chemsieve.audit.shift import EMBEDDING
from chemsieve.audit.too_good import RATIO
from chemsieve.audit.tracing import EXACT, OTHER, Found
from chemsieve.audit.treatment import AS_GIVEN, DROP, RELABEL
from chemsieve.data.quality import NOTE, WARNING, Sentence

LEAK = "leak"
SEVERITIES = (LEAK, WARNING, NOTE)
FEWEST_SHARED = 3  # molecules of which an offset of the labels says anything
ENOUGH_SHARED = 10  # of which a correlation does
RELATED = 0.5  # correlation below which labels are hardly of one endpoint
DISTANT = 0.4  # Tanimoto similarity of ECFP4 below which molecules are hardly related
LARGE = 0.5  # standardised difference of means (Cohen 1988: medium)
COLUMNS = ("topic", "severity", "splitter", "split_seed", "finding", "count", "of")


def findings(
    label_audit: dict | None,
    tried: pd.DataFrame | None,
    sources: pd.DataFrame | None,
    treatments: pd.DataFrame,
    identity: pd.DataFrame,
    nearest: pd.DataFrame,
    shift: pd.DataFrame,
    molecules: pd.DataFrame | None = None,
    rejected: pd.DataFrame | None = None,
    told: Iterable[Sentence] = (),
) -> pd.DataFrame:
    """Sentences of the table ``audit``, from tables of those names; without pool labels the first three are None.

    Without ``molecules`` and ``rejected`` nothing is said of how the molecules are read. ``told`` are sentences on the
    labels (:func:`chemsieve.data.quality.sentences`). A pool whose labels are not on the target's scale comes first:
    whatever else is said of it follows from that.
    """
    found = bool(label_audit and label_audit["found"])
    rows = [_row("labels", *sentence) for sentence in _scale(label_audit)]
    rows += [*_labels(label_audit, tried, sources), *_treatments(treatments, found)]
    if molecules is not None and rejected is not None:
        rows += _reading(molecules, rejected)
    rows += [_row("labels", severity, words, count, of) for severity, words, count, of in told]
    rows += [*_identity(identity), *_hardness(nearest), *_shift(shift)]
    frame = pd.DataFrame([dict(zip(COLUMNS, row, strict=True)) for row in rows], columns=list(COLUMNS))
    scale = [sentence for severity, sentence, *_ in _scale(label_audit) if severity == WARNING]
    order = frame["severity"].map(SEVERITIES.index).where(~frame["finding"].isin(scale), -1)
    frame["split_seed"] = frame["split_seed"].astype("Int64")
    return frame.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


def _row(topic: str, severity: str, finding: str, count: int | None = None, of: int | None = None) -> tuple:
    return topic, severity, "", None, finding, count, of


def _scale(audit: dict | None) -> list[Sentence]:
    """Whether the pool's labels are on the scale of the target's, by molecules that both files have."""
    shared = audit["facts"].get("agreement") if audit else None
    return scale_sentences(shared, audit["facts"]["pool"]["molecules"]) if audit and shared else []


def scale_sentences(shared: dict, rows: int) -> list[Sentence]:
    """What the labels of shared molecules say of the pool's scale.

    It is a warning where they lie far from the target's, or are unrelated to them.

    Args:
        shared: as :func:`chemsieve.audit.label_facts.agreement` returns it.
        rows: labelled rows of the pool's file.
    """
    n, offset, deviation = shared["molecules"], shared["offset"], shared["deviation"]
    far = n >= FEWEST_SHARED and abs(offset) > LARGE * deviation
    line = ""
    if shared["slope"] is not None:
        line = f" (slope {shared['slope']:.3g}, correlation {shared['correlation']:.2f})"
    if far:
        words = (
            f"The pool's labels are not on the target's scale: {n:,} shared molecules differ by {offset:+.3g} in the "
            f"median{line}, and the target's labels have a standard deviation of {deviation:.3g}. Another unit, or "
            "another endpoint? pool.measured_in and pool.transform convert units."
        )
        return [(WARNING, words, n, rows)]
    if n >= ENOUGH_SHARED and shared["correlation"] is not None and shared["correlation"] < RELATED:
        words = (
            f"The pool's labels hardly go with the target's: those of {n:,} shared molecules differ by {offset:+.3g} "
            f"in the median{line}. Another endpoint, or the wrong column (pool.label)?"
        )
        return [(WARNING, words, n, rows)]
    words = (
        f"Labels of {n:,} molecules that the pool's file shares with the target differ by {offset:+.3g} in the "
        f"median{line}; the target's labels have a standard deviation of {deviation:.3g}."
    )
    return [(NOTE, words, n, rows)]


def _labels(audit: dict | None, tried: pd.DataFrame | None, sources: pd.DataFrame | None) -> Iterator[tuple]:
    if audit is None or tried is None or sources is None:  # all of them or none
        yield _row(
            "labels",
            NOTE,
            "The pool's labels are not used, so nothing is said of where they come from. Whatever needs them is left "
            "out: influence of pool molecules, retraining with parts of the pool, strategies that read labels, and "
            "trainings on selected molecules.",
        )
        return
    facts, found = audit["facts"], Found.of(audit["found"])
    size = facts["pool"]["molecules"]
    if found:
        untied, exact = int((sources["tied"].map(len) == 0).sum()), int((sources["match"] == EXACT).sum())
        agree = int((sources["match"] != OTHER).sum())
        yield _row(
            "labels",
            LEAK,
            f"The pool's labels are computed from the target's: {exact:,} of the {untied:,} that no tie makes "
            f"ambiguous, and within ties {agree:,} of {size:,}, equal {found.rule.words}, taken over all "
            f"{facts['target']['molecules']:,} molecules of the target's file. They are not measurements, and to train "
            "on them is to train on the labels of test molecules.",
            agree,
            size,
        )
    others = tried[tried["found"] & (tried["kind"] != NEIGHBOURS)].sort_values("matched", ascending=False)
    for best in others.head(1).itertuples(index=False):
        smooth = f"the {best.weighting} of the labels" if best.weighting == "median" else "the mean, by similarity,"
        what = {
            LINEAR: f"a linear model of the target ({best.metric} on {best.features})",
            PROPERTY: best.features,
            SMOOTHED: f"{smooth} of the {best.k} nearest molecules of the target ({best.features}, {best.metric})",
        }
        line = "" if best.map == "equal" else " up to a straight line"
        yield _row(
            "labels",
            LEAK if best.kind == SMOOTHED else WARNING,
            f"{best.matched:,} of {best.rows:,} pool labels equal {what[best.kind]}{line}: they are computed, not "
            "measured.",
            int(best.matched),
            int(best.rows),
        )
    if not tried["found"].any():
        best = tried.nsmallest(1, "p_value").iloc[0]
        yield _row(
            "labels",
            NOTE,
            f"None of {len(tried):,} rules (nearest neighbours, linear models, computed properties) gives the pool's "
            f"labels from the target's molecules: the one that comes closest meets {best['matched']:,} of "
            f"{best['rows']:,} to the last decimal, and would meet {best['expected']:.1f} by chance.",
        )
    computed = bool(tried["found"].any())
    yield from _too_good(facts)
    yield from _rounding(facts, computed)
    yield from _stereoisomers(facts, computed)
    shared = facts["shared"]
    if shared["first block of the parent"]:
        difference = (
            f"; of those with one InChIKey, {facts['same_label']:,} have the same label, and the others differ by up "
            f"to {facts['largest_difference']:.3g}"
            if shared["InChIKey"]
            else ""
        )
        counts = ", ".join(f"{number:,} by {level}" for level, number in shared.items())
        yield _row(
            "identity",
            WARNING,
            f"Rows of the pool's file that are target molecules: {counts}{difference}. They are refused.",
            shared["first block of the parent"],
            size,
        )


def _too_good(facts: dict) -> Iterator[tuple]:
    """A model of the target that predicts the pool far better than what it has not seen of the target."""
    found = facts.get("too_good")
    if found and found["ratio"] < RATIO:
        yield _row(
            "labels",
            WARNING,
            f"The pool's labels look computed: {found['model']} of the target predicts them with a median error of "
            f"{found['error']:.3g}, and labels of the target that it has not seen, of molecules as similar to those "
            f"that it knows, with {found['expected']:.3g}. Measurements are not so smooth; labels that another model "
            "has computed are, with noise added or without.",
            found["molecules"],
            facts["pool"]["molecules"],
        )


# Measured labels can also have the two properties below: the sets may differ in precision, or a racemate and its
# enantiomers may share one value. They are warnings only where a rule that gives the labels was found as well.
def _rounding(facts: dict, computed: bool) -> Iterator[tuple]:
    k, unit = facts["unit_ratio"], facts["pool"]["unit"]
    if k:
        yield _row(
            "labels",
            WARNING if computed else NOTE,
            f"All pool labels are multiples of {unit:g}, and the target's of {facts['target']['unit']:g}: {k} times as "
            f"much, as it would be for means of {k} labels.",
        )


def _stereoisomers(facts: dict, computed: bool) -> Iterator[tuple]:
    from scipy.stats import fisher_exact

    (same, groups), (known_same, known) = (
        (facts[side]["identical"], facts[side]["groups"]) for side in ("pool", "target")
    )
    if not groups:
        return
    p_value = fisher_exact([[same, groups - same], [known_same, known - known_same]], "greater")[1]
    yield _row(
        "labels",
        WARNING if computed and known and p_value < 0.01 else NOTE,
        f"Of {groups:,} groups of pool rows with one InChIKey first block (stereoisomers, charge states), {same:,} "
        f"have one and the same label; in the target {known_same:,} of {known:,}.",
        same,
        groups,
    )


def _treatments(treatments: pd.DataFrame, found: bool) -> Iterator[tuple]:
    for row in treatments.itertuples(index=False):
        where = f"{row.splitter} split, seed {row.split_seed}: "
        if found:
            kept = row.labels == AS_GIVEN and row.leaks != DROP
            yield (
                "labels",
                LEAK if kept else NOTE,
                row.splitter,
                row.split_seed,
                f"{where}the labels of {row.test:,} of {row.accepted:,} accepted pool molecules depend on at least one "
                f"test label, and of {row.validation:,} on a validation label (of all {row.rows:,} rows of the file "
                f"{row.test_rows:,} and {row.validation_rows:,})"
                + (
                    ". They are used as given; pool.leaks: drop leaves them out, pool.labels: relabel_from_training "
                    "computes them from training molecules alone."
                    if kept
                    else "."
                ),
                row.test,
                row.accepted,
            )
        if row.dropped:
            text = f"{row.dropped:,} of {row.accepted:,} pool molecules were left out, {row.kept:,} are left."
            yield "treatment", NOTE, row.splitter, row.split_seed, where + text, row.dropped, row.accepted
        if row.labels == RELABEL:
            text = (
                f"all {row.relabelled:,} pool labels were computed anew from training molecules alone; they change by "
                f"{row.mean_change:.3g} on average and {row.largest_change:.3g} at most."
            )
            yield "treatment", NOTE, row.splitter, row.split_seed, where + text, row.relabelled, row.accepted


def _identity(identity: pd.DataFrame) -> Iterator[tuple]:
    met = identity[(identity["molecules"] > 0) & (identity["level"] != "scaffold")]
    for (splitter, seed, place, other), rows in met.groupby(["splitter", "split_seed", "place", "other"], sort=False):
        severe = rows["level"].isin(["canonical SMILES", "InChIKey"]).any()
        counts = ", ".join(f"{row.molecules:,} by {row.level}" for row in rows.itertuples(index=False))
        yield (
            "identity",
            LEAK if severe else WARNING,
            splitter,
            seed,
            f"{splitter} split, seed {seed}: {place} molecules that are also in {other}: {counts}.",
            int(rows["molecules"].max()),
            int(rows["of"].iloc[0]),
        )


def _reading(molecules: pd.DataFrame, rejected: pd.DataFrame) -> Iterator[tuple]:
    """What the encoder does not read, accepted or refused, and atom maps, which it never sees."""
    flagged = molecules[molecules["unknown_tokens"] > 0]
    refused = rejected[rejected["reason"] == "unknown_token"]
    rows = len(molecules) + len(rejected)
    if len(flagged):
        yield _row(
            "reading",
            WARNING,
            f"{len(flagged):,} of {len(molecules):,} accepted molecules ({len(flagged) / len(molecules):.2%}; "
            f"{_by_source(flagged)}) have parts that the encoder does not know or its tokenizer passes over, so that "
            f"it reads something else: {_frequent(flagged)}. encoder.unknown_tokens: refuse leaves them out.",
            len(flagged),
            len(molecules),
        )
    if len(refused):
        yield _row(
            "reading",
            NOTE,
            f"{len(refused):,} of {rows:,} rows ({len(refused) / rows:.2%}; {_by_source(refused)}) were refused, since "
            f"the encoder does not know a part of them or its tokenizer passes over it: {_frequent(refused)}.",
            len(refused),
            rows,
        )
    mapped = pd.concat([table.loc[table["mapped"], ["source"]] for table in (molecules, rejected)])
    if len(mapped):
        yield _row(
            "reading",
            NOTE,
            f"The SMILES of {len(mapped):,} of {rows:,} rows ({_by_source(mapped)}) have atom maps, which were left "
            "out before anything was read.",
            len(mapped),
            rows,
        )


def _by_source(table: pd.DataFrame) -> str:
    return ", ".join(f"{count:,} of the {source}" for source, count in table["source"].value_counts().items())


def _frequent(table: pd.DataFrame, most: int = 5) -> str:
    """The parts that most molecules have, with how many have them."""
    counts = Counter(piece for text in table["unread"] for piece in set(text.split()))
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(f"{piece[:40]} in {count:,}" for piece, count in ordered[:most]) + more


def _hardness(nearest: pd.DataFrame) -> Iterator[tuple]:
    test = nearest[nearest["fold"] == "test"]
    for splitter, rows in test.groupby("splitter"):
        low, middle, high = np.quantile(rows["similarity"], [0.1, 0.5, 0.9])
        yield (
            "splits",
            NOTE,
            splitter,
            None,
            f"{splitter} split: the nearest training molecule of a test molecule has a Tanimoto similarity of "
            f"{middle:.2f} in the median (80 % of them {low:.2f} to {high:.2f}); "
            f"{(rows['similarity'] < DISTANT).mean():.0%} of the test molecules have none above {DISTANT:g}.",
            None,
            None,
        )


def _shift(shift: pd.DataFrame) -> Iterator[tuple]:
    mmd = shift[shift["what"] == EMBEDDING]
    for row in mmd.itertuples(index=False):
        apart = row.p_value < 0.05
        yield _row(
            "shift",
            WARNING if apart else NOTE,
            f"The pool and the target {'differ' if apart else 'do not differ beyond chance'} in the encoder's "
            f"embedding: squared maximum mean discrepancy {row.statistic:.3g}, permutation p {row.p_value:.3g} "
            f"({row.target:,} and {row.pool:,} molecules).",
        )
    far = shift[(shift["what"] != EMBEDDING) & (shift["standardised_difference"].abs() > LARGE)]
    if len(far):
        named = ", ".join(
            f"{row.what} ({row.pool_mean:.3g} against {row.target_mean:.3g})"
            for row in far.reindex(far["standardised_difference"].abs().sort_values(ascending=False).index).itertuples()
        )
        yield _row(
            "shift",
            NOTE,
            f"Means of the pool that lie more than {LARGE:g} standard deviations from the target's: {named}.",
        )
