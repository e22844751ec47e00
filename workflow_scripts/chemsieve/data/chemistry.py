"""Identity of molecules: parsing, canonical SMILES, InChIKey, scaffold, parent. Everything here is RDKit."""

import functools
import re

from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

LONGEST = 5000  # characters of a SMILES; RDKit takes 1 s for canonical SMILES of as many, growing with their square

_BLOCK = 14  # characters of an InChIKey that encode the skeleton, without stereo, isotopes and protonation
_MAPPED = re.compile(r"(\[[^\[\]:]+):\d+\]")  # [CH3:1]
_NUMBERED = re.compile(r"\[\d*#0*[1-9]\d*[^\[\]]*\]")  # [#6]; [#0] is a dummy atom
_ALIAS_OF_ITSELF = re.compile(r"[\d'*+-]*")  # what may follow an atom's own symbol in a label of it: C1, N2', O-
_POLYMER = {"SRU", "MON", "MER", "COP", "CRO", "MOD", "GRA", "ANY"}  # kinds of S-group that repeat or stand for others


def parse(smiles: str) -> Chem.Mol | None:
    """The sanitised molecule of a SMILES, or None where there is none: invalid, overlong, or without an atom.

    Atom maps are left out before anything is read, so that a mapped SMILES is the very molecule of the one without
    them. White space makes a SMILES invalid, since RDKit stops there and would read ``CC (=O)O`` as ethane; so does
    what is not ASCII, of which it passes over an invisible mark at the end, and ``[#6]``, a query of SMARTS of which it
    would make an atom without hydrogens.
    """
    if len(smiles) > LONGEST or foreign_character(smiles) or numbered_atom(smiles):
        return None
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(without_maps(smiles))
    return mol if mol is not None and mol.GetNumAtoms() else None


def accepted(smiles: str) -> Chem.Mol:
    """The molecule of a SMILES that was accepted before, white space around it aside.

    Raises:
        ValueError: it is none, so that it cannot have been accepted.
    """
    if (mol := parse(smiles.strip())) is None:
        raise ValueError(f"{smiles[:60]!r} is no molecule")
    return mol


def without_maps(smiles: str) -> str:
    """A SMILES without the atom maps that number its atoms for a reaction: ``[CH3][OH]`` for ``[CH3:1][OH:2]``."""
    return _MAPPED.sub(r"\1]", smiles)


def numbered_atom(smiles: str) -> str:
    """The first atom that is written by its number, as in SMARTS (``[#6]``); empty where there is none."""
    found = _NUMBERED.search(smiles)
    return found[0][:40] if found else ""


def foreign_character(smiles: str) -> str | None:
    """The first character that stands in no SMILES: white space, or not printable ASCII; None where there is none."""
    return next((character for character in smiles if not "!" <= character <= "~"), None)


def has_dummy(mol: Chem.Mol) -> bool:
    """Whether an atom is a place for another group and no element: ``*``, ``[*:1]``, ``R#`` of a mol file."""
    return any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms())


def unsaid(mol: Chem.Mol) -> str:
    """What a connection table says that its SMILES would not; empty where the SMILES says all.

    Queries (atom lists that name an element first, substitution and ring counts, single or double bonds), attachment
    points, repeating units and aliases leave open which molecule is meant, and RDKit's SMILES of them is that of one
    molecule. What it writes as ``*`` or ``~`` stands there to be seen.
    """
    for atom in mol.GetAtoms():
        if not atom.GetAtomicNum():
            continue
        if atom.HasQuery():
            return f"atom {atom.GetIdx() + 1} is a query"
        if atom.HasProp("molAttchpt"):
            return f"atom {atom.GetIdx() + 1} is an attachment point"
        alias = atom.GetProp("molFileAlias").strip() if atom.HasProp("molFileAlias") else ""
        own = alias.removeprefix(atom.GetSymbol())
        if alias and (own == alias or not _ALIAS_OF_ITSELF.fullmatch(own)):
            return f"atom {atom.GetIdx() + 1} has an alias"
    for bond in mol.GetBonds():
        if bond.HasQuery() and bond.GetSmarts() != "~":  # type: ignore[call-arg]  # RDKit's stubs name self twice
            return f"bond {bond.GetIdx() + 1} is a query"
    if mol.HasProp("_molLinkNodes"):
        return "an atom stands for a chain of any length"
    if any(group.GetProp("TYPE") in _POLYMER for group in Chem.GetMolSubstanceGroups(mol)):
        return "a unit is repeated"
    return ""


