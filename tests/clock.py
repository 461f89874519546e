"""Time for tests: it passes only while somebody sleeps."""

from __future__ import annotations


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
