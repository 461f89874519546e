"""A call every so many seconds, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

SILENCE = 20.0  # seconds without a line, after which one says what is still being done; waits have one every fifteen


class Ticker:
    """Calls `tick` every so many seconds, in a thread of its own, until it is stopped or the block ends."""

    def __init__(self, seconds: float, tick: Callable[[], None]) -> None:
        self.seconds = seconds
        self.tick = tick
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns once the last call has returned."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Ticker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._over.wait(self.seconds):
            self.tick()
