"""What the web pages are made with: templates that escape what they are given, and Markdown."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup


def environment(package: str) -> Environment:
    """The templates of a package."""
    made = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["markdown"] = rendered
    return made


def rendered(markdown: str) -> Markup:
    """Markdown of a lesson's page as HTML. HTML in it is shown as text."""
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))