def canonical_smiles(mol: Chem.Mol, stereo: bool = True) -> str:
    """RDKit canonical SMILES; without ``stereo`` isotopes are left out too, as in MoLFormer's pretraining data."""
    return Chem.MolToSmiles(mol, isomericSmiles=stereo)


def inchikey(mol: Chem.Mol) -> str:
    """Standard InChIKey, 27 characters; empty where InChI cannot express the molecule."""
    with rdBase.BlockLogs():
        return Chem.MolToInchiKey(mol)


def first_block(mol: Chem.Mol) -> str:
    """First block of the InChIKey (14 characters), equal for stereoisomers; empty where there is no InChIKey."""
    return block_of(inchikey(mol))


def block_of(key: str) -> str:
    """First block of an InChIKey; empty where that is."""
    return key[:_BLOCK]


def scaffold(mol: Chem.Mol) -> str:
    """Bemis-Murcko scaffold as canonical SMILES without chirality; empty for acyclic molecules."""
    return Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol), isomericSmiles=False)


def weight(mol: Chem.Mol) -> float:
    """Molecular weight in g/mol, of all that the SMILES has: counterions are weighed too."""
    return Descriptors.MolWt(mol)  # type: ignore[attr-defined]  # missing from RDKit's stubs


NONE, PARENT, TAUTOMER = "none", "parent", "tautomer"  # values of encoder.standardise


def standardised(mol: Chem.Mol, how: str = NONE) -> Chem.Mol:
    """The molecule that is read in place of one, by RDKit's MolStandardize.

    ``none``: that one; ``parent``: its largest fragment, neutralised and with normalised groups (``ChargeParent``);
    ``tautomer``: the canonical tautomer of that. Where RDKit cannot, the molecule stands as it is.
    """
    if how == NONE:
        return mol
    made = _charge_parent(mol)
    if how == TAUTOMER:
        with rdBase.BlockLogs():
            try:
                made = rdMolStandardize.TautomerEnumerator().Canonicalize(made)
            except (ValueError, RuntimeError):
                return made
    return made


def _charge_parent(mol: Chem.Mol) -> Chem.Mol:
    with rdBase.BlockLogs():
        try:
            return rdMolStandardize.ChargeParent(mol)
        except (ValueError, RuntimeError):  # fragments that cannot be sanitised on their own: the molecule stands
            return mol


def parent_block(mol: Chem.Mol, own: str | None = None) -> str:
    """First block of the InChIKey of the neutralised largest fragment: equal for salts, stereoisomers, charge states.

    RDKit's ``ChargeParent``, which also normalises groups and cuts bonds to metals, runs only where it can change
    anything (1.3 ms); most molecules are one neutral fragment and their own parent. Empty where there is no InChIKey.
    ``own`` is the molecule's own first block, where it is known.
    """
    if not mol.HasSubstructMatch(_may_need_standardising()) and len(Chem.GetMolFrags(mol)) == 1:
        return first_block(mol) if own is None else own
    return first_block(_charge_parent(mol))


@functools.cache
def _may_need_standardising() -> Chem.Mol:
    """Charged atoms, and metals that may be written as covalently bound."""
    return Chem.MolFromSmarts("[!+0,Li,Na,K,Rb,Cs,Mg,Ca,Sr,Ba,Zn,Al,Ag,Cu,Fe,Co,Ni,Mn,Pt,Pd,Au,Hg,Sn,Bi]")
