"""The page in a real browser: nothing from outside, everything drawn, readable on a phone and in the dark."""

import csv
import io
import itertools

import numpy as np
import pandas as pd
import pytest

from chemsieve.report.figure import CELL_TEXT, SEQUENTIAL
from helpers.reports import larger_tables, make

pytestmark = pytest.mark.slow

TAKEN = "<img src=x onerror=document.title='taken'>"
FORMULA = "=1+1"
PHONE, DESKTOP = 390, 1280
# Colour of a text and of what is behind it, for all that is shown; texts of a figure are filled, others coloured.
TEXTS = """() => {
  const solid = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, style = getComputedStyle(node);
    const text = walker.currentNode.textContent.trim();
    const skipped = node.closest('script, noscript, .heatmap-label') !== null;  // cells have a test of their own
    if (!text || skipped || !node.getClientRects().length) continue;
    const drawn = node.closest('svg') !== null;
    found.push({text, drawn, size: parseFloat(style.fontSize), ink: drawn ? style.fill : style.color,
      paper: solid(drawn ? node.closest('.plot') : node)});
  }
  return found;
}"""


@pytest.fixture(scope="module")
def tables():
    """Tables whose names are hostile: markup that would run, and what a spreadsheet would take for a formula."""
    tables = larger_tables()
    names = {"influence_bottom": TAKEN, "random": FORMULA}
    tables["selections"] = tables["selections"].assign(strategy=tables["selections"]["strategy"].replace(names))
    tables["metrics"] = tables["metrics"].assign(selection=tables["metrics"]["selection"].replace(names))
    for name in ("smiles", "canonical_smiles"):
        tables["molecules"][name] = tables["molecules"][name].replace("CCO", TAKEN)
    return tables


@pytest.fixture(scope="module")
def report(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    make(folder, tables)
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(chromium, report):
    """The report with its figures drawn, once for each width and theme; tests leave a page as they found it.

    A page remembers what it asked for and what it complained of.
    """
    pages = {}

    def visit(width=DESKTOP, scheme="light"):
        if (width, scheme) in pages:
            return pages[width, scheme]
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.requests, page.complaints = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(report.as_uri())
        # With all folds open, so that what is in them is drawn and can be clicked.
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        for plot in page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator("svg.main-svg").first.wait_for()
        pages[width, scheme] = page
        return page

    yield visit
    for page in pages.values():
        page.close()


def luminance(colour):
    """Relative luminance of an sRGB colour, 0 to 255 each (WCAG 2)."""
    parts = [value / 255 for value in colour]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast ratio of two colours (WCAG 2)."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def rgb(text):
    """Red, green and blue of ``rgb(...)`` or ``#rrggbb``."""
    if text.startswith("#"):
        return [int(text[i : i + 2], 16) for i in (1, 3, 5)]
    return [float(value) for value in text[text.index("(") + 1 : -1].split(",")[:3]]


def test_contrast_is_that_of_the_standard():
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("rgb(255, 255, 255)")) == pytest.approx(4.54, abs=0.01)


def test_page_is_silent_and_asks_for_nothing(opened, report):
    page = opened()
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def test_every_figure_is_drawn(opened):
    plots = opened().locator(".plot").all()
    assert len(plots) > 15
    for plot in plots:
        marks = plot.locator(".cartesianlayer").locator("path, image").count()
        box = plot.locator("svg.main-svg").first.bounding_box()
        assert marks > 0, plot.get_attribute("id")
        assert min(box["width"], box["height"]) > 100


def test_text_of_the_data_stays_text(opened):
    page = opened()
    assert page.title() == "chemsieve: small, logP <x>"
    assert page.locator("img:not([src^='data:'])").count() == 0
    assert page.locator("td", has_text=TAKEN).count() > 0
    assert page.locator("code.undrawn", has_text=TAKEN).count() > 0
    ticks = page.locator("#strategies-rmse-0 .xtick").all_text_contents()
    assert TAKEN in ticks


def test_a_table_is_sorted_by_the_column_that_is_clicked(opened):
    table = opened().locator("#runs table.sortable").first
    names = table.locator("th").all_text_contents()
    column = names.index("rmse")
    cells = table.locator(f"tbody td:nth-child({column + 1})")
    before = [float(text) for text in cells.all_text_contents()]
    head = table.locator(f"th:nth-child({column + 1})")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in cells.all_text_contents()] == sorted(before)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in cells.all_text_contents()] == sorted(before, reverse=True)
    assert before != sorted(before)


