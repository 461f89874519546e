"""`status`: what exists, and whether it is as it should be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from provision.account.drift import look_closer
from provision.account.outcomes import ResourceOutcome
from provision.account.plan import DryState, make_plan
from provision.account.request_trace import refuse_unless_built
from provision.account.smoke_tests import SmokeTest
from provision.account.status import is_as_built, is_left, states, with_contents
from provision.aws.clients import Clients
from provision.cli.build import note_urls, try_it
from provision.cli.deployment import begun, deployment
from provision.cli.ending import explained
from provision.cli.options import (
    add_target_options,
    add_variant_options,
    target_arguments,
    variant_arguments,
)
from provision.cli.results import ExerciseOutcome, Result
from provision.cli.session import Session
from provision.cli.views.exercise import show_exercise
from provision.cli.views.status import dead_letters_in, show_dead_letters, show_status, show_still_running, show_tested
from provision.exercise.exercise import has_open_exercise
from provision.settings import Settings, queue_route_url
from provision.state.entries import Resource
from provision.state.resources import where_to_see
from provision.state.state import State
from provision.terminal import outcome
from provision.terminal.command_line import Parser


def status_parser() -> Parser:
    parser = Parser(
        prog="python -m provision status",
        description="What exists, and whether it is as it should be. Nothing of it is changed.",
        example="python -m provision status --sandbox",
    )
    add_target_options(parser, asks=False)
    add_variant_options(parser)
    parser.add_argument(
        "--try",
        dest="smoke_tests",
        action="store_true",
        help="run the walkthrough's tests, too: they leave nothing",
    )
    parser.add_argument("--verbose", action="store_true", help="each resource, since when, and where to see it")
    return parser


def status(given: list[str], session: Session) -> Result:
    """`status`: what a plan means for what is there. Exit code 1 where something has drifted or is missing.

    With `--try` also where one of the tests fails; that is recorded.
    """
    options, settings = begun(status_parser(), given, session)
    kind = State if options.smoke_tests else DryState
    with deployment("status", given, options, settings, session, kind=kind) as (aws, settings, state):
        read_only = state if isinstance(state, DryState) else DryState.of(state)
        with explained(aws):
            planned = look_closer(aws, read_only, make_plan(aws, settings, read_only))
            found = [*with_contents(aws, settings, states(planned, read_only))]
        if not options.verbose and has_open_exercise(state):
            session.note(exercise=ExerciseOutcome(is_open=True), exit_code=outcome.LEFT)
            show_exercise(session.screen, target_arguments(options, aws))
        else:
            show_found(aws, settings, read_only, found, options, session)
        if options.smoke_tests:
            refuse_unless_built(state)
            session.note(tests=(), exit_code=outcome.DONE if is_as_built(found) else outcome.LEFT)
            try_it(aws, settings, state, session, verbose=options.verbose)
    return session.result


def show_found(
    aws: Clients,
    settings: Settings,
    state: DryState,
    found: Sequence[ResourceOutcome],
    options: argparse.Namespace,
    session: Session,
) -> None:
    """What there is, and what can be done about it."""
    screen = session.screen
    built = [entry for entry in state.as_opened if entry.status == "created"]
    seen = {}
    if aws.endpoint is None:
        seen = {entry.key: where_to_see(entry.kind, entry.identity, entry.outputs, aws) for entry in built}
    url, where = invoke_url(found, built), target_arguments(options, aws)
    tests = state.tests if url else None
    failed = tuple(SmokeTest(title, saw, passed=False) for title, saw in (tests or {"failed": {}})["failed"].items())
    good = is_as_built(found) and not failed
    tested = tests["at"] if tests else None
    code = outcome.DONE if good else outcome.LEFT
    session.note(*found, tests=failed, tested=tested, exit_code=code)
    if url:
        note_urls(session, settings, url)
    urls = {"Invoke URL": url} if url else {}
    by_queue = queue_route_url(settings, url)
    if url and by_queue:
        urls["By the queue"] = by_queue
    show_status(screen, found, seen, urls=urls, verbose=options.verbose)
    if url:
        show_tested(screen, tested, failed)
    dead_letters = next((one for one in found if one.key == "dead-letter-queue" and one.messages), None)
    if dead_letters is not None:
        session.note(warnings=(*session.result.warnings, dead_letters_in(dead_letters)))
        show_dead_letters(screen, aws, dead_letters, {one.key: one.outputs.get("url", "") for one in built})
    if any(state.since for state in found):
        show_still_running(
            screen,
            aws,
            settings,
            where,
            variant=variant_arguments(options),
            to_update=any(one.outcome not in ("unchanged", "not built") and not is_left(one) for one in found),
            to_build=all(one.outcome in ("unchanged", "not built") for one in found)
            and bool(session.result.of("not built")),
            left=any(change.left for one in found for change in one.changes),
        )


def invoke_url(found: Sequence[ResourceOutcome], built: Sequence[Resource]) -> str:
    """Of a stage that is there; "" where it is not."""
    there = any(state.key == "stage" and state.outcome in ("unchanged", "drifted") for state in found)
    return next((entry.outputs.get("url", "") for entry in built if entry.key == "stage" and there), "")
