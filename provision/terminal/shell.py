"""What the system under a program decides: how its shell quotes, and which characters its streams can carry.

The lines that the programs print are pasted into a POSIX shell or, on Windows, into cmd; PowerShell takes the same
lines where no quotation mark is inside a word.
"""

from __future__ import annotations

import codecs
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Outside quotation marks cmd or PowerShell would read these as something of its own.
SPECIAL_ON_WINDOWS = frozenset("&|<>^();,'@`$#{}")


# What stands for the few characters that rich and the lessons set: as wide as they are, so that columns stay columns.
STAND_INS = {"\u2022": "*", "\u2026": ".", "\u2013": "-", "\u2014": "-"}


def write_any_text() -> None:
    """From here on stdout and stderr take any character: one that their encoding lacks is written as an escape.

    A console of Windows, and a pipe there, may have no more than cp1252 or cp437; AWS's texts are not bound to that.
    """
    codecs.register_error("legible", legible)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a test or a notebook puts in its place has its own ways
            stream.reconfigure(errors="legible")


def legible(error: UnicodeError) -> tuple[str | bytes, int]:
    """codecs' handler: a stand-in, or else an escape, which keeps what the character was."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in STAND_INS:
        return STAND_INS[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)


def is_unicode(encoding: str | None) -> bool:
    """Whether every character there is can be written so."""
    return (encoding or "").lower().replace("-", "").replace("_", "").startswith("utf")


def command_line(words: Sequence[str], *, windows: bool = sys.platform == "win32") -> str:
    """The words as one line to paste."""
    return " ".join(_windows_word(word) for word in words) if windows else shlex.join(words)


def with_variables(
    variables: Mapping[str, str], words: Sequence[str], *, windows: bool = sys.platform == "win32"
) -> str:
    """The words as one line to paste that has these environment variables, and leaves them to no other."""
    line = command_line(words, windows=windows)
    if not variables:
        return line
    if windows:
        # No space before &&: cmd would make it a part of the value.
        return f'cmd /c "{"".join(f"set {name}={value}&& " for name, value in variables.items())}{line}"'
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), line])


def _windows_word(word: str) -> str:
    quoted = subprocess.list2cmdline([word])
    return f'"{quoted}"' if SPECIAL_ON_WINDOWS & set(quoted) and not quoted.startswith('"') else quoted


def program(name: str, arguments: list[str]) -> str:
    """The command line that starts a program of this suite, the way this one was started."""
    return command_line([interpreter(), "-m", name, *arguments])


def interpreter() -> str:
    """How a person calls this Python here: by name where that finds it, else by the shortest path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).absolute() == Path(sys.executable).absolute():
            return name
    try:
        here = os.path.relpath(sys.executable)
    except ValueError:  # on Windows it may be on another drive
        return sys.executable
    return sys.executable if here.startswith("..") else here
