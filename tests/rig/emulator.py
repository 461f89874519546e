"""What a person sees of a program in a terminal: its bytes, played to an emulator with scrollback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import pyte
from pyte.screens import Char

FOLD = "↩"  # at the end of a row that goes on in the next one because the terminal is no wider
FOLDED = -1  # the column in which such a row has a mark
DIM, BLINK = 2, 5


class Emulator(pyte.HistoryScreen):  # type: ignore[misc]
    """pyte's screen, which also knows what is dim, and which rows the terminal itself has folded.

    Dim has no place among pyte's attributes: it takes that of blinking, which no program here uses.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._drawing = False
        super().__init__(columns, rows, history=100_000)
        self._stream = pyte.ByteStream(self)

    def feed(self, written: bytes) -> None:
        self._stream.feed(written)

    def select_graphic_rendition(self, *attrs: int, **private: bool) -> None:
        chosen = attrs if {38, 48} & set(attrs) else tuple(BLINK if one == DIM else one for one in attrs)
        super().select_graphic_rendition(*chosen)

    def draw(self, data: str) -> None:
        self._drawing = True
        super().draw(data)
        self._drawing = False

    def linefeed(self) -> None:
        if self._drawing:
            self.buffer[self.cursor.y][FOLDED] = Char("x")
        super().linefeed()

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        self.buffer[self.cursor.y].pop(FOLDED, None)
        super().erase_in_line(how, private)

    def change(self, columns: int, rows: int, *, refolds: bool) -> None:
        """The window has another size now. `refolds`: this terminal folds anew what it shows; others cut it off."""
        whole: list[list[Char]] = []
        cursor, goes_on = (0, 0), False
        for number, row in enumerate([*self.history.top, *(self.buffer[number] for number in range(self.lines))]):
            if not goes_on:
                whole.append([])
            if number == len(self.history.top) + self.cursor.y:
                cursor = (len(whole) - 1, len(whole[-1]) + self.cursor.x)
            whole[-1] += list(chars(row))[: len(plain(row))]  # what was wiped is nothing, and no space
            goes_on = refolds and FOLDED in row
        while len(whole) > cursor[0] + 1 and not whole[-1]:
            whole.pop()
        places, y, x = [], 0, 0
        for number, line in enumerate(whole):
            parts = [line[at : at + columns] for at in range(0, max(len(line), 1), columns)][: None if refolds else 1]
            if number == cursor[0]:
                y, x = len(places) + min(cursor[1] // columns, len(parts) - 1), cursor[1] % columns
            places += [(part, part is not parts[-1]) for part in parts]
        above = max(len(places) - rows, 0)
        self.resize(rows, columns)
        self.history.top.clear()
        for number, (part, folded) in enumerate(places):
            row = self.buffer[number - above]
            row.clear()
            row.update(enumerate(part))
            if folded:
                row[FOLDED] = Char("x")
            if number < above:
                self.history.top.append(self.buffer.pop(number - above))
        for number in range(len(places) - above, rows):
            self.buffer[number].clear()
        self.cursor.y, self.cursor.x = max(y - above, 0), x

    @property
    def rows(self) -> list[Mapping[int, Char]]:
        """What has scrolled away and what is on the screen, without the empty rows at its end."""
        rows = [*self.history.top, *(self.buffer[number] for number in range(self.lines))]
        while rows and not plain(rows[-1]):
            rows.pop()
        return rows


def text(rows: list[Mapping[int, Char]], *, coloured: bool) -> str:
    """Rows as a person reads them; with colour, what is not plain reads {green:created}."""
    return "".join(f"{styled(row) if coloured else plain(row)}{FOLD if FOLDED in row else ''}\n" for row in rows)


def plain(row: Mapping[int, Char]) -> str:
    return "".join(char.data for char in chars(row)).rstrip()


def styled(row: Mapping[int, Char]) -> str:
    runs = [(style, "".join(char.data for char in run)) for style, run in groupby(chars(row), style_of)]
    return "".join(f"{{{style}:{shown}}}" if style else shown for style, shown in runs).rstrip()


def chars(row: Mapping[int, Char]) -> Iterator[Char]:
    return (row[column] for column in range(max(row, default=-1) + 1))


def style_of(char: Char) -> str:
    """The style in words; "" of plain text, and of a space, where no colour shows."""
    flags = {"bold": char.bold, "dim": char.blink, "italic": char.italics, "underlined": char.underscore}
    words = [word for word, is_so in flags.items() if is_so]
    if char.fg != "default":
        words.append(colour(char.fg))
    if char.bg != "default":
        words.append(f"on {colour(char.bg)}")
    if char.reverse:
        words.append("reversed")
    return " ".join(words)


def colour(name: Any) -> str:
    """pyte calls yellow brown, as the first terminals showed it."""
    return str(name).replace("brown", "yellow").replace("bright", "bright ")
