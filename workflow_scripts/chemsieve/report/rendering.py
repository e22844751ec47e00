"""From blocks to HTML, by the templates of the report."""

from functools import cache

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from chemsieve.report.glossary import explained, marked
from chemsieve.runtime.data_files import package_data


@cache
def _environment() -> Environment:
    templates = package_data("report/templates")
    environment = Environment(
        loader=FunctionLoader(lambda name: templates.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # The filter tojson writes figures, and escapes what would end the element that it writes them into.
    environment.filters |= {"marked": marked, "explained": explained}
    environment.policies |= {"json.dumps_function": _json, "json.dumps_kwargs": {}}
    return environment


def _json(figure: go.Figure) -> str:
    return plotly.io.to_json(figure, validate=False, engine="json")


def html(template: str, **values: object) -> Markup:
    """The text that a template makes of values; all that is not :class:`Markup` is escaped.

    Raises:
        jinja2.UndefinedError: the template names what it was not given.
    """
    return Markup(_environment().get_template(template).render(values))
