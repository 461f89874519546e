"""Tells a shell how a command line can go on. docs/how-to/shell-completion.md has the set-up for bash and zsh."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from provision.terminal.command_line import Parser

Completer = Callable[..., list[str]]


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
            parser.add_argument("command", nargs="?", help="one of the commands")
            parser.add_version()
    completers = {**completers, "command": lambda **asked: list(commands)}
    for action in parser._actions:
        if action.dest in completers:
            action.completer = completers[action.dest]  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")
