"""The commands beside build: replay, doctor, trace, status, check, the exercise, diagram, report, shell, errata.

Of those that stand here none leaves anything in AWS: what trace sends it takes away again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from provision.account.drift import look_closer
from provision.account.outcomes import ResourceOutcome
from provision.account.plan import DryState, make_plan
from provision.account.request_trace import follow_all, follow_poison, poison_takes, refuse_unless_built
from provision.account.smoke_tests import SmokeTest
from provision.account.status import is_as_built, is_left, states, with_contents
from provision.aws.clients import Clients
from provision.cli.build import note_urls, try_it
from provision.cli.check import check, check_parser
from provision.cli.deployment import begun, check_state, connected, deployment, path_before_connecting, path_of_state
from provision.cli.doctor import doctor, doctor_parser
from provision.cli.ending import explained
from provision.cli.exercise import break_it, break_parser, heal, heal_parser, hint, hint_parser
from provision.cli.options import (
    add_target_options,
    add_variant_options,
    target_arguments,
    variant_arguments,
)
from provision.cli.report import report, report_parser
from provision.cli.results import ExerciseOutcome, Result
from provision.cli.session import Session
from provision.cli.shell import shell, shell_parser
from provision.cli.views.errata import show_errata
from provision.cli.views.exercise import show_exercise
from provision.cli.views.status import dead_letters_in, show_dead_letters, show_status, show_still_running, show_tested
from provision.errata import ERRATA
from provision.exercise.exercise import has_open_exercise
from provision.lesson import diagram as pictures
from provision.record.views import show_hop
from provision.settings import Settings, queue_route_url
from provision.state.entries import Resource
from provision.state.resources import where_to_see
from provision.state.state import State
from provision.terminal import outcome
from provision.terminal.command_line import Parser, add_screen_options
from provision.terminal.shell import is_unicode, program
from provision.terminal.writing import write_file


def replay_parser() -> Parser:
    from provision.replay.command import add_options  # what it reads and writes takes a tenth of a second to import

    parser = Parser(
        prog="python -m provision replay",
        usage="%(prog)s [RUN] [OPTION ...]",
        description="Play what a run wrote down, or export it. It needs neither AWS nor a sandbox.",
        example="python -m provision replay --html page.html",
    )
    add_options(parser)
    add_screen_options(parser, documents=False)
    return parser


def replay(given: list[str], session: Session) -> Result:
    from provision.replay import command  # as above

    command_line = replay_parser()
    options = command_line.parse_args(given)
    session.begin(options)
    code, written = command.replay(options, session.screen), options.html or options.script
    return session.note(exit_code=code, file=str(written) if written else None)


def trace_parser() -> Parser:
    parser = Parser(
        prog="python -m provision trace",
        description="Follow one request by each route, and show each hop with its time.",
        example="python -m provision trace --sandbox",
    )
    add_target_options(parser, asks=False)
    parser.add_argument("--as-written", action="store_true", help="it was built so")
    parser.add_argument(
        "--poison",
        action="store_true",
        help="send a message that must be refused, and follow it to the dead-letter queue",
    )
    return parser


def trace(given: list[str], session: Session) -> Result:
    """`trace`: nothing is built, and what is sent is taken away again."""
    screen = session.screen
    options, settings = begun(trace_parser(), given, session)
    with (
        deployment("trace", given, options, settings, session, kind=State) as (aws, settings, state),
        explained(aws),
        aws.calls.in_step("trace"),
    ):
        refuse_unless_built(state)
        if options.poison:
            receives, pause = poison_takes(aws, state)
            screen.say(
                f"The message will be received {receives} times, {pause} s apart: about {receives * pause} s until "
                "it is in the dead-letter queue."
            )
            hops = follow_poison(aws, settings, state)
        else:
            hops = follow_all(aws, settings, state)
        with closing(hops):  # when the screen fails, what was sent is taken away all the same
            for hop in hops:
                is_first = all(one.route != hop.route for one in session.result.hops)
                session.note(hops=(*session.result.hops, hop))
                show_hop(screen, **vars(hop), is_first=is_first)
                session.transcript.hop(**vars(hop))
    screen.say()
    screen.say("Times count from when the client sent. What was sent is gone again.", "dim")
    return session.result


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


def diagram_parser() -> Parser:
    parser = Parser(
        prog="python -m provision diagram",
        description="The architecture as a picture, with what is there by the state file.",
        example="python -m provision diagram --sandbox --out picture.svg",
    )
    add_target_options(parser, asks=False, presents=False, calls=False)
    parser.add_argument("--as-written", action="store_true", help="it was built so")
    parser.add_argument("--format", choices=pictures.FORMATS, help="default: by the ending of OUT, else text")
    parser.add_argument("--out", metavar="OUT", type=Path, help="a file in the place of stdout")
    return parser


def diagram(given: list[str], session: Session) -> Result:
    """`diagram`: from the state file alone, where its place is known without asking for the account."""
    screen = session.screen
    options, settings = begun(diagram_parser(), given, session)
    check_state(options)
    path = path_before_connecting(options)
    if path is None:  # it bears the account's number, which nothing else is asked for
        path = path_of_state(options, connected(options, session))
    form = pictures.form_of(options.out, options.format)
    in_unicode = bool(options.out) or is_unicode(screen.data.encoding)
    settings = pictures.with_rules(settings, path)
    drawn = pictures.diagram(settings, pictures.read(path), form, width=screen.width, in_unicode=in_unicode)
    session.note(picture=str(drawn), file=str(options.out) if options.out else None)
    if options.out:
        write_file(options.out, str(drawn), screen)
    elif form == "text":
        screen.data.print(drawn, soft_wrap=True)
    else:
        screen.tell(str(drawn).rstrip("\n"))
    screen.say("Drawn from the state file. To look into the account:", "dim")
    screen.keep(program("provision", ["status", *target_arguments(options)]), "dim")
    return session.result


def errata_parser() -> Parser:
    parser = Parser(
        prog="python -m provision errata",
        usage="%(prog)s [N] [OPTION ...]",
        description="Where the walkthrough contradicts itself or AWS, what is true, and what is done about it.",
        example="python -m provision errata 7",
    )
    parser.add_argument("number", metavar="N", nargs="?", help="this one, and what it costs to ignore it")
    add_screen_options(parser, presents=False)
    return parser


def errata(given: list[str], session: Session) -> Result:
    command_line = errata_parser()
    options = command_line.parse_args(given)
    wanted = tuple(one for one in ERRATA if options.number in (None, str(one.number)))
    if not wanted:
        last = ERRATA[-1].number
        command_line.error(f"there is no erratum {options.number!r}; they are {ERRATA[0].number} to {last}")
    session.begin(options)
    show_errata(session.screen, wanted)
    return session.note(errata=wanted)


COMMANDS: dict[str, Callable[[list[str], Session], Result]] = {
    "replay": replay,
    "doctor": doctor,
    "trace": trace,
    "status": status,
    "check": check,
    "break": break_it,
    "hint": hint,
    "heal": heal,
    "diagram": diagram,
    "report": report,
    "shell": shell,
    "errata": errata,
}
PARSERS: dict[str, Callable[[], Parser]] = {
    "replay": replay_parser,
    "doctor": doctor_parser,
    "trace": trace_parser,
    "status": status_parser,
    "check": check_parser,
    "break": break_parser,
    "hint": hint_parser,
    "heal": heal_parser,
    "diagram": diagram_parser,
    "report": report_parser,
    "shell": shell_parser,
    "errata": errata_parser,
}