def test_a_large_table_shows_the_rows_that_hold_the_words(opened):
    section = opened().locator("#runs")
    box = section.get_by_label("Show rows with").first
    rows = section.locator("table.sortable").first.locator("tbody tr")
    everything = rows.all_text_contents()
    box.fill("LORA  none")
    wanted = [text for text in everything if "lora" in text and "none" in text]
    assert 0 < len(wanted) < len(everything)
    assert [row.text_content() for row in rows.all() if row.is_visible()] == wanted
    assert section.get_by_text(f"{len(wanted)} of {len(everything)} rows").count() == 1
    box.fill("")
    assert all(row.is_visible() for row in rows.all())


def test_a_table_is_copied_and_given_as_it_is_shown(opened):
    page = opened()
    section = page.locator("#runs")
    table = section.locator("table").first
    shown = [row.locator("td").all_text_contents() for row in table.locator("tbody tr").all()]
    page.wait_for_timeout(150)  # Chromium drops downloads beyond ten in a second
    with page.expect_download() as waiting:
        section.get_by_role("button", name="Table as CSV").first.click()
    with open(waiting.value.path(), encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(io.StringIO(handle.read())))
    assert rows[0] == table.locator("th").all_text_contents()
    assert [[cell.removeprefix("'") for cell in row] for row in rows[1:]] == shown
    assert f"'{FORMULA}" in {cell for row in rows for cell in row}, "a spreadsheet shows it and does not run it"
    section.get_by_role("button", name="Copy table").first.click()
    section.get_by_text("Copied").wait_for()


def test_what_is_to_be_done_stands_above_the_fold(chromium, report):
    for width, height in ((PHONE, 844), (DESKTOP, 720), (1440, 900)):
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.goto(report.as_uri())
        answer = page.locator(".answer").first.bounding_box()
        assert answer["y"] < height / 3
        assert page.locator(".answer p").first.bounding_box()["y"] + 60 < height
        links = page.locator("nav a")
        for link in links.all() if width > 1024 else ():
            box = link.bounding_box()
            assert box["x"] >= 0
            assert box["y"] + box["height"] <= height, "no entry of the contents is cut off"
        assert links.count() > 10
        page.close()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_no_table_scrolls_sideways_until_all_its_columns_are_asked_for(opened, width):
    page = opened(width)
    wide = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 90))"
    assert page.locator(".scroll:visible").count() > 10
    assert page.locator(".scroll").evaluate_all(wide) == []
    table = page.locator("#runs table").last
    headings, hidden = table.locator("th"), table.locator("th.more")
    assert 0 < hidden.count() < headings.count()
    assert not hidden.first.is_visible()
    if width == DESKTOP:
        page.get_by_role("button", name=f"All {headings.count()} columns: All runs").click()
        assert hidden.first.is_visible()
        page.get_by_role("button", name="Fewer columns: All runs").click()
        assert not hidden.first.is_visible()
        assert "root mean squared error" in headings.filter(has_text="rmse").first.get_attribute("title").lower()


def test_no_column_is_cut_on_a_phone(opened):
    page = opened(PHONE)
    for cell in page.locator("table.cards td:visible").all()[:400]:
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= PHONE
    labels = page.locator("#runs table.cards td").evaluate_all("cells => cells.map(cell => cell.dataset.label)")
    assert "rmse" in labels


def test_print_shows_all(chromium, report):
    page = chromium.new_page()
    page.goto(report.as_uri())
    assert page.locator("details:not([open])").count() > 3
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.locator(".plot").last.locator("svg.main-svg").first.wait_for()
    for plot in page.locator(".plot").all():
        assert plot.locator("svg.main-svg").count() > 0, "drawn without having been scrolled to"
    assert "rmse" in page.locator("#runs th").all_text_contents()[:8]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 3
    page.close()


