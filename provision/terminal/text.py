"""Lines that are folded between words only, and texts of others without what would steer the terminal."""

from __future__ import annotations

import re

from rich.text import Text

# What a terminal obeys instead of showing it (all but tab and newline), and what lets a line read otherwise than it is.
# https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
STEERING = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def visible(text: str) -> str:
    r"""The text with each control character as its escape, such as \u001b. JSON stays JSON, with the same values."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
