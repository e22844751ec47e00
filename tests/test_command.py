"""The command ``chemsieve``: what it guesses of files, what it says, and with which status it ends."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from chemsieve.command import guessing, main, running, studies, telling, timing
from chemsieve.data.reading import read_table
from chemsieve.study import configuration, resources
from chemsieve.study.steps import step
from helpers.configurations import EMBEDDED
from helpers.inputs import sdf_of
from helpers.tiny import SMILES
from helpers.workflow import RULES

POOL = ["CCCO", "CCCCO", "c1ccccc1", "C1CC", "CCOCC", "OC(=O)c1ccncc1", "CCCCCCN", "CCCCCCO"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(smiles, decimal=".", **more):
    labels = [f"{number / 7:.2f}".replace(".", decimal) for number in range(len(smiles))]
    return pd.DataFrame(
        {"Compound ID": [f"C-{n}" for n in range(len(smiles))], "Smiles": smiles, "logS": labels, **more}
    )


def configured(name="study.yaml"):
    return studies.prepared([yaml.safe_load(Path(name).read_text(encoding="utf-8"))])


@pytest.mark.parametrize(
    ("delimiter", "decimal", "encoding", "note"),
    [
        (",", ".", "utf-8", "plain"),
        (";", ",", "cp1252", "Säure, 5 µl"),
        (";", ".", "utf-8-sig", "naïve"),
        ("\t", ",", "utf-16", "1,5"),
        ("|", ".", "utf-8", "a;b"),
    ],
)
def test_init_finds_how_a_file_is_written(capsys, delimiter, decimal, encoding, note):
    frame = table(SMILES, decimal, note=note)
    frame.to_csv("my target.csv", index=False, sep=delimiter, encoding=encoding)
    table(POOL).to_csv("pool.csv", index=False)
    assert main(["init", "my target.csv", "pool.csv"]) == 0
    config = configured()
    target = config["target"]
    assert (target["smiles"], target["label"], target["identifier"]) == ("Smiles", "logS", "Compound ID")
    assert (target["delimiter"], target["decimal"]) == (delimiter, decimal)
    assert config["study"] == "my_target"
    read = read_table(target["path"], "target", target)
    assert read["smiles"].tolist() == SMILES
    assert read["label_text"].tolist() == table(SMILES)["logS"].tolist()
    assert read["identifier"].tolist() == frame["Compound ID"].tolist()
    configuration.validate(config)
    # As many as a small pool can give.
    assert config["selection"]["strategies"]["influence"]["budget"]["count"] <= len(POOL)
    assert "label       logS" in capsys.readouterr().out


def test_init_reads_the_other_formats(tmp_path):
    (tmp_path / "a.smi").write_text("".join(f"{s} {n / 8}\n" for n, s in enumerate(SMILES)), encoding="utf-8")
    (tmp_path / "b.sdf").write_bytes(sdf_of(*((s, {"ID": f"P-{n}", "pIC50": n / 8}) for n, s in enumerate(POOL[:3]))))
    assert main(["init", "a.smi", "b.sdf", "-o", "mine.yaml"]) == 0
    config = configured("mine.yaml")
    assert config["study"] == "mine"
    assert (config["target"]["smiles"], config["target"]["label"]) == ("1", "2")
    assert (config["pool"]["label"], config["pool"]["identifier"]) == ("pIC50", "ID")
    table(SMILES).astype({"logS": float}).to_parquet("c.parquet")
    found = guessing.look("c.parquet", "target")
    assert (found.smiles, found.label, found.identifier, found.rows) == ("Smiles", "logS", "Compound ID", len(SMILES))


def test_titles_of_a_smiles_file_are_the_molecules_names():
    lines = [f"{smiles}\tcandidate number {n}\n" for n, smiles in enumerate(POOL)]
    Path("a.smi").write_text("".join(lines), encoding="utf-8")
    found = guessing.look("a.smi", "pool")
    assert (found.smiles, found.identifier, found.label) == ("1", "2", None)
    table(SMILES).to_csv("t.csv", index=False)
    assert main(["init", "t.csv", "a.smi"]) == 0
    pool = configured()["pool"]
    configuration.validate(configured())
    assert read_table("a.smi", "pool", pool)["identifier"].tolist() == [
        f"candidate number {n}" for n in range(len(POOL))
    ]
    Path("a.smi").write_text("".join(f"{smiles} vendor\n" for smiles in POOL), encoding="utf-8")
    assert guessing.look("a.smi", "pool").identifier is None, "the same for all names none"


def test_the_label_is_no_index_and_no_weight():
    table(SMILES, MW=[f"{100 + n / 3:.1f}" for n in range(len(SMILES))]).reset_index().to_csv("a.csv", index=False)
    assert guessing.look("a.csv", "target").label == "logS"
    # Another column of the name that the target's label has is meant before one that looks more like a label.
    table(SMILES, pIC50=[str(n / 3) for n in range(len(SMILES))]).to_csv("a.csv", index=False)
    assert guessing.look("a.csv", "pool", "logS").label == "logS"


def test_without_a_pool_the_file_has_a_place_for_it(capsys):
    table(SMILES).to_csv("t.csv", index=False)
    assert main(["init", "t.csv"]) == 0
    assert configured()["pool"]["path"] is None  # it fits the schema
    assert main(["check", "study.yaml"]) == 2
    assert "configuration: pool.path: give your file" in capsys.readouterr().err


def test_a_pool_without_numbers_is_unlabelled():
    table(SMILES).to_csv("t.csv", index=False)
    table(POOL)[["Compound ID", "Smiles"]].to_csv("p.csv", index=False)
    assert main(["init", "t.csv", "p.csv"]) == 0
    text = Path("study.yaml").read_text(encoding="utf-8")
    assert "influence" not in text, "one key says it"
    assert "label: null" not in text
    config = configured()
    assert (config["pool"]["label"], config["pool"]["labels"]) == (None, "unlabelled")
    assert config["selection"]["measure_next"] in config["selection"]["rank"]
    assert config["selection"]["run"] == ["none"]
    assert config["finetune"]["head"]["kernel"], "nothing is selected"
    assert config["influence"]["run"] == []
    configuration.validate(config)


def test_a_small_target_asks_what_the_model_is_unsure_of():
    few, many = table(SMILES), pd.concat([table(SMILES)] * 30)
    for frame, asked in ((few, True), (many, False)):
        frame.to_csv("t.csv", index=False)
        table(POOL).to_csv("p.csv", index=False)
        assert main(["init", "t.csv", "p.csv", "--force"]) == 0
        config = configured()
        configuration.validate(config)
        assert ("v_optimal" in config["selection"]["run"]) == asked
        assert ("auto" in config["baselines"]["uses"]) == asked
        assert set(config["baselines"]["selections"] or []) <= set(config["selection"]["run"])
        assert not config["finetune"]["head"]["kernel"], "it was measured better where nothing is selected"


def test_more_work_takes_longer_and_less_than_a_cluster_is_asked_for():
    def seconds(**more):
        with open("s.yaml", "w", encoding="utf-8") as file:
            yaml.safe_dump({"study": "s", **more}, file)
        plan = studies.load(["s.yaml"])
        found = timing.seconds(plan, ["finetune", "finetune_on_selection", "metrics_table", "all"])
        config = plan.config
        sizes = resources.sizes(config, plan.results, studies.PROJECT / "resources" / "encoder")
        assert all(found[rule] <= step(rule).takes(sizes, config)[1] for rule in found if rule != "all")
        return found

    once, twice = seconds(), seconds(finetune={"epochs": 10})
    assert twice["finetune"] > once["finetune"] > once["metrics_table"] >= once["all"] > 0
    fewer = seconds(selection={"strategies": {"influence": {"budget": {"count": 10}}}})
    assert fewer["finetune_on_selection"] < once["finetune_on_selection"]


def test_a_large_pool_is_scored_molecule_by_molecule():
    table(SMILES).to_csv("t.csv", index=False)
    table(["C" * (1 + n % 50) for n in range(7000)]).to_csv("p.csv", index=False)
    assert main(["init", "t.csv", "p.csv"]) == 0
    config = configured()
    configuration.validate(config)
    assert config["influence"]["run"] == ["exact"]
    assert config["selection"]["strategies"]["influence"]["budget"] == {"count": 100}


def test_init_writes_over_no_file_unless_told(capsys, tmp_path):
    table(SMILES).to_csv("t.csv", index=False)
    (tmp_path / "study.yaml").write_text("mine", encoding="utf-8")
    assert main(["init", "t.csv"]) == 2
    assert (tmp_path / "study.yaml").read_text(encoding="utf-8") == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["init", "t.csv", "--force"]) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y\n1,2\n", "target file t.csv: no column holds SMILES, among 'x', 'y'"),
        ("smiles,y\nCCO,high\n", "target file t.csv: no column holds numbers that could be the label"),
        ("", "target file t.csv: the file is empty"),
    ],
)
def test_a_file_that_is_of_no_use_gets_one_sentence(capsys, content, said):
    with open("t.csv", "w", encoding="utf-8") as file:
        file.write(content)
    assert main(["init", "t.csv"]) == 2
    assert capsys.readouterr().err == f"chemsieve: {said}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target: {source: file, path: nope.csv}", "target file nope.csv: there is no such file"),
        ("target: {pth: x}", "configuration: unknown key 'target.pth'; did you mean 'path'?"),
        (
            "pool.path: x.csv",
            "configuration: unknown key 'pool.path'; a key within another is written 'pool={path: ...}' on the command "
            "line",
        ),
        ("study: [x", "study file s.yaml: line 1: this is no YAML (expected ',' or ']', but got '<stream end>')"),
        ("mine", "study file s.yaml: keys and values are wanted, such as study: mine"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_a_mistake_in_a_study_is_one_sentence_and_status_2(capsys, command, text, said):
    with open("s.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    assert main([command, "s.yaml"]) == 2
    assert capsys.readouterr().err == f"chemsieve: {said}\n"


def test_a_study_is_what_snakemake_makes_of_its_files():
    with open("a.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump({"study": "a", "seeds": [4], "mlm": {"epochs": 3}}, file)
    with open("config.yaml", "w", encoding="utf-8") as file:  # the working directory's own lies below
        yaml.safe_dump({"study": "own", "audit": {"molecules": 11}}, file)
    config = studies.load(["a.yaml"]).config
    assert (config["study"], config["seeds"], config["audit"]["molecules"]) == ("a", [4], 11)
    assert config["mlm"] == EMBEDDED["mlm"] | {"epochs": 3}


LINES = """\
Job stats:
job        count
-------  -------
encoder        1
data           1
finetune       4
total          6

