"""The first screen: what was compared, and what can be said from it."""

import re
from collections.abc import Sequence

import pandas as pd

from chemsieve.deployment.lists import FOLDER, agreement
from chemsieve.report.audit import leaks
from chemsieve.report.blocks import Alarm, Block, Bullets, Files, Paragraph, Section, Tiles, table
from chemsieve.report.comparisons import HEADER, evidence, noise
from chemsieve.report.study import CONTROLS, DESCRIPTORS, REPLICATE, Study, ordered_selections
from chemsieve.report.words import count, listing, number
from chemsieve.statistics.families import ADAPTATION, SELECTIONS, SELECTIONS_OF
from chemsieve.statistics.verdicts import ALONE, LEAST

SPLIT = REPLICATE[:2]
SHOWN_LEAKS = 3
# How a verdict begins, and how those that begin so are introduced.
KINDS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "no difference": "not different beyond noise from",
    "cannot tell": "not distinguishable from",
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
        blocks += [Paragraph(f"On the {splitter} split, by the error on test molecules:"), Bullets(sentences)]
        blocks += _useless(study, splitter)
    asked = made[_asked(made)]
    if len(asked):
        blocks.append(
            table(
                "Difference of the test RMSE, paired over replicates, with simultaneous intervals; negative is better. "
                "Full fine-tuning; the two encoders without pool molecules.",
                ["splitter", "strategy", *HEADER[1:]],
                [(splitter, *cells) for splitter, cells in zip(asked["splitter"], evidence(asked), strict=True)],
            )
        )
    blocks += [Paragraph(noise(rows)) for _, rows in made[made["family"] == SELECTIONS].groupby("splitter")]
    if made["n_units"].min() < LEAST:
        blocks.append(
            Alarm(f"Fewer than {LEAST} replicates carry no verdict: the size of the noise between runs is unknown.")
        )
    if (made["n_splits"] < 2).any():
        blocks.append(
            Paragraph(
                "Where all replicates share one split, a verdict holds for its test molecules alone: another split may "
                "answer otherwise."
            )
        )
    return [*blocks, *_no_descriptors(study)]


def verdicts(study: Study) -> dict[str, list[str]]:
    """What can be said of each splitter, in sentences: of selections, of adaptation, of descriptor models."""
    return {
        str(splitter): [
            *_selections(here),
            *_adaptation(here),
            *_descriptors(study, str(splitter), here),
            *_selections_of_descriptors(here),
        ]
        for splitter, here in study.comparisons.groupby("splitter")
    }


def _asked(made: pd.DataFrame) -> pd.Series:
    """Which comparisons the first screen shows: selections against the controls, and adaptation."""
    controls = (made["family"] == SELECTIONS) & made["versus"].isin(CONTROLS)
    return (
        (made["family"] == ADAPTATION)
        | (controls & ~made["what"].isin(CONTROLS))
        | (controls & (made["what"] == "random"))
    )


def _selections(here: pd.DataFrame) -> list[str]:
    """One sentence per control: which strategies are better, worse, equivalent or not distinguishable from it."""
    sentences = []
    for control in CONTROLS:
        rows = here[(here["family"] == SELECTIONS) & (here["versus"] == control)]
        said = []
        for kind, words in KINDS.items():
            names = [
                f"{row.what} ({_size(row.verdict, f'{kind} than {control} ')})"
                if kind in ("better", "worse")
                else row.what
                for row in rows.itertuples(index=False)
                if row.verdict.startswith(kind)
            ]
            if names:
                said.append(f"{words} {control}: {listing(names)}")
        if said:
            sentence = "; ".join(said)
            sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
    return sentences


def _size(verdict: str, start: str) -> str:
    """A verdict without its beginning and without the note that follows for all of them."""
    return re.sub(rf"(, | \(){ALONE}\)$", lambda note: ")" if note[1] == ", " else "", verdict.removeprefix(start))


def _adaptation(here: pd.DataFrame) -> list[str]:
    rows = here[here["family"] == ADAPTATION]
    return [f"The {row.what} encoder against the {row.versus} one: {row.verdict}." for row in rows.itertuples()]


def _descriptors(study: Study, splitter: str, here: pd.DataFrame) -> list[str]:
    """Fully fine-tuned language models against each descriptor model, counted by verdict."""
    rows, test = here[here["family"] == DESCRIPTORS], study.test
    sentences = []
    for method, against in rows.groupby("versus"):
        chosen = (test["splitter"] == splitter) & (test["origin"] == DESCRIPTORS) & (test["method"] == method)
        chosen &= test["selection"] == "none"
        counts = [
            f"{int(n)} {words} it"
            for kind, words in KINDS.items()
            if (n := against["verdict"].str.startswith(kind).sum())
        ]
        sentences.append(
            f"The descriptor model {method} has a mean test RMSE of {number(test.loc[chosen, 'rmse'].mean())}; of "
            f"{count(len(against), 'language model')} with full fine-tuning, {listing(counts)}."
        )
    return sentences


def _selections_of_descriptors(here: pd.DataFrame) -> list[str]:
    """One sentence on what pool molecules did for descriptor models: names where they did something, else counts."""
    rows = here[here["family"].str.startswith(f"{SELECTIONS_OF} ")]
    said = []
    for kind, words in KINDS.items():
        found = rows[rows["verdict"].str.startswith(kind)]
        if found.empty:
            continue
        if kind in ("better", "worse"):
            named = (
                f"{row.method} with {row.what} ({_size(row.verdict, f'{kind} than none ')})"
                for row in found.itertuples()
            )
            said.append(f"{words} it: {listing(named)}")
        else:
            said.append(f"{len(found)} {words} it")
    if not said:
        return []
    return [
        f"Of {count(len(rows), 'descriptor model')} with pool molecules, each against the same model without: "
        f"{'; '.join(said)}."
    ]


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
