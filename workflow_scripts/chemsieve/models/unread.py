"""What a model does not read of a SMILES: parts that are its unknown token, and parts that are in no token at all."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from tokenizers import Encoding, Tokenizer

from chemsieve.models import tokenization

_AT_ONCE = 4096  # molecules


@dataclass(frozen=True)
class Unread:
    """Parts of a SMILES that a model does not read as they stand there, each kind in its order.

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


class Inspector:
    """Finds what a tokenizer, whichever it is, does not read.

    A token is told from another by its id, and what is dropped by the places that no token comes from, so that bytes,
    subwords and their marks are no matter. Nor is what a normaliser writes otherwise, as long as it keeps apart what is
    apart: places are those of the normalised SMILES, and only characters that it removes or makes into others count.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.plain = tokenizer, tokenizer
        self.unknown = {
            index for name in _unknown_names(tokenizer) if (index := tokenizer.token_to_id(name)) is not None
        }
        self.special = set(tokenization.special_ids(tokenizer)) - self.unknown
        self.removed: set[str] = set()
        self.altered: set[str] = set()
        if tokenizer.normalizer is not None:
            forms = {letter: tokenizer.normalizer.normalize_str(letter) for letter in string.printable.strip()}
            spelled = list(forms.values())
            self.removed = {letter for letter, form in forms.items() if not form.strip()}
            self.altered = {letter for letter, form in forms.items() if letter not in form and spelled.count(form) > 1}
            self.altered -= self.removed
            self.plain = Tokenizer.from_str(tokenizer.to_str())
            self.plain.normalizer = None

    def unread(self, smiles: Sequence[str], ids: Sequence[Sequence[int]]) -> list[Unread]:
        """What is not read of each SMILES.

        ``ids`` (molecules,) are those of :func:`chemsieve.models.tokenization.encode`.
        """
        found = [Unread()] * len(smiles)
        # Where the tokens' own texts make the SMILES again, nothing is missing, and places need not be asked for.
        doubtful = [row for row, pair in enumerate(zip(smiles, ids, strict=True)) if not self._plainly_whole(*pair)]
        for start in range(0, len(doubtful), _AT_ONCE):
            rows = doubtful[start : start + _AT_ONCE]
            texts = [self._normalised(smiles[row]) for row in rows]
            for row, text, encoding in zip(rows, texts, self.plain.encode_batch(texts), strict=True):
                unknown, dropped = self._missing(text, encoding)
                removed = tuple(letter for letter in smiles[row] if letter in self.removed)
                altered = tuple(letter for letter in smiles[row] if letter in self.altered)
                found[row] = Unread(unknown, dropped + removed, altered)
        return found

    def _plainly_whole(self, text: str, ids: Sequence[int]) -> bool:
        known = self.unknown.isdisjoint(ids) and self.altered.isdisjoint(text)
        token = cast("Callable[[int], str]", self.tokenizer.id_to_token)  # the ids are its own
        return known and "".join(token(index) for index in ids if index not in self.special) == text

    def _normalised(self, text: str) -> str:
        return text if self.tokenizer.normalizer is None else self.tokenizer.normalizer.normalize_str(text)

    def _missing(self, text: str, encoding: Encoding) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Unknown parts, and runs of characters in no token."""
        covered, unknown, tokens = [False] * len(text), [], []
        parts = zip(encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
        for index, token, (start, end), added in parts:
            if not added:
                covered[start:end] = [True] * (end - start)
                tokens.append(token)
                if index in self.unknown:
                    unknown.append(text[start:end])
        if not all(covered) and not unknown:
            # A model without an unknown token leaves out what it does not know, and its places are off from there on.
            covered = _aligned(text, tokens) or covered
        runs = groupby(zip(text, covered, strict=True), key=lambda pair: pair[1])
        dropped = ("".join(letter for letter, _ in run).strip() for seen, run in runs if not seen)
        return tuple(unknown), tuple(filter(None, dropped))


def _unknown_names(tokenizer: Tokenizer) -> list[str]:
    """Names of the unknown token: those that encoders give it, and the one that the model itself has."""
    own = getattr(tokenizer.model, "unk_token", None)
    return [*tokenization.UNKNOWN, *([own] if own else [])]


def _aligned(text: str, tokens: Sequence[str]) -> list[bool] | None:
    """Which letters of a text are in its tokens, each found behind the one before; None where one is not found."""
    covered, place = [False] * len(text), 0
    for token in tokens:
        start = text.find(token, place)
        if start < 0:
            return None
        place = start + len(token)
        covered[start:place] = [True] * len(token)
    return covered
