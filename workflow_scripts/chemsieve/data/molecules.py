"""Which rows become molecules of the study, and which are refused and why.

A refused row is never lost: each row of the target and of the pool ends in exactly one of the two tables.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from chemsieve.data import chemistry, unusual
from chemsieve.data.acceptance import Reader, structure
from chemsieve.data.measured import FIRST, MEASURED, Repeats, Scale, finite
from chemsieve.errors import ChemsieveError
from chemsieve.tables import TABLES, TEXT, Column

EXTRA = {"given_fold": Column(TEXT, "fold as given in the file; missing where none is given", nullable=True)}

# Columns of what is read, with what a row has that is read without them; the first three are always there.
READ = {
    "row": 0,
    "smiles": "",
    "label_text": "",
    "given_fold": None,
    "problem": None,
    "relation_text": "",
    "unit_text": "",
    "outside": None,
    "identifier": None,
}

Record = dict[str, Any]  # a row on its way into ``molecules`` or ``rejected``; a ``reason`` refuses it

FEWEST_TARGET_MOLECULES = 10  # fewer cannot be divided into train, validation and test


@dataclass(frozen=True)
class Rules:
    """How a file's labels are read, what becomes of several rows of one molecule, and of what is hardly one."""

    scale: Scale = field(default_factory=Scale)
    repeats: Repeats = field(default_factory=Repeats)
    unusual: str = unusual.FLAG

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Rules":
        """From a section of the configuration."""
        return cls(Scale.of(table), Repeats.of(table), table.get("unusual") or unusual.FLAG)


