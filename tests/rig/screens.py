"""A screen that a test can read."""

from __future__ import annotations

import io

from rich.console import Console

from provision.terminal.screen import Screen


def memory_screen() -> Screen:
    """A program's screen that writes into memory: `screen.talk.file.getvalue()`."""
    return Screen(talk=memory_console(), data=memory_console())


def memory_console() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=False, color_system=None, emoji=False)
