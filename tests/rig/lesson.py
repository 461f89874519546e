"""A lesson in a real pseudo-terminal, and a learner who reads it."""

from __future__ import annotations

from tests.rig.programs import Folder
from tests.rig.terminal import Terminal

LESSON = ("provision", "--sandbox", "--step")
PROMPT = "turn to that page\n> "
PAUSE = "x: no more of it > "


class Lesson(Terminal):
    """A lesson whose learner reads each page to its end: Enter at each stop, until it asks what to do."""

    def __init__(self, folder: Folder, columns: int, *more: str, rows: int = 40) -> None:
        super().__init__(folder, columns, *LESSON, *more, rows=rows)
        self.stops = 0

    def turn(self, keys: str = "") -> str:
        """Type, and read until the lesson asks what to do; what was written since."""
        self.stops = 0
        shown = self.ask(keys, (PROMPT, PAUSE))
        while PROMPT not in self.text:
            self.stops += 1
            shown += self.ask("\n", (PROMPT, PAUSE))
        return shown
