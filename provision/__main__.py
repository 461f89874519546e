# PYTHON_ARGCOMPLETE_OK
"""python -m provision: build the walkthrough's architecture."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to end in order, Ctrl-C just ends it

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision import STEPS, Step
from provision.account import conflicts
from provision.account.inventory import take_inventory
from provision.account.outcomes import outcome_of, planned_of, result_of
from provision.account.plan import DryState, Planned, changes, make_plan
from provision.account.recovery import TIMES, CannotRecover, recover, state_files_in
from provision.account.smoke_tests import run_smoke_tests
from provision.aws.clients import Clients
from provision.cli.commands import COMMANDS, PARSERS
from provision.cli.completion import complete
from provision.cli.deployment import connected, deployment, path_before_connecting, path_of_state, took_before
from provision.cli.ending import explained, run_program
from provision.cli.options import (
    Parser,
    add_plan_options,
    add_target_options,
    add_variant_options,
    check_target,
    settings_of,
    step_named,
    target_arguments,
    variant_arguments,
)
from provision.cli.progress import Progress
from provision.cli.results import Result
from provision.cli.runner import run_steps
from provision.cli.session import Session
from provision.cli.views.banner import hide_ids, show_place, show_warnings
from provision.cli.views.build import show_built, show_built_to, show_cost, show_counts, show_what_else
from provision.cli.views.errata import show_errata
from provision.cli.views.plan import counts_of, show_plan
from provision.cli.views.resources import show_recovered
from provision.errata import ERRATA
from provision.record.recording import calls_that_made
from provision.record.views import show_step_ended, show_step_started, show_test, show_tests_started, show_took
from provision.settings import Settings, runtime_warning
from provision.state.entries import ResourceResult
from provision.state.file import StateRefused
from provision.state.ownership import NotOurs
from provision.state.resources import ADOPTABLE, name_of, noun_of
from provision.state.state import State
from provision.terminal import outcome, prompts
from provision.terminal.screen import Screen
from provision.terminal.shell import program, write_any_text

WHAT = ("build", "status", "diagram", "trace", "replay", "errata")
ASK = "ask"  # the value of --adopt without a key


def parser() -> Parser:
    parser = Parser(
        prog="python -m provision",
        usage="%(prog)s [WHAT] [OPTION ...]",
        description=__doc__.partition(": ")[2].capitalize(),
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
        help="run the walkthrough's tests (default: after a change)",
    )
    parser.add_argument(
        "--adopt",
        metavar="KEY",
        nargs="?",
        const=ASK,
        action="append",
        help="take over what a person made: that KEY, or ask",
    )
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
    complete(parser(), PARSERS)
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
    screen = session.screen
    command_line = parser()
    what = given[0] if given and given[0] in COMMANDS else command_line.parse_known_args(given)[0].what
    session.note(command=what)
    if what in COMMANDS:  # it may stand behind options
        at = next(place for place, word in enumerate(given) if word is what)
        return COMMANDS[what]([*given[:at], *given[at + 1 :]], session)
    options = command_line.parse_args(given)
    options.arguments = given
    session.begin(options)
    if options.what == "errata":
        show_errata(screen)
        return session.note(errata=ERRATA)
    check_target(command_line, options)
    check_adoption(command_line, options)
    if options.step:
        check_that_somebody_is_there()
    settings = settings_of(options)
    if options.recover:
        return write_anew(options, settings, session)
    if options.dry_run:
        return dry_run(options, settings, session)

    began = time.monotonic()
    with deployment(
        "provision",
        given,
        options,
        settings,
        session,
        kind=State,
        adopt=adoption(screen, options),
        may_write=options.yes or options.sandbox,
    ) as (aws, state):
        warning = runtime_warning(settings.runtime, list(aws.runtimes), datetime.date.today())
        if warning:
            session.warn(warning)
        run = run_of(options, aws, settings, state)
        if options.step:
            return lead(run, options, session)
        steps = STEPS[: options.to.number] if options.to else STEPS
        smoke_tests = steps == STEPS and options.smoke_tests is not False
        before_the_first_write(run, session, steps, asking=asks_for_adoption(options), tests=bool(options.smoke_tests))
        with session.progress(progress_of(run, screen, steps, smoke_tests=smoke_tests)):
            build(run, session, steps)
            changed = [event for event in state.results if event.outcome != "unchanged"]
            if options.smoke_tests or (smoke_tests and changed):
                try_it(run, session)
        show_counts(screen, session.calls, time.monotonic() - began)
        if not changed:
            screen.say("Nothing to do: everything is as it should be.", "bold green")
        if steps == STEPS:
            show_built(screen, aws, settings, state, target_arguments(options, aws))
        else:
            show_built_to(screen, steps[-1], target_arguments(options, aws))
    return session.result


def dry_run(options: argparse.Namespace, settings: Settings, session: Session) -> Result:
    """`--dry-run`: what a run would do. Nothing is written, in the account or in the state file."""
    session.note(command="plan")

    def adopt(key: str, kind: str, identity: Mapping[str, str], theirs: str) -> bool:
        return key in (options.adopt or [])

    with deployment("provision", options.arguments, options, settings, session, kind=DryState, adopt=adopt) as (
        aws,
        state,
    ):
        steps = STEPS[: options.to.number] if options.to else STEPS
        with explained(aws):
            planned = make_plan(aws, settings, state, steps)
        session.note(*map(planned_of, planned))
        show_plan(session.screen, planned, aws)
        state.forget_plan()
        run = run_of(options, aws, settings, state)
    if any(one.word == "in the way" for one in planned):
        raise conflicts.in_the_way(run, None)
    has_work = options.detailed_exitcode and any(map(changes, planned))
    return session.note(exit_code=outcome.CHANGES if has_work else outcome.DONE)


def progress_of(run: conflicts.Run, screen: Screen, steps: Sequence[Step], *, smoke_tests: bool = False) -> Progress:
    """What is shown of these steps while they run, with what earlier runs here took where that can be seen."""
    took = took_before("provision", run.aws, run.state, screen)
    took.pop("", None)  # of whole runs, and lessons are among them
    parts = {step.name: f"{step.number}/8 {step.title}" for step in steps}
    parts |= {"tests": "Tests of the walkthrough"} if smoke_tests else {}
    calls = run.aws.calls
    return Progress(parts, lambda: "tests" if calls.step == "trials" else calls.step, calls, took)


def try_it(run: conflicts.Run, session: Session) -> None:
    """The walkthrough's own tests of the result."""
    session.waits.begin()
    show_tests_started(session.screen)
    with explained(run.aws), run.aws.calls.in_step("trials"):
        for smoke_test in run_smoke_tests(run.aws, run.settings, run.state):
            session.note(tests=(*session.result.tests, smoke_test))
            if smoke_test.passed:
                show_test(session.screen, smoke_test.title, smoke_test.saw)
                session.transcript.smoke_test(smoke_test.title, smoke_test.saw)


