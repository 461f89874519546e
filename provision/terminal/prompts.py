"""What a person types at a question."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

ROWS_OF_A_PAUSE = 2


def forget_typed_ahead() -> None:
    """What was typed before a question was there is no answer to it."""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getch()
        return
    import termios

    with suppress(OSError, ValueError, termios.error):  # not a real terminal
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def wait_for_a_line() -> None:
    """Return once somebody has typed a line, or soon after a signal.

    input() alone misses a Ctrl-C that comes just before it begins to read, and then waits for a key.
    """
    if sys.platform == "win32":
        return  # select() knows sockets only there
    with suppress(OSError, ValueError):  # not a real terminal
        while not select.select([sys.stdin], [], [], 0.2)[0]:
            continue
