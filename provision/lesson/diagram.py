"""`diagram`: the architecture as a picture with this deployment's names, and what of it is there by its state file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import botocore.session
from rich.text import Text

from provision.aws.console_links import console_url
from provision.lesson import picture
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.file import parse
from provision.state.resources import TYPES

FORMATS = ("text", "mermaid", "svg")


@dataclass(frozen=True)
class Recorded:
    """What a state file says; nothing, where there is none."""

    account: str
    region: str
    endpoint: str | None
    there: list[Resource]


def read(path: Path) -> Recorded:
    """The state file at `path`, without its lock: it is looked at once. Raises StateRefused."""
    if not path.exists():
        return Recorded("", "", None, [])
    content = parse(path.read_bytes(), path)
    entries = [Resource(**entry) for entry in content["resources"]]
    there = [entry for entry in entries if entry.status == "created"]
    return Recorded(content["account"], content["region"], content["endpoint"], there)


def diagram(settings: Settings, recorded: Recorded, form: str, *, width: int) -> Text | str:
    """The picture, as rich text for a terminal or as the text of a file."""
    there = [entry.key for entry in recorded.there]
    if form == "text":
        return picture.as_text(settings, there, width=width)
    addresses = links_of(recorded)
    if form == "mermaid":
        return picture.as_mermaid(settings, there, links=addresses)
    return picture.as_svg(settings, there, links=addresses) + "\n"


def links_of(recorded: Recorded) -> dict[str, str]:
    """The console's page of each resource that is there, by key; none for what is not on AWS."""
    if recorded.endpoint is not None or not recorded.there:
        return {}
    partition = botocore.session.get_session().get_partition_for_region(recorded.region)
    found = {}
    for entry in recorded.there:
        known = {**entry.outputs, **entry.identity}
        url = console_url(TYPES[entry.kind].console, known, region=recorded.region, partition=partition)
        if url is not None:
            found[entry.key] = url
    return found


def form_of(path: Path | None, form: str | None) -> str:
    """The format that is asked for, or that a file's ending means."""
    if form is not None:
        return form
    endings = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".md": "mermaid"}
    return endings.get(path.suffix, "text") if path is not None else "text"