localrule encoder:
    output: x
    jobid: 1
[encoder] done in 5.0 s, peak memory 402 MB
Finished jobid: 1 (Rule: encoder)
1 of 6 steps (17%) done
rule data:
    log: {log}
    jobid: 0
[data] selection.strategies.random.budget: count 10 is more than the 9 molecules of the pool
RuleException:
CalledProcessError in file "rules/common.smk", line 200:
Command 'python tmp.data.py' returned non-zero exit status 1.
Error in rule data:
    message: None
    jobid: 0
    log: {log} (check log file(s) for error details)
Shutting down, this might take some time.
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully."""


def state_of(text):
    state = running.State()
    for line in text.splitlines():
        state.read(line)
    return state


def test_a_run_is_followed_from_what_snakemake_says(tmp_path):
    state = state_of(LINES.split("RuleException")[0])
    assert state.jobs == {"encoder": 1, "data": 1, "finetune": 4}
    assert (state.done, state.total, state.running) == (1, 6, {"0": "data"})
    assert state.line(100, {}) == "1 of 6 steps, 2 min: data"
    state.done, state.finished = 3, running.Counter({"encoder": 1, "data": 1, "finetune": 1})
    # Five of what is expected to take 8 are done after 100 s, so that three are left.
    assert state.left(100, {"encoder": 2, "data": 2, "finetune": 1}) == pytest.approx(60)


def test_the_sentence_of_the_step_that_failed_is_what_is_said(tmp_path):
    log = tmp_path / "data.log"
    text = LINES.format(log=log)
    assert state_of(text).sentence() == f"the step data failed; see {log}"
    log.write_text("2026-11-28 05:11:38,610 ERROR pool: 0 of 3 rows are usable\n", encoding="utf-8")
    assert state_of(text).sentence() == "pool: 0 of 3 rows are usable"
    assert state_of(text).is_bad_input()
    assert not state_of(text.replace("rule data", "rule finetune")).is_bad_input()
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no\n'
    log.write_text(f"2026-11-28 05:11:38,610 ERROR {trace}", encoding="utf-8")
    assert state_of(text).sentence() == f"an unforeseen error: ValueError: no (the whole is in {log})"
    assert not state_of(text).is_bad_input()


def test_every_target_that_is_listed_is_a_rule(capsys):
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    assert set(telling.TARGETS) - {"all"} <= set(re.findall(r"^ *rule (\w+):", text, re.MULTILINE))
    assert main(["targets"]) == 0
    assert "selected" in capsys.readouterr().out


def test_pick_shows_the_head_of_a_list(capsys, tmp_path):
    (tmp_path / "s.yaml").write_text("study: s\n", encoding="utf-8")
    assert main(["pick", "s.yaml", "influence"]) == 2
    assert "there is no such list yet; make it with: chemsieve run s.yaml" in capsys.readouterr().err
    assert main(["pick", "s.yaml", "influnce"]) == 2
    assert "did you mean 'influence'?" in capsys.readouterr().err
    folder = tmp_path / "results" / "s" / "selected"
    folder.mkdir(parents=True)
    header = "rank,identifier,molecule_id,smiles,label,chosen_in,of,score,similarity\n"
    rows = "1,CMP-7,pool-7,CCO,1.5,2,2,0.25,0.5\n2,,pool-3,CCN,,1,2,,\n"
    (folder / "influence.csv").write_text(header + rows, encoding="utf-8")
    assert main(["pick", "s.yaml", "influence", "-n", "2"]) == 0
    path, _, first, second = capsys.readouterr().out.splitlines()
    assert path == "results/s/selected/influence.csv"
    assert first.split() == ["1", "CMP-7", "2", "of", "2", "0.25", "1.5", "0.5", "CCO"]
    assert second.split() == ["2", "pool-3", "1", "of", "2", "CCN"]


@pytest.mark.parametrize(
    "command", [[], *([name] for name in ("init", "check", "run", "status", "pick", "export", "report", "targets"))]
)
def test_help_says_what_a_command_does(capsys, command):
    assert main([*command, "--help"]) == 0
    assert "Usage: chemsieve" in capsys.readouterr().out


@pytest.mark.slow
def test_a_budget_above_the_pool_ends_a_check_with_one_sentence(capfd):
    table(SMILES).to_csv("t.csv", index=False)
    table(POOL).to_csv("p.csv", index=False)
    assert main(["init", "t.csv", "p.csv"]) == 0
    assert main(["check", "study.yaml", "--cores", "1"]) == 0
    said = capfd.readouterr().out
    assert "target: 24 rows accepted, 0 refused" in said
    assert "pool: 6 rows accepted, 2 refused (1 in_target, 1 unparsable)" in said
    assert re.search(r"budget of influence: 2 of 6 pool molecules", said)
    assert re.search(r"left to do: \d+ steps, among them 3 x adaptation", said)
    with open("more.yaml", "w", encoding="utf-8") as file:
        file.write("study: more\nselection: {strategies: {random: {budget: {count: 50}}}}\n")
    assert main(["run", "study.yaml", "more.yaml", "--cores", "1"]) == 2
    errors = capfd.readouterr().err
    sentence = "selection.strategies.random.budget: count 50 is more than the 6 molecules of the pool"
    assert errors.count(sentence) == 1
    assert "CalledProcessError" not in errors


def test_a_study_is_read_as_a_run_reads_it(tmp_path):
    """A budget in place of another, and a pool without labels, which Snakemake's laying over would not give."""
    given = tmp_path / "one.yaml"
    given.write_text(
        "selection: {run: [none, random, influence], strategies: {random: {budget: {fraction: 0.5}}}}\n"
        "pool: {labels: unlabelled}\n",
        encoding="utf-8",
    )
    config = studies.load([str(given)]).config
    assert config["selection"]["strategies"]["random"]["budget"] == {"fraction": 0.5}
    assert "influence" not in config["selection"]["run"]
    assert config["pool"]["label"] is None


def test_the_readme_fits_a_few_screens():
    lines = (studies.PROJECT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    picture = next(number for number, line in enumerate(lines) if "](docs/images/report.png)" in line)
    assert picture < 10, "the picture stands on the first screen"
    assert (studies.PROJECT / "docs" / "images" / "report.png").stat().st_size <= 200_000
