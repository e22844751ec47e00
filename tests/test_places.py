"""Where the workflow is run from, by whom, and how it is called: it works, or one sentence says why not."""

import getpass
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser, parse_args, parse_config

from chemsieve.errors import ChemsieveError
from chemsieve.runtime import warm
from chemsieve.runtime.invocation import SEVERAL, check_arguments
from chemsieve.runtime.processes import name_user
from chemsieve.study import configuration
from helpers import processes
from helpers.workflow import ROOT, copy_workflow, merged, plan, snakemake

TARGETS = {"all", "figures", "measure_next", "plan", "predict", "pretrain", "validate_influence"}
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where Python looks for the user's name


def call(folder, *arguments, **given):
    """Run a Python of this environment in a folder; the completed process with both streams in ``stdout``."""
    return processes.run(*arguments, cwd=folder, **given)


# Paths.


@pytest.mark.slow
def test_checkout_and_environment_may_lie_below_a_path_with_a_space(tmp_path):
    folder = tmp_path / "it's a place" / "workflow"
    folder.mkdir(parents=True)
    copy_workflow(folder)
    (folder.parent / "env").symlink_to(sys.prefix)
    python = folder.parent / "env" / "bin" / Path(sys.executable).name
    done = call(folder, "-m", "snakemake", "--cores", 1, "results/embedded/config.yaml", python=python)
    assert done.returncode == 0, done.stdout
    assert (folder / "results/embedded/config.yaml").exists()


@pytest.mark.slow
def test_braces_in_the_workflows_path_are_one_sentence_and_elsewhere_no_matter(copied, tmp_path):
    place = tmp_path / "{x}"
    copy_workflow(place / "workflow", copied)
    done = call(place / "workflow", "-m", "snakemake", "-n", "all")
    assert done.returncode != 0
    assert (
        f"{place}/workflow: Snakemake reads braces in a path as wildcards; rename the workflow's folder" in done.stdout
    )
    made = "results/embedded/config.yaml"
    done = call(place, "-m", "snakemake", "--cores", 1, "-s", copied / "Snakefile", made)
    assert done.returncode == 0, done.stdout
    assert (place / made).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["-s", "../workflow/Snakefile"],
        ["-s", "{place}/workflow/Snakefile", "-d", "{place}/own", "--configfile", "../workflow/studies/tiny.yaml"],
        ["-s", "../link/Snakefile", "-d", "."],
    ],
    ids=["relative", "working directory", "symlink"],
)
def test_the_workflow_may_be_called_from_another_folder(copied, tmp_path, arguments):
    place = tmp_path
    (place / "workflow").mkdir()
    copy_workflow(place / "workflow", copied)
    (place / "link").symlink_to("workflow")
    (place / "own").mkdir()
    (place / "own" / "mine.csv").write_text("smiles,label\n", encoding="utf-8")
    target = "target={source: file, path: mine.csv, label: label}"
    given = [argument.format(place=place) for argument in arguments]
    done = call(
        place / "own",
        "-m",
        "snakemake",
        "--cores",
        1,
        "results/own/config.yaml",
        *given,
        "--config",
        "study=own",
        target,
    )
    assert done.returncode == 0, done.stdout
    made = yaml.safe_load((place / "own" / "results/own/config.yaml").read_text(encoding="utf-8"))
    assert made["target"]["path"] == "mine.csv"
    assert made["embedded"]["targets"] == (80 if "--configfile" in arguments else 2650)
    assert not (place / "workflow" / "results").exists()


@pytest.mark.slow
def test_a_configuration_of_the_working_directory_is_an_overlay(copied, tmp_path):
    (tmp_path / "config.yaml").write_text("study: own\nseeds: [5]\n", encoding="utf-8")
    snakefile = copied / "Snakefile"
    done = call(tmp_path, "-m", "snakemake", "-n", "-s", snakefile, "all", "--config", "study=named")
    assert done.returncode == 0, done.stdout
    assert "results/named/runs/draws/0/5/mlm/model.safetensors" in done.stdout
    (tmp_path / "config.yaml").write_text("samples: samples.tsv\n", encoding="utf-8")
    done = call(tmp_path, "-m", "snakemake", "-n", "-s", snakefile, "all")
    assert done.returncode != 0
    assert "configuration: unknown key 'samples'" in done.stdout


