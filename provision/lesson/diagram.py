"""`diagram`: the architecture as a picture with this deployment's names, and what of it is there by its state file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from provision.lesson import drawing, picture
from provision.settings import AccountRules, Settings
from provision.state.file import parse

FORMATS = ("text", "mermaid", "svg")
ENDINGS = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".md": "mermaid"}


def read(path: Path) -> list[str]:
    """The keys of what is there by the state file at `path`; none where no file is.

    It is read once and without its lock. Raises StateRefused.
    """
    if not path.exists():
        return []
    return [entry["key"] for entry in parse(path.read_bytes(), path)["resources"] if entry["status"] == "created"]


def with_rules(settings: Settings, path: Path) -> Settings:
    """The settings with what the state file at `path` keeps of the account's rules. Raises StateRefused."""
    if not path.exists():
        return settings
    kept = AccountRules.from_file(parse(path.read_bytes(), path).get("rules", {}))
    return replace(settings, rules=settings.rules.over(kept))


def diagram(
    settings: Settings, there: Collection[str], form: str, *, width: int, in_unicode: bool = True
) -> Text | str:
    """The picture, as rich text for a terminal or as the text of a file."""
    if form == "text":
        return drawing.as_text(settings, there, width=width, in_unicode=in_unicode)
    return picture.as_mermaid(settings, there) if form == "mermaid" else picture.as_svg(settings, there) + "\n"


def form_of(path: Path | None, form: str | None) -> str:
    """The format that is asked for, or that a file's ending means."""
    return form or (ENDINGS.get(path.suffix, "text") if path is not None else "text")
