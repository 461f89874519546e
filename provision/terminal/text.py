"""Lines that are divided between words, and only there."""

from __future__ import annotations

import re

from rich.text import Text


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


KEPT = "\N{NO-BREAK SPACE}"  # between words of one line; it never gets to a terminal


def kept(*words: str) -> str:
    """Words that `folded` leaves together."""
    return KEPT.join(words)


def folded(text: Text, width: int, below: int) -> Text:
    """Divided between words where it is wider than that, and going on at the column `below`; no word is divided."""
    cuts: list[int] = []
    begins, column = 0, 0
    for word in re.finditer("[^ ]+", text.plain):
        if word.end() - begins + column > width and word.start() > max(begins, below):
            cuts.append(word.start())
            begins, column = word.start(), below
    lines = text.divide(cuts)
    for line in lines:
        line.rstrip()
    return Text(f"\n{' ' * below}").join(lines)
