"""The first screen: what was compared, and what can be said from it."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from chemsieve.deployment.lists import FOLDER, agreement
from chemsieve.report.audit import leaks
from chemsieve.report.blocks import Alarm, Block, Bullets, Files, Paragraph, Section, Tiles, table
from chemsieve.report.comparisons import HEADER, evidence, noise
from chemsieve.report.study import CONTROLS, DESCRIPTORS, REPLICATE, Study, ordered_selections
from chemsieve.report.words import count, listing, number
from chemsieve.statistics import sequential
from chemsieve.statistics.families import ADAPTATION, SELECTIONS, VERSUS
from chemsieve.statistics.verdicts import ALONE, LEAST, units

SPLIT = REPLICATE[:2]
SHOWN_LEAKS = 3
# How a verdict begins, and how those that begin so are introduced.
KINDS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "chose the same": "the same molecules as",
    "the same errors": "the same errors as",
    "cannot tell": "cannot tell from",
    "no verdict": "no verdict against",
}


def section(study: Study, missing: Sequence[str] = ()) -> Section:
    """Counts, the verdicts on selections, adaptation and descriptor models in words, and their evidence.

    Args:
        missing: what else the page has to do without, beside the steps of the table ``failures``.
    """
    lacking = [*_failed(study), *missing]
    blocks: list[Block] = [_tiles(study), *_leaks(study), *_missing(lacking), *_answers(study), *_lists(study)]
    blocks.append(Paragraph(_data(study)))
    blocks.append(Paragraph(_reads_test_labels(study)))
    return Section("summary", "Summary", blocks)


def _reads_test_labels(study: Study) -> str:
    """What choices are made on, and what the labels of the test molecules were read for in this study."""
    read = ["the errors shown here"]
    if study.audit_labels is not None:
        read.append("the audit's question whether pool labels were computed from them")
    if study.influence_on_test is not None:
        read.append("the explanations of single test errors")
    policy = study.pool_treatment
    changed = policy is not None and bool((policy["dropped"] + policy["relabelled"]).any())
    exception = ", except that pool labels were treated by what the audit found" if changed else ""
    return (
        "Every choice (early stopping, the loss that influence is taken of, the selections, the epoch that is kept) is "
        f"made on the validation molecules. The labels of the test molecules are read for {listing(read)}. Nothing is "
        f"trained or chosen by them{exception}."
    )


def _leaks(study: Study) -> list[Block]:
    """The leaks, which make the errors below look better than they are; they stand before any verdict."""
    found = leaks(study)
    blocks: list[Block] = [Alarm(text) for text in found[:SHOWN_LEAKS]]
    if len(found) > SHOWN_LEAKS:
        blocks.append(Paragraph(f"{count(len(found) - SHOWN_LEAKS, 'more leak')} under Data audit."))
    return blocks


def _failed(study: Study) -> list[str]:
    """Each step that failed, why, and what could not be made without it."""
    rows, sentences = study.failures, []
    own = rows[rows["cause"] == ""]
    own = own.assign(name=[part.rpartition("/")[2] for part in own["part"]])
    # The same choice fails alike in each replicate: one sentence says so.
    for (rule, name), steps in own.groupby(["rule", "name"], sort=False):
        causes = (steps["rule"] + " " + steps["part"]).str.strip()
        lost = int(rows["cause"].isin(causes).sum())
        followed = f" Without, {count(lost, 'further step')} could not be made." if lost else ""
        first = steps.iloc[0]
        what = f"{rule} {name}".strip()
        sentences.append(
            f"{what}: {count(len(steps), 'step')} failed; {first['part'] or rule} said: {first['reason']} "
            f"({first['log']}).{followed}"
        )
    return sentences


def _missing(lacking: list[str]) -> list[Block]:
    """The parts that failed; they stand before anything is said of the rest."""
    if not lacking:
        return []
    return [
        Alarm(
            f"{count(len(lacking), 'part')} of this study failed, and the rest went on without. A configuration that "
            "lacks half of the replicates is in no comparison; one that lacks fewer takes these from all that it is "
            "compared with. The same command with --config on_failure=stop tries again."
        ),
        Bullets(lacking),
    ]


def _tiles(study: Study) -> Block:
    sources = study.molecules["source"].value_counts()
    return Tiles(
        [
            (number(int(sources.get("target", 0))), "target molecules"),
            (number(int(sources.get("pool", 0))), "pool molecules"),
            (number(len(study.rejected)), "rows rejected"),
            (number(len(study.metrics[SPLIT].drop_duplicates())), "splits"),
            (number(_replicates(study)), "replicates"),
            (number(study.metrics["run_id"].nunique()), "runs"),
        ]
    )


def _replicates(study: Study) -> int:
    return len(study.language_models[REPLICATE].drop_duplicates())


def _data(study: Study) -> str:
    sources = study.molecules["source"].value_counts()
    accepted = listing(f"{n:,} from the {source}" for source, n in sorted(sources.items())) or "none"
    reasons = study.rejected["reason"].value_counts()
    refused = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
    splits = study.metrics[SPLIT].drop_duplicates().groupby("splitter").size()
    divided = ", ".join(f"{n} {name}" for name, n in splits.items()) or "none"
    label = f"{study.property_name} in {study.unit}" if study.unit else study.property_name
    made = " The labels are computed Crippen logP plus noise, not measurements." if study.embedded else ""
    return (
        f"The label is {label}.{made} Accepted molecules: {accepted}. Rejected rows: {len(study.rejected):,}"
        f"{f' ({refused})' if refused else ''}. Splits: {divided}. The language models have "
        f"{count(_replicates(study), 'replicate')} (splitter, split seed and training seed)."
    )


def _lists(study: Study) -> list[Block]:
    """The lists of what each strategy chose, and how far its replicates agree."""
    entries = (study.config.get("selection") or {}).get("strategies") or {}
    names = [
        name
        for name in ordered_selections(study.selections["strategy"].unique())
        if (entries.get(name) or {}).get("strategy", name) not in ("none", "all")
    ]
    if not names:
        return []
    rows = {name: study.selections[study.selections["strategy"] == name] for name in names}
    return [
        Paragraph("What each strategy chose, as a list with your own identifiers, first what most replicates chose:"),
        Files([(f"{FOLDER}/{name}.csv", f"{name}.csv", f": {agreement(rows[name])}.") for name in names]),
    ]


def _answers(study: Study) -> list[Block]:
    made = study.comparisons
    if made.empty and (study.failures["rule"] == "comparisons_table").any():
        return [Alarm("The comparisons failed, so that nothing is said here of what helped.")]
    if made.empty:
        return [
            Paragraph("No two kinds of run can be compared: there is neither a selection nor an adapted encoder."),
            *_no_descriptors(study),
        ]
    blocks: list[Block] = []
    for splitter, sentences in verdicts(study).items():
        here = made[made["splitter"] == splitter]
        blocks += [Paragraph(f"On the {splitter} split, {_units(here)}, by the error on test molecules:")]
        blocks += [Bullets(sentences), *_useless(study, splitter)]
    questions = _questions(study)
    asked = questions[_asked(questions)]
    if len(asked):
        blocks.append(
            table(
                "Difference of the test RMSE, paired over replicates, with simultaneous intervals; negative is better. "
                "Full fine-tuning; the two encoders without pool molecules.",
                ["splitter", "strategy", *HEADER[1:]],
                [(splitter, *cells) for splitter, cells in zip(asked["splitter"], evidence(asked), strict=True)],
            )
        )
        blocks.append(Paragraph(_together(study, made)))
    blocks += [Paragraph(noise(rows)) for _, rows in made[made["family"] == SELECTIONS].groupby("splitter")]
    if made["n_units"].min() < LEAST:
        blocks.append(
            Alarm(
                f"Fewer than {LEAST} splits, or seeds of one split, carry no verdict: the size of the noise is unknown."
            )
        )
    if (made["n_splits"] < 2).any():
        blocks.append(
            Paragraph(
                "Seeds of one split are no independent replicates of a method: what they tell holds for that split "
                "alone, and another may answer otherwise. Several split seeds (split.seeds) would tell more."
            )
        )
    return [*blocks, *_no_descriptors(study)]


def verdicts(study: Study) -> dict[str, list[str]]:
    """What can be said of each splitter, in sentences: of selections, of adaptation, of descriptor models, and of the
    single comparisons and other families that the study asks about."""
    return {
        str(splitter): [
            *_selections(here[here["family"] == SELECTIONS]),
            *_singly(here[~here["family"].isin([SELECTIONS, DESCRIPTORS])]),
            *_descriptors(here[here["family"] == DESCRIPTORS]),
        ]
        for splitter, here in _questions(study).groupby("splitter")
    }


def _questions(study: Study) -> pd.DataFrame:
    """The comparisons that the study asks about; all, where its configuration states no question."""
    made = study.comparisons
    return made[made["question"] != ""] if study.statistics.get("compare") else made


def _together(study: Study, made: pd.DataFrame) -> str:
    """How the sentences are controlled."""
    questions, rest = [name for name in dict.fromkeys(made["question"]) if name], made[made["question"] == ""]
    alpha = number(study.statistics.get("alpha"), 2)
    if not questions:
        return f"Each family of comparisons has its own error probability of {alpha}: statistics.compare is not set."
    text = (
        f"The study asks {count(len(questions), 'question')} (statistics.compare): {listing(questions)}. Their "
        f"intervals hold together: with a probability of at most {alpha} any of them misses its difference."
    )
    if looks := study.statistics.get("looks"):
        sizes = listing([str(size) for size in looks])
        which = sequential.place(looks, int(made["n_units"].max()))
        text += f" That holds over all looks at the growing study, at {sizes} replicates; this is {which}."
    return f"{text} All other comparisons, under Comparisons, are exploratory." if len(rest) else text


def _units(here: pd.DataFrame) -> str:
    """What the replicates of a splitter are."""
    alone = int(here["n_splits"].max()) < 2
    most = units(int(here["n_units"].max()), alone)
    return most if alone else f"{most} with {count(int(here['n_replicates'].max()), 'replicate')}"


def _asked(made: pd.DataFrame) -> pd.Series:
    """Which comparisons stand in the first screen's table: selections against the controls, adaptation, and singles."""
    controls = (made["family"] == SELECTIONS) & made["versus"].isin(CONTROLS)
    shown = (
        (made["family"] == ADAPTATION)
        | (controls & ~made["what"].isin(CONTROLS))
        | (controls & (made["what"] == "random"))
    )
    return (shown | made["question"].str.contains(VERSUS, regex=False)).astype(bool)


