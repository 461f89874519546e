"""How far a learner is: the open page, what was done and how, what was answered. Kept until the next time."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision import STEPS, Step
from provision.terminal.disk import write_durably

ENDING = ".lesson.json"  # in the place of a state file's .json
OPENING, TESTS = "opening", "tests"
# The pages of the lesson, in their order; their numbers are 0 to 9.
PAGES = (OPENING, *(step.name for step in STEPS), TESTS)


@dataclass
class Place:
    """The name of the open page, the endpoint of the deployment, and the learner's progress.

    `done` has, by page, {"how": "shown" or "by hand", "tries": 1, "at": when, in UTC}; `answers` has, by page, what was
    said to its questions: {"guess": ..., "aws": ..., "answer": ...}.
    """

    path: Path
    page: str = OPENING
    endpoint: str | None = None
    is_new: bool = True
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, state_path: Path) -> Place:
        """The place that was saved beside a state file; the first page if none can be read."""
        path = state_path.with_name(f"{state_path.stem}{ENDING}")
        try:
            noted = json.loads(path.read_bytes())
            page, done, answers = noted["step"], noted.get("done", {}), noted.get("answers", {})
            if page not in PAGES or not all(
                isinstance(one, dict) for kept in (done, answers) for one in (kept, *kept.values())
            ):
                return cls(path)
            return cls(path, page, noted["endpoint"], is_new=False, done=done, answers=answers)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path)

    def note(self, page: str) -> None:
        """Save the page. If the file cannot be written, only the place is lost."""
        self.page = page
        content = {"step": page, "endpoint": self.endpoint, "done": self.done, "answers": self.answers}
        try:
            write_durably(self.path, (json.dumps(content) + "\n").encode())
        except OSError:
            return

    def did(self, page: str, how: str, *, tries: int = 1) -> None:
        """Note that a page's step was done, and save it."""
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.done[page] = {"how": how, "tries": tries, "at": at}
        self.note(self.page)

    def answered(self, page: str, **said: str) -> None:
        """Note what was said to a question of a page, and save it."""
        self.answers.setdefault(page, {}).update(said)
        self.note(self.page)

    def forget(self) -> None:
        """Forget what was done and answered, and save that."""
        self.done, self.answers = {}, {}
        self.note(self.page)


def step_called(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)
