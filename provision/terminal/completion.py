"""Tells a shell how a command line can go on. docs/how-to/shell-completion.md has the set-up for bash and zsh."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provision.terminal.command_line import Parser

Completer = Callable[[], list[str]]  # the values that there are


def complete(
    parser: Parser,
    commands: Mapping[str, Callable[[], Parser]],
    completers: Mapping[str, Completer],
) -> None:
    """If a shell asks, answer it and end the process; else do nothing.

    `parser` is that of the command that needs no word, `commands` are all of them; `completers` know the values of
    options, by their names. A shell asks with three variables: the line, the place in it, and the number of the word
    that is the program. https://kislyuk.github.io/argcomplete/
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete  # an extra, needed only here
    except ImportError:
        sys.exit(1)
    program = int(os.environ["_ARGCOMPLETE"])
    words = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    for place, word in enumerate(words[program:-1], start=program + 1):
        if word in commands:  # also after options, as the programs allow
            os.environ["_ARGCOMPLETE"] = str(place)
            parser = commands[word]()
            break
    else:
        if commands:
            parser.add_argument("command", nargs="?", choices=list(commands), help="one of the commands")
            parser.add_version()
    for action in parser._actions:
        if action.nargs != 0 and action.choices is None and not is_file(action):
            action.completer = only(completers.get(action.dest, list))  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")


def is_file(action: argparse.Action) -> bool:
    """Whether its value may be a file. A run of replay is its number or its file."""
    return action.type is Path or action.dest == "run"


def only(values: Completer) -> Callable[..., list[str]]:
    """These values, and no files.

    bash offers files where a program offers nothing. So there what was typed is offered as it is; where nothing was
    typed, two hints, so that bash shows both and inserts neither.
    """

    def offered(prefix: str, action: argparse.Action, **asked: Any) -> list[str]:
        found = [value for value in values() if value.startswith(prefix)]
        if found or os.environ.get("_ARGCOMPLETE_SHELL") != "bash":
            return found
        return [prefix] if prefix else [str(action.metavar or action.dest), "..."]

    return offered
