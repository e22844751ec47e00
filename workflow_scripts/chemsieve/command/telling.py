"""What the command says of a study: what was read, what will be trained, what came out."""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chemsieve.command import timing
from chemsieve.command.guessing import Guess
from chemsieve.command.running import duration
from chemsieve.influence.capacity import check_pool, stand_ins
from chemsieve.study import budgets
from chemsieve.study.plan import Plan

TARGETS = {
    "all": "the report, all tables, the lists: what `chemsieve run` makes",
    "selected": "what each strategy chose, as CSV files for the bench: results/STUDY/selected/",
    "measure_next": "which candidates without labels to measure next: results/STUDY/measure_next.csv",
    "audit": "what is wrong with the data, before anything is trained",
    "report": "the report alone, and what it needs",
    "export_model": "the best model as a folder that predicts without the workflow: results/STUDY/model/",
    "predict": "predictions of the file that the key predict.input names: results/STUDY/predictions.csv",
    "plan": "what more splits and seeds would show, and cost: results/STUDY/plan.txt",
    "figures": "the report's figures as SVG files (needs Chromium or Chrome)",
    "pretrain": "an encoder of your own from a corpus of SMILES (the key pretrain.corpus)",
}
# What a target makes, below the study's results, where it is not the report.
MADE = {
    "selected": "selected",
    "measure_next": "measure_next.csv",
    "export_model": "model",
    "predict": "predictions.csv",
    "plan": "plan.txt",
    "figures": "figures",
}
# Rules in which something is trained, in words.
TRAININGS = {
    "mlm": "adaptation of the encoder",
    "tune": "choosing a learning rate (tuning.run)",
    "finetune": "fine-tuning on the training molecules",
    "finetune_on_selection": "fine-tuning on a selection",
    "finetune_with_use": "fine-tuning on a selection in another way (use.run)",
    "retrain": "retraining that the scores are held against",
    "baseline": "descriptor model",
    "baseline_on_selection": "descriptor model on a selection",
}


def guessed(source: str, found: Guess) -> Iterator[str]:
    """What was guessed of a file."""
    how = {"csv": f"CSV divided by {_shown(found.delimiter)}", "smi": "a SMILES file", "sdf": "an SD file"}
    written = "" if found.format == "parquet" else f", {found.encoding}"
    comma = ", decimal comma" if found.decimal == "," else ""
    yield f"{source}: {found.path}, {how.get(found.format, 'Parquet')}{written}{comma}, {found.rows:,} rows"
    yield f"  SMILES      {found.smiles or 'of the records'} ({found.read} of {found.looked} rows looked at are read)"
    others = f" (or is it {', '.join(found.others[:5])}?)" if found.others else ""
    yield f"  label       {found.label if found.label is not None else 'none: no column holds numbers'}{others}"
    title = "the records' titles" if found.format == "sdf" else "none"
    yield f"  identifier  {found.identifier or title}"


def _shown(delimiter: str) -> str:
    return {"\t": "tabs", ",": "commas", ";": "semicolons"}.get(delimiter, repr(delimiter))


def data(plan: Plan) -> Iterator[str]:
    """Rows accepted and refused, by reason; what the audit found."""
    from chemsieve.tables import read_table

    tables = Path(plan.results) / "tables"
    molecules, rejected = (read_table(tables / f"{name}.parquet") for name in ("molecules", "rejected"))
    for source in ("target", "pool"):
        refused = rejected[rejected["source"] == source]
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(Counter(refused["reason"]).items()))
        why = f" ({reasons})" if reasons else ""
        yield f"{source}: {(molecules['source'] == source).sum():,} rows accepted, {len(refused):,} refused{why}"
        named = molecules.loc[molecules["source"] == source, "identifier"].notna().sum()
        yield f"  of these {named:,} have an identifier" if named else "  without identifiers"
    if len(rejected):
        yield f"  refused rows, each with its reason: {tables / 'rejected.parquet'}"
    audit = read_table(tables / "audit.parquet")
    for row in audit[audit["severity"] != "note"].itertuples(index=False):
        where = f" ({row.splitter} split, seed {row.split_seed:.0f})" if row.splitter else ""
        yield f"{row.severity}: {row.finding}{where}"