def lead(run: conflicts.Run, options: argparse.Namespace, session: Session) -> Result:
    """`--step`: lead through the lesson. With --to the steps up to there are built first."""
    from provision.lesson.guide import Guide  # what reads its pages takes a tenth of a second to import

    screen = session.screen
    asking = asks_for_adoption(options)
    if options.to:
        steps = STEPS[: options.to.number]
        before_the_first_write(run, session, steps, asking=asking)
        with session.progress(progress_of(run, screen, steps)):
            build(run, session, steps)

    def run_step(step: Step) -> None:
        before_the_first_write(run, session, [step], asking=asking)
        with session.progress(progress_of(run, screen, [step])):
            build(run, session, [step])

    def run_smoke_tests() -> None:
        before_the_first_write(run, session, [], asking=asking, tests=True)
        with session.progress(progress_of(run, screen, [], smoke_tests=True)):
            try_it(run, session)

    def made_by(step: Step) -> list[dict[str, Any]]:
        path = session.transcript.path
        return [] if path is None else calls_that_made(step.name, path, run.state.endpoint)

    guide = Guide(
        run,
        screen,
        session.transcript,
        run_step=run_step,
        run_smoke_tests=run_smoke_tests,
        made_by=made_by,
        stopped=session.stopped,
    )
    if guide.lead(after=options.to):
        show_built(screen, run.aws, run.settings, run.state, run.where)
        show_what_else(screen, run.where)
    return session.result


def check_that_somebody_is_there() -> None:
    if not sys.stdin.isatty():
        raise outcome.UserError(
            "--step leads through a lesson and asks at each step. Nobody is there to be asked: this is not a terminal.",
            means="Nothing was changed.",
            advice=("Leave --step out to build without questions, or name the last step wanted with --to N.",),
            exit_code=outcome.USAGE,
        )


def before_the_first_write(
    run: conflicts.Run, session: Session, steps: Sequence[Step], *, asking: bool, tests: bool = False
) -> None:
    """Refuse what is in the way of a new deployment. Ask once whether to build, if the steps or `tests` would write.

    Whether they would is what a plan of them says. `asking`: a person is asked about each resource to be adopted.
    """
    aws, state = run.aws, run.state
    with explained(aws):
        if steps and not state.standing:
            with aws.calls.in_step(STEPS[0].name):
                conflicts.refuse_before_the_first_write(run, asking=asking)
        if state.may_write:
            return
        session.screen.say()
        session.screen.say("Looking at what there is ...")
        planned = make_plan(aws, run.settings, DryState.of(state), steps)
    if tests or any(map(changes, planned)):
        ask_to_build(session.screen, aws, run.settings, planned)
        state.allow_writes()


def ask_to_build(screen: Screen, aws: Clients, settings: Settings, planned: Sequence[Planned]) -> None:
    """The question before the first write. Raises UserError when it is not answered with yes."""
    if any(map(changes, planned)):
        screen.say(f"Planned: {counts_of(planned)}.")
    if aws.endpoint:
        question = f"Build at {aws.endpoint}, which is not AWS?"
    else:
        screen.say()
        show_cost(screen, aws, settings)
        question = f"Build in account {aws.account_id}, Region {aws.region}?"
    prompts.ask(screen, question, flag="--yes")


