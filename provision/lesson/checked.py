"""What a lesson says of what `check` finds: why an attribute matters, what to do, and what a mistake means.

Why and what to do stand in each page's table "What is checked", the mistakes in lessons/mistakes.md. A section of that
begins with "## Title (name)"; its last paragraph begins with "What to do:".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provision.check.leeway import row_of
from provision.check.verdicts import PASS, Finding
from provision.lesson.page import BadPage, Page, check_names, filled, read, text_of

MISTAKES_PAGE = "mistakes.md"
HEADING = re.compile(r"## (?P<title>.+) \((?P<name>[a-z-]+)\)")
TODO = "What to do: "


@dataclass(frozen=True)
class Explanation:
    """A usual mistake in words."""

    title: str
    means: str
    todo: str


def explained(findings: Sequence[Finding], names: Mapping[str, str], *, folder: Path | None = None) -> list[Finding]:
    """The same, each with why it matters and what to do; a mistake with its title and explanation.

    `names` as in page.py; `folder` is a trainer's own. Raises BadPage.
    """
    mistakes = read_mistakes(names, folder=folder)
    pages: dict[str, Page] = {}
    told = []
    for one in findings:
        if one.step not in pages:
            pages[one.step] = read(one.step, names, folder=folder)
        why, todo = row_for(pages[one.step], one)
        mistake = mistakes.get(one.mistake)
        told.append(
            replace(
                one,
                why=why,
                todo="" if one.outcome == PASS else mistake.todo if mistake else todo,
                title=mistake.title if mistake else "",
                explanation=mistake.means if mistake else "",
            )
        )
    return told


def row_for(page: Page, finding: Finding) -> tuple[str, str]:
    """Why it matters and what to do, by the row of the attribute, or of what it is a part of."""
    words = row_of(finding.attribute).split()
    while words:
        row = page.checks.get((finding.noun, " ".join(words)))
        if row is not None:
            return row
        words.pop()
    return "", ""


def read_mistakes(names: Mapping[str, str], *, folder: Path | None = None) -> dict[str, Explanation]:
    """The usual mistakes by name; from a trainer's own folder, or from the package's. Raises BadPage."""
    text = text_of(MISTAKES_PAGE, folder)
    check_names(MISTAKES_PAGE, text, names)
    found = {}
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        title = HEADING.fullmatch(heading.strip())
        if title is None:
            raise BadPage(MISTAKES_PAGE, f"the heading {heading!r} does not end with the mistake's name in brackets.")
        paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", body.strip())]
        if not paragraphs[-1].startswith(TODO):
            raise BadPage(MISTAKES_PAGE, f"the last paragraph of {title['name']} does not begin with {TODO.strip()!r}.")
        means, todo = (filled(one.replace("`", ""), names) for one in (" ".join(paragraphs[:-1]), paragraphs[-1]))
        found[title["name"]] = Explanation(title["title"], means, todo.removeprefix(TODO))
    return found
