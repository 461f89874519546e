"""Tells a shell how a command line can go on. docs/how-to/shell-completion.md has the set-up for bash and zsh."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

Completer = Callable[..., list[str]]


def complete(
    parser: argparse.ArgumentParser,
    commands: Mapping[str, Callable[[], argparse.ArgumentParser]],
    completers: Mapping[str, Completer],
) -> None:
    """If a shell asks, answer it and end the process; else do nothing.

    `commands` have parsers of their own; `completers` know the values of options, by their names. A shell asks with
    three variables: the line, the place in it, and the number of the word that is the program.
    https://kislyuk.github.io/argcomplete/
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
    completers = {**completers, "command": lambda **asked: list(commands)}
    for action in parser._actions:
        if action.dest in completers:
            action.completer = completers[action.dest]  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")
