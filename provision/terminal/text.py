"""Lines that are folded between words only."""

from __future__ import annotations

import re

from rich.text import Text


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


KEPT = "\N{NO-BREAK SPACE}"  # between words that stay on one line; the terminal gets a space


def kept(*words: str) -> str:
    """Words that `folded` leaves together."""
    return KEPT.join(words)


def folded(text: Text, width: int, below: int) -> Text:
    """The text in lines of at most that width, the second and later ones indented by `below`. No word is divided."""
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