def plans(plan: Plan) -> Iterator[str]:
    """The budgets against the pool.

    Raises:
        ChemsieveError: one asks for more than the pool has, or an estimator has no room for the pool.
    """
    from pyarrow.parquet import read_metadata

    pool = read_metadata(f"{plan.results}/data/pool.parquet").num_rows
    molecules = read_metadata(f"{plan.results}/tables/molecules.parquet").num_rows
    chosen = budgets.of(plan.config)
    budgets.check(chosen, pool)
    check_pool(plan.config, molecules - pool, pool)
    yield from stand_ins(plan.config, molecules - pool, pool)
    for name, budget in chosen.items():
        sized = not {"count", "fraction"}.isdisjoint(budget)
        taken = f"{budgets.most(budget, pool):,} of {pool:,}" if sized else f"scores of {budget} of {pool:,}"
        yield f"budget of {name}: {taken} pool molecules"


def shown_by(plan: Plan) -> Iterator[str]:
    """The smallest difference that the configured splits and seeds would probably show."""
    from chemsieve.statistics import planning
    from chemsieve.tables import read_table

    if not plan.labelled:
        return
    spec, results = plan.planning, [read_table(path) for path in plan.planned_from]
    splits, seeds = len(plan.splits["split_seed"]), len(plan.replicates["seed"])
    settings, pairs = spec["statistics"], spec["arms"] * (spec["arms"] - 1) // 2
    for splitter in spec["splitters"]:
        found = planning.components(splitter, spec, *results[:2])
        smallest = planning.detectable(found, splits, seeds, pairs, settings["alpha"], settings["power"])
        design = f"{splitter} split: {splits} x {seeds} (splits x seeds)"
        if smallest == smallest:
            yield (
                f"{design} would probably show differences of RMSE from {smallest:.2g} on "
                f"(noise {found.source}; `chemsieve run --target plan` says what more would show)"
            )
        else:
            yield f"{design} cannot show any difference: two splits, or two seeds, are the least"


def work(plan: Plan, jobs: Counter, cores: int) -> Iterator[str]:
    """What is left to be trained and how long it may take."""
    trained = [f"{jobs[rule]} x {what}" for rule, what in TRAININGS.items() if jobs[rule]]
    yield f"left to do: {sum(jobs.values())} steps" + (f", among them {'; '.join(trained)}" if trained else "")
    expected = timing.seconds(plan, list(jobs))
    seconds = sum(expected[rule] * n for rule, n in jobs.items())
    if seconds:
        cores_in_words = "1 core" if cores == 1 else f"{cores} cores"
        yield f"time: about {duration(seconds / cores)} on {cores_in_words} (half or twice as long on another machine)"


def outcome(plan: Plan) -> Iterator[str]:
    """The verdicts of a finished study, how far the selections agree, and where everything is."""
    from chemsieve.report.study import load
    from chemsieve.report.summary import verdicts
    from chemsieve.study import effective

    results = Path(plan.results)
    if not (results / "report.html").is_file():
        return
    for splitter, sentences in verdicts(load(results / "tables", effective.read(results / "config.yaml"))).items():
        yield f"on the {splitter} split, by the error on test molecules:"
        yield from (f"  {sentence}" for sentence in sentences)
    if plan.lists:
        yield f"lists: {Path(plan.lists[0]).parent}"
    yield f"report: {results / 'report.html'}"


def holder(results: Path) -> str | None:
    """Who runs the study now, in words; None where nobody does."""
    try:
        with open(results / ".lock" / "run", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    owner = json.load(file)
                    return f"process {owner['process']} on {owner['machine']}, since {owner['since']}"
                except (ValueError, KeyError, TypeError):
                    return "a process that has only begun"
    except OSError:
        pass
    return None
