"""A lesson in a real pseudo-terminal, and a learner who reads it."""

from __future__ import annotations

from tests.rig.programs import Folder
from tests.rig.terminal import Terminal

LESSON = ("provision", "--sandbox", "--step")
MENU = "?: keys > "
PAUSE = "q: quit > "
QUESTION = "(Enter: none  q: quit) > "
GUESS = "s: skip the question  q: quit > "


class Lesson(Terminal):
    """A lesson whose learner reads each page to its end, goes from call to call, and guesses nothing."""

    def __init__(self, folder: Folder, columns: int, *more: str, rows: int = 40) -> None:
        super().__init__(folder, columns, *LESSON, *more, rows=rows)
        self.stops = 0

    def turn(self, keys: str = "") -> str:
        """Type, and read until the lesson offers its choices; what was written since."""
        self.stops = 0
        shown = self.ask(keys, (MENU, PAUSE, QUESTION))
        while not self.text.endswith(MENU):
            self.stops += 1
            shown += self.ask("s\n" if self.text.endswith(GUESS) else "\n", (MENU, PAUSE, QUESTION))
        return shown

    def quit(self) -> str:
        """Stop the lesson at whatever it asks; what it said then."""
        return self.ask("q\n", None)
