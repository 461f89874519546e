"""The lesson's own words in another language: a table in the file terms.md beside a trainer's pages.

    | English | here |
    | --- | --- |
    | Why now | Warum jetzt |
    | go on | weiter |

The words are the headings of the pages, the names of the choices, and the prompts. What the table lacks stays English.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from provision.lesson.tables import rows_of

FILE = "terms.md"


@dataclass(frozen=True)
class Terms:
    """The words by their English."""

    here: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str, **values: object) -> str:
        """The text in the lesson's language, with its {values} filled in."""
        here = self.here.get(text, text)
        return here.format(**values) if values else here

    def english(self, text: str) -> str:
        """The English of a word; a word that the table lacks as it is."""
        return next((english for english, here in self.here.items() if here == text), text)


ENGLISH = Terms()


def read(folder: Path | None) -> Terms:
    """The words of a trainer's folder; English where there is no such file."""
    if folder is None or not (folder / FILE).exists():
        return ENGLISH
    rows = rows_of((folder / FILE).read_text(encoding="utf-8"))
    return Terms({row[0]: row[1] for row in rows if len(row) == 2 and row[1]})
