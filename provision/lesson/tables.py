"""Tables in the Markdown of a lesson's page."""

from __future__ import annotations

from markdown_it import MarkdownIt


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their headings; each cell as it is written."""
    rows: list[list[str]] = []
    inside, in_body = "", False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("tbody_open", "tbody_close"):
            in_body = token.type == "tbody_open"
        elif token.type == "tr_open" and in_body:
            rows.append([])
        elif token.type == "inline" and inside == "td_open":
            rows[-1].append(token.content.strip())
        inside = token.type
    return rows


def without_tables(text: str) -> str:
    """The text without its tables."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("|")).strip()
