"""What the command lines of all programs share: the parser, its wrong ending, and how it looks."""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from provision import __version__
from provision.terminal import outcome
from provision.terminal.configuration import BadConfiguration, open_options, settle
from provision.terminal.disk import PRIVATE, is_mine
from provision.terminal.shell import cannot_write, silence
from provision.terminal.text import visible

FOLDER = Path(PRIVATE)


def state_folder() -> Path:
    """Where the state files are: `.provision` here, or in the nearest folder above that has one, as git looks for .git.

    Not beyond the project (a folder with .git) or the home folder. Above, what belongs to somebody else is passed over:
    everybody may put something in /tmp. Raises UserError where it is a link, or the one here is somebody else's.
    """
    try:
        here, home = Path.cwd(), Path("~").expanduser()
        for folder in (here, *here.parents):
            found = folder / FOLDER
            if os.path.lexists(found) and (folder == here or is_mine(found)):
                if found.is_symlink() or (found.is_dir() and not is_mine(found)):
                    raise not_private(found)
                if found.is_dir():
                    return FOLDER if folder == here else Path(os.path.relpath(found))
            if (folder / ".git").exists() or folder == home:
                break
    except (OSError, RuntimeError):  # the working folder was removed, or nobody knows the home folder
        pass
    return FOLDER


def not_private(folder: Path) -> outcome.UserError:
    why = "is a link, and links are not followed" if folder.is_symlink() else "belongs to somebody else"
    return outcome.UserError(
        f"The folder {folder} {why}.",
        means="What the suite writes there would go where somebody else wants. Nothing was done.",
        advice=("Remove it, or work in another folder.", "Another place for the state file: --state PATH"),
        exit_code=outcome.ENVIRONMENT,
    )


class WrongCommandLine(SystemExit):
    """argparse's ending: `what` is wrong, and where to `look`, has been said on stderr."""

    def __init__(self, what: str, look: str) -> None:
        super().__init__(outcome.USAGE)
        self.what = what
        self.look = look

    def error(self) -> outcome.Error:
        return outcome.Error("usage", self.what, advice=(self.look,))


def look_at_help(command: str, what: str = "options") -> str:
    """Where the options of a command are: what every error about its command line ends with."""
    return f"The {what}: {command} --help"


def meant(word: str, known: Iterable[str]) -> str:
    """The nearest of what is known, as a question; empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""


def unknown(what: str, text: str, known: Iterable[str]) -> str:
    """That there is no such thing, with the nearest, and all that there are."""
    near = meant(text, known)
    return f"there is no {what} {text!r}; {f'{near} There' if near else 'there'} are {', '.join(known)}"


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that may be wrong says `--output json`."""
    return "--output=json" in arguments or ("--output", "json") in itertools.pairwise(arguments)


class Parser(argparse.ArgumentParser):
    """argparse, with the AWS CLI's exit code for a wrong command line, and without abbreviated options.

    `example` is a line of its help to paste. A program's own parser has its `commands`, each with what it does.
    """

    def __init__(self, *, example: str, commands: Mapping[str, str] | None = None, **settings: Any) -> None:
        settings.setdefault("usage", "%(prog)s [COMMAND] [OPTION ...]" if commands else "%(prog)s [OPTION ...]")
        super().__init__(allow_abbrev=False, **settings)
        self.example = example
        self.commands = commands or {}

    def add_version(self) -> None:
        version = f"poc-decoupled-serverless {__version__}"
        self.add_argument("--version", action="version", version=version, help="print the version")

    def format_help(self) -> str:
        """As argparse's, with the commands and the example, neither of which is folded."""
        parts = [super().format_help()]
        if self.commands:
            width = max(map(len, self.commands)) + 2
            lines = [f"  {name:<{width}}{what}" for name, what in self.commands.items()]
            parts.append("\n".join(["commands, each with a --help of its own:", *lines]))
        parts.append(f"example:\n  {self.example}\n")
        return "\n".join(parts)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; options that are not given come from the environment or the file."""
        options = super().parse_args(args, open_options(self) if namespace is None else namespace)
        try:
            settle(self, options)
        except BadConfiguration as error:
            self.error(str(error))
        return options

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, with the nearest of the choices."""
        if action.choices is not None and value not in action.choices:
            known = [str(one) for one in action.choices]
            raise argparse.ArgumentError(action, unknown("value", str(value), known))

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments"):
            known = [option for action in self._actions for option in action.option_strings]
            words = [word.partition("=")[0] for word in message.split() if word.startswith("-")]
            near = next(filter(None, (meant(word, known) for word in words)), "")
            message += f" ({near})" if near else ""
        text = f"{self.prog}: error: {message}"
        look = look_at_help(self.prog, "commands" if self.commands else "options")
        if sys.stderr is not None and sys.stderr.isatty():
            width = max(min(shutil.get_terminal_size().columns - 1, 100), 20)
            text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        self._print_message(f"{text}\n{look}\n", sys.stderr)
        raise WrongCommandLine(message, look)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, which takes what it could not write for written. Raises UserError."""
        if file is None:  # it is closed
            return
        try:
            file.write(visible(message))
            file.flush()
        except BrokenPipeError:
            silence(file)
        except OSError as error:
            raise cannot_write(file, error) from error


def add_screen_options(
    parser: argparse.ArgumentParser, *, presents: bool = True, documents: bool = True
) -> argparse._ArgumentGroup:
    """How it looks. `presents`: it can be shown to an audience. `documents`: it can write a document."""
    looks = parser.add_argument_group("how it looks, and what is written" if documents else "how it looks")
    looks.add_argument("--plain", action="store_true", help="no colour, no emphasis, no line that changes")
    if documents:
        looks.add_argument(
            "--output", choices=("text", "json"), default="text", help="json: one document on stdout, at the end"
        )
    looks.add_argument(
        "--color",
        metavar="WHEN",
        choices=("auto", "always", "never"),
        default="auto",
        help="always, never, or auto: on a terminal without NO_COLOR",
    )
    if presents:
        looks.add_argument(
            "--present", action="store_true", help="for an audience: more space, no account numbers or ids"
        )
    return looks
