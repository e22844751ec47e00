"""The first screen: what to do, how sure that is, and what to do next."""

from collections.abc import Sequence

import pandas as pd

from chemsieve.deployment.lists import FOLDER, agreement
from chemsieve.report import answers, forest
from chemsieve.report.audit import leaks
from chemsieve.report.blocks import (
    Alarm,
    Answer,
    Block,
    Bullets,
    Code,
    Files,
    Folded,
    Heading,
    Paragraph,
    Section,
    table,
)
from chemsieve.report.comparisons import HEADER, evidence, noise
from chemsieve.report.study import CONTROLS, DESCRIPTORS, REPLICATE, Study, ordered_selections
from chemsieve.report.words import count, listing, number
from chemsieve.statistics import sequential
from chemsieve.statistics.families import ADAPTATION, SELECTIONS, VERSUS
from chemsieve.statistics.verdicts import LEAST

SPLIT = REPLICATE[:2]
SHOWN_LEAKS = 3


def section(study: Study, missing: Sequence[str] = ()) -> Section:
    """The answer per splitter, every arm in a figure, what to do now, and the evidence.

    Args:
        missing: what else the page has to do without, beside the steps of the table ``failures``.
    """
    lacking = [*_failed(study), *missing]
    blocks: list[Block] = [*_leaks(study), *_missing(lacking), *_answers(study), *_next(study), *_evidence(study)]
    blocks.append(Paragraph(_data(study)))
    return Section("summary", "Answer", blocks)


def _answers(study: Study) -> list[Block]:
    """The sentences, what would change them, and the figure, for each splitter."""
    made = study.comparisons
    if made.empty and (study.failures["rule"] == "comparisons_table").any():
        return [Alarm("The comparisons failed, so nothing can be said here of what helped.")]
    if made.empty:
        return [Paragraph("No two kinds of run can be compared: there is neither a selection nor an adapted encoder.")]
    blocks: list[Block] = []
    splitters = list(dict.fromkeys(answers.asked(study)["splitter"]))
    for i, splitter in enumerate(splitters):
        if len(splitters) > 1:
            blocks.append(Heading(f"{splitter} split"))
        blocks.append(Answer(answers.sentences(study, splitter), answers.basis(study, splitter)))
        blocks += _useless(study, splitter)
        drawn = forest.figure(study, i, splitter, answers.arms(study, splitter))
        blocks += [drawn] if drawn else []
    if made["n_units"].min() < LEAST:
        blocks.append(
            Alarm(
                f"Fewer than {LEAST} splits, or seeds of one split, carry no verdict: the size of the noise is unknown."
            )
        )
    if study.embedded:
        blocks.append(
            Paragraph(
                "The labels are computed Crippen logP plus noise, not measurements: this study shows that "
                "everything works, and nothing about a real property."
            )
        )
    return blocks


def verdicts(study: Study) -> dict[str, list[str]]:
    """What the first screen says of each splitter, in sentences."""
    return {
        str(splitter): [*answers.sentences(study, splitter), *answers.adaptation(study, splitter)]
        for splitter in dict.fromkeys(answers.asked(study)["splitter"])
    }


def _next(study: Study) -> list[Block]:
    """What to do now: the lists, a model to use, and what another run would settle."""
    blocks: list[Block] = []
    found = answers.asked(study)
    splitters = list(dict.fromkeys(found["splitter"]))
    best = next((arm for one in splitters if (arm := answers.recommended(answers.arms(study, one)))), None)
    blocks += _lists(study, best.name if best else "")
    if len(study.metrics):
        blocks.append(
            Code(
                "The best model by validation errors (docs/predicting.md says how it is chosen), as a folder that "
                "predicts without the workflow:",
                f"snakemake --cores 2 export_model --configfile results/{study.name}/config.yaml",
            )
        )
    blocks += [Paragraph(text) for one in splitters if (text := answers.settling(study, one))]
    return [Heading("What to do now"), *blocks] if blocks else []


def _evidence(study: Study) -> list[Block]:
    """The comparisons behind the answer, folded."""
    made = study.comparisons
    blocks: list[Block] = []
    for splitter in dict.fromkeys(answers.asked(study)["splitter"]):
        blocks += [Paragraph(text) for text in answers.adaptation(study, splitter)]
    questions = answers.asked(study)
    shown = questions[_asked(questions)]
    several = shown["splitter"].nunique() > 1
    if len(shown):
        blocks.append(
            table(
                "Gain of each arm: how far its test RMSE lies below that of the arm it is compared with, paired over "
                "replicates, with simultaneous intervals; positive helps. Full fine-tuning; the two encoders without "
                "pool molecules.",
                [*(["splitter"] if several else []), "strategy", *HEADER[1:]],
                [
                    (*([splitter] if several else []), *cells)
                    for splitter, cells in zip(shown["splitter"], evidence(shown), strict=True)
                ],
            )
        )
        blocks.append(Paragraph(_together(study, made)))
    blocks += [Paragraph(noise(rows)) for _, rows in made[made["family"] == SELECTIONS].groupby("splitter")]
    if len(made) and (made["n_splits"] < 2).any():
        blocks.append(
            Paragraph(
                "Seeds of one split are no independent replicates of a method: what they tell holds for that split "
                "alone, and another may answer otherwise. Several split seeds (split.seeds) would tell more."
            )
        )
    blocks += [*_no_descriptors(study), Paragraph(_reads_test_labels(study))]
    return [Folded("The comparisons behind this answer, and what test labels were read for", blocks)]


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
    return (
        f"The label is {label}. Accepted molecules: {accepted}. Rejected rows: {len(study.rejected):,}"
        f"{f' ({refused})' if refused else ''}. Splits: {divided}. The language models have "
        f"{count(_replicates(study), 'replicate')} (splitter, split seed and training seed)."
    )


def _lists(study: Study, first: str) -> list[Block]:
    """The lists of what each strategy chose, the recommended one first, and how far its replicates agree."""
    entries = (study.config.get("selection") or {}).get("strategies") or {}
    names = [
        name
        for name in ordered_selections(study.selections["strategy"].unique())
        if (entries.get(name) or {}).get("strategy", name) not in ("none", "all")
    ]
    if not names:
        return []
    names.sort(key=lambda name: name != first)
    rows = {name: study.selections[study.selections["strategy"] == name] for name in names}
    files = [(f"{FOLDER}/{name}.csv", f"{name}.csv", f": {agreement(rows[name])}.") for name in names]
    others = Files(files[1:] if first else files)
    said = "What each strategy chose, with your own identifiers, what most replicates chose first:"
    if first:
        return [
            Paragraph("The molecules to add, with your own identifiers:"),
            Files(files[:1]),
            *([Folded("The lists of the other strategies", [others])] if others.entries else []),
        ]
    return [Folded("The lists: what each strategy chose", [Paragraph(said), others])]


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


def _asked(made: pd.DataFrame) -> pd.Series:
    """Which comparisons stand in the first screen's table: selections against the controls, adaptation, and singles."""
    controls = (made["family"] == SELECTIONS) & made["versus"].isin(CONTROLS)
    shown = (
        (made["family"] == ADAPTATION)
        | (controls & ~made["what"].isin(CONTROLS))
        | (controls & (made["what"] == "random"))
    )
    return (shown | made["question"].str.contains(VERSUS, regex=False)).astype(bool)


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
