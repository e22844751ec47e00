"""Write a picture of a report's first screen, as the README shows it.

python benchmarks/picture.py results/embedded/report.html docs/images/report.png
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

WIDTH, HEIGHT = 1200, 900  # pixels
DRAWN = "document.querySelector('.plot svg.main-svg') !== null"


def main() -> None:
    """Take the picture."""
    from chemsieve.report.browser import browser

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    with browser() as started:
        page = started.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(given.report.resolve().as_uri())
        page.wait_for_function(DRAWN)
        page.evaluate("document.fonts.ready")
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=given.picture)


if __name__ == "__main__":
    main()
