"""The first screen: what was compared, and what can be said from it."""

import pandas as pd

from chemsieve.report.markup import Section, bullets, count, listing, number, paragraph, table, tiles, warning
from chemsieve.report.paired import ENOUGH, Paired, errors, paired
from chemsieve.report.study import CONTROLS, DESCRIPTORS, REPLICATE, Study, ordered_selections

SPLIT = REPLICATE[:2]


def section(study: Study) -> Section:
    """Counts, paired comparisons of the strategies with the controls, and the descriptor baselines, in words."""
    blocks = [_tiles(study), paragraph(_data(study)), *_strategies(study), *_descriptors(study)]
    blocks.append(
        paragraph(
            "Every choice (early stopping, the loss that influence is taken of, the selections, the epoch that is "
            "kept) is made on the validation molecules. The labels of the test molecules are read by the last step "
            "only, which computes the errors shown here."
        )
    )
    return Section("summary", "Summary", blocks)


def comparisons(study: Study) -> list[tuple[str, str, Paired]]:
    """(what, compared with what, paired differences of the test RMSE) for adaptation and each strategy."""
    test, origin = study.test, study.selection_origin
    made = []
    if origin == "adapted" and (test["origin"] == "baseline").any():
        pair = paired(errors(test, "adapted", "full", "none"), errors(test, "baseline", "full", "none"))
        made.append(("adapted encoder", "baseline encoder", pair))
    runs = study.strategy_runs
    for strategy in ordered_selections(runs["selection"].unique()):
        for control in CONTROLS:
            if strategy == "none" or strategy == control or control not in set(runs["selection"]):
                continue
            values, others = (errors(test, origin, "full", name) for name in (strategy, control))
            made.append((strategy, control, paired(values, others)))
    return made


def _tiles(study: Study) -> str:
    sources = study.molecules["source"].value_counts()
    return tiles(
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


def _strategies(study: Study) -> list[str]:
    made = comparisons(study)
    if not made:
        return [paragraph("No two kinds of run can be compared: there is neither a selection nor an adapted encoder.")]
    rows = [
        (what, other, pair.verdict(other), number(pair.mean, 3), number(pair.sd, 3), pair.n)
        for what, other, pair in made
    ]
    blocks = [
        table(
            "Difference of the test RMSE, paired over (splitter, split seed, seed); negative is better. "
            "Full fine-tuning; the two encoders without pool molecules.",
            ["strategy", "compared with", "in words", "mean difference", "sd", "replicates"],
            rows,
        )
    ]
    if min(pair.n for _, _, pair in made) < ENOUGH:
        blocks.append(
            warning(f"Fewer than {ENOUGH} replicates carry no verdict: the size of the noise between runs is unknown.")
        )
    blocks.append(
        paragraph(
            f"These are {count(len(made), 'comparison')}: at 95 % about one in twenty leaves its interval by chance. "
            "Replicates that share a split share their test molecules, so the intervals are, if anything, too narrow."
        )
    )
    return blocks


def _descriptors(study: Study) -> list[str]:
    described = study.test[study.test["origin"] == DESCRIPTORS]
    if described.empty:
        return [paragraph("No descriptor baseline was run.")]
    sentences = []
    for splitter in sorted(described["splitter"].unique()):
        here = study.test[study.test["splitter"] == splitter]
        for method in sorted(described.loc[described["splitter"] == splitter, "method"].unique()):
            sentences.append(_against_language_models(here, splitter, method))
    return [
        paragraph("Descriptor baselines (classical regression on molecular descriptors) beside the language models:"),
        bullets(sentences),
    ]


def _against_language_models(test: pd.DataFrame, splitter: str, method: str) -> str:
    """Compares on the same splits, the language models averaged over their training seeds."""
    baseline = errors(test, DESCRIPTORS, method, "none", SPLIT)
    named = f"On {splitter} splits {method} has a mean test RMSE of {number(baseline.mean())}"
    configurations = test.loc[test["origin"] != DESCRIPTORS, ["origin", "method", "selection"]].drop_duplicates()
    pairs = {
        "/".join(names): paired(errors(test, *names, SPLIT), baseline)
        for names in configurations.sort_values(["origin", "method", "selection"]).itertuples(index=False, name=None)
    }
    pairs = {name: pair for name, pair in pairs.items() if pair.n}
    if not pairs:
        return f"{named}; no language model was run on these splits."
    n_better = sum(pair.mean < 0 for pair in pairs.values())
    closest = min(pairs, key=lambda name: pairs[name].mean)
    gap = f"the lowest of them, {closest}, differs from it by {number(pairs[closest].mean, 3, sign=True)}"
    caution = f", from {count(pairs[closest].n, 'split')}"
    if n_better == 0:
        return f"{named} and beats every language model ({len(pairs)} configurations; {gap}{caution})."
    return (
        f"{named}: {n_better} of {count(len(pairs), 'language-model configuration')} "
        f"{'has' if n_better == 1 else 'have'} a lower one ({gap}{caution}; the lowest of many is so partly by luck)."
    )