def _selections(rows: pd.DataFrame) -> list[str]:
    """One sentence per control, or per other selection that a single comparison names: which strategies are better,
    worse, equivalent, or cannot be told from it."""
    single = rows["question"].str.contains(VERSUS, regex=False)
    sentences = []
    for versus in dict.fromkeys([*CONTROLS, *rows.loc[single, "versus"]]):
        chosen = rows[(rows["versus"] == versus) & (single | (versus in CONTROLS))]
        if len(chosen):
            sentences.append(_sentence(chosen, versus, _size))
    return sentences


def _singly(rows: pd.DataFrame) -> list[str]:
    """A sentence for each comparison of families that are shown in full."""
    return [
        f"{'On this split alone, the' if row.n_splits < 2 else 'The'} {_named(row)}: {_bare(row.verdict)}."
        for row in rows.itertuples(index=False)
        if row.question or row.family == ADAPTATION
    ]


def _named(row: Any) -> str:
    errors = f"{number(row.error, 3)} and {number(row.error_versus, 3)}"
    if row.family == ADAPTATION:
        return f"{row.what} encoder against the {row.versus} one (test RMSE {errors})"
    return f"comparison of {row.what} with {row.versus}, {row.family} (test RMSE {errors})"


def _descriptors(rows: pd.DataFrame) -> list[str]:
    """Language models against each descriptor model, both errors beside each verdict."""
    sentences = []
    for versus, against in rows.groupby("versus", sort=False):
        # Replicates that a pair lacks may differ from those of another pair.
        error = number(against["error_versus"].mean(), 3)
        words = _sentence(against, "it", _both)
        sentences.append(f"The descriptor model {versus} has a test RMSE of {error}. {words}")
    return sentences