# Dates.


@pytest.mark.slow
def test_the_encoder_of_the_project_counts_by_its_content_and_not_by_its_dates(tmp_path):
    copy_workflow(tmp_path)
    made = "results/embedded/encoder/config.json"
    assert snakemake(tmp_path, made).returncode == 0
    shipped = tmp_path / "resources" / "encoder" / "config.json"
    shipped.write_text(shipped.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert [(job.rule, job.input) for job in plan(tmp_path, made)] == [("encoder", [])]
    for path in (tmp_path / "resources").rglob("*"):
        os.utime(path, (time.time() + 10, time.time() + 10))
    shutil.rmtree(tmp_path / ".snakemake")  # with which Snakemake knows nothing but dates
    assert plan(tmp_path, made) == []


# Users.


def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")


def test_a_user_without_an_account_gets_a_name(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("USER", "")  # so that it is restored
    name_user()
    assert getpass.getuser() == f"user{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "somebody")
    name_user()
    assert getpass.getuser() == "somebody"


@pytest.mark.slow
def test_a_user_without_an_account_can_run_the_workflow(copied):
    program = (
        "import pwd, sys\n"
        "def unknown(number): raise KeyError('getpwuid(): uid not found')\n"
        "pwd.getpwuid = unknown\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    without = dict.fromkeys(NAMES)
    done = call(copied, "-c", program, "-n", "results/embedded/config.yaml", environment=without | {"HOME": copied})
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_finds_a_place_for_caches_where_home_is_none(tmp_path):
    (tmp_path / "Makefile").write_text(
        (ROOT / "Makefile").read_text(encoding="utf-8") + "\nshow:\n\t@echo $$XDG_CACHE_HOME+$$XDG_CONFIG_HOME\n",
        encoding="utf-8",
    )
    own = f"{tmp_path}/.snakemake/cache+{tmp_path}/.snakemake/config"
    for home, given, wanted in (
        (str(tmp_path), None, "+"), ("/nowhere", None, own), (None, None, own),
        ("/nowhere", "/tmp/x", f"/tmp/x+{tmp_path}/.snakemake/config"),
    ):  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_") and k != "HOME"}
        environment |= {"HOME": home} if home else {}
        environment |= {"XDG_CACHE_HOME": given} if given else {}
        done = subprocess.run(["make", "-s", "show"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == wanted, done.stderr


def test_the_image_names_a_user_and_a_home_for_any_number():
    assert re.search(r"^ENV HOME=/tmp USER=\w+ ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


# Names and files.


@pytest.mark.slow
def test_a_study_may_have_a_hyphen_in_its_name(copied):
    done = call(copied, "-m", "snakemake", "-n", "results/my-study/config.yaml", "--config", "study=my-study")
    assert done.returncode == 0, done.stdout


def encoder(**given):
    return {"encoder": {"path": None, "tokenizer": None} | given}


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_encoder_folder_that_lacks_a_file_is_named_before_anything_runs(tmp_path, lacking):
    for name in {"config.json", "model.safetensors", "tokenizer.json"} - {lacking}:
        (tmp_path / name).touch()
    with pytest.raises(ChemsieveError) as caught:
        configuration.check_encoder(encoder(path=str(tmp_path)))
    assert str(caught.value).startswith(
        f"configuration: encoder.path: there is no file {tmp_path / lacking}; an encoder's"
    )
    (tmp_path / "own.json").touch()
    with_own = encoder(path=str(tmp_path), tokenizer=str(tmp_path / "own.json"))
    if lacking == "tokenizer.json":
        configuration.check_encoder(with_own)
    (tmp_path / "own.json").unlink()
    with pytest.raises(ChemsieveError, match=r"encoder.tokenizer: there is no file .*own.json"):
        configuration.check_encoder(with_own)
    (tmp_path / lacking).touch()
    configuration.check_encoder(encoder(path=str(tmp_path)))


def test_an_encoder_that_the_workflow_makes_need_not_be_there():
    for path in ("results/a/pretrain/encoder", "./results/a/pretrain/encoder", "bundled", None):
        configuration.check_encoder(encoder(path=path))


def test_a_socket_has_a_short_path_or_none(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    for temporary in (tmp_path, long):
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        with warm.socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/socket.starting")
        assert not Path(folder).exists()
        assert list(long.iterdir()) == []
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda prefix, dir: Long(long))
    assert warm.socket_folder() is None


class Long:
    """A temporary folder on a machine where all are far down."""

    def __init__(self, folder):
        self.name = str(folder)

    def cleanup(self):
        pass


# Options.


@pytest.mark.slow
@pytest.mark.parametrize("command", ["--summary", "--unlock", "--report report.html"])
def test_commands_that_run_nothing_need_no_number_of_cores(copied, command):
    page = copied / "results" / "embedded" / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<p>the page of a study</p>", encoding="utf-8")  # Snakemake's own report holds it
    done = call(copied, "-m", "snakemake", *command.split())
    page.unlink()
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_corpus_is_prepared_on_all_cores(copied):
    (copied / "corpus.smi").write_text("CCO\n", encoding="utf-8")
    given = ["--cores", 3, "-n", "pretrain", "--config", "study=p", "pretrain={corpus: corpus.smi}"]
    done = call(copied, "-m", "snakemake", *given)
    assert done.returncode == 0, done.stdout
    assert "threads: 3" in done.stdout


LOST = [
    ("--config study=zz --config seeds=[0]", "--config study=zz 'seeds=[0]'"),
    ("all -C study=zz --cores 2 --config=seeds=[0]", "--config study=zz 'seeds=[0]'"),
    ("-Cstudy=zz --config a=1 b=2", "--config study=zz a=1 b=2"),
    ("--configfile a.yaml --cores 2 all --configfiles b.yaml c.yaml", "--configfile a.yaml b.yaml c.yaml"),
    ("-R mlm --forcerun gram finetune", "--forcerun mlm gram finetune"),
    ("--res gpu=1 --resources mem_mb=8", "--resources gpu=1 mem_mb=8"),
]


@pytest.mark.parametrize(("arguments", "together"), LOST)
def test_an_option_that_would_be_lost_is_named_with_its_remedy(arguments, together):
    for program in ("/usr/bin/snakemake", "site-packages/snakemake/__main__.py"):
        with pytest.raises(ChemsieveError) as caught:
            check_arguments([program, *arguments.split()])
        assert str(caught.value).endswith(f"as in {together}")
        assert "is given 2 times, and Snakemake takes the last alone" in str(caught.value)
    check_arguments(["another.py", *arguments.split()])


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "-n all --configfile a.yaml b.yaml --config study=x seeds=[0] --cores 2",
        "--profile a --profile b --cores 2 --cores 3 -- all",
        "--config a=1 -- --config",
        "--resources gpu=1 --set-resources gram:mem_mb=1 --cache",
    ],
)
def test_options_given_once_pass(arguments):
    check_arguments(["snakemake", *arguments.split()])


def test_the_options_that_are_watched_are_snakemakes_and_take_several_values():
    own = {name: action for action in get_argument_parser()._actions for name in action.option_strings}
    for name, first in SEVERAL.items():
        assert own[name] is own[first]
        assert own[name].nargs in ("+", "*")


def test_an_option_given_twice_stops_the_workflow(copied):
    done = call(copied, "-m", "snakemake", "-n", "all", "--config", "study=zz", "--config", "seeds=[0]")
    assert done.returncode != 0
    assert "give it once, with all values, as in --config study=zz 'seeds=[0]'" in done.stdout


# Commands that the documents give.

DOCUMENTS = [
    ROOT / "README.md", ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "config.yaml",
    *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "studies").glob("*.yaml")),
    *sorted((ROOT / "profiles").glob("*/*.yaml")),
]  # fmt: skip
COMMAND = re.compile(r"^(?:\$ |.* )??((?:[A-Z_]+=\S+ )*snakemake [^|]*)$")


def commands():
    """Every command of the documents that starts Snakemake, with the lines that it goes on in."""
    found = {}
    for path in DOCUMENTS:
        marked = path.suffix != ".md" and path.name != "Makefile"  # a command is in a comment
        lines = [re.sub(r"^\s*#\s?", "", line) if marked else line.strip() for line in path.read_text().splitlines()]
        for number, line in enumerate(lines):
            for command in re.findall(r"`(snakemake [^`]*)`", line):
                found.setdefault(command, path.name)
            if "`" not in line and (match := COMMAND.match(line)):
                command, rest = match[1], iter(lines[number + 1 :])
                while command.endswith("\\") or command.count("'") % 2:
                    command = f"{command.removesuffix(chr(92))} {next(rest).strip()}"
                found.setdefault(re.split(r"\s+#|\s{3,}", command)[0].strip(), path.name)
    return sorted(f"{name}: {command}" for command, name in found.items() if "$" not in command)


def test_commands_are_found_in_the_documents():
    found = commands()
    assert len(found) > 40
    assert any(c.startswith("README.md: snakemake predict --cores 2 ") for c in found)
    assert any(c.startswith("data.md: ") and c.endswith("'validation={run: false}'") for c in found)
    assert any(c.startswith("wise2025.yaml: ") for c in found)


@pytest.fixture(scope="module")
def documented(copied):
    """The workflow with what the documents' commands name: an own study, further overlays, an encoder."""
    for name, own in (("template", "mine"), ("measure_next", "my_next")):
        shutil.copy(copied / f"studies/{name}.yaml", copied / f"studies/{own}.yaml")
    for name in ("exact.yaml", "one_seed.yaml", "teacher.yaml"):
        (copied / name).write_text("seeds: [0]\n", encoding="utf-8")
    return copied


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_documents_is_taken(documented, command, monkeypatch):
    words = [word for word in shlex.split(command.partition(": ")[2]) if not re.match(r"[A-Z_]+=", word)]
    monkeypatch.chdir(documented)
    for name in ("slurm", "kubernetes", "NAME"):  # their executors are not installed with the rest: see test_cluster.py
        if f"profiles/{name}" in words:
            words[words.index(f"profiles/{name}")] = "profiles/gpu"
    check_arguments(words)
    _, given = parse_args(words[1:])
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    for name in given.configfile or []:
        config = merged(config, yaml.safe_load(Path(name).read_text(encoding="utf-8")))
    config = merged(config, parse_config(given.config or []))
    for section in ("target", "pool", "predict", "encoder"):
        key = "input" if section == "predict" else "path"
        if given.config and any(entry.startswith(f"{section}=") for entry in given.config):
            config[section][key] = stand_in(config[section], section)
    if {"studies/mine.yaml", "studies/my_next.yaml"} & set(words):
        for section in ("target", "pool"):
            config[section]["path"] = stand_in(config[section], section)
    config, _ = configuration.stepped_aside(configuration.normalise(config))
    if "pool.path" in refused(config):
        assert words[-1] == "studies/lipophilicity.yaml", "the one that shows the sentence"
    else:
        configuration.validate(config)
    for target in given.targets:
        assert target in TARGETS or target.startswith("results/"), target


def stand_in(table, section):
    """A file with a header alone, or an encoder folder, for one that the user is to have."""
    if section == "encoder":
        return table["path"]
    columns = [table["smiles"], *([table["label"]] if table.get("label") else []), *filter(None, [table.get("fold")])]
    Path(f"{section}.csv").write_text(table["delimiter"].join(columns) + "\n", encoding="utf-8")
    return f"{section}.csv"


def refused(config):
    """What the configuration is refused with; nothing where it is not."""
    try:
        configuration.validate(config)
    except ChemsieveError as error:
        return str(error)
    return ""