@pytest.mark.parametrize(("scheme", "options"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})])
def test_nothing_stands_in_the_way_of_assistive_technology(opened, scheme, options):
    """The rules of axe-core (WCAG 2.1 A and AA, and good practice); what the scheme does not change once."""
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    found = axe.run(opened(DESKTOP, scheme), options=options)["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in found] == []


def test_figures_and_images_have_a_text_in_their_place(opened):
    page = opened()
    assert page.locator("img:not([alt])").count() == 0
    for plot in page.locator(".plot").all():
        assert len(plot.get_attribute("aria-label")) > 20
    assert page.locator("main").count() == page.locator("nav").count() == page.locator("header").count() == 1
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("table:not(:has(th))").count() == page.locator("table:not(:has(caption))").count() == 0


def test_terms_are_explained(opened):
    page = opened()
    term = page.locator("a.term", has_text="scaffold split").first
    assert "ring system" in term.get_attribute("title")
    assert page.locator(term.get_attribute("href")).text_content() == "scaffold split"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_text_can_be_read(opened, width, scheme):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts = page.evaluate(TEXTS)
    assert sum(text["drawn"] for text in texts) > 100
    assert sum(not text["drawn"] for text in texts) > 100
    assert [text for text in texts if not text["drawn"] and text["size"] < 14] == []
    assert [text for text in texts if contrast(rgb(text["ink"]), rgb(text["paper"])) < 4.5] == []
    dark = luminance(rgb(page.evaluate("getComputedStyle(document.body).backgroundColor"))) < 0.1
    assert dark == (scheme == "dark")


def test_figures_follow_the_theme_while_the_page_is_open(opened):
    page = opened()
    text = page.locator("#strategies-rmse-0 .xtick text").first
    papers = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        papers.append(rgb(page.evaluate("getComputedStyle(document.body).backgroundColor")))
        assert contrast(rgb(text.evaluate("node => getComputedStyle(node).fill")), papers[-1]) > 4.5
    assert luminance(papers[0]) < 0.1 < luminance(papers[1])


def test_axis_titles_fit_a_phone(opened):
    page = opened(PHONE)
    for plot in page.locator(".plot").all():
        outer = plot.bounding_box()
        for title in plot.locator(".xtitle").all():
            inner = title.bounding_box()
            assert inner["x"] >= outer["x"], plot.get_attribute("id")
            assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1, plot.get_attribute("id")


def test_cells_of_heat_maps_can_be_read():
    places, colours = zip(*((place, rgb(colour)) for place, colour in SEQUENTIAL), strict=True)
    for place in np.linspace(0, 1, 101):
        cell = [np.interp(place, places, part) for part in zip(*colours, strict=True)]
        assert contrast(rgb(CELL_TEXT["color"]), cell) > 4.5


def downloaded(page, figure):
    """Rows of the file that a figure's button gives."""
    page.wait_for_timeout(150)  # Chromium drops downloads beyond ten in a second
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Data of figure {figure} as CSV").click()
    assert waiting.value.suggested_filename == f"{figure}.csv"
    with open(waiting.value.path(), encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(io.StringIO(handle.read())))


def test_every_figure_gives_its_data(opened):
    page = opened()
    for plot in page.locator(".plot").all():
        rows = downloaded(page, plot.get_attribute("id"))
        assert len(rows) > 0
        assert None not in rows[0]
        assert any(value for value in list(rows[0].values())[1:])
    assert page.complaints == []


def test_the_data_are_those_of_the_tables(opened, tables):
    page = opened()
    rows = pd.DataFrame(downloaded(page, "grid-lines-0"))
    metrics = tables["metrics"].query("fold == 'test' and origin == 'adapted'")
    expected = metrics.groupby(["method", "selection"])["rmse"].agg(["mean", "std"])
    assert list(rows.columns) == ["series", "x", "test RMSE (log units)", "above", "below"]
    assert len(rows) > 5
    for row in rows.to_dict("records"):
        known = expected.loc[row["series"], row["x"].removeprefix("'")]
        assert float(row["test RMSE (log units)"]) == pytest.approx(known["mean"])
        assert float(row["above"]) == float(row["below"]) == pytest.approx(known["std"])
    assert f"'{FORMULA}" in set(rows["x"])  # a spreadsheet shows it and does not run it
    # Numbers that travel packed, and names with markup.
    shares = pd.DataFrame(downloaded(page, "data-labels"))
    assert shares.groupby("series")["share of molecules"].apply(lambda part: part.astype(float).sum()).tolist() == (
        pytest.approx([1, 1])
    )
    assert TAKEN in {row["x"] for row in downloaded(page, "strategies-rmse-0")}
    # The cells of a heat map.
    cells = {(row["y"], row["x"].removeprefix("'")): row["value"] for row in downloaded(page, "grid-heatmap-0")}
    assert {key: float(value) for key, value in cells.items() if value} == pytest.approx(
        {key: mean for key, mean in expected["mean"].items() if key in cells}
    )


def test_runs_of_learning_curves_are_named_in_their_data(opened, tables):
    rows = pd.DataFrame(downloaded(opened(), "curves-rmse"))
    named = rows[rows["run"].fillna("") != ""]
    curves = tables["learning_curves"].set_index(["run_id", "epoch"])["validation_rmse"]
    assert len(named) == 2 * 2 * 3  # origins, seeds, epochs
    for row in named.to_dict("records"):
        assert float(row["validation RMSE (log units)"]) == pytest.approx(curves[row["run"], int(row["epoch"])])
