"""The report's HTML templates."""

import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bnblind.figures.typesetting import typeset

CONVENTION = (
    "In figures, small marks are seeds, and large marks and lines are their means. Bars and bands "
    "are 95 % t intervals over the seeds, as in the ledger. A cross is a run that diverged; in "
    "accuracies it counts as chance. In tables, intervals stand in brackets. Unless stated "
    "otherwise, test accuracy is measured in evaluation mode and averaged over the last three "
    "epochs."
)
"""How uncertainty is shown, everywhere."""


def prose(text: str) -> Markup:
    """A text of ours as HTML: what is between backticks is code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def fill(template: str, **values: Any) -> bytes:
    """The template of that name in ``templates/``, filled in; a missing value is an error."""
    folder = resources.files("bnblind.pipeline.formats") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"prose": prose, "typeset": typeset}
    environment.globals["convention"] = CONVENTION
    return environment.get_template(template).render(**values).encode()
