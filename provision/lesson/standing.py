"""Which steps are done, by the state file, and which are needed first."""

from __future__ import annotations

from provision import STEPS, Step
from provision.lesson.place import step_called
from provision.state.resources import PLACES
from provision.state.state import State

# By step, the key of what it makes last: when that is made, the step is done.
LAST_MADE = {place.step: key for key, place in PLACES.items() if not place.is_extra}


class Standing:
    """What exists of a deployment, step by step."""

    def __init__(self, state: State) -> None:
        self.state = state

    def is_made(self, step: Step) -> bool:
        entry = self.state.record(LAST_MADE[step.name])
        return entry is not None and entry.status == "created"

    def existing(self) -> list[str]:
        return [entry.key for entry in self.state.standing if entry.status == "created"]

    def missing(self, step: Step) -> list[Step]:
        """The steps that this one needs, directly or not, and that are not made, in their order."""
        needed: set[str] = set()
        look_at = [step]
        while look_at:
            for name in look_at.pop().load().NEEDS:
                if name not in needed:
                    needed.add(name)
                    look_at.append(step_called(name))
        return [one for one in STEPS if one.name in needed and not self.is_made(one)]

    def left_out(self) -> list[Step]:
        return [step for step in STEPS if not self.is_made(step)]
