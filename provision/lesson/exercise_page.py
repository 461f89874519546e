"""The page of a fault, lessons/exercises/NAME.md: what one sees, where to look, three hints, what is learned.

Lines of code that begin with `aws` get the options of the place when they are shown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.aws.clients import Clients
from provision.lesson.page import BadPage, names, text_of, with_names
from provision.settings import Settings
from provision.state.state import State
from provision.terminal.shell import past_proxy

SEEN, LOOK, HINTS, LEARNED = "What one sees", "Where to look", "Hints", "What is learned"
COUNT = 3


@dataclass(frozen=True)
class ExercisePage:
    """A page, with its names filled in: Markdown, and the hints from the vaguest to the plainest."""

    title: str
    seen: str
    look: str
    hints: tuple[str, ...]
    learned: str


def read_exercise(fault: str, known: Mapping[str, str], *, folder: Path | None = None) -> ExercisePage:
    """The page of a fault; from a trainer's own folder where it has one. Raises BadPage."""
    page = f"exercises/{fault}.md"
    text = with_names(page, text_of(page, folder), known)
    title = re.match(r"# (.+)\n", text)
    sections = dict(re.findall(r"^## (.+)\n([^\0]*?)(?=^## |\Z)", text, flags=re.MULTILINE))
    missing = [name for name in (SEEN, LOOK, HINTS, LEARNED) if not sections.get(name, "").strip()]
    if title is None or missing:
        what = repr(missing[0]) if missing else "of the first level"
        raise BadPage(page, f"the heading {what} is missing, or nothing stands below it.")
    items = re.split(r"^\d\. ", sections[HINTS], flags=re.MULTILINE)[1:]
    if len(items) != COUNT:
        raise BadPage(page, f"below {HINTS!r} there are {len(items)} numbered items, and not {COUNT}.")
    hints = tuple(" ".join(item.split()) for item in items)
    return ExercisePage(title[1], sections[SEEN].strip(), sections[LOOK].strip(), hints, sections[LEARNED].strip())


def names_in(aws: Clients, settings: Settings, state: State) -> dict[str, str]:
    """What a page may name: as in a lesson, and the ids that AWS has given."""
    return {
        **names(settings, account=aws.account_id, region=aws.region, partition=aws.partition),
        "api_id": state.outputs("api")["id"],
        "trigger_id": state.outputs("trigger")["id"],
        "queue_url": state.outputs("queue")["url"],
        "dead_letter_queue_url": state.outputs("dead-letter-queue")["url"] if settings.has_dead_letter_queue else "",
        "invoke_url": state.outputs("stage")["url"],
    }


def with_place(text: str, aws: Clients) -> str:
    """The text, with the options of the place on each line that is an `aws` command."""
    options = [("--endpoint-url", aws.base_url), ("--region", aws.region), ("--profile", aws.profile)]
    words = [word for option, value in options if value for word in (option, value)]
    before = "".join(f"{name}={value} " for name, value in past_proxy(aws.base_url).items())
    return re.sub(r"^aws .+$", lambda line: f"{before}{line[0]} {shlex.join(words)}", text, flags=re.MULTILINE)
