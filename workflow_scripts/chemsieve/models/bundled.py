"""The encoder that comes with the project, and how the configuration names it."""

import os
from pathlib import Path

BUNDLED = "bundled"  # in encoder.path


def local_folder(path: str) -> Path:
    """The folder that ``encoder.path`` names, relative to the working directory where that is shorter to say."""
    if path != BUNDLED:
        return Path(path)
    folder = Path(__file__).resolve().parents[3] / "resources" / "encoder"
    # Relative, so that a moved checkout reruns nothing.
    return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
