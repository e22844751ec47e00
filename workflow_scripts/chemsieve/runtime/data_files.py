"""Files beside the code: templates and styles of the package, tables of the project.

A module reaches them with one of these functions and a literal name, by which :mod:`chemsieve.runtime.provenance` finds
them in the module's syntax tree: a changed file reruns the steps whose code reads it, as a changed module does.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

PROJECT_FOLDER = "resources"


def package_data(name: str) -> Traversable:
    """A file or folder of the package, for example ``report/templates``."""
    return files("chemsieve").joinpath(name)


def project_data(name: str) -> Path:
    """A file or folder below the project's ``resources/``, for example ``embedded``."""
    return Path(__file__).resolve().parents[3] / PROJECT_FOLDER / name
