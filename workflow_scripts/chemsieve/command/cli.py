"""The commands, as they are called."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import yaml

from chemsieve.errors import ChemsieveError

BAD_INPUT = 2
STUDY = click.argument("study", nargs=-1, required=True, metavar="STUDY...")
CORES = click.option("--cores", type=click.IntRange(1), default=os.cpu_count() or 1, help="How many cores are used.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 done, 1 failed, 2 bad input."""
    try:
        return cli.main(args=arguments, prog_name="chemsieve", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except ChemsieveError as error:
        click.echo(f"chemsieve: {error}", err=True)
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Which molecules to add to a training set, and how to fine-tune on them, with evidence.

    \b
      chemsieve init my_target.csv my_pool.csv    looks at your files and writes study.yaml
      chemsieve check study.yaml                  reads the data; says what would be trained
      chemsieve run study.yaml                    runs it, to the report
      chemsieve pick study.yaml influence         the molecules that a strategy chose

    A study is a file of a few lines (docs/configuration.md has all keys); results go to results/<its name>/ below
    the folder that you are in. The same command goes on where an earlier run ended. Several files may be given as
    STUDY: each is laid over those before it.
    """


@cli.command()
@click.argument("target")
@click.argument("pool", required=False)
@click.option("-o", "--output", default="study.yaml", show_default=True, help="The file that is written.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(target: str, pool: str | None, output: str, force: bool) -> int:
    """Write a study's file from a look at yours.

    TARGET has the molecules that the model is for, with a label each; POOL those that may be added. Each is CSV, .smi,
    SDF or Parquet, gzipped or not. What was guessed is said, and stands in the file.
    """
    from chemsieve.command import guessing, studies, telling, writing
    from chemsieve.runtime.files import write_text
    from chemsieve.study import configuration

    if Path(output).exists() and not force:
        raise ChemsieveError(f"{output}: there is such a file already; give another name (-o) or --force")
    found = guessing.look(target, "target")
    if found.label is None:
        _say(telling.guessed("target", found))
        raise ChemsieveError(f"target file {target}: no column holds numbers that could be the label")
    other = guessing.look(pool, "pool", found.label) if pool else None
    _say(telling.guessed("target", found))
    _say(telling.guessed("pool", other) if other else ["pool: none given; name one in the file before you run it"])
    text = writing.study_file(writing.name_of(output, target), found, other)
    config = studies.prepared([yaml.safe_load(text)])
    if other:
        configuration.validate(config)
    write_text(output, text)
    click.echo(f"\n{output} is written. Look at what follows an arrow (<-) there, then: chemsieve check {output}")
    if other and other.label is None:
        click.echo(
            f"The list of what to measure next, without the report: chemsieve run {output} --target measure_next"
        )
    return 0


@cli.command()
@STUDY
@CORES
def check(study: tuple[str, ...], cores: int) -> int:
    """Read the data, audit it, and say what would be trained.

    Nothing is trained. Rows that are refused are counted by reason.
    """
    from chemsieve.command import running, studies, telling

    plan = studies.load(study)
    targets = [f"{plan.results}/tables/{name}.parquet" for name in ("molecules", "rejected", "audit")]
    status = _followed(plan, study, targets, cores)
    if status:
        return status
    _say(telling.data(plan))
    _say(telling.plans(plan))
    _say(telling.shown_by(plan))
    jobs, mistake = running.planned(study, ["all"])
    if mistake:
        raise ChemsieveError(mistake)
    _say(telling.work(plan, jobs, cores))
    return 0


@cli.command()
@STUDY
@CORES
@click.option("--target", default="all", show_default=True, help="What is made (chemsieve targets).")
def run(study: tuple[str, ...], cores: int, target: str) -> int:
    """Run a study, and say what came out.

    One line says how far it is; all that Snakemake says is in a file. Exit status: 0 done, 1 failed, 2 bad input.
    """
    from chemsieve.command import studies, telling

    plan = studies.load(study)
    status = _followed(plan, study, [target], cores)
    if status:
        return status
    if made := telling.MADE.get(target):
        click.echo(f"{target}: {Path(plan.results) / made}")
    else:
        _say(telling.outcome(plan))
    return 0


@cli.command()
@STUDY
@CORES
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="No look is begun that would end after them.")
def settle(study: tuple[str, ...], cores: int, hours: float | None) -> int:
    """Add replicates until the study's questions are answered.

    The study is looked at with as many replicates as `statistics.looks` says, and goes on to the next look where a
    question is open. What was trained is kept. All looks share one error probability.
    """
    import time

    from chemsieve.command import settling, studies, telling

    results, looks = settling.looks(study)
    limit, began, before = hours and hours * 3600, time.monotonic(), 0
    for place, look in enumerate(looks):
        files, since = settling.grown(study, look, results), time.monotonic()
        plan = studies.load(files)
        if code := _followed(plan, files, [f"{results}/tables/comparisons.parquet"], cores):
            return code
        left, now = settling.open_questions(results), time.monotonic()
        what = f"{len(left)} comparisons are open" if left else "all questions are answered"
        click.echo(f"look {place + 1} of {len(looks)}, {look.size} replicates: {what}")
        if not left or look is looks[-1]:
            break
        more = looks[place + 1].size - look.size
        if why := settling.too_long(now - began, now - since, look.size - before, more, limit):
            click.echo(f"the study stops here: {why}")
            break
        before = look.size
    if code := _followed(plan, files, ["all"], cores):
        return code
    _say(f"open: {sentence}" for sentence in left)
    _say(telling.outcome(plan))
    click.echo(f"the study as it stands: {' '.join(files)}")
    return 0


@cli.command()
@STUDY
@CORES
def export(study: tuple[str, ...], cores: int) -> int:
    """Make the best model of a study a folder that predicts without the workflow: results/STUDY/model/."""
    from chemsieve.command import studies, telling

    plan = studies.load(study)
    status = _followed(plan, study, ["export_model"], cores)
    if status == 0:
        click.echo(f"model: {Path(plan.results) / telling.MADE['export_model']}")
    return status


@cli.command()
@STUDY
@CORES
def report(study: tuple[str, ...], cores: int) -> int:
    """Make the report of a study, and what it needs; say where it is."""
    from chemsieve.command import studies, telling

    plan = studies.load(study)
    status = _followed(plan, study, ["report"], cores)
    if status == 0:
        _say(telling.outcome(plan))
    return status


@cli.command()
@STUDY
def status(study: tuple[str, ...]) -> int:
    """Say how far a study is, whether it runs, and what came out."""
    from chemsieve.command import running, studies, telling

    plan = studies.load(study)
    results = Path(plan.results)
    logs = sorted((results / "logs").glob("run-*.log"))
    if holder := telling.holder(results):
        click.echo(f"running: {holder}")
        state = running.State()
        for line in logs[-1].read_text(encoding="utf-8", errors="replace").splitlines() if logs else []:
            state.read(line)
        if state.total:
            click.echo(f"{state.done} of {state.total} steps; log: {logs[-1]}")
        return 0
    jobs, mistake = running.planned(study, ["all"])
    if mistake:
        raise ChemsieveError(mistake)
    total = sum(jobs.values())
    click.echo(f"not running; {total} steps are left to do" if total else "done: nothing is left to do")
    if logs:
        click.echo(f"last log: {logs[-1]}")
    if not total:
        _say(telling.outcome(plan))
    return 0


@cli.command()
@STUDY
@click.argument("strategy")
@click.option("--split", help="The list of one split, such as scaffold-0, where there are several.")
@click.option("-n", "--rows", type=click.IntRange(0), default=10, show_default=True, help="How many rows are shown.")
def pick(study: tuple[str, ...], strategy: str, split: str | None, rows: int) -> int:
    """Show the path and the head of the list of what STRATEGY chose."""
    from chemsieve.command import studies
    from chemsieve.deployment.lists import FOLDER, file_names
    from chemsieve.study.mistakes import check_name

    plan = studies.load(study)
    check_name("strategy", strategy, plan.listed)
    names = list(file_names(strategy, plan.each_split))
    name = f"{strategy}_{split}.csv" if split else names[0]
    if name not in names:
        known = ", ".join(one.removeprefix(f"{strategy}_").removesuffix(".csv") for one in names[1:])
        raise ChemsieveError(
            f"there is no list of the split {split}; there are: {known or 'no lists of single splits'}"
        )
    path = Path(plan.results) / FOLDER / name
    if not path.is_file():
        raise ChemsieveError(f"{path}: there is no such list yet; make it with: chemsieve run {' '.join(study)}")
    click.echo(path)
    _say(_head(path, rows))
    return 0


def _head(path: Path, rows: int) -> Iterable[str]:
    """The first rows of a list, in columns."""
    import csv
    import itertools

    with path.open(encoding="utf-8-sig", newline="") as file:
        found = list(itertools.islice(csv.DictReader(file), rows))
    shown = ("rank", "identifier", "chosen_in", "score", "label", "similarity", "smiles")
    for row in found:
        row["identifier"] = row["identifier"] or row["molecule_id"]
        row["chosen_in"] = f"{row['chosen_in']} of {row['of']}"
    table = [shown, *([row[name] for name in shown] for row in found)]
    widths = [max(len(cells[place]) for cells in table) for place in range(len(shown))]
    return ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table)


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def predict(arguments: tuple[str, ...]) -> int:
    """Predict a file of molecules with a model folder.

    The folder is made by: chemsieve export STUDY. Options: chemsieve predict --help
    """
    from chemsieve.predict import main as predict_file

    try:
        return predict_file(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)


@cli.command()
def targets() -> int:
    """List what can be made of a study."""
    from chemsieve.command.telling import TARGETS

    width = max(map(len, TARGETS))
    _say(f"{name.ljust(width)}  {what}" for name, what in TARGETS.items())
    click.echo(
        "\nchemsieve run STUDY --target NAME, or with all of Snakemake's options: snakemake NAME --configfile STUDY"
    )
    return 0


def _followed(plan, study: tuple[str, ...], targets: list[str], cores: int) -> int:
    """Run Snakemake; where it fails, say why in one sentence. Its exit status as this command has it."""
    from chemsieve.command import running

    code, state, log = running.follow(plan, study, targets, cores, sys.stderr)
    for line in state.missing:
        click.echo(line, err=True)
    if code == 0:
        return running.DONE
    bad = state.is_bad_input()
    click.echo(f"chemsieve: {state.sentence()}", err=True)
    click.echo(f"full log: {log}", err=True)
    return running.BAD_INPUT if bad else running.FAILED


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
