"""Public data by download: pinned by content, cached, never committed."""

from __future__ import annotations

import hashlib
import http.client
import io
import logging
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import cache_folder, write_atomically

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def content_sha256(smiles: list[str], labels: list[str]) -> str:
    """SHA-256 of the lines ``smiles,label`` with two decimals, joined by newlines, in row order.

    It is the same whichever file the rows come in.
    """
    lines = [f"{s},{float(label):.2f}" for s, label in zip(smiles, labels, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_content(table: pd.DataFrame, expected: str, source: str) -> None:
    """Compare rows read by :func:`chemsieve.data.reading.read_labelled` with a content hash.

    Raises:
        ChemsieveError: they differ, or a label is not a number.
    """
    try:
        found = content_sha256(list(table["smiles"]), list(table["label_text"]))
    except ValueError as error:
        raise ChemsieveError(f"{source}: its content does not match target.content_sha256 ({error})") from None
    if found != expected:
        raise ChemsieveError(
            f"{source}: its content has sha256 {found}, target.content_sha256 expects {expected}; "
            "set target.content_sha256 to null to use other data"
        )


def fetch(downloads: list[dict], expected: str | None) -> pd.DataFrame:
    """The first source that answers with the expected content: columns ``smiles`` and ``label`` (text).

    Args:
        downloads: ``{url, smiles, label}``, tried in order; a cached copy of any comes first.
        expected: content hash, or ``None`` to accept what comes.

    Raises:
        ChemsieveError: no source gives it; the sentence says what each answered.
    """
    import pandas as pd

    problems = []
    cached = [source for source in downloads if _cached(source["url"]).exists()]
    # A cached copy that does not fit is dropped, and its source asked again in its turn.
    for source in cached + downloads:
        try:
            content = _content(source["url"])
            table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
            table = pd.DataFrame({"smiles": table[source["smiles"]], "label": table[source["label"]]})
            if expected and (found := content_sha256(list(table["smiles"]), list(table["label"]))) != expected:
                raise ValueError(f"content has sha256 {found}, expected {expected}")
        except (http.client.HTTPException, OSError, ValueError, KeyError) as error:
            _cached(source["url"]).unlink(missing_ok=True)  # what does not fit is not kept
            problems.append(f"{source['url']}: {error}")
            continue
        _keep(_cached(source["url"]), content)
        log.info("target from %s, %d rows", source["url"], len(table))
        return table
    raise ChemsieveError(
        "target.downloads: no source gave the data (" + "; ".join(problems) + "); set target.path to a local file"
    )


def _cached(url: str) -> Path:
    return cache_folder() / hashlib.sha256(url.encode()).hexdigest()


def _keep(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def _content(url: str) -> bytes:
    path = _cached(url)
    if path.exists():
        return path.read_bytes()
    with urllib.request.urlopen(url, timeout=60) as response:  # https only, by the configuration's schema
        return response.read()
