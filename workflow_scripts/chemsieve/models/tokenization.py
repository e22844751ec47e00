"""SMILES to token ids, with the published tokenizer files or one that the project builds itself."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tokenizers import Regex, Tokenizer
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
UNKNOWN = ("<unk>", "[UNK]")  # names of the unknown token
_ROLES = {"pad": ("<pad>", "[PAD]"), "mask": ("<mask>", "[MASK]"), "unknown": UNKNOWN}


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
