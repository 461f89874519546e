"""What depends on the operating system: how its shell quotes, and which characters its streams can have.

People paste the lines that the programs print into a POSIX shell or, on Windows, into cmd. PowerShell takes the same
lines unless a quotation mark is inside a word.
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
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provision.terminal import outcome

# Outside quotation marks these mean something to cmd or PowerShell.
SPECIAL_ON_WINDOWS = frozenset("&|<>^();,'@`$#{}")
# In the place of the few characters that rich and the lessons use; as wide as they are, so that columns stay aligned.
STAND_INS = {"\u2022": "*", "\u2026": ".", "\u2013": "-", "\u2014": "-"}


def write_any_text() -> None:
    """From here on stdout and stderr take any character: one that their encoding lacks is written as an escape.

    A console or a pipe of Windows may have only cp1252 or cp437; AWS's texts may have any character.
    """
    codecs.register_error("legible", legible)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test or a notebook may have put something else there
            stream.reconfigure(errors="legible")


def silence(stream: Any) -> None:
    """From here on what is written to this stream goes nowhere. Python would write the rest once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def cannot_write(stream: Any, error: OSError) -> outcome.UserError:
    """The ending of a program whose words or data cannot be written; the stream is silent from here on."""
    silence(stream)
    return outcome.UserError(
        f"{getattr(stream, 'name', 'output').strip('<>')} cannot be written: {error.strerror}.",
        means="The output is incomplete.",
        advice=("Make room, or send it elsewhere, then run the same command again.",),
        exit_code=outcome.ENVIRONMENT,
        code="disk",
    )


def legible(error: UnicodeError) -> tuple[str | bytes, int]:
    """A handler for codecs: a stand-in, or else an escape, which says what the character was."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in STAND_INS:
        return STAND_INS[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)


def is_unicode(encoding: str | None) -> bool:
    """Whether this encoding has every character."""
    return (encoding or "").lower().replace("-", "").replace("_", "").startswith("utf")


def command_line(words: Sequence[str], *, windows: bool = sys.platform == "win32") -> str:
    """The words as one line to paste."""
    return " ".join(_windows_word(word) for word in words) if windows else shlex.join(words)


def with_variables(
    variables: Mapping[str, str], words: Sequence[str], *, windows: bool = sys.platform == "win32"
) -> str:
    """The words as one line to paste, with these environment variables for this command only."""
    line = command_line(words, windows=windows)
    if not variables:
        return line
    if windows:
        # A space before && would be a part of the value.
        return f'cmd /c "{"".join(f"set {name}={value}&& " for name, value in variables.items())}{line}"'
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), line])


def to_move(path: Path, *, windows: bool = sys.platform == "win32") -> str:
    """The command that moves a file or folder away, beside itself, to a name that is free."""
    free = (path.with_name(path.name + suffix) for suffix in (".old", *(f".old{number}" for number in range(2, 100))))
    return command_line(["move" if windows else "mv", str(path), str(next(one for one in free if not one.exists()))])


def to_copy(path: Path, to: Path, *, windows: bool = sys.platform == "win32") -> str:
    """The command that puts a copy of a file in another's place."""
    return command_line(["copy" if windows else "cp", str(path), str(to)])


def past_proxy(url: str | None) -> dict[str, str]:
    """The variables with which curl and `aws` reach a URL of this machine where a proxy is set; none elsewhere.

    Both prefer the name in small letters. https://everything.curl.dev/usingcurl/proxies/env.html
    """
    from urllib.request import getproxies_environment, proxy_bypass  # it takes a twentieth of a second to import

    host = urlsplit(url or "").hostname or ""
    proxies = getproxies_environment()
    if host not in ("127.0.0.1", "localhost", "::1") or not proxies.keys() & {"http", "all"}:
        return {}
    return {} if proxy_bypass(host) else {"no_proxy": host}


def _windows_word(word: str) -> str:
    quoted = subprocess.list2cmdline([word])
    return f'"{quoted}"' if SPECIAL_ON_WINDOWS & set(quoted) and not quoted.startswith('"') else quoted


def program(name: str, arguments: list[str]) -> str:
    """The command line that starts a program of this suite as this one was started."""
    return command_line([interpreter(), "-m", name, *arguments])


def own_command() -> str:
    """The command line with which somebody started this program."""
    words = sys.orig_argv[1:]
    return command_line([interpreter(), *words] if "-m" in words else sys.argv)


def interpreter() -> str:
    """How a person starts this Python here: by its name where that finds it, else by the shortest path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).absolute() == Path(sys.executable).absolute():
            return name
    try:
        here = os.path.relpath(sys.executable)
    except (OSError, ValueError):  # the working folder was removed; on Windows it may be on another drive
        return sys.executable
    return sys.executable if here.startswith("..") else here
