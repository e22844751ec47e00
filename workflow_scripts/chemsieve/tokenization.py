"""SMILES to token ids, with the published tokenizer files or one that the project builds itself."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

from tokenizers import Encoding, Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from chemsieve.errors import ChemsieveError

# Schwaller et al. 2018 (10.1039/C8SC02339E), as MoLFormer's tokenizer has it.
SMILES_PATTERN = (
    r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$|\%[0-9]{2}|[0-9])"
)
_AT_ONCE = 4096  # molecules
_ROLES = {"pad": ("<pad>", "[PAD]"), "mask": ("<mask>", "[MASK]"), "unknown": ("<unk>", "[UNK]")}


_ELEMENTS = """H Li Be B C N O F Na Mg Al Si P S Cl K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Rb Sr Y Zr Nb Mo Tc
Ru Rh Pd Ag Cd In Sn Sb Te I Cs Ba La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi He Ne Ar
Kr Xe Ra Ac Th U"""
_AROMATIC = "c n o s p b se te as"
_CENTRES = "C N P S Si B Se As"
_ISOTOPES = "2H 3H 11C 13C 14C 13N 15N 15O 17O 18O 18F 32P 33P 35S 36Cl 57Co 75Se 76Br 99Tc 111In 123I 125I 131I"
# Which kinds of atom bear which chirality marks, hydrogens and charges in the enumerated vocabulary.
_BRACKETS = [
    (_ELEMENTS, ("",), ("", "H", "H2"), ("", "+", "-", "+2", "-2", "+3", "+4")),
    (_CENTRES, ("",), ("H3", "H4"), ("", "+", "-")),
    (_CENTRES, ("@", "@@"), ("", "H"), ("", "+", "-")),
    (_AROMATIC, ("",), ("", "H"), ("", "+", "-")),
    (_ISOTOPES, ("",), ("", "H", "H2", "H3"), ("", "+", "-")),
]


def load(path: str | Path) -> Tokenizer:
    """Read a ``tokenizer.json``. Truncation and padding saved in it are switched off: molecules are never cut.

    Raises:
        ChemsieveError: the file is missing or unreadable.
    """
    if not Path(path).is_file():
        raise ChemsieveError(f"{path}: there is no such tokenizer file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise ChemsieveError(f"{path}: not a readable tokenizer.json ({error})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def load_or_build(path: str | Path | None) -> Tokenizer:
    """The tokenizer of a file, or the project's own where none is given."""
    return build() if path is None else load(path)


def special_id(tokenizer: Tokenizer, role: str) -> int:
    """Id of the token that plays ``role`` (pad, mask, unknown).

    Raises:
        ChemsieveError: the tokenizer has none.
    """
    for name in _ROLES[role]:
        if (found := tokenizer.token_to_id(name)) is not None:
            return found
    raise ChemsieveError(f"tokenizer: it has no {role} token (looked for {', '.join(_ROLES[role])})")


