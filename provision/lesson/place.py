"""The page at which a learner stopped, kept in a file until the next time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from provision import STEPS, Step
from provision.terminal.disk import write_durably


@dataclass
class Place:
    """The step whose page is open, and the endpoint of the deployment."""

    path: Path
    step: Step = STEPS[0]
    endpoint: str | None = None
    is_new: bool = True

    @classmethod
    def read(cls, state_path: Path) -> Place:
        """The place that was saved beside a state file; the first page if none can be read."""
        path = state_path.with_name(f"{state_path.stem}.lesson.json")
        try:
            noted = json.loads(path.read_bytes())
            return cls(path, step_called(noted["step"]), noted["endpoint"], is_new=False)
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            return cls(path)

    def note(self, step: Step) -> None:
        """Save the page. If the file cannot be written, only the place is lost."""
        self.step = step
        content = {"step": step.name, "endpoint": self.endpoint}
        try:
            write_durably(self.path, (json.dumps(content) + "\n").encode())
        except OSError:
            return


def step_called(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)
