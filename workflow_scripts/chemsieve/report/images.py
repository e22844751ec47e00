"""The report's figures as SVG files for a paper: the page draws them, so that they are the same figures."""

from pathlib import Path

from chemsieve.files import write_json, write_text
from chemsieve.report.browser import browser

INDEX = "index.json"
WIDTH = 760  # pixels across; a figure is as high as on the page
# Before it is printed, the page draws all its figures.
DRAW = """async () => {
  dispatchEvent(new Event('beforeprint'));
  const drawn = [];
  for (const plot of document.querySelectorAll('.plot')) {
    while (!plot._fullLayout) await new Promise(done => setTimeout(done, 20));
    const size = {width: plot.clientWidth, height: plot.clientHeight};
    const svg = await Plotly.toImage(plot, {format: 'svg', imageDataOnly: true, ...size});
    drawn.push({
      name: plot.id, svg,
      section: plot.closest('section').querySelector('h2').textContent,
      caption: plot.closest('figure').querySelector('figcaption').textContent,
    });
  }
  return drawn;
}"""


def write_figures(report: Path, folder: Path) -> None:
    """Write each figure of a report as an SVG file, and an index of files, sections and captions in page order.

    Args:
        report: the page.
        folder: where ``<figure>.svg`` and ``index.json`` go; SVG files that are there already are removed.

    Raises:
        ChemsieveError: there is no browser to draw with.
    """
    report, folder = Path(report), Path(folder)
    with browser() as started:
        page = started.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        figures = page.evaluate(DRAW)
    for old in folder.glob("*.svg"):
        old.unlink()
    for figure in figures:
        write_text(folder / _file(figure), figure["svg"] + "\n")
    index = [{"file": _file(figure), "section": figure["section"], "caption": figure["caption"]} for figure in figures]
    write_json(folder / INDEX, index)


def _file(figure: dict[str, str]) -> str:
    return f"{figure['name']}.svg"
