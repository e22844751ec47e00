"""Extension points: a package whose modules are the choices. One small file adds one choice.

A module named ``name.py`` in the package is the choice ``name``; modules that begin with an underscore are helpers.
Listing the choices imports nothing, so that a configuration is checked without loading torch.

The protocol in a package's ``__init__.py`` says what its modules must have, and the package's ``load`` returns a choice
with this type. The protocols are not imported here: a step's code hash covers all that its script imports, so that each
step that loads a choice would depend on every extension point.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from chemsieve.errors import ChemsieveError


def choices(package: str) -> list[str]:
    """Names of the modules in a package such as ``splitting`` or ``models.encoders``, sorted."""
    folder = Path(__file__).parent / package.replace(".", "/")
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import the module of one choice.

    Raises:
        ChemsieveError: there is no such choice.
    """
    if name not in choices(package):
        raise ChemsieveError(f"{package}: unknown choice {name!r}; known are {', '.join(choices(package))}")
    return importlib.import_module(f"chemsieve.{package}.{name}")
