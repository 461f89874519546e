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
    settings_of,
    step_named,
)
from provision.cli.recover import write_anew
from provision.cli.results import Result
from provision.cli.session import Session
from provision.state.resources import ADOPTABLE
from provision.terminal.command_line import Parser
from provision.terminal.completion import complete
from provision.terminal.screen import Screen
from provision.terminal.shell import program, write_any_text

WHAT = ("build", "status", "check", "diagram", "trace", "replay", "errata")


def parser() -> Parser:
    parser = Parser(
        prog="python -m provision",
        usage="%(prog)s [WHAT] [OPTION ...]",
        description="Build the walkthrough's architecture.",
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        choices=WHAT,
        default=WHAT[0],
        help=f"{', '.join(WHAT)} (default: {WHAT[0]})",
    )
    add_target_options(parser)
    add_variant_options(parser)
    parser.add_argument(
        "--try",
        dest="smoke_tests",
        action=argparse.BooleanOptionalAction,
        help="run the walkthrough's tests (default: until they passed for what is there)",
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
    parser.add_argument("--to", metavar="N", type=step_named, help="the steps up to N only, by number or name")
    add_plan_options(parser)
    parser.add_argument(
        "--recover", action="store_true", help="the state file was lost: write it anew from the account"
    )
    parser.add_argument("--deployment", metavar="ID", help="with --recover: which one, if there are several")
    return parser


def check_adoption(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse keys that there are not, and what makes no sense together with --recover."""
    unknown = [key for key in options.adopt or [] if key not in (*ADOPTABLE, ASK)]
    if unknown:
        parser.error(f"--adopt {unknown[0]}: nothing has that key; there are {', '.join(ADOPTABLE)}")
    if options.deployment and not options.recover:
        parser.error("--deployment only goes with --recover")
    if options.step and options.output == "json":
        parser.error("--step leads a person through a lesson, and does not go with --output json")
    if options.smoke_tests and options.step:
        parser.error("--step offers the tests on its last page, and does not go with --try")
    if options.smoke_tests and options.to and options.to != STEPS[-1]:
        parser.error("--try tests the whole architecture, and --to builds a part of it")
    if options.detailed_exitcode and not options.dry_run:
        parser.error("--detailed-exitcode only goes with --dry-run")
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
    complete(parser(), PARSERS, COMPLETERS)
    write_any_text()
    return run(sys.argv[1:] if arguments is None else arguments).exit_code


def run(arguments: list[str]) -> Result:
    """What the command did that this command line means, a failure included. It shows what the program shows.

    Call it in the main thread: while it runs, Ctrl-C and SIGTERM stop it after the call in flight.
    """
    session = Session(Screen(), "provision")
    again = program("provision", arguments)
    return run_program(lambda: provision(arguments, session), session, again=again, given=arguments)


def provision(given: list[str], session: Session) -> Result:
    command_line = parser()
    what = given[0] if given and given[0] in COMMANDS else command_line.parse_known_args(given)[0].what
    session.note(command=what)
    if what in COMMANDS:  # it may stand behind options
        at = next(place for place, word in enumerate(given) if word is what)
        return COMMANDS[what]([*given[:at], *given[at + 1 :]], session)
    options = command_line.parse_args(given)
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
