"""`check`: whether what is there is what the walkthrough asks for, whoever made it."""

from __future__ import annotations

from pathlib import Path

from provision import STEPS
from provision.account.plan import DryState
from provision.account.smoke_tests import SmokeTestFailed
from provision.aws.clients import Clients
from provision.check.verdicts import PASS, Seen, state_to_try
from provision.check.verdicts import check as check_account
from provision.cli.build import try_it
from provision.cli.deployment import begun, deployment
from provision.cli.ending import explained
from provision.cli.exercise import written_out
from provision.cli.junit import junit
from provision.cli.options import add_target_options, add_variant_options, step_named, target_arguments
from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.check import show_checks
from provision.cli.views.exercise import show_mended
from provision.exercise import exercise
from provision.lesson.checked import explained as told
from provision.lesson.page import names
from provision.settings import Settings
from provision.terminal import outcome
from provision.terminal.command_line import Parser
from provision.terminal.writing import write_file

LOOK_AT_THE_LOG = "The function's log group tells what the handler saw."


def check_parser() -> Parser:
    parser = Parser(
        prog="python -m provision check",
        description="Whether what is there is what the walkthrough asks for, whoever made it. Nothing is changed.",
        example="python -m provision check --sandbox",
    )
    parser.add_argument("steps", metavar="STEP", nargs="*", type=step_named, help="these only, by number or name")
    add_target_options(parser, asks=False)
    add_variant_options(parser)
    parser.add_argument(
        "--try",
        dest="smoke_tests",
        action="store_true",
        help="if all passes, run the walkthrough's tests, too: they write items, and delete them",
    )
    parser.add_argument("--verbose", action="store_true", help="each attribute, also those that pass")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write it as JUnit's XML, too")
    return parser


def check(given: list[str], session: Session) -> Result:
    """`check`: exit code 1 where an attribute fails or could not be checked, or one of the tests fails."""
    command_line = check_parser()
    options, settings = begun(command_line, given, session)
    steps = [step for step in STEPS if step in (options.steps or STEPS)]
    if options.smoke_tests and len(steps) < len(STEPS):
        command_line.error("--try tests the whole architecture, and does not go with a STEP")
    with deployment("check", given, options, settings, session, kind=DryState) as (aws, settings, recorded):
        known = {key: recorded.known_id(key) for key in ("api-key", "usage-plan")}
        seen = Seen(recorded.known_id("api"), {key: value for key, value in known.items() if value})
        with explained(aws):
            found = check_account(aws, settings, steps, seen)
            with written_out(options, aws):
                broken = exercise.read(recorded) if len(steps) == len(STEPS) else None
            found += exercise.messages(aws, settings, recorded, broken) if broken else []
        place = names(settings, account=aws.account_id, region=aws.region, partition=aws.partition)
        findings = told(found, place)
        good = all(one.outcome == PASS for one in findings)
        session.note(checks=tuple(findings), exit_code=outcome.DONE if good else outcome.LEFT)
        session.screen.hide(seen.api_id or "", "id of api")
        show_checks(session.screen, steps, findings, verbose=options.verbose)
        if broken is not None:
            mended = exercise.note_if_mended(recorded, broken, findings)
            show_mended(session.screen, broken, mended=mended, arguments=target_arguments(options, aws))
        if options.junit:
            write_file(options.junit, junit(findings, settings.learner), session.screen)
        if options.smoke_tests:
            run_tests(aws, settings, seen, session, good=good, verbose=options.verbose)
    return session.result


def run_tests(aws: Clients, settings: Settings, seen: Seen, session: Session, *, good: bool, verbose: bool) -> None:
    """The walkthrough's tests, where all is as they need it. Raises UserError for the first that fails."""
    if not good:
        session.screen.say("The tests were not run: they need all of it.")
        return
    state = state_to_try(aws, settings, seen)
    with aws.calls.guarded_by(state.permit):
        try:
            try_it(aws, settings, state, session, verbose=verbose)
        except SmokeTestFailed as failed:
            raise failed.with_words(
                means="Each attribute is as it should be, and it does not work. Perhaps something is too new.",
                advice=("Wait a minute, and run the same command again.", LOOK_AT_THE_LOG),
            ) from failed
