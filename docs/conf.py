"""The pages of this folder as a site: `python -m sphinx docs build/docs`. Nothing in it comes from the network."""

from __future__ import annotations

import re
from typing import Any

project = "A decoupled serverless proof of concept on AWS, as code"
language = "en"
extensions = ["myst_parser", "sphinx_copybutton"]

myst_heading_anchors = 3  # so that [text](page.md#heading) leads where it leads on GitHub
smartquotes = False  # `--yes` is an option, also where it stands in prose

html_theme = "furo"
html_title = "Decoupled serverless, as code"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False  # it would be empty

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
ENTRY = re.compile(r"^- \[[^]]+\]\(([^)]+)\.md\)", re.MULTILINE)


def contents(text: str) -> str:
    """The tables of contents that Sphinx wants, from the lists of the front page, a caption for each heading.

    So the front page is plain Markdown, which reads on GitHub as it reads here.
    """
    _, *sections = SECTION.split(text)
    return "".join(
        "\n```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```\n".format(caption, "\n".join(ENTRY.findall(section)))
        for caption, section in zip(sections[::2], sections[1::2], strict=True)
        if ENTRY.search(section)
    )


def add_contents(app: Any, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] += contents(source[0])


def setup(app: Any) -> None:
    app.connect("source-read", add_contents)