def asks_for_adoption(options: argparse.Namespace) -> bool:
    return ASK in (options.adopt or []) and sys.stdin.isatty()


def adoption(screen: Screen, options: argparse.Namespace) -> Callable[[str, str, Mapping[str, str], str], bool]:
    """Whether to take over an untagged resource: --adopt KEY says yes, or a person who is asked."""

    def consents(key: str, kind: str, identity: Mapping[str, str], theirs: str) -> bool:
        if key in (options.adopt or []):
            return True
        if not asks_for_adoption(options):
            return False
        name = f"{noun_of(kind).capitalize()} {name_of(kind, dict(identity))}"
        return prompts.agrees(screen, f"{name} exists already ({theirs}). Take it over?")

    return consents


def run_of(options: argparse.Namespace, aws: Clients, settings: Settings, state: State) -> conflicts.Run:
    where = target_arguments(options, aws)
    variant = variant_arguments(options)
    beside = argparse.Namespace(**{**vars(options), "learner": None, "state": None})
    others = {path: content for path, content in state_files_in(state.path.parent).items() if path != state.path}
    return conflicts.Run(
        aws=aws,
        settings=settings,
        state=state,
        build=[*where, *variant],
        beside=[*target_arguments(beside, aws), *variant],
        where=where,
        adopt=[key for key in options.adopt or [] if key != ASK],
        others=others,
    )


def build(run: conflicts.Run, session: Session, steps: Sequence[Step]) -> None:
    """Run the steps. What is somebody else's is told in one message."""
    screen, transcript = session.screen, session.transcript
    began: dict[str, float] = {}

    def started(step: Step) -> None:
        began[step.name] = run.aws.waiting.clock()
        session.waits.begin()
        show_step_started(screen, step)
        transcript.step(step.name)

    def ended(step: Step, results: list[ResourceResult]) -> None:
        hide_ids(screen, run.aws, run.state)
        session.note(*map(result_of, results))
        show_step_ended(screen, step, results, run.settings)
        if screen.presenting:
            show_took(screen, run.aws.waiting.clock() - began[step.name])
        transcript.done(step.name, results)

    with explained(run.aws):
        try:
            run_steps(run.aws, run.settings, run.state, started=started, ended=ended, steps=steps)
            if STEPS[-1] in steps:
                session.note(invoke_url=run.state.outputs("stage")["url"])
        except NotOurs as met:
            raise conflicts.in_the_way(run, met) from met


def write_anew(options: argparse.Namespace, settings: Settings, session: Session) -> Result:
    """`--recover`: look up what there is, show it, and write the lost state file anew. The account stays as it is."""
    refuse_where_there_is_a_state_file(path_before_connecting(options))
    session.note(command="recover")
    screen = session.screen
    aws = connected(options, session, start=False)
    path = path_of_state(options, aws)
    refuse_where_there_is_a_state_file(path)
    state = State.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    try:
        session.note_place(aws)
        show_place(screen, aws, options.sources)
        screen.keep(f"State file     {state.path} (lost)")
        show_warnings(screen, aws)
        screen.say()
        screen.say("Looking in the account ...")
        with explained(aws, step="looking in the account"):
            seen = take_inventory(aws, settings, times=TIMES)
            others = {content["deployment"]: other for other, content in state_files_in(path.parent).items()}
            try:
                recovered = recover(aws, settings, seen, options.deployment, others)
            except CannotRecover as stop:
                found = tuple((resource.kind, resource.identity, resource.described) for resource in seen.resources)
                raise stop.with_words(resources=found) from stop
        state.recover(recovered.deployment, recovered.resources)
        session.note(
            *(outcome_of(one, "recorded", one.step) for one in recovered.resources),
            deployment=recovered.deployment,
            state_file=str(path),
            learner=settings.learner,
        )
        show_recovered(screen, recovered)
        if not (options.yes or options.sandbox):
            prompts.ask(
                screen, f"Write the state file {path} with these {len(state.resources)} resources?", flag="--yes"
            )
        state.save()
    finally:
        state.close()
    arguments = target_arguments(options, aws)
    screen.say()
    screen.say(
        f"The state file of deployment {state.deployment} is written; nothing in the account was changed.", "bold green"
    )
    screen.say("To complete and update what it records", "bold")
    screen.tell(program("provision", arguments))
    screen.say("To take everything down", "bold")
    screen.tell(program("teardown", arguments))
    return session.result


def refuse_where_there_is_a_state_file(path: Path | None) -> None:
    if path is None or not os.path.lexists(path):
        return
    backup = path.with_name(path.name + ".backup")
    damaged = [f"If it is damaged, look at the state before the last run: {backup}"] if backup.exists() else []
    raise StateRefused(
        f"There is a state file at {path}.",
        means="To recover is for one that was lost. Nothing was overwritten.",
        advice=(
            "If it is the right one, leave --recover out.",
            *damaged,
            "If it is of no use, move it away, and run the same command again.",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
