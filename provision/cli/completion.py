"""Tells a shell how a command line can go on. docs/how-to/shell-completion.md has the set-up for bash and zsh."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from provision import STEPS


def complete(
    parser: argparse.ArgumentParser, commands: Mapping[str, Callable[[], argparse.ArgumentParser]] | None = None
) -> None:
    """If a shell asks, answer it and end the process; else do nothing.

    `commands` have parsers of their own. A shell asks with three variables: the line, the place in it, and the number
    of the word that is the program. https://kislyuk.github.io/argcomplete/
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
        if word in (commands or {}):  # also after options, as the programs allow
            os.environ["_ARGCOMPLETE"] = str(place)
            parser = (commands or {})[word]()
            break
    completers = {**COMPLETERS, "command": lambda **asked: list(commands or {})}
    for action in parser._actions:
        if action.dest in completers:
            action.completer = completers[action.dest]  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")


def profiles(**asked: Any) -> list[str]:
    import botocore.session  # it takes a fifth of a second to import

    return list(botocore.session.Session().available_profiles)


def regions(**asked: Any) -> list[str]:
    import botocore.session  # as above

    return list(botocore.session.Session().get_available_regions("lambda"))


def keys(**asked: Any) -> list[str]:
    from provision.state.resources import ADOPTABLE  # imports boto3, which the sandbox's commands do not need

    return list(ADOPTABLE)


def step_names(**asked: Any) -> list[str]:
    return [step.name for step in STEPS]


def nothing(**asked: Any) -> list[str]:
    """Without this a shell would offer file names."""
    return []


COMPLETERS: dict[str, Callable[..., list[str]]] = {
    "profile": profiles,
    "region": regions,
    "adopt": keys,
    "to": step_names,
    "back_to": step_names,
    **dict.fromkeys(("learner", "endpoint_url", "runtime", "deployment", "speed"), nothing),
}
