"""The page: sections in order, with everything that they need inlined."""

import base64
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from chemsieve.report import (
    audit,
    calibration,
    comparisons,
    control,
    curves,
    drawings,
    glossary,
    grid,
    influence,
    labels,
    pictures,
    provenance,
    published,
    runs,
    shift,
    strategies,
    summary,
    tradeoff,
    use,
)
from chemsieve.report.blocks import Section, Terms
from chemsieve.report.provenance import Made
from chemsieve.report.rendering import html
from chemsieve.report.study import Study, load
from chemsieve.runtime.data_files import package_data
from chemsieve.runtime.files import write_text

log = logging.getLogger(__name__)

# Order of the page, after the answer: what was chosen and what came of it, then the data, then how training went. A
# section is a module with ``section(study)``, which returns None where it does not apply.
SECTIONS = [
    drawings,
    strategies,
    comparisons,
    use,
    grid,
    tradeoff,
    control,
    published,
    pictures,
    calibration,
    audit,
    labels,
    shift,
    curves,
    influence,
    runs,
]


def render(tables: Path, config: dict[str, Any], output: Path, go_on: bool = False, made: Made | None = None) -> None:
    """Write the report of a study.

    Args:
        tables: folder with the Parquet tables; those that are declared optional may be absent.
        config: effective configuration of the study.
        output: path of the page. The same tables, configuration and provenance give the same bytes.
        go_on: leave out a section that cannot be made, and say so on the first screen, in place of an error.
        made: what is known of the files; None where nothing is.
    """
    made = made or Made()
    study = load(Path(tables), config)
    sections, missing = [], []
    for module in SECTIONS:
        try:
            section = module.section(study)
            sections += [_rendered(section)] if section else []
        except Exception as error:  # whatever it is, the other sections are not touched by it
            if not go_on:
                raise
            log.exception("the section %s of the report cannot be made", module.__name__)
            name = module.__name__.rpartition(".")[2]
            missing.append(f"the section {name} of this report ({type(error).__name__}: {error})")
    first = _rendered(summary.section(study, missing))
    last = [_rendered(provenance.section(study, made)), _rendered(_glossary())]
    write_text(output, _page(study, [first, *sections, *last], provenance.brief(study, made)))


def _glossary() -> Section:
    entries = sorted(glossary.TERMS.items(), key=lambda entry: entry[0].lower())
    return Section("glossary", "Glossary", [Terms([(glossary.anchor(term), term, text) for term, text in entries])])


@dataclass(frozen=True)
class _Rendered:
    """A section's place among the links of the page, its title and its HTML."""

    anchor: str
    title: str
    content: Markup


def _rendered(section: Section) -> _Rendered:
    glossary.begin_section()
    return _Rendered(section.anchor, section.title, html("section.html.j2", section=section))


def _page(study: Study, sections: list[_Rendered], made: str) -> str:
    style = package_data("report/static/page.css").read_text(encoding="utf-8")
    script = package_data("report/static/page.js").read_text(encoding="utf-8")
    # A carriage return would be normalised by the browser, and the script's hash would no longer match.
    scripts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in (get_plotlyjs(), script)]
    return html(
        "page.html.j2",
        study=study,
        sections=sections,
        made=made,
        policy=_policy(scripts),
        style=Markup(style),
        scripts=[Markup(text) for text in scripts],
    )


def _policy(scripts: list[str]) -> str:
    """No network at all, and no script but these: not even one that slipped into a table."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
