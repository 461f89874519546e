"""Time for tests: it passes only while somebody sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Clock:
    """A clock in seconds; `slept` has every sleep asked of it."""

    def __init__(self) -> None:
        self.now = 500.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def eventually(claim: Callable[[], Any], seconds: float = 30) -> Any:
    """What the claim returns, once that is something; the test fails when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = claim()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.03)


def never(claim: Callable[[], Any], seconds: float) -> None:
    """The test fails as soon as the claim is something, within a time. For what no event tells: that nothing comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = claim()
        assert not found, found
        time.sleep(0.03)
