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
_ROLES = {"pad": ("<pad>", "[PAD]"), "mask": ("<mask>", "[MASK]"), "unknown": ("<unk>", "[UNK]")}


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
    return [encoding.ids for encoding in tokenizer.encode_batch(list(smiles))]


def vocabulary() -> list[str]:
    """Tokens of the project's own tokenizer: special tokens, the organic subset, bonds, rings, bracket atoms.

    The bracket atoms are enumerated, not read from data: each element with the hydrogens, charges and chirality marks
    that drug-like molecules show. What is not listed becomes the unknown token.
    """
    special = ["<bos>", "<eos>", "<pad>", "<mask>"]
    organic = [*list("CcONnSsFoPpBbI"), "Cl", "Br"]
    marks = list("()=#-+/\\.:~*$") + list("123456789") + [f"%{ring}" for ring in range(10, 21)]
    bracket = []
    for element, chirality, hydrogen, charge in product(
        ["C", "c", "N", "n", "O", "o", "S", "s", "P", "p", "B", "b", "Si", "Se", "se"],
        ["", "@", "@@"],
        ["", "H", "H2", "H3"],
        ["", "+", "-"],
    ):
        if chirality and (element not in ("C", "N", "S", "P", "Si") or hydrogen in ("H2", "H3")):
            continue
        if element.islower() and hydrogen in ("H2", "H3"):
            continue
        bracket.append(f"[{element}{chirality}{hydrogen}{charge}]")
    ions = ["[Na+]", "[K+]", "[Li+]", "[Ca+2]", "[Mg+2]", "[Zn+2]", "[Cl-]", "[Br-]", "[I-]", "[F-]", "[H]", "[2H]"]
    ions += ["[N+2]", "[O-2]", "[S-2]", "[I+]", "[Br+]", "[Cl+]", "[As]", "[Sn]", "[Hg]", "[Pt]", "[Fe]", "[Cu]"]
    tokens = special + organic + marks + sorted(set(bracket) - set(ions)) + ions
    return [*tokens, "<unk>"]


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
