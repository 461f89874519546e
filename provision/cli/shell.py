"""`shell`: a shell in which plain `aws` and boto3 speak to the target, so that nothing needs --endpoint-url."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from provision.aws.call_text import NO_AWS
from provision.aws.clients import Clients
from provision.aws.environment import Variables, variables_for
from provision.aws.sandbox_process import RECORD
from provision.cli.deployment import connected, path_before_connecting
from provision.cli.options import add_target_options, check_target, target_arguments
from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.banner import show_place, show_warnings
from provision.terminal import outcome
from provision.terminal.command_line import Parser
from provision.terminal.screen import Screen
from provision.terminal.shell import program

BEHIND = "--"  # the command stands behind it


def shell_parser() -> Parser:
    parser = Parser(
        prog="python -m provision shell",
        usage="%(prog)s [OPTION ...] [-- COMMAND ...]",
        description="A shell in which plain aws and boto3 speak to the sandbox, or to where the options say. With a "
        "COMMAND only that runs.",
        example="python -m provision shell --sandbox -- aws dynamodb list-tables",
    )
    parser.add_argument(
        "command", metavar="COMMAND", nargs="*", help="behind --: run this only, and end with its exit code"
    )
    add_target_options(parser, asks=False, presents=False, calls=False, documents=False)
    return parser


def shell(given: list[str], session: Session) -> Result:
    """`shell`: the exit code is that of the shell, or of the command."""
    at = given.index(BEHIND) if BEHIND in given else len(given)
    command = given[at + 1 :]
    command_line = shell_parser()
    options = command_line.parse_args(given[:at])
    if options.command:
        line = " ".join(options.command)
        command_line.error(f"there is no option {line!r}; a command comes behind --, as in: shell --sandbox -- {line}")
    if at < len(given) and not command:
        command_line.error("there is no command behind --")
    session.begin(options)
    check_target(command_line, options)
    aws = connected(options, session, without="refuse")
    session.note_place(aws)
    own = variables_for(aws)
    with own_aws(aws) as path:
        variables = Variables({**own.given, **of_the_suite(options), **path}, own.without)
        if command:
            show_warnings(session.screen, aws)
            return session.note(exit_code=run(command, variables))
        show_where(session.screen, aws, options)
        with started_as(label(aws), variables, ended_words(aws, options)) as words:
            code = run(words, variables)
    return session.note(exit_code=code)


@contextmanager
def own_aws(aws: Clients) -> Iterator[dict[str, str]]:
    """A PATH on which an `aws` comes first that names the endpoint as an option; nothing where none is needed.

    Of SQS the AWS CLI 1 asks queue.amazonaws.com, whatever AWS_ENDPOINT_URL says, unless it has the option:
    https://github.com/aws/aws-cli/blob/develop/awscli/customizations/overridesslcommonname.py
    """
    found = shutil.which("aws")
    if not aws.base_url or found is None or sys.platform == "win32":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="provision-shell-") as folder:
        file = Path(folder) / "aws"
        file.write_text(
            f'#!/bin/sh\nexec {shlex.quote(found)} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n', encoding="utf-8"
        )
        file.chmod(0o700)
        yield {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def of_the_suite(options: argparse.Namespace) -> dict[str, str]:
    """The options as variables, so that the suite's own commands mean the same deployment in the shell."""
    given = {"sandbox": "yes"} if options.sandbox else {}
    for name in ("profile", "region", "endpoint_url", "learner"):
        if getattr(options, name):
            given[name] = getattr(options, name)
    if options.state:
        given["state"] = str(options.state.absolute())
    return {f"PROVISION_{name.upper()}": value for name, value in given.items()}


def show_where(screen: Screen, aws: Clients, options: argparse.Namespace) -> None:
    show_place(screen, aws, options.sources)
    if aws.is_sandbox:
        screen.keep(f"Account        {aws.account_id}")
    show_warnings(screen, aws)
    screen.say()
    if shutil.which("aws"):
        screen.say("Here aws and boto3 speak to it. To leave this shell: exit", "bold")
    else:
        screen.say("Here boto3 speaks to it. To leave this shell: exit", "bold")
        screen.say(NO_AWS, "yellow")


def label(aws: Clients) -> str:
    """What the prompt begins with."""
    if aws.is_sandbox:
        return "sandbox"
    return f"{'emulator' if aws.endpoint else 'AWS'} {aws.account_id}"


def ended_words(aws: Clients, options: argparse.Namespace) -> str:
    """What bash runs before each prompt: where the sandbox is no longer there, it says so and leaves the shell.

    A sandbox has its URL and its key in its record for as long as it runs; the next one may have the same URL. bash
    itself reads the record: other users see the words of a program. "" where it is no sandbox of ours.
    """
    path = path_before_connecting(options)
    if not aws.is_sandbox or path is None:
        return ""
    record, url = path.absolute().with_name(RECORD), str(aws.base_url)
    said = f"The sandbox {url} has ended, so this shell ends, too. To open one again: "
    told = shlex.quote(said + program("provision", ["shell", *target_arguments(options)]))
    read = f"provision_record=$(cat {shlex.quote(str(record))} 2>/dev/null)"
    looks = " && ".join(
        f"[[ $provision_record == *{shlex.quote(json.dumps(one))}* ]]" for one in (url, aws.sandbox_key) if one
    )
    return f"{read}; {looks} || {{ echo {told} >&2; exit 0; }}"


@contextmanager
def started_as(name: str, variables: Variables, at_prompt: str) -> Iterator[list[str]]:
    """The words that start the user's shell. `at_prompt`: what bash runs before each prompt.

    A startup file may set AWS_PROFILE, or keys, once more. bash can be told to read a file after its own, in which they
    are put right, and which says in the prompt where one is.
    """
    own = os.environ.get("COMSPEC", "cmd") if sys.platform == "win32" else os.environ.get("SHELL", "/bin/sh")
    if Path(own).name != "bash":
        yield [own]
        return
    with tempfile.TemporaryDirectory(prefix="provision-shell-") as folder:
        file = Path(folder) / "bashrc"
        file.write_text(startup_of_bash(name, variables, at_prompt), encoding="utf-8")
        yield [own, "--rcfile", str(file)]


def startup_of_bash(name: str, variables: Variables, at_prompt: str) -> str:
    lines = ["[ -f ~/.bashrc ] && . ~/.bashrc"]
    lines += [f'unset "${{!{begin}@}}"' for begin in variables.without]
    lines += [f"export {variable}={shlex.quote(value)}" for variable, value in variables.given.items()]
    if at_prompt:
        lines += [f"provision_at_prompt() {{ {at_prompt}; }}", 'PROMPT_COMMAND="provision_at_prompt;$PROMPT_COMMAND"']
    return "\n".join([*lines, f"PS1={shlex.quote(f'({name}) ')}$PS1", ""])


def run(words: Sequence[str], variables: Variables) -> int:
    """The exit code of a program that has the terminal for itself; 128 and its number where a signal ended it.

    Raises UserError where it cannot be started.
    """
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        """Ctrl-C has come to the child already, from the terminal. SIG_IGN would be passed on, a handler is not."""
        if number != signal.SIGINT and child is not None:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        child = subprocess.Popen(words, env=variables.put_into(os.environ))
        code = child.wait()
    except OSError as error:
        raise outcome.UserError(
            f"{words[0]} cannot be started: {error.strerror}.",
            means="Nothing was run.",
            advice=(NO_AWS,) if words[0] == "aws" else ("Name another program behind --, or set SHELL.",),
            exit_code=outcome.USAGE,
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
