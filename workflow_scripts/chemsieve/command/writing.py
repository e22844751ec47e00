"""A study's file, short and commented, from what was guessed of the user's files."""

import json
import re
from pathlib import Path

import yaml

from chemsieve.command.guessing import Guess
from chemsieve.study.sections.values import STUDY

_PLAIN = re.compile(r"[A-Za-z_./][\w ./-]*")
LARGE = 6000  # molecules of which products of gradients fit into a laptop's memory: influence.gram.largest
SMALL = 500  # molecules of a target below which v_optimal is trained on too
BUDGET = 100
_BY_INFLUENCE = ("influence", "influence_bottom")


def name_of(output: str, target: str) -> str:
    """The study's name: that of its file, or of the target's where its file is only called study."""
    stem = Path(output).stem
    if stem.lower() == "study":
        stem = Path(target).name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[: STUDY["maxLength"]]
    return name or "study"


def study_file(name: str, target: Guess, pool: Guess | None) -> str:
    """Text of the file; what only the user can know is marked with an arrow."""
    unlabelled = pool is not None and pool.label is None
    few = target.rows < SMALL and not unlabelled
    asked_for = _ASKED_FOR if few or unlabelled else ""
    parts = [_head(name), _table("target", target) + asked_for, _pool(pool), _SPLIT]
    if pool is not None and pool.rows + target.rows > LARGE and not unlabelled:
        parts.append(_LARGE_POOL)
    parts += [_selection(target, pool, unlabelled), _KERNEL if unlabelled else _LAYERS]
    parts += [_FEW if few and not (pool is not None and pool.rows > LARGE) else "", _END]
    return "\n".join(part for part in parts if part)


def _head(name: str) -> str:
    return f"""\
# A study that `chemsieve init` wrote from a look at the files; look at what it guessed, and at each arrow (<-).
#   chemsieve check FILE   reads the data and says what would be trained
#   chemsieve run FILE     runs it; results go to results/{name}/
# What is not named here keeps its value; docs/configuration.md explains every key.
study: {_text(name)}
"""


def _table(section: str, found: Guess) -> str:
    lines = [f"{section}:", "  source: file", f"  path: {_text(found.path)}"]
    if found.smiles:
        lines.append(f"  smiles: {_text(found.smiles)}")
    if section == "target":
        lines.append(f"  label: {_text(found.label or '')} # <- what is predicted{_others(found)}")
    elif found.label is not None:
        lines.append(f"  label: {_text(found.label)} # <- in the same unit as the target's{_others(found)}")
    else:
        lines.append("  labels: unlabelled # no column holds numbers: what asks for labels is left out")
    identifier = found.identifier
    if identifier is None and found.format != "sdf":
        lines.append("  identifier: null # a column of the molecules' own names, where there is one")
    elif identifier is not None:
        lines.append(f"  identifier: {_text(identifier)}")
    if found.format == "csv":
        lines.append(f"  delimiter: {json.dumps(found.delimiter)}")
    if found.format != "parquet":
        lines.append(f"  encoding: {found.encoding}")
    lines.append(f"  decimal: {json.dumps(found.decimal)}")
    if section == "target":
        lines += [
            f"  name: {_text(found.label or 'label')} # <- what the label is, as the report says it",
            '  unit: "" # <- and its unit',
        ]
    return "\n".join(lines) + "\n"


def _others(found: Guess) -> str:
    return f"; other columns of numbers: {', '.join(map(_text, found.others[:5]))}" if found.others else ""


def _pool(pool: Guess | None) -> str:
    if pool is None:
        return """\
pool:
  source: file
  path: null # <- the candidates: a file of other molecules; then its columns
  smiles: smiles # <-
  label: label # <- in the same unit as the target's; null where it has none, and below it labels: unlabelled
"""
    return _table("pool", pool)


def _selection(target: Guess, pool: Guess | None, unlabelled: bool) -> str:
    count = BUDGET if pool is None or pool.rows >= 3 * BUDGET else max(1, pool.rows // 3)
    names = ["v_optimal", "random"] if unlabelled else ["random", "uncertainty", "diversity", *_BY_INFLUENCE]
    large = pool is not None and pool.rows > LARGE and not unlabelled
    lines = ["selection: # <- how many molecules each strategy takes"]
    if unlabelled:
        lines += ["  run: [none]", "  rank: [v_optimal, random]"]
    elif large:
        lines += ["  estimator: exact", "  rank: []"]
    elif target.rows < SMALL:  # where few are measured, what the model is unsure of says most
        lines.append("  run: [none, all, random, v_optimal, influence, influence_bottom, disagreement]")
        names.insert(1, "v_optimal")
    lines += ["  strategies:", *(f"    {name}: {{budget: {{count: {count}}}}}" for name in names)]
    return "\n".join(lines) + "\n"


_SPLIT = """\
split:
  splitters: [scaffold] # random is easier, and flatters
  seeds: [0] # each divides the target once more
  fractions: [0.8, 0.1, 0.1] # training, validation, test
seeds: [0, 1, 2] # of training; two replicates carry no verdict
"""
_LARGE_POOL = f"""\
# Target and pool have more than {LARGE:,} molecules: they are scored one by one.
influence: {{run: [exact], estimators: {{exact: {{check: null}}}}, test_molecules: 0}}
validation: {{run: false}}
"""
_ASKED_FOR = """\
  # unlabelled: {path: library.csv, smiles: smiles} # <- where you know the molecules that the model is for: v_optimal
  # then chooses for them, as it must where they are unlike what was measured (docs/measure_next.md)
"""
# As measured by benchmarks/real_pools.py: with 200 labelled molecules the best use of a measured pool.
_FEW = """\
baselines: # with few molecules of your own, these have gained most from a measured pool, used as held-out errors prefer
  run: [svr_morgan, svr_frozen, svr_all, gaussian_process]
  selections: [all, random, v_optimal]
  uses: [own_head, auto]
"""
_LAYERS = """\
finetune: # the regression head sees RDKit's descriptors and a Morgan fingerprint beside the encoder's output
  head: {descriptors: true, morgan: 1024}
  head_epochs: 15 # of the head alone; then all of it, at a rate that keeps what the encoder has learned
  epochs: 4
  learning_rate: 0.0001
  checkpoints: [2, 3]
"""
# As measured in studies/encoder_value.yaml: the most accurate where nothing is selected.
_KERNEL = """\
finetune: # a kernel regression on the encoder's output, descriptors and a Morgan fingerprint: up to 10,000 molecules
  head: {kernel: true, descriptors: true, morgan: 1024}
  epochs: 3
  learning_rate: 0.0001
  dropout: {hidden: 0.0, embedding: 0.0, head: 0.0}
  checkpoints: [3]
"""
_END = """\
statistics:
  margin: 0.1 # <- the smallest difference of the error that matters to you, in the label's unit
"""


def _text(value: str) -> str:
    """A text as YAML reads it back."""
    return (
        value if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value else json.dumps(value, ensure_ascii=False)
    )
