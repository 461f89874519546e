"""The command line of a build, and what it is to become: a build, a lesson, a plan, or a state file written anew."""

from __future__ import annotations

import argparse

from provision import STEPS
from provision.cli.options import (
    ASK,
    add_plan_options,
    add_target_options,
    add_variant_options,
    check_target,
    folder_named,
    settings_of,
    step_named,
)
from provision.cli.results import Result
from provision.cli.session import Session
from provision.state.resources import ADOPTABLE
from provision.terminal.command_line import Parser, unknown


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m provision build",
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


def build(given: list[str], session: Session) -> Result:
    """`build`, which is also what is meant without a command."""
    command_line = build_parser()
    options = command_line.parse_args(given)
    options.arguments = given
    session.begin(options)
    check_target(command_line, options)
    check_adoption(command_line, options)
    settings = settings_of(options)
    # These load the steps, which a wrong command line does not need.
    from provision.cli.build import build_or_lead, check_that_somebody_is_there, dry_run
    from provision.cli.recover import write_anew

    if options.step:
        check_that_somebody_is_there()
        from provision.cli.lead import lead  # what reads the lesson's pages takes a tenth of a second to import

        return build_or_lead(options, settings, session, lead)
    if options.recover:
        return write_anew(options, settings, session)
    if options.dry_run:
        return dry_run(options, settings, session)
    return build_or_lead(options, settings, session)