def _sentence(rows: pd.DataFrame, versus: str, size: Callable[[Any], str]) -> str:
    """Who is better, worse, equivalent, or not distinguishable, each with its size, in one sentence."""
    said, each = [], list(rows.itertuples(index=False))
    for kind, words in KINDS.items():
        named = [size(row) for row in each if row.verdict.startswith(kind)]
        if named:
            said.append(f"{words} {versus}: {listing(named)}")
    sentence = "; ".join(said)
    if int(rows["n_splits"].max()) < 2:
        return f"On this split alone, {sentence}."
    return f"{sentence[0].upper()}{sentence[1:]}."


def _size(row: Any) -> str:
    """What is compared, with what the verdict says of it beyond its beginning."""
    return f"{row.what} ({_beyond(row)})" if _beyond(row) else row.what


def _both(row: Any) -> str:
    """What is compared, its error, and what the verdict says beyond its beginning."""
    beyond = _beyond(row)
    name = row.what.replace(", ", "/")
    return f"{name} ({number(row.error, 3)}{', ' + beyond if beyond else ''})"


def _beyond(row: Any) -> str:
    """A verdict without its beginning, and without the note on its split, which the sentence begins with."""
    text = _bare(row.verdict)
    for start in (f"better than {row.versus} ", f"worse than {row.versus} ", f"equivalent to {row.versus} "):
        if text.startswith(start):
            return text.removeprefix(start).replace(" (", ", ").strip("()")
    if text.startswith(("chose the same", "the same errors")):
        return ""
    text = text.removeprefix(f"cannot tell with {units(int(row.n_units), int(row.n_splits) < 2)}")
    return text.removeprefix("cannot tell").removeprefix("no verdict").lstrip(":; ")


def _bare(verdict: str) -> str:
    """A verdict without the note on its split."""
    return verdict.replace(f" ({ALONE})", "").replace(f", {ALONE})", ")").replace(f"({ALONE}, ", "(")


def _useless(study: Study, splitter: str) -> list[Block]:
    """A warning where no configuration of the language model predicts better than the test molecules' mean label."""
    rows = study.test[(study.test["splitter"] == splitter) & (study.test["origin"] != DESCRIPTORS)]
    determined = rows.groupby(["origin", "method", "selection"])["r2"].mean()
    if not len(determined) or not (determined <= 0).all():
        return []
    return [
        Alarm(
            f"On the {splitter} split no language model predicts better than the mean label of the test molecules "
            f"would (the largest mean R2 of a configuration is {number(determined.max())}): differences between models "
            "that have learned so little say nothing about what helps one that has."
        )
    ]


def _no_descriptors(study: Study) -> list[Block]:
    described = (study.test["origin"] == DESCRIPTORS).any()
    return [] if described else [Paragraph("No descriptor model was run.")]