def special_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of all special tokens, which masking leaves alone."""
    return sorted(index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def encode(tokenizer: Tokenizer, smiles: Sequence[str]) -> list[list[int]]:
    """Token ids of each SMILES, special tokens included."""
    rows: list[list[int]] = []
    for start in range(0, len(smiles), _AT_ONCE):  # an encoding is ten times as large as the ids in it
        batch = tokenizer.encode_batch_fast(list(smiles[start : start + _AT_ONCE]))
        rows.extend(encoding.ids for encoding in batch)
    return rows


@dataclass(frozen=True)
class Unread:
    """Parts of a SMILES that a model does not read as they stand there, in their order.

    ``unknown`` parts are the unknown token, ``dropped`` parts are in no token, and ``altered`` letters are in the token
    of another letter (a tokenizer of lower-case text reads ``C`` as ``c``).
    """

    unknown: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()

    @property
    def pieces(self) -> tuple[str, ...]:
        """All of them."""
        return self.unknown + self.dropped + self.altered

    @property
    def words(self) -> str:
        """What is not read, in words; each piece once."""
        said = []
        if self.unknown:
            said.append(f"the encoder does not know {_listed(self.unknown)}")
        if self.dropped:
            said.append(f"its tokenizer passes over {_listed(self.dropped)}")
        if self.altered:
            said.append(f"its tokenizer takes {_listed(self.altered)} for other letters")
        return ", and ".join(said)


def _listed(pieces: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(piece if len(piece) <= 40 else f"{piece[:37]}..." for piece in pieces))


def unread(tokenizer: Tokenizer, smiles: Sequence[str], ids: Sequence[Sequence[int]]) -> list[Unread]:
    """What a model does not read of each SMILES; ``ids`` (molecules,) are those of :func:`encode`.

    Whatever the tokenizer: a token is told from another by its id, and what is dropped by the places in the SMILES that
    no token comes from. So bytes, subwords and their marks are no matter.
    """
    unknown, alike = _unknown_ids(tokenizer), _altered_letters(tokenizer)
    special = set(special_ids(tokenizer)) - unknown
    found = [Unread()] * len(smiles)
    # Where the tokens' own texts make the SMILES again, nothing is missing, and places need not be asked for.
    doubtful = [
        row
        for row, (text, row_ids) in enumerate(zip(smiles, ids, strict=True))
        if not unknown.isdisjoint(row_ids)
        or not alike.isdisjoint(text)
        or "".join(tokenizer.id_to_token(index) for index in row_ids if index not in special) != text
    ]
    for start in range(0, len(doubtful), _AT_ONCE):
        rows = doubtful[start : start + _AT_ONCE]
        for row, encoding in zip(rows, tokenizer.encode_batch([smiles[row] for row in rows]), strict=True):
            found[row] = _missing(smiles[row], encoding, unknown, alike)
    return found


def _missing(text: str, encoding: Encoding, unknown: set[int], alike: set[str]) -> Unread:
    covered, missing = [False] * len(text), []
    for index, (start, end), special in zip(encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True):
        if not special:
            covered[start:end] = [True] * (end - start)
            if index in unknown:
                missing.append(text[start:end])
    runs = groupby(zip(text, covered, strict=True), key=lambda pair: pair[1])
    dropped = ["".join(letter for letter, _ in run) for seen, run in runs if not seen]
    return Unread(tuple(missing), tuple(dropped), tuple(letter for letter in text if letter in alike))


def _unknown_ids(tokenizer: Tokenizer) -> set[int]:
    names = {*_ROLES["unknown"], getattr(tokenizer.model, "unk_token", None)} - {None}
    return {index for name in names if (index := tokenizer.token_to_id(name)) is not None}


def _altered_letters(tokenizer: Tokenizer) -> set[str]:
    """Letters that the tokenizer makes into other letters before it reads, so that two of a SMILES are one."""
    if tokenizer.normalizer is None:
        return set()
    forms = {letter: tokenizer.normalizer.normalize_str(letter) for letter in string.ascii_letters}
    return {letter for letter, form in forms.items() if letter not in form and list(forms.values()).count(form) > 1}


def vocabulary() -> list[str]:
    """Tokens of the project's own tokenizer: special tokens, the organic subset, bonds, rings, bracket atoms.

    Enumerated, not read from data: every element with the hydrogens, charges and chirality marks that it can bear, and
    the isotopes of labelling chemistry. What is not listed becomes the unknown token. About as many as MoLFormer's.
    """
    special = ["<bos>", "<eos>", "<pad>", "<mask>"]
    organic = [*"CcONnSsFoPpBbI", "Cl", "Br"]
    marks = [*"()=#-+/\\.:~*$>@?", *"0123456789", *(f"%{ring}" for ring in range(10, 41))]
    bracket = [
        f"[{atom}{chirality}{hydrogens}{charge}]"
        for atoms, *decorations in _BRACKETS
        for atom, chirality, hydrogens, charge in product(atoms.split(), *decorations)
    ]
    return [*special, *organic, *marks, *dict.fromkeys(bracket), "<unk>"]


def build() -> Tokenizer:
    """The project's own tokenizer: :func:`vocabulary` with MoLFormer's pattern and special tokens."""
    tokens = vocabulary()
    tokenizer = Tokenizer(WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    pattern = Regex(SMILES_PATTERN)
    tokenizer.pre_tokenizer = PreTokenizers(
        [Split(pattern, behavior="removed", invert=True), Split(pattern, behavior="isolated")]
    )
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>", "<mask>", "<unk>"])
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<bos>", "<eos>")],
    )
    return tokenizer
