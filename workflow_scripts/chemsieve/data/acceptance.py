"""What a SMILES must be before a model reads it: one acceptance for training, pretraining and prediction.

:func:`structure` asks whether a text is one molecule, :class:`Reader` whether an encoder reads that molecule as it is
written. Both say why not, in the words that stand in ``rejected``, in ``corpus_refused`` and in predictions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rdkit import Chem
from tokenizers import Tokenizer

from chemsieve.data import chemistry
from chemsieve.models import tokenization
from chemsieve.models.unread import Inspector, Unread

REFUSE, FLAG = "refuse", "flag"  # values of encoder.unknown_tokens

_EXTENSION = re.compile(r"\S+\s+\|.*", re.DOTALL)  # of ChemAxon's extended SMILES


@dataclass(frozen=True)
class Structure:
    """The molecule of a text; without one, why (``reason``) and what was found (``detail``).

    ``mapped``: the text has atom maps, which ``molecule`` has not.
    """

    molecule: Chem.Mol | None
    reason: str = ""
    detail: str = ""
    mapped: bool = False


def structure(smiles: str) -> Structure:
    """The molecule that a user's text stands for, white space around it aside.

    Reasons are ``too_long`` (to be parsed), ``unparsable``, and ``dummy_atom``: an atom stands for another group.
    """
    text = smiles.strip()
    if not text:
        return Structure(None, "unparsable", "the SMILES is empty")
    if len(text) > chemistry.LONGEST:
        return Structure(None, "too_long", f"{len(text)} characters; no SMILES above {chemistry.LONGEST} is parsed")
    molecule, mapped = chemistry.parse(text), chemistry.without_maps(text) != text
    if molecule is None:
        return Structure(None, "unparsable", _why_unparsable(text), mapped)
    if chemistry.has_dummy(molecule):
        detail = "an atom stands for another group (*), so that the molecule is unknown"
        return Structure(None, "dummy_atom", detail, mapped)
    return Structure(molecule, mapped=mapped)


def _why_unparsable(smiles: str) -> str:
    if _EXTENSION.fullmatch(smiles):
        return "an extension of the SMILES follows it (CXSMILES, |...|), which can make another molecule of it"
    if character := chemistry.foreign_character(smiles):
        if character.isspace():
            return "white space divides the SMILES"
        return f"the character U+{ord(character):04X} stands in no SMILES"
    if atom := chemistry.numbered_atom(smiles):
        return f"{atom} is SMARTS, and leaves its hydrogens open"
    return "RDKit cannot make a molecule of the SMILES"


@dataclass(frozen=True)
class Reading:
    """What an encoder reads of a SMILES: token ids, special tokens included, and what it does not read.

    ``reason`` and ``detail`` say why the SMILES is refused; both are empty where it is accepted.
    """

    ids: list[int]
    unread: Unread
    reason: str = ""
    detail: str = ""


class Reader:
    """Reads SMILES as an encoder does.

    Args:
        tokenizer: the encoder's.
        max_tokens: the most tokens that the encoder takes, special tokens included.
        unknown_tokens: ``refuse`` a SMILES of which a part is the unknown token or none at all, or ``flag`` it: accept
            it, and say so in ``unread``.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, unknown_tokens: str = REFUSE):
        self.tokenizer, self.max_tokens, self.refuses = tokenizer, max_tokens, unknown_tokens == REFUSE
        self.inspector = Inspector(tokenizer)

    def read(self, smiles: Sequence[str]) -> list[Reading]:
        """One reading per SMILES, in order. Reasons are ``too_long`` (it would be cut) and ``unknown_token``."""
        ids = tokenization.encode(self.tokenizer, smiles)
        return [self._judged(*pair) for pair in zip(ids, self.inspector.unread(smiles, ids), strict=True)]

    def _judged(self, ids: list[int], unread: Unread) -> Reading:
        if len(ids) > self.max_tokens:
            return Reading(ids, unread, "too_long", f"{len(ids)} tokens; the encoder takes {self.max_tokens}")
        if unread.pieces and self.refuses:
            return Reading(ids, unread, "unknown_token", unread.words)
        return Reading(ids, unread)
