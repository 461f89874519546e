# PYTHON_ARGCOMPLETE_OK
"""python -m provision: build the walkthrough's architecture."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to end in order, Ctrl-C just ends it

if __name__ == "__main__":
    from provision.terminal import installed

    installed.check()

import argparse
import sys

from provision import STEPS
from provision.cli.build import ASK, build_or_lead, check_that_somebody_is_there, dry_run
from provision.cli.commands import COMMANDS, PARSERS
from provision.cli.completion import COMPLETERS
from provision.cli.ending import run_program
from provision.cli.options import (
    add_plan_options,
    add_target_options,
    add_variant_options,
    check_target,
    folder_named,
    settings_of,
    step_named,
)
from provision.cli.recover import write_anew
from provision.cli.results import Result
from provision.cli.session import Session
from provision.state.resources import ADOPTABLE
from provision.terminal.command_line import Parser, unknown
from provision.terminal.completion import complete
from provision.terminal.screen import Screen
from provision.terminal.shell import program, write_any_text

BUILD = "build"
WHAT = {
    BUILD: "build it, or update what has drifted; also without a command",
    "doctor": "whether a build would work from here, and what to do if not",
    "status": "what exists, what has drifted, and what waits in the queues",
    "check": "whether it is what the walkthrough asks for, whoever made it",
    "break": "an exercise: put one fault into it, to find and to mend",
    "hint": "help with what is broken, in three hints",
    "heal": "put back what break has changed, and say what it was",
    "trace": "follow one request by each route, and see when it was where",
    "diagram": "the architecture as a picture, with your names",
    "shell": "a shell in which plain aws and boto3 speak to the sandbox",
    "report": "what was done in the lesson, as a page to hand in",
    "replay": "play a run again, or make a page or a script of it",
    "errata": "where the walkthrough is wrong, and what is done about it",
}
HELP = ("-h", "--help", "--version")


def program_parser() -> Parser:
    """What `--help` without a command shows."""
    parser = Parser(
        prog="python -m provision",
        description="Build the walkthrough's architecture, and see what was built.",
        example="python -m provision --sandbox",
        commands=WHAT,
    )
    parser.add_version()
    return parser


def parser() -> Parser:
    """Of a build."""
    parser = Parser(
        prog=f"python -m provision {BUILD}",
        description="Build the walkthrough's architecture, or update what has drifted.",
        example="python -m provision --sandbox",
    )
    add_target_options(parser)
    add_variant_options(parser)
    parser.add_argument(
        "--try",
        dest="smoke_tests",
        action=argparse.BooleanOptionalAction,
        help="the walkthrough's tests (default: until they pass)",
    )
    parser.add_argument(
        "--adopt",
        metavar="KEY",
        nargs="?",
        const=ASK,
        action="append",
        help="take over what a person made: that KEY, or ask",
    )
    parser.add_argument("--verbose", action="store_true", help="each resource, each wait, and the errata of each step")
    parser.add_argument("--step", action="store_true", help="a lesson: one step at a time, each explained")
    parser.add_argument(
        "--lessons", metavar="FOLDER", type=folder_named, help="with --step: pages of your own; the others stay"
    )
    parser.add_argument("--to", metavar="N", type=step_named, help="the steps up to N only, by number or name")
    add_plan_options(parser)
    parser.add_argument("--recover", action="store_true", help="the state file was lost: write it anew")
    parser.add_argument("--deployment", metavar="ID", help="with --recover: which one, if there are several")
    return parser


def check_adoption(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse keys that there are not, and what makes no sense together with --recover."""
    wrong = [key for key in options.adopt or [] if key not in (*ADOPTABLE, ASK)]
    if wrong:
        parser.error(f"--adopt: {unknown('key', wrong[0], ADOPTABLE)}")
    for option, needed in (("deployment", "recover"), ("lessons", "step"), ("detailed_exitcode", "dry_run")):
        if getattr(options, option) and not getattr(options, needed):
            parser.error(f"--{option.replace('_', '-')} only goes with --{needed.replace('_', '-')}")
    if options.step and options.output == "json":
        parser.error("--step leads a person through a lesson, and does not go with --output json")
    if options.smoke_tests and options.step:
        parser.error("--step offers the tests on its last page, and does not go with --try")
    if options.smoke_tests and options.to and options.to != STEPS[-1]:
        parser.error("--try tests the whole architecture, and --to builds a part of it")
    given = {
        "--adopt": options.adopt,
        "--try": options.smoke_tests,
        "--to": options.to,
        "--step": options.step,
        "--recover": options.recover,
    }
    for option in ("--step", "--try", "--recover"):
        if options.dry_run and given[option]:
            parser.error(f"--dry-run does nothing, and does not go with {option}")
    for option in ("--adopt", "--try", "--to", "--step"):
        if options.recover and given[option]:
            parser.error(f"--recover builds nothing, and does not go with {option}")


def main(arguments: list[str] | None = None) -> int:
    complete(parser(), {BUILD: parser, **PARSERS}, COMPLETERS)
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
    if given and given[0] in WHAT:
        return given[0], given[1:]
    finder = parser()
    finder.add_argument("what", nargs="?")
    found = finder.parse_known_args([word for word in given if word not in HELP])[0].what
    if found is None:
        program_parser().parse_args([word for word in given if word in HELP])  # which ends it, if there is one
        return BUILD, given
    if found not in WHAT:
        program_parser().error(unknown("command", found, WHAT))
    at = next(place for place, word in enumerate(given) if word is found)
    return found, [*given[:at], *given[at + 1 :]]


def provision(given: list[str], session: Session) -> Result:
    what, rest = command_of(given)
    session.note(command=what)
    if what in COMMANDS:
        return COMMANDS[what](rest, session)
    command_line = parser()
    options = command_line.parse_args(rest)
    options.arguments = given
    session.begin(options)
    check_target(command_line, options)
    check_adoption(command_line, options)
    if options.step:
        check_that_somebody_is_there()
    settings = settings_of(options)
    if options.recover:
        return write_anew(options, settings, session)
    if options.dry_run:
        return dry_run(options, settings, session)
    return build_or_lead(options, settings, session)


if __name__ == "__main__":
    sys.exit(main())