def prepare(
    target: pd.DataFrame,
    pool: pd.DataFrame,
    reader: Reader,
    stereo: bool,
    pool_labels: bool = True,
    rules: Mapping[str, Rules] | None = None,
    standardise: str = chemistry.NONE,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the rows of both files into accepted molecules and refused rows.

    A row is refused for the first of these that applies: it does not meet a condition of the configuration
    (``where``); its SMILES is too long to be parsed (``too_long``); it does not parse (``unparsable``); an atom stands
    for another group (``dummy_atom``); its label is no finite number (``no_label``), a limit (``censored``), in no unit
    that is known (``unit``) or without a logarithm (``not_positive``), where the configuration asks for such; it is
    hardly a molecule of the kind, or its label stands for none (``no_carbon``, ``metal``, ``mixture``, ``sentinel``),
    where such are refused; the
    encoder would have to cut it (``too_long``), or does not know a part of it (``unknown_token``, where the reader
    refuses such); it is in the pool and an accepted target molecule, by the first block of the InChIKey or of the
    parent's InChIKey, so that salts, charge states and stereoisomers of a target molecule cannot reach training through
    the pool (``in_target``); rows of its molecule contradict each other (``contradiction``); it has the InChIKey of an
    earlier row of its file, or the canonical SMILES where InChI has none (``repeat``), whose label may then be that of
    all. Salts and mixtures are kept as given: the encoder reads all their parts. Atom maps are in the SMILES as given
    and nowhere else.

    Args:
        target: as :func:`chemsieve.data.reading.read_table` returns it; columns that it lacks are empty.
        pool: likewise; may have no rows.
        reader: how the encoder reads.
        stereo: whether the encoder reads stereochemistry.
        pool_labels: whether the pool's labels are used; if not they are missing, whatever the file says.
        rules: how the labels of ``target`` and ``pool`` are read; without an entry, as they stand.
        standardise: what is read in place of each molecule, as :func:`chemsieve.data.chemistry.standardised` has it;
            ``smiles`` stays as given, and all else follows from what is read.

    Returns:
        ``molecules`` (with the column of ``EXTRA``) and ``rejected``, target before pool, in row order.
    """
    chosen = {"target": Rules(), "pool": Rules()} | dict(rules or {})
    kept_target, refused_target = examine(
        target, Intake("target", reader, stereo, rules=chosen["target"], standardise=standardise)
    )
    intake = Intake("pool", reader, stereo, pool_labels, kept_target, chosen["pool"], standardise)
    kept_pool, refused_pool = examine(pool, intake)
    columns = [*TABLES["molecules"], *EXTRA]
    return (
        pd.DataFrame(kept_target + kept_pool, columns=columns),
        pd.DataFrame(refused_target + refused_pool, columns=list(TABLES["rejected"])),
    )


UNLABELLED = "unlabelled"  # what a file of molecules is to the study that the model is for, without labels


def prepare_unlabelled(
    frame: pd.DataFrame, reader: Reader, stereo: bool, standardise: str = chemistry.NONE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Molecules without labels that the model is for, and refused rows, as :func:`prepare` has them.

    They may be molecules of the target, of any fold: whoever lists them wants it so.

    Returns:
        A table ``unlabelled`` and a table ``rejected``.
    """
    kept, refused = examine(frame, Intake(UNLABELLED, reader, stereo, labelled=False, standardise=standardise))
    columns = list(TABLES["unlabelled"])
    return (
        pd.DataFrame([{name: one[name] for name in columns} for one in kept], columns=columns),
        pd.DataFrame(refused, columns=list(TABLES["rejected"])),
    )


@dataclass(frozen=True)
class Intake:
    """By what the rows of a file are judged.

    Attributes:
        source: what the file is to the study.
        reader: how the encoder reads.
        stereo: whether the encoder reads stereochemistry.
        labelled: whether the labels are used.
        target: accepted target molecules, which the file must not have.
        rules: how the labels are read.
        standardise: what is read in place of a molecule.
    """

    source: str
    reader: Reader
    stereo: bool
    labelled: bool = True
    target: Sequence[Record] = ()
    rules: Rules = field(default_factory=Rules)
    standardise: str = chemistry.NONE


def examine(frame: pd.DataFrame, intake: Intake) -> tuple[list[Record], list[Record]]:
    """Accepted and refused rows of one file, each in row order; see :func:`prepare`."""
    frame = frame.assign(**{column: empty for column, empty in READ.items() if column not in frame})
    records = [_describe(intake, *row) for row in frame[list(READ)].itertuples(index=False, name=None)]
    if intake.rules.unusual == unusual.REFUSE:
        _refuse_unusual(records, list(frame["label_text"]) if intake.labelled else [])
    _tokenize(records, intake.reader)
    for group in _molecules(records, intake):
        _merge(group, intake)
    return [one for one in records if "reason" not in one], [one for one in records if "reason" in one]


def _describe(
    intake: Intake,
    row: int,
    smiles: str,
    label_text: str,
    given_fold: str | None,
    problem: str | None,
    relation_text: str,
    unit_text: str,
    outside: str | None,
    identifier: str | None,
) -> Record:
    """What is known of one row by itself; with a ``reason`` where that refuses it."""
    record = {"source": intake.source, "row": int(row), "smiles": smiles, "mapped": False, "unread": ""}
    record["identifier"] = identifier
    if outside is not None:
        return _refuse(record, "where", outside)
    if problem is not None:
        return _refuse(record, "unparsable", problem)
    found = structure(smiles)
    record["mapped"] = found.mapped
    given = found.molecule
    if given is None:
        return _refuse(record, found.reason, found.detail)
    label, relation = math.nan, MEASURED
    if intake.labelled:
        read = intake.rules.scale.read(label_text, relation_text, unit_text, lambda: chemistry.weight(given))
        if read.reason:
            return _refuse(record, read.reason, read.detail)
        label, relation = read.value, read.relation
    mol = chemistry.standardised(given, intake.standardise)
    inchikey = chemistry.inchikey(mol)
    block = chemistry.block_of(inchikey)
    return record | {
        "molecule_id": f"{intake.source}-{row}",
        "canonical_smiles": chemistry.canonical_smiles(mol),
        "encoder_smiles": chemistry.canonical_smiles(mol, stereo=intake.stereo),
        "inchikey": inchikey,
        "scaffold": chemistry.scaffold(mol),
        "label": label,
        "relation": relation,
        "given_fold": given_fold,
        "block": block,
        "parent": chemistry.parent_block(mol, block),
    }


def _refuse_unusual(records: list[Record], label_texts: Sequence[str]) -> None:
    """Refuse what is hardly a molecule of the kind; labels are looked at as they are written."""
    values = [value if (value := finite(text)) is not None else math.nan for text in label_texts]
    none = unusual.sentinels(values)
    for record, value in zip(records, values or [math.nan] * len(records), strict=True):
        if "reason" in record:
            continue
        if reason := unusual.kind_of(record["smiles"]):
            _refuse(record, reason, f"such molecules {unusual.WORDS[reason]}")
        elif value in none:
            _refuse(record, unusual.SENTINEL, f"the label {value:g} stands for none")


def _tokenize(records: list[Record], reader: Reader) -> None:
    """Add to each record that is not refused what the encoder reads of it, or refuse it for that."""
    candidates = [record for record in records if "reason" not in record]
    readings = reader.read([record["encoder_smiles"] for record in candidates])
    for record, reading in zip(candidates, readings, strict=True):
        pieces = reading.unread.pieces
        record |= {"tokens": len(reading.ids), "unknown_tokens": len(pieces), "unread": " ".join(pieces)}
        if reading.reason:
            _refuse(record, reading.reason, reading.detail)


def _molecules(records: list[Record], intake: Intake) -> list[list[Record]]:
    """The rows of each molecule, those of target molecules refused."""
    blocks, parents = _by(intake.target, "block"), _by(intake.target, "parent")
    groups: dict[str, list[Record]] = {}
    for record in records:
        if "reason" in record:
            continue
        key = record["inchikey"] or record["canonical_smiles"]
        if key in groups:
            groups[key].append(record)
        elif same := blocks.get(record["block"]):
            _refuse(record, "in_target", f"same InChIKey first block as {same['molecule_id']}")
        elif same := parents.get(record["parent"]):
            _refuse(record, "in_target", f"same parent molecule as {same['molecule_id']}")
        else:
            groups[key] = [record]
    return list(groups.values())


def _merge(group: list[Record], intake: Intake) -> None:
    """Make one molecule of its rows: the first that counts is kept with their label, the others are refused.

    Limits count only where nothing was measured, and then those of one side. A label of several rows takes no row of
    another given fold, whose label the fold of the first must not know.
    """
    relation = MEASURED if any(one["relation"] == MEASURED for one in group) else group[0]["relation"]
    used = [one for one in group if one["relation"] == relation]
    kept, values = used[0], [one["label"] for one in used]
    spread = max(values) - min(values)
    rule = intake.rules.repeats
    if intake.labelled and rule.apart is not None and spread > rule.apart:
        rows = ", ".join(f"{one['label']:g} in row {one['row']}" for one in used[:5])
        for one in group:
            _refuse(one, "contradiction", f"labels of one molecule lie {spread:g} apart ({rows})")
        return
    together = [one for one in used if one["given_fold"] == kept["given_fold"]]
    given = [one["label"] for one in together]
    for one in group:
        if one is kept:
            continue
        detail = f"same molecule as {kept['molecule_id']}, which is kept"
        if intake.labelled:
            if rule.policy == FIRST or not any(one is other for other in together):
                detail += f" with label {kept['label']:g}; the label here is {one['label']:g}"
            else:
                detail += f" with the {rule.policy} of {len(given)} labels; the label here is {one['label']:g}"
            if one["relation"] != relation:
                detail += f", a limit ({one['relation']})"
        _refuse(one, "repeat", detail)
    kept |= {
        "label": rule.label(given) if intake.labelled else math.nan,
        "label_rows": [kept["row"]] if rule.policy == FIRST else [one["row"] for one in together],
        "repeats": len(used),
        "spread": spread if intake.labelled else math.nan,
        "repeats_sd": statistics.stdev(values) if intake.labelled and len(values) > 1 else math.nan,
    }


def _by(records: Sequence[Record], key: str) -> dict[str, Record]:
    """The first record with each value of a key. The empty one is left out: InChI failed, which makes none equal."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(record[key], record)
    found.pop("", None)
    return found


def _refuse(record: Record, reason: str, detail: str) -> Record:
    record.update(reason=reason, detail=detail)
    return record


def check_target(molecules: pd.DataFrame, rejected: pd.DataFrame) -> None:
    """Refuse a target set that no model can be trained on.

    Args:
        molecules, rejected: as :func:`prepare` returns them.

    Raises:
        ChemsieveError: fewer than 10 target molecules are left, or all their labels are equal.
    """
    kept = molecules[molecules["source"] == "target"]
    refused = rejected[rejected["source"] == "target"]
    if len(kept) < FEWEST_TARGET_MOLECULES:
        raise ChemsieveError(
            f"target: {len(kept)} of {len(kept) + len(refused)} rows are usable and at least "
            f"{FEWEST_TARGET_MOLECULES} are needed{why(rejected, 'target')}"
        )
    if kept["label"].nunique() == 1:
        raise ChemsieveError(
            f"target: all {len(kept)} labels are {kept['label'].iloc[0]:g}, so there is nothing to learn"
        )


def check_pool(molecules: pd.DataFrame, rejected: pd.DataFrame) -> None:
    """Refuse a pool of which no row was accepted, where there is nothing to choose from.

    Args:
        molecules, rejected: as :func:`prepare` returns them.

    Raises:
        ChemsieveError: one sentence with the reasons of its rows.
    """
    if not (molecules["source"] == "pool").any():
        rows = (rejected["source"] == "pool").sum()
        raise ChemsieveError(f"pool: 0 of {rows} rows are usable{why(rejected, 'pool')}")


def why(rejected: pd.DataFrame, source: str) -> str:
    """How many rows of a file were refused for which reason, and the first of them."""
    refused = rejected[rejected["source"] == source]
    if refused.empty:
        return ""
    counts = Counter(refused["reason"])
    first = refused.iloc[0]
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f" (refused: {reasons}; row {first['row']}: {first['detail']})"
