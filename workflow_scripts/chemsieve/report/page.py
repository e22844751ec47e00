"""The page: sections in order, with everything that they need inlined."""

import base64
import hashlib
import logging
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from chemsieve.report import (
    audit,
    calibration,
    comparisons,
    control,
    curves,
    drawings,
    grid,
    influence,
    labels,
    published,
    runs,
    shift,
    strategies,
    summary,
    tradeoff,
)
from chemsieve.report.assets import SCRIPT, STYLE
from chemsieve.report.markup import Section, escape
from chemsieve.report.study import Study, load
from chemsieve.runtime.files import write_text

log = logging.getLogger(__name__)

# Order of the page, after the summary. A section is a module with ``section(study)``, which returns None where it does
# not apply.
SECTIONS = [
    comparisons,
    published,
    audit,
    labels,
    shift,
    curves,
    influence,
    strategies,
    grid,
    tradeoff,
    calibration,
    drawings,
    control,
    runs,
]


def render(tables: Path, config: dict[str, Any], output: Path, go_on: bool = False) -> None:
    """Write the report of a study.

    Args:
        tables: folder with the Parquet tables; those of ``study.OPTIONAL`` may be absent.
        config: effective configuration of the study.
        output: path of the page. The same tables and configuration give the same bytes.
        go_on: leave out a section that cannot be made, and say so on the first screen, in place of an error.
    """
    study = load(Path(tables), config)
    sections, missing = [], []
    for module in SECTIONS:
        try:
            sections.append(module.section(study))
        except Exception as error:  # whatever it is, the other sections are not touched by it
            if not go_on:
                raise
            log.exception("the section %s of the report cannot be made", module.__name__)
            name = module.__name__.rpartition(".")[2]
            missing.append(f"the section {name} of this report ({type(error).__name__}: {error})")
    first = summary.section(study, missing)
    write_text(output, _page(study, [first, *filter(None, sections)]))


def _page(study: Study, sections: list[Section]) -> str:
    # A carriage return would be normalised by the browser, and the script's hash would no longer match.
    scripts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in (get_plotlyjs(), SCRIPT)]
    links = "".join(f'<a href="#{escape(part.anchor)}">{escape(part.title)}</a>' for part in sections)
    body = "\n".join(
        f'<section id="{escape(part.anchor)}"><h2>{escape(part.title)}</h2>\n' + "\n".join(part.blocks) + "</section>"
        for part in sections
    )
    label = f"{study.property_name} ({study.unit})" if study.unit else study.property_name
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>chemsieve: {escape(study.name)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(study.name)}</h1>
<p>Which molecules to add, and how to fine-tune on them: {escape(label)}</p></header>
<nav aria-label="Sections"><div>{links}</div></nav>
<main>
<noscript><p class="warning">Figures need JavaScript; text and tables do not.</p></noscript>
{body}
</main>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""


def _policy(scripts: list[str]) -> str:
    """No network at all, and no script but these: not even one that slipped into a table."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
