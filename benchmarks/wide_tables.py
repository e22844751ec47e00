"""Tables of a report that do not fit the page: those that scroll sideways, at several widths of the window.

python benchmarks/wide_tables.py results/embedded/report.html [--style SHEET.css] [--pictures FOLDER]

A line for each such table: width of the window, of the table, of the room that it has, columns, caption. With --style
the page is shown in that style sheet in place of its own. Ends with 1 where there is one; the last line says how many.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

WIDTHS = (1440, 1280, 390)  # pixels
STYLE = "text => { document.querySelector('style').textContent = text; }"
WIDE = """() => [...document.querySelectorAll('.scroll')]
  .filter(box => box.getClientRects().length && box.scrollWidth > box.clientWidth + 1)
  .map(box => [box.scrollWidth, box.clientWidth, box.querySelectorAll('thead tr:first-child > *').length,
    box.querySelector('caption').textContent.trim()])"""


def main() -> None:
    """Print the tables."""
    from chemsieve.report.browser import browser

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--style", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each window")
    given = parser.parse_args()
    total = 0
    with browser() as started:
        for width in WIDTHS:
            page = started.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
            page.goto(given.report.resolve().as_uri())
            if given.style:
                page.evaluate(STYLE, given.style.read_text(encoding="utf-8"))
            page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
            for found in page.evaluate(WIDE):
                total += 1
                print(width, *found[:3], found[3][:90], sep=" | ")
            if given.pictures:
                given.pictures.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=given.pictures / f"{width}.png", full_page=True)
            page.close()
    print(f"{total} too wide")
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
