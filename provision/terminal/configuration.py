"""Options that are not on the command line, from environment variables and from a small file.

    [provision]
    learner = alice
    region = eu-central-1

An option wins over its variable (PROVISION_LEARNER), and that wins over the file: `provision.ini` in the working
folder, or the one that PROVISION_CONFIG names. Consent, and what a run does, never come from there.
"""

from __future__ import annotations

import argparse
import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "PROVISION_"
FILE = Path("provision.ini")
SECTION = "provision"

# The options, by the names of their values. --yes is not one of them: consent is given for one run.
NAMES = (
    "sandbox",
    "profile",
    "region",
    "endpoint_url",
    "learner",
    "state",
    "runtime",
    "as_written",
    "permissions_boundary",
    "role_path",
    "tag",
    "lambda_role_arn",
    "apigateway_role_arn",
    "throttle",
    "source_ip",
    "auth",
    "plain",
    "present",
    "color",
    "output",
)
# These name another place than the sandbox: one of them rules out a sandbox from a weaker source, and vice versa.
ELSEWHERE = ("profile", "endpoint_url")
YES = configparser.ConfigParser.BOOLEAN_STATES


class BadConfiguration(Exception):
    """A bad value in the environment or the file; the message names both."""


class NotGiven:
    """Stands for a value that is not on the command line."""


def open_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What to parse a command line into, so that `settle` sees which options it lacks."""
    return argparse.Namespace(**{action.dest: not_given(action) for action in configurable(parser)})


def not_given(action: argparse.Action) -> Any:
    """What stands in the place of a value; argparse itself makes a list of None for what can be given several times."""
    return None if takes_several(action) else NotGiven


def takes_several(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)


def configurable(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.dest in NAMES]


def settle(
    parser: argparse.ArgumentParser, options: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> None:
    """Fill in what the command line lacks. `options.sources` says where each value came from, unless it is the default.

    `options.warnings` names variables that look like a setting, and are not. Raises BadConfiguration.
    """
    actions = {action.dest: action for action in configurable(parser)}
    taken = {name for name in actions if getattr(options, name) is not not_given(actions[name])}
    options.sources = {name: f"--{name.replace('_', '-')}" for name in taken}
    known = {PREFIX + name.upper() for name in (*NAMES, "config")}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    options.warnings = [f"{name} is no setting of this suite, and has no effect." for name in unknown]
    for source, values in sources(environ):
        chosen = {name for name in values if name in actions} - taken
        if "sandbox" in taken and options.sandbox:  # "no" rules nothing out
            chosen -= set(ELSEWHERE)
        elif taken & set(ELSEWHERE):
            chosen -= {"sandbox"}
        for name in chosen:
            where = f"{PREFIX}{name.upper()}" if source is None else str(source)
            setattr(options, name, converted(actions[name], values[name], where))
            options.sources[name] = where
        taken |= chosen
    for name in set(actions) - taken:
        setattr(options, name, actions[name].default)


def sources(environ: Mapping[str, str]) -> list[tuple[Path | None, dict[str, str]]]:
    """Values by option: first those of the environment (under None), then those of the file."""
    from_environment = {
        name: environ[PREFIX + name.upper()] for name in NAMES if environ.get(PREFIX + name.upper(), "") != ""
    }
    named = environ.get(f"{PREFIX}CONFIG")
    path = Path(named) if named else FILE
    if not named and not path.exists():
        return [(None, from_environment)]
    return [(None, from_environment), (path, from_file(path))]


def from_file(path: Path) -> dict[str, str]:
    """The values in a file. Raises BadConfiguration."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} is no configuration file: {' '.join(str(error).split())}") from error
    if parser.sections() != [SECTION] or parser.defaults():
        raise BadConfiguration(f"{path} must have one section, [{SECTION}], and nothing outside it")
    values = {name.replace("-", "_"): value for name, value in parser[SECTION].items()}
    for name in values:
        if name not in NAMES:
            known = ", ".join(one.replace("_", "-") for one in NAMES)
            raise BadConfiguration(f"{path}: {name.replace('_', '-')} is no setting; there are {known}")
    return values


def converted(action: argparse.Action, text: str, where: str) -> Any:
    """The value that argparse would make of the text. Raises BadConfiguration."""
    name = action.dest.replace("_", "-")
    if action.nargs == 0:  # an option without a value
        if text.lower() not in YES:
            raise BadConfiguration(f"{where}: {name} is yes or no, not {text!r}")
        return YES[text.lower()]
    if action.choices is not None and text not in action.choices:
        raise BadConfiguration(f"{where}: {name} is one of {', '.join(action.choices)}, not {text!r}")
    if takes_several(action):
        return [part.strip() for part in text.split(",")]
    return action.type(text) if callable(action.type) else text
