"""What the command lines of all programs share: the parser, its wrong ending, and how it looks."""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from provision import __version__
from provision.terminal import outcome
from provision.terminal.configuration import BadConfiguration, open_options, settle
from provision.terminal.shell import cannot_write, silence

FOLDER = Path(".provision")


def state_folder() -> Path:
    """Where the state files are: `.provision` here, or in the nearest folder above that has one, as git looks for .git.

    Not beyond the project (a folder with .git) or the home folder, and not in what belongs to somebody else.
    """
    try:
        here, home = Path.cwd(), Path("~").expanduser()
        for folder in (here, *here.parents):
            found = folder / FOLDER
            if found.is_dir() and (folder == here or is_mine(found)):
                return FOLDER if folder == here else Path(os.path.relpath(found))
            if (folder / ".git").exists() or folder == home:
                break
    except (OSError, RuntimeError):  # the working folder was removed, or nobody knows the home folder
        pass
    return FOLDER


def is_mine(folder: Path) -> bool:
    return sys.platform == "win32" or folder.stat().st_uid == os.getuid()


class WrongCommandLine(SystemExit):
    """argparse's ending: `what` is wrong has been said on stderr."""

    def __init__(self, what: str) -> None:
        super().__init__(outcome.USAGE)
        self.what = what


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that may be wrong says `--output json`."""
    return "--output=json" in arguments or ("--output", "json") in itertools.pairwise(arguments)


class Parser(argparse.ArgumentParser):
    """argparse, with the AWS CLI's exit code for a wrong command line, and without abbreviated options."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("usage", "%(prog)s [OPTION ...]")
        super().__init__(allow_abbrev=False, **settings)
        self.add_argument(
            "--version", action="version", version=f"poc-decoupled-serverless {__version__}", help="print the version"
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; options that are not given come from the environment or the file."""
        options = super().parse_args(args, open_options(self) if namespace is None else namespace)
        try:
            settle(self, options)
        except BadConfiguration as error:
            self.error(str(error))
        return options

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        if message.startswith("unrecognized arguments"):
            known = [option for action in self._actions for option in action.option_strings]
            near = [match for word in message.split() for match in difflib.get_close_matches(word, known, 1)]
            message += f" (did you mean {near[0]}?)" if near else ""
        text = f"{self.prog}: error: {message}"
        if sys.stderr is not None and sys.stderr.isatty():
            width = max(min(shutil.get_terminal_size().columns - 1, 100), 20)
            text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        self._print_message(f"{text}\n", sys.stderr)
        raise WrongCommandLine(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, which takes what it could not write for written. Raises UserError."""
        if file is None:  # it is closed
            return
        try:
            file.write(message)
            file.flush()
        except BrokenPipeError:
            silence(file)
        except OSError as error:
            raise cannot_write(file, error) from error


def add_screen_options(parser: argparse.ArgumentParser, *, presents: bool = True, documents: bool = True) -> None:
    """How it looks. `presents`: it can be shown to an audience. `documents`: it can write a document."""
    looks = parser.add_argument_group("how it looks")
    looks.add_argument("--plain", action="store_true", help="no colour, no emphasis, no line that changes")
    if documents:
        looks.add_argument(
            "--output", choices=("text", "json"), default="text", help="json: one document on stdout, at the end"
        )
    looks.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set",
    )
    if presents:
        looks.add_argument(
            "--present", action="store_true", help="for an audience: more space, no account numbers or ids"
        )
