# PYTHON_ARGCOMPLETE_OK
"""python -m provision: build the walkthrough's architecture."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to end in order, Ctrl-C just ends it

if __name__ == "__main__":
    from provision.terminal import installed

    installed.check()

import sys

from provision.cli.build_line import build_parser
from provision.cli.commands import BUILD, COMMANDS
from provision.cli.completion import COMPLETERS
from provision.cli.ending import run_program
from provision.cli.results import Result
from provision.cli.session import Session
from provision.terminal.command_line import Parser, unknown
from provision.terminal.completion import complete
from provision.terminal.screen import Screen
from provision.terminal.shell import program, write_any_text

HELP = ("-h", "--help", "--version")


def program_parser() -> Parser:
    """What `--help` without a command shows."""
    parser = Parser(
        prog="python -m provision",
        description="Build the walkthrough's architecture, and see what was built.",
        example="python -m provision --sandbox",
        commands={name: command.what for name, command in COMMANDS.items()},
    )
    parser.add_version()
    return parser


def main(arguments: list[str] | None = None) -> int:
    complete(build_parser(), {name: command.parser for name, command in COMMANDS.items()}, COMPLETERS)
    write_any_text()
    return run(sys.argv[1:] if arguments is None else arguments).exit_code


def run(arguments: list[str]) -> Result:
    """What the command did that this command line means, a failure included. It shows what the program shows.

    Call it in the main thread: while it runs, Ctrl-C and SIGTERM stop it after the call in flight.
    """
    session = Session(Screen(), "provision")
    again = program("provision", arguments)
    return run_program(lambda: provision(arguments, session), session, again=again, given=arguments)


def command_of(given: list[str]) -> tuple[str, list[str]]:
    """The command, which may stand behind options, and the command line without it. Ends as argparse does."""
    if given and given[0] in COMMANDS:
        return given[0], given[1:]
    finder = build_parser()
    finder.add_argument("what", nargs="?")
    found = finder.parse_known_args([word for word in given if word not in HELP])[0].what
    if found is None:
        program_parser().parse_args([word for word in given if word in HELP])  # which ends it, if there is one
        return BUILD, given
    if found not in COMMANDS:
        program_parser().error(unknown("command", found, COMMANDS))
    at = next(place for place, word in enumerate(given) if word is found)
    return found, [*given[:at], *given[at + 1 :]]


def provision(given: list[str], session: Session) -> Result:
    what, rest = command_of(given)
    session.note(command=what)
    return COMMANDS[what].run(rest, session)


if __name__ == "__main__":
    sys.exit(main())
