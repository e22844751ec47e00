"""What a step's code is: a hash of its script, of every project module that it imports and of the files that these
modules read beside the code; and what it runs on.

Snakemake does not see that a module changed when only a script imports it. This hash, a parameter of each rule, does.
Of Python code it takes the syntax trees without docstrings, so that comments and formatting change nothing; of the
other files, which modules reach through :mod:`chemsieve.runtime.data_files`, it takes the bytes.
"""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chemsieve.runtime.data_files import PROJECT_FOLDER, package_data, project_data
from chemsieve.runtime.sources import read

_ROOT = Path(__file__).resolve().parents[2]  # as code_hash has its script
_PACKAGE = Path(__file__).parent.parent.name
# Libraries whose version may change a number or the bytes of a file.
LIBRARIES = (
    *("numpy", "pandas", "peft", "pyarrow", "rdkit", "safetensors", "scikit-learn", "scipy"),
    *("tokenizers", "torch", "transformers"),
)


_source = cache(read)


@cache
def _digest(path: Path) -> str:
    return _source(path).digest if path.suffix == ".py" else hashlib.sha256(path.read_bytes()).hexdigest()


def _file(module: str) -> Path | None:
    """File of a project module, or ``None`` for a name that is not one (a function, say)."""
    base = _ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Project files that a file imports, the packages on the way included."""
    found = set()
    for name in _source(path).imported:
        parts = name.split(".")
        if parts[0] == _PACKAGE:
            found |= {_file(".".join(parts[:i])) for i in range(1, len(parts) + 1)}
    return frozenset(path for path in found if path)


@cache
def _data_files(path: Path) -> frozenset[Path]:
    """Files that a Python file reaches by ``package_data`` and ``project_data``; of a folder, all that are below it."""
    folders = {package_data.__name__: _ROOT / _PACKAGE, project_data.__name__: _ROOT.parent / PROJECT_FOLDER}
    found: set[Path] = set()
    for function, line, name in _source(path).calls:
        where = f"{path.name}, line {line}: {function}"
        if name is None:
            raise ValueError(f"{where} takes one literal name, from which the hash of the code knows the file")
        place = folders[function] / name
        below = place.rglob("*") if place.is_dir() else [place]
        # Hidden files are the system's or an editor's.
        files = {file for file in below if file.is_file() and not file.name.startswith(".")}
        if not files:
            raise FileNotFoundError(f"{where}: there is no file {name}")
        found |= files
    return frozenset(found)


def code_hash(script: str | Path, modules: tuple[str, ...] = ()) -> str:
    """Hash of a script, its project imports to any depth, ``modules`` that it loads by name, and files that these read.

    Args:
        script: path of the script.
        modules: dotted names of choices that the step loads through the registry, such as
            ``chemsieve.selection.diversity``.

    Raises:
        FileNotFoundError: the script, a module or a file that one of them reads does not exist.
        ValueError: a module does not say by a literal which file it reads.
    """
    waiting = [Path(script).resolve()]
    for module in modules:
        if (path := _file(module)) is None:
            raise FileNotFoundError(f"no module {module}")
        waiting.append(path)
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                waiting.extend(_imports(path) | _data_files(path))
    lines = sorted(f"{_named(path)} {_digest(path)}" for path in seen)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _named(path: Path) -> str:
    """A file's path within the scripts, or within the project where it lies beside them."""
    return str(path.relative_to(_ROOT if path.is_relative_to(_ROOT) else _ROOT.parent))


@cache
def environment() -> dict[str, str]:
    """What may change a number beside code and configuration: Python, kind of machine, versions of libraries.

    torch's version says which kind of build it is. The processor's model and the GPU's are not in it.
    """
    found = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
