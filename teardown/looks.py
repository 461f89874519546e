"""What AWS has under the recorded identities, as it was seen a moment ago.

A teardown asks several things about one resource: whose it is, who else depends on it, whether a part of it is ours.
They come within seconds of each other, and one look answers them all.
"""

from __future__ import annotations

from typing import Any, TypeVar

from provision.aws.clients import Clients
from provision.state.entries import Resource
from provision.state.state import State
from teardown.verbs import VERBS

T = TypeVar("T")

# For so long what was seen is believed without another look. AWS's own answers lag behind by more.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
BELIEVED_SECONDS = 10.0


class Looks:
    """The looks of one walk. Only what is there is remembered: that something is gone, each look has to see itself."""

    def __init__(self, aws: Clients, state: State) -> None:
        self.aws = aws
        self.state = state
        self._found: dict[str, tuple[float, dict[str, Any]]] = {}
        self._others: dict[str, tuple[float, list[str]]] = {}

    def find(self, resource: Resource) -> dict[str, Any] | None:
        """What AWS has of it; None where a look made now finds nothing."""
        seen = self._recent(self._found.get(resource.key))
        if seen is not None:
            return seen
        found = VERBS[resource.kind].find(self.aws, self.state, resource)
        if found is not None:
            self._found[resource.key] = self.aws.waiting.clock(), found
        return found

    def others_on(self, resource: Resource, found: dict[str, Any]) -> list[str]:
        """The names of what somebody else attached to it."""
        others_on = VERBS[resource.kind].others_on
        if others_on is None:
            return []
        seen = self._recent(self._others.get(resource.key))
        if seen is not None:
            return seen
        others = others_on(self.aws, self.state, resource, found)
        self._others[resource.key] = self.aws.waiting.clock(), others
        return others

    def forget(self, resource: Resource) -> None:
        """The next questions about it are asked anew: a call changed it, or AWS said something else of it."""
        self._found.pop(resource.key, None)
        self._others.pop(resource.key, None)

    def _recent(self, seen: tuple[float, T] | None) -> T | None:
        if seen is None or self.aws.waiting.clock() - seen[0] > BELIEVED_SECONDS:
            return None
        return seen[1]
