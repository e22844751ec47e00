"""What a step's code is: a hash of its script and of every project module that it imports; and what it runs on.

Snakemake does not see that a module changed when only a script imports it. This hash, a parameter of each rule, does.
It is taken over syntax trees without docstrings, so that comments and formatting change nothing.
"""

import ast
import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]  # as code_hash has its script
_PACKAGE = Path(__file__).parent.parent.name
# Libraries whose version may change a number or the bytes of a file.
LIBRARIES = (
    *("numpy", "pandas", "peft", "pyarrow", "rdkit", "safetensors", "scikit-learn", "scipy"),
    *("tokenizers", "torch", "transformers"),
)


@cache
def _tree(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(ast.dump(_tree(path)).encode()).hexdigest()


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
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == _PACKAGE:
            found |= {_file(".".join(parts[:i])) for i in range(1, len(parts) + 1)}
    return frozenset(found - {None})


def code_hash(script: str | Path, modules: tuple[str, ...] = ()) -> str:
    """Hash of a script, its project imports to any depth, and ``modules`` that it loads by name.

    Args:
        script: path of the script.
        modules: dotted names of choices that the step loads through the registry, such as
            ``chemsieve.selection.diversity``.

    Raises:
        FileNotFoundError: the script or a module does not exist.
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
            waiting.extend(_imports(path))
    lines = sorted(f"{path.name if path.parent == _ROOT else path.relative_to(_ROOT)} {_digest(path)}" for path in seen)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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
