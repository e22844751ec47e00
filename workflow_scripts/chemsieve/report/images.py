"""The report's figures as SVG files for a paper: the page draws them, so that they are the same figures."""

import logging
from pathlib import Path

from chemsieve.errors import ChemsieveError
from chemsieve.report.browser import browser
from chemsieve.runtime.data_files import package_data
from chemsieve.runtime.files import write_json, write_text

log = logging.getLogger(__name__)

INDEX = "index.json"
WIDTH = 760  # pixels across; a figure is as high as on the page


def write_figures(report: Path, folder: Path, go_on: bool = False) -> None:
    """Write each figure of a report as an SVG file, and an index of files, sections and captions in page order.

    Args:
        report: the page.
        folder: where ``<figure>.svg`` and ``index.json`` go; SVG files that are there already are removed.
        go_on: leave out a figure that cannot be drawn; the index then says why, in place of its file.

    Raises:
        ChemsieveError: there is no browser to draw with, or a figure cannot be drawn.
    """
    report, folder = Path(report), Path(folder)
    with browser() as started:
        page = started.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        figures = page.evaluate(package_data("report/static/draw.js").read_text(encoding="utf-8"))
    for figure in figures:
        if figure["error"]:
            said = f"the figure {figure['name']} cannot be drawn ({figure['error']})"
            if not go_on:
                raise ChemsieveError(said)
            log.warning("%s", said)
    for old in folder.glob("*.svg"):
        old.unlink()
    index = []
    for figure in figures:
        entry = {"section": figure["section"], "caption": figure["caption"]}
        if figure["error"]:
            index.append({"failed": figure["name"], "reason": figure["error"], **entry})
        else:
            write_text(folder / _file(figure), figure["svg"] + "\n")
            index.append({"file": _file(figure), **entry})
    write_json(folder / INDEX, index)


def _file(figure: dict[str, str]) -> str:
    return f"{figure['name']}.svg"
