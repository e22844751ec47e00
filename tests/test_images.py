"""Figures as files for a paper, and what is said where there is nothing to draw them with."""

import contextlib
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.report import images
from chemsieve.report.browser import installed
from chemsieve.report.images import write_figures
from helpers.reports import make, study_tables
from helpers.workflow import snakemake

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a report, and the page as a test reads it."""
    folder = tmp_path_factory.mktemp("images")
    return folder, make(folder, study_tables())


@pytest.fixture
def drawing(chromium, monkeypatch):
    """Figures are drawn by the browser that all tests share."""
    monkeypatch.setattr(images, "browser", lambda: contextlib.nullcontext(chromium))


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_every_figure_of_the_page_becomes_a_file(made, tmp_path):
    folder, page = made
    (tmp_path / "of_an_earlier_report.svg").write_text("<svg/>", encoding="utf-8")
    write_figures(folder / "report.html", tmp_path)
    index = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert [entry["file"] for entry in index] == [f"{name}.svg" for name in page.figures]
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", *(entry["file"] for entry in index)}
    for entry in index:
        assert entry["caption"] in page.text
        assert entry["section"] in page.text
        root = ElementTree.parse(tmp_path / entry["file"]).getroot()
        assert root.tag == f"{SVG}svg"
        assert len(list(root.iter(f"{SVG}path"))) > 3


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_the_files_show_the_figures_names(made, tmp_path):
    folder, page = made
    write_figures(folder / "report.html", tmp_path)
    root = ElementTree.parse(tmp_path / "grid-lines-0.svg").getroot()
    words = {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    assert {trace["name"] for trace in page.figures["grid-lines-0"]["data"]} <= words
    assert "test RMSE (log units)" in words


@pytest.mark.slow
@pytest.mark.skipif(installed() is None, reason="no Chromium or Chrome on this machine")
def test_the_workflow_draws_them_on_demand(made, copied):
    results = copied / "results" / "embedded"
    results.mkdir(parents=True)
    shutil.copy(made[0] / "report.html", results)
    done = snakemake(copied, "figures", "--allowed-rules", "figures")
    assert done.returncode == 0, done.stdout
    assert len(json.loads((results / "figures" / "index.json").read_text(encoding="utf-8"))) == len(made[1].figures)


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_a_figure_that_cannot_be_drawn_is_left_out_and_named(made, tmp_path, monkeypatch):
    script = images.package_data("report/static/draw.js").read_text(encoding="utf-8")
    broken = script.replace("await Plotly.toImage(", "await (plot.id === 'grid-lines-0' ? no : Plotly.toImage)(")
    assert broken != script
    (tmp_path / "draw.js").write_text(broken, encoding="utf-8")
    monkeypatch.setattr(images, "package_data", lambda name: tmp_path / Path(name).name)
    with pytest.raises(ChemsieveError, match=r"the figure grid-lines-0 cannot be drawn \(ReferenceError"):
        write_figures(made[0] / "report.html", tmp_path)
    write_figures(made[0] / "report.html", tmp_path, go_on=True)
    index = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert [entry["failed"] for entry in index if "failed" in entry] == ["grid-lines-0"]
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(made[1].figures) - {"grid-lines-0"}


def test_without_a_browser_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ChemsieveError, match=r"^figures: install Chromium or Google Chrome, [^\n]+$"):
        write_figures(tmp_path / "report.html", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
