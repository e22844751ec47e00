"""What a stranger's file, name or configuration must not do: run code, reach a shell, or load something unpinned."""

import ast
import json
import logging
import pickle
import re
import shutil
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
import yaml

from chemsieve import tables
from chemsieve.data.reading import stream
from chemsieve.deployment import folder, neighbours
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, checkpoints, tokenization
from chemsieve.report.blocks import Section
from chemsieve.report.figure import drawn
from chemsieve.report.rendering import html
from chemsieve.study import configuration
from helpers.configurations import changed
from helpers.inputs import Trap
from helpers.pretraining import trained
from helpers.tiny import SMILES
from helpers.workflow import ROOT, RULES, SOURCES, STUDIES, snakemake

# -- sources -----------------------------------------------------------------------------------------------------------

PICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
RUNNING = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter",
    "torch.hub.load", "runpy.run_module", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all",
}  # fmt: skip
METHODS = {"read_pickle", "to_pickle", "load_state_dict_from_url"}  # of anything
FALSE_ONLY = {"trust_remote_code", "shell", "allow_pickle"}


def unsafe(tree):
    """Uses of what can run a stranger's code, under whatever name it was imported: one line each."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            whole = {alias.asname or alias.name.split(".")[0]: alias for alias in node.names}
            names |= {name: alias.name if alias.asname else name for name, alias in whole.items()}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [(node, f"import {module}") for module in modules if module.split(".")[0] in PICKLING]
        elif isinstance(node, ast.Name | ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            used = ".".join([names.get(first, first), *rest])
            if used in RUNNING or (isinstance(node, ast.Attribute) and node.attr in METHODS):
                found.append((node, used))
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in FALSE_ONLY and getattr(keyword.value, "value", True) is not False:
                    found.append((node, f"{keyword.arg}="))
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if ast.unparse(node.func).endswith("import_module") and PICKLING & {text.split(".")[0] for text in texts}:
                found.append((node, texts[0]))
    return [f"line {node.lineno}: {what}" for node, what in found]


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "from joblib import load",
        "import joblib.memory",
        "import shelve",
        "import marshal",
        "importlib.import_module('dill')",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "torch.save(state, path)",
        "import torch as t; t.load(path)",
        "from torch import load; load(path)",
        "from torch import load as read; read(path)",
        "reader = torch.load",
        "pandas.read_pickle(path)",
        "frame.to_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=allowed)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=given)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "from os import system; system(command)",
        "os.popen(command)",
    ],
)
def test_unsafe_code_is_seen(line):
    assert len(unsafe(ast.parse(line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "re.compile(text)",
        "load_file(path)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "subprocess.run(command, shell=False)",
        "importlib.import_module(name)",
    ],
)
def test_safe_code_is_not(line):
    assert unsafe(ast.parse(line)) == []


def test_sources_run_no_code_from_data():
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): unsafe(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {path: uses for path, uses in found.items() if uses} == {}


SHELL = re.compile(r"^\s*(?:shell|run):|\bshell\(|shell=|os\.(?:system|popen)|\b(?:eval|exec)\(|pickle", re.MULTILINE)


@pytest.mark.parametrize("text", ["    shell:\n", "    run:\n", "shell('ls')", "eval(x)", "import pickle"])
def test_a_shell_in_a_rule_is_seen(text):
    assert SHELL.search(text)


def test_rules_have_no_shell():
    texts = {path.name: path.read_text(encoding="utf-8") for path in [*RULES, ROOT / "Snakefile"]}
    assert {name: SHELL.findall(text) for name, text in texts.items() if SHELL.search(text)} == {}


# -- a pickle by another name ------------------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path):
    """Puts a pickle in the place of a file; unpickling it would leave a file behind, which it has checked itself."""
    canary = tmp_path / "opened"
    pickle.loads(pickle.dumps(Trap(canary)))
    canary.unlink()  # it does work

    def put(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Trap(canary)))
        return path

    yield put
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.safetensors", checkpoints.read_tensors),
        ("pytorch_model.bin", checkpoints.read_tensors),
        ("table.parquet", tables.read_table),
        ("training.parquet", neighbours.read),
        ("tokenizer.json", tokenization.load),
        ("config.json", lambda path: backbone.read_config(path.parent)),
        ("chemsieve.json", lambda path: folder.read_facts(path.parent)),
        *(
            (f"a.{ending}", lambda path: list(stream(path, "predict", "smiles")[1]))
            for ending in ("csv", "smi", "sdf", "parquet")
        ),
    ],
)
def test_a_reader_of_a_pickle_ends_in_one_sentence(tmp_path, trap, name, read):
    path = trap(tmp_path / "given" / name)
    with pytest.raises(ChemsieveError) as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_pickled_weights_alone_is_refused(tmp_path, trap, encoder_folder):
    source = shutil.copytree(encoder_folder, tmp_path / "source")
    (source / "model.safetensors").unlink()
    trap(source / "pytorch_model.bin")
    with pytest.raises(ChemsieveError, match=r"model\.safetensors does not exist; an encoder needs"):
        backbone.prepare(tmp_path / "made", {"family": "molformer", "path": str(source)})


def test_a_model_folder_whose_hashes_vouch_for_a_pickle_is_refused(tmp_path, trap, encoder_folder):
    """Hashes protect against damage; whoever made the folder made them too."""
    shutil.copytree(encoder_folder, tmp_path / "model")
    trap(tmp_path / "model" / "model.safetensors")
    shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "model" / "training.parquet")
    sections = {name: {} for name in folder._SECTIONS}
    facts = {"format": folder.FORMAT, **sections, "family": "molformer"}
    facts["files"] = {name: folder.sha256(tmp_path / "model" / name) for name in folder.HASHED}
    (tmp_path / "model" / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ChemsieveError, match=r"model\.safetensors: not a readable safetensors file"):
        folder.load(tmp_path / "model")


def test_a_family_of_a_model_folder_is_one_of_ours(tmp_path, encoder_folder):
    """Modules are found by name: one that is none of the choices must not be imported."""
    shutil.copytree(encoder_folder, tmp_path / "model")
    (tmp_path / "model" / "training.parquet").touch()
    facts = {"format": folder.FORMAT, **{name: {} for name in folder._SECTIONS}, "family": "..predict"}
    facts["files"] = {name: folder.sha256(tmp_path / "model" / name) for name in folder.HASHED}
    (tmp_path / "model" / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ChemsieveError, match=r"predict"):
        folder.load(tmp_path / "model")


def test_a_state_that_is_a_pickle_is_not_resumed(corpora, tmp_path, trap, caplog):
    _, curve = trained(corpora, tmp_path / "fresh")
    _, again = trained(corpora, trap(tmp_path / "state"))
    assert again == curve
    assert "cannot be read" in caplog.text


# -- configuration -----------------------------------------------------------------------------------------------------

COMMANDS = [
    "$(touch canary)",
    "; touch canary",
    "`touch canary`",
    "& touch canary &",
    "| touch canary",
    "x\ntouch canary",
]
REFUSED = [*COMMANDS, "{input}", "../up", "a/b", "a b", "name\n", "é", "-n", "", "<b>"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_becomes_a_path_has_letters_digits_and_dashes_below(name):
    def refused(changes):
        with pytest.raises(ChemsieveError) as caught:
            configuration.validate(changed(changes))
        assert str(caught.value).startswith("configuration: ")

    refused({"study": name})
    strategies = changed({})["selection"]["strategies"]
    refused({"selection.strategies": strategies | {name: {"strategy": "random", "budget": {"count": 1}}}})
    refused({"selection.run": [name]})
    refused({"grid.methods": {name: {"method": "lora"}}})
    refused({"grid.run": [name]})
    refused({"split.splitters": [name]})
    refused({"encoder.family": name})


@pytest.mark.parametrize("key", ["target.path", "pool.path", "predict.input", "encoder.path", "pretrain.corpus"])
@pytest.mark.parametrize("path", ["{input}.csv", "a\nb.csv"])
def test_a_path_that_is_more_than_a_path_is_refused(key, path):
    with pytest.raises(ChemsieveError, match=rf"^configuration: {key}: .* rename the file$"):
        configuration.validate(changed({key: path}))


@pytest.mark.parametrize("path", ["{input}.csv", "a\nb.csv"])
def test_a_path_in_a_list_that_is_more_than_a_path_is_refused(path):
    with pytest.raises(ChemsieveError, match=r"^configuration: pretrain\.exclude\[0\]\.path: .* rename the file$"):
        configuration.validate(changed({"pretrain.exclude": [{"path": path}]}))
    with pytest.raises(ChemsieveError, match=r"^configuration: pretrain\.targets\.a\.path: .* rename the file$"):
        configuration.validate(changed({"pretrain.targets": {"a": {"path": path}}}))


@pytest.mark.slow
def test_names_that_may_be_anything_reach_no_shell(fresh):
    """The data step of a study whose files, columns, labels and descriptions are commands."""
    column, label = "$(touch canary) `touch canary`", '"; touch canary; {input} {wildcards.x}'
    keys = {"source": "file", "smiles": column, "label": label}
    names = ["$(touch canary);touch canary.csv", "`touch canary` & 'x'.csv"]
    for name, smiles in zip(names, (SMILES, [f"{text}C" for text in SMILES if text[-1] in "CO"]), strict=True):
        table = [f'"{column}";"{label.replace(chr(34), 2 * chr(34))}"', *(f"{s};{n}" for n, s in enumerate(smiles))]
        (fresh / name).write_text("\n".join(table), encoding="utf-8")
    told = {"name": "$(touch canary)\n; touch canary", "unit": "{input}`touch canary`"}
    hostile = {
        "study": "hostile",
        "target": keys | told | {"path": names[0], "delimiter": ";", "content_sha256": None},
        "pool": keys | {"path": names[1], "delimiter": ";"},
        "selection": {"strategies": {n: {"budget": {"count": 2}} for n in changed({})["selection"]["run"][2:]}},
        "split": {"splitters": ["random"]},
    }
    (fresh / "hostile.yaml").write_text(yaml.safe_dump(hostile), encoding="utf-8")
    wanted = ["results/hostile/tables/molecules.parquet", "results/hostile/config.yaml"]
    done = snakemake(fresh, *wanted, "--configfile", "studies/tiny.yaml", "hostile.yaml")
    assert done.returncode == 0, done.stdout
    assert list(fresh.rglob("canary")) == []
    assert len(tables.read_table(fresh / "results/hostile/tables/molecules.parquet")) > len(SMILES)
    stored = yaml.safe_load((fresh / "results/hostile/config.yaml").read_text(encoding="utf-8"))
    assert stored["target"]["name"] == told["name"]


# -- pinned downloads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "revision", ["main", "v1.0", "refs/pr/1", "0" * 39, "0" * 41, "G" * 40, "0" * 40 + "\n", None, ""]
)
def test_a_floating_revision_is_refused(revision):
    with pytest.raises(ChemsieveError, match=r"^configuration: encoder\.revision: ") as caught:
        configuration.validate(
            changed({"encoder.path": None, "encoder.repository": "a/b", "encoder.revision": revision})
        )
    assert "\n" not in str(caught.value)


def test_a_download_is_checked_by_content_and_one_without_a_hash_is_named(
    tmp_path, monkeypatch, caplog, encoder_folder
):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name, revision: encoder_folder / name)
    hashes = {name: folder.sha256(encoder_folder / name) for name in backbone.FILES}
    given = {"family": "molformer", "repository": "a/b", "revision": "0" * 40}
    caplog.set_level(logging.WARNING)
    backbone.prepare(tmp_path / "whole", given | {"sha256": hashes})
    assert caplog.text == ""
    for name in backbone.FILES:
        with pytest.raises(
            ChemsieveError, match=rf"^encoder\.sha256: a/b@0{{12}}: {name} has sha256 .*, expected 1111"
        ):
            backbone.prepare(tmp_path / name, given | {"sha256": hashes | {name: "1" * 64}})
        assert not (tmp_path / name / name).exists()
    some = {name: hashes[name] for name in ("config.json", "tokenizer.json")}
    backbone.prepare(tmp_path / "some", given | {"sha256": some})
    assert "no hash of model.safetensors, so that only the revision pins it; it is " in caplog.text
    assert hashes["model.safetensors"] in caplog.text


def test_every_study_with_a_download_pins_its_content():
    pinned = 0
    for name in STUDIES:
        given = yaml.safe_load((ROOT / "studies" / name).read_text(encoding="utf-8")) or {}
        encoder, target = given.get("encoder", {}), given.get("target", {})
        if encoder.get("repository"):
            assert re.fullmatch(r"[0-9a-f]{40}", encoder["revision"]), name
            assert set(encoder["sha256"]) == set(backbone.FILES), name
            pinned += 1
        if target.get("downloads"):
            assert re.fullmatch(r"[0-9a-f]{64}", target["content_sha256"]), name
    assert pinned > 2


# -- the report --------------------------------------------------------------------------------------------------------


def test_data_of_a_figure_cannot_leave_its_block():
    text = "</script><script>alert(1)</script><!--<script>"
    block = drawn("a", go.Figure(go.Scatter(x=[1], y=[2], text=[text])), text)
    section = html("section.html.j2", section=Section("figures", "Figures", [block]))

    class Elements(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.data = [], {}

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            self.data.setdefault(self.tags[-1], []).append(data)

    page = Elements()
    page.feed(section)
    assert page.tags == ["section", "h2", "figure", "p", "div", "script", "figcaption"]
    assert json.loads("".join(page.data["script"]))["data"][0]["text"] == [text]
    # What stands behind the last element is counted with it.
    assert "".join(page.data["figcaption"]).rstrip("\n") == text
