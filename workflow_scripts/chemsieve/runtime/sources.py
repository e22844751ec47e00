"""What the hash of the code takes from a Python file: a digest of its syntax tree, and the names that it reaches.

Parsing the package costs a second of every call of Snakemake, so that what was found stays in a file of the user's
cache, under the SHA-256 of the text: an entry holds for that text alone, wherever it lies, and may be lost at any time.
"""

import ast
import atexit
import contextlib
import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.data_files import package_data, project_data
from chemsieve.runtime.files import cache_folder, write_atomically

FUNCTIONS = (package_data.__name__, project_data.__name__)
_KEPT = 4000  # texts, those used last: some sixteen states of the whole package, two megabytes


@dataclass(frozen=True)
class Source:
    """One Python file.

    Attributes:
        digest: of its syntax tree without docstrings.
        imported: dotted names in its import statements; of ``from a import b``, ``a`` and ``a.b``.
        calls: of the calls of ``FUNCTIONS``: the name, the line, and the argument where it is one literal string.
    """

    digest: str
    imported: list[str]
    calls: list[list]


def read(path: Path) -> Source:
    """What a Python file's text says, from the cache where that text was read before.

    Raises:
        SyntaxError: it is no Python.
    """
    text = path.read_bytes()
    key = hashlib.sha256(text).hexdigest()
    entries = _kept()
    if (found := _entry(entries.pop(key, None))) is None:
        found = _parse(text, str(path))
        _write_at_the_end()
    entries[key] = asdict(found)  # at the end: used last
    return found


def _parse(text: bytes, name: str) -> Source:
    tree = ast.parse(text, filename=name)
    imported: set[str] = set()
    calls = []
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                match node.body:
                    case [ast.Expr(ast.Constant(str())), *rest]:
                        node.body = rest
            case ast.Import():
                imported |= {alias.name for alias in node.names}
            case ast.ImportFrom() if node.module and not node.level:
                imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            case ast.Call(func=ast.Name(called)) if called in FUNCTIONS:
                match node.args:
                    case [ast.Constant(str(argument))]:
                        calls.append([called, node.lineno, argument])
                    case _:
                        calls.append([called, node.lineno, None])
    return Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), sorted(imported), calls)


def _entry(kept: object) -> Source | None:
    """An entry of the file; nothing where it is not what this module writes."""
    match kept:
        case {"digest": str(digest), "imported": list(imported), "calls": list(calls)}:
            return Source(digest, imported, calls)
    return None


def _file() -> Path:
    """Where entries of this Python and this module lie: both decide what a tree is."""
    reader = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return cache_folder() / f"sources-{platform.python_version()}-{reader}.json"


@cache
def _kept() -> dict:
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(_file().read_bytes())
        if isinstance(kept, dict):
            return kept
    return {}


@cache
def _write_at_the_end() -> None:
    atexit.register(_write, os.getpid())


def _write(process: int) -> None:
    if os.getpid() != process:  # a fork that ends
        return
    text = json.dumps(dict(list(_kept().items())[-_KEPT:]))
    with contextlib.suppress(ChemsieveError):  # where nothing can be kept, the next call parses again
        write_atomically(_file(), lambda path: path.write_text(text, encoding="utf-8"))
