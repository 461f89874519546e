"""`python -m provision` itself: build, lead through the lesson, or plan, after asking for consent."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from provision import STEPS, Step
from provision.account import conflicts
from provision.account.drift import look_closer
from provision.account.outcomes import planned_of, result_of
from provision.account.plan import DryState, Planned, changes, make_plan
from provision.account.recovery import state_files_in
from provision.account.smoke_tests import run_smoke_tests
from provision.aws.clients import Clients
from provision.cli.as_written import agree_to_as_written
from provision.cli.deployment import deployment, took_before
from provision.cli.ending import explained
from provision.cli.options import ASK, target_arguments, variant_arguments
from provision.cli.progress import Progress
from provision.cli.results import Result
from provision.cli.runner import run_steps
from provision.cli.session import Session
from provision.cli.views.banner import hide_ids
from provision.cli.views.build import show_built, show_built_to, show_cost, show_counts, show_end, who_may_call
from provision.cli.views.plan import build_in_words, show_build_plan, show_how_to_paste
from provision.cli.views.steps import StepLines, TestLines
from provision.settings import Settings, queue_route_url, runtime_warning
from provision.state.entries import ResourceResult
from provision.state.file import StateRefused
from provision.state.ownership import NotOurs, TagLost
from provision.state.resources import name_of, noun_of
from provision.state.state import State
from provision.terminal import outcome, prompts
from provision.terminal.screen import Screen
from provision.terminal.shell import program

# Leads through the lesson of a run.
Lead = Callable[[conflicts.Run, argparse.Namespace, Session], Result]


def build_or_lead(
    options: argparse.Namespace, settings: Settings, session: Session, lead: Lead | None = None
) -> Result:
    """Build, or `lead` through the lesson where it is given."""
    screen, given = session.screen, options.arguments
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
    ) as (aws, settings, state):
        agree_to_as_written(screen, aws, settings, options.sources)
        state.keep_rules(settings.rules)
        warning = runtime_warning(settings.runtime, list(aws.runtimes), datetime.date.today())
        if warning:
            session.warn(warning)
        if lead is not None or not state.may_write:
            state.fix_deployment()  # the banner has named it, and a plan in another terminal names it, too
        run = run_of(options, aws, settings, state)
        if lead is not None:
            return lead(run, options, session)
        steps = STEPS[: options.to.number] if options.to else STEPS
        smoke_tests = steps == STEPS and options.smoke_tests is not False
        tests = bool(options.smoke_tests) or (smoke_tests and not state.is_tested)
        asked = tests or (None if smoke_tests else False)
        before_the_first_write(run, session, steps, asking=asks_for_adoption(options), tests=asked)
        if options.yes and aws.endpoint is None:
            say_without_plan(screen, settings)
        with session.progress(progress_of(run, screen, steps, smoke_tests=smoke_tests)):
            build(run, session, steps, verbose=options.verbose)
            changed = [event for event in state.results if event.outcome != "unchanged"]
            left = [one for event in state.results for one in event.differences if one.left]
            if tests or (smoke_tests and (changed or left)):
                try_it(aws, settings, state, session, verbose=options.verbose)
        seconds = time.monotonic() - began
        if options.verbose:
            show_counts(screen, session.calls, seconds)
        show_end(screen, session.result, settings, seconds, left=len(left))
        show_not_tested(run, screen)
        if steps == STEPS:
            show_built(screen, aws, settings, state, target_arguments(options, aws))
        else:
            show_built_to(screen, steps[-1], target_arguments(options, aws), is_whole=state.is_whole)
    return session.result


def dry_run(options: argparse.Namespace, settings: Settings, session: Session) -> Result:
    """`--dry-run`: what a run would do. Nothing is written, in the account or in the state file."""
    session.note(command="plan")

    def adopt(key: str, kind: str, identity: Mapping[str, str], theirs: str) -> bool:
        return key in (options.adopt or [])

    with deployment("provision", options.arguments, options, settings, session, kind=DryState, adopt=adopt) as (
        aws,
        settings,
        state,
    ):
        try:
            state.fix_deployment()
        except StateRefused as refused:
            session.warn(f"{refused.what} So the next run has another id than the commands below.")
        steps = STEPS[: options.to.number] if options.to else STEPS
        with explained(aws):
            planned = look_closer(aws, state, make_plan(aws, settings, state, steps))
        session.note(*(planned_of(one, aws) for one in planned))
        show_build_plan(session.screen, planned, aws)
        if any(one.calls for one in planned):
            show_how_to_paste(session.screen, aws)
        if aws.endpoint is None and any(map(changes, planned)):
            show_cost(session.screen, settings)
        state.forget_plan()
        run = run_of(options, aws, settings, state)
    if state.another is not None:
        raise state.another
    if any(one.word == "in the way" for one in planned):
        raise conflicts.in_the_way(run, None)
    has_work = options.detailed_exitcode and any(changes(one) or one.word == "drifted" for one in planned)
    return session.note(exit_code=outcome.CHANGES if has_work else outcome.DONE)


def progress_of(run: conflicts.Run, screen: Screen, steps: Sequence[Step], *, smoke_tests: bool = False) -> Progress:
    """What is shown of these steps while they run, with what earlier runs here took where that can be seen."""
    took = took_before("provision", run.aws, run.state, screen)
    took.pop("", None)  # of whole runs, and lessons are among them
    parts = {step.name: f"{step.number}/8 {step.title}" for step in steps}
    parts |= {"tests": "Tests of the walkthrough"} if smoke_tests else {}
    calls = run.aws.calls
    return Progress(parts, lambda: "tests" if calls.step == "trials" else calls.step, calls, took)


def try_it(aws: Clients, settings: Settings, state: State, session: Session, *, verbose: bool = True) -> None:
    """The walkthrough's own tests of the result."""
    session.waits.begin()
    lines = TestLines(session.screen, verbose=verbose)
    began = aws.waiting.clock()
    with explained(aws), aws.calls.in_step("trials"):
        try:
            for smoke_test in run_smoke_tests(aws, settings, state):
                session.note(tests=(*session.result.tests, smoke_test))
                lines.ended(smoke_test)
                if smoke_test.passed:
                    session.transcript.smoke_test(smoke_test.title, smoke_test.saw)
        finally:
            lines.sum_up(aws.waiting.clock() - began)


def show_not_tested(run: conflicts.Run, screen: Screen) -> None:
    """Where the whole is built and the run leaves it untested, what tests it."""
    if run.state.is_whole and not run.state.is_tested:
        screen.heading("It has not been tested since the last change. To test it")
        screen.keep(program("provision", run.build))


def note_urls(session: Session, settings: Settings, url: str) -> None:
    """The addresses that clients call, into the result."""
    session.note(invoke_url=url, queue_route_url=queue_route_url(settings, url))


def check_that_somebody_is_there() -> None:
    if not sys.stdin.isatty():
        raise outcome.UserError(
            "--step leads through a lesson and asks at each step. Nobody is there to be asked: this is not a terminal.",
            means="Nothing was changed.",
            advice=("Leave --step out to build without questions, or name the last step wanted with --to N.",),
            exit_code=outcome.USAGE,
        )


def before_the_first_write(
    run: conflicts.Run, session: Session, steps: Sequence[Step], *, asking: bool, tests: bool | None = False
) -> None:
    """Refuse what is in the way of a new deployment. Ask once whether to build, if the steps or `tests` would write.

    Whether they would is what a plan of them says. `asking`: a person is asked about each resource to be adopted.
    `tests`: None where they run after drift only.
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
    drifted = tests is None and any(one.word == "drifted" for one in planned)
    if tests or drifted or any(map(changes, planned)):
        ask_to_build(session.screen, aws, run.settings, planned)
        state.allow_writes()


def say_without_plan(screen: Screen, settings: Settings) -> None:
    """With --yes on an account: what a run does, and what it costs, as far as that is known without a call."""
    screen.say()
    screen.say("What is missing is created, what has drifted is updated; --dry-run shows which.")
    show_cost(screen, settings)


def ask_to_build(screen: Screen, aws: Clients, settings: Settings, planned: Sequence[Planned]) -> None:
    """What is planned, what it costs, and the question. Raises UserError when it is not answered with yes."""
    if build_in_words(planned):
        screen.say(f"Planned: {build_in_words(planned)}.")
    elif planned:
        screen.say("Planned: the tests of what is there.")
    if aws.endpoint:
        question = f"Build at {aws.endpoint}, which is not AWS?"
    else:
        show_cost(screen, settings)
        screen.say(who_may_call(settings), "yellow" if settings.is_open else "dim")
        screen.say()
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


def build(run: conflicts.Run, session: Session, steps: Sequence[Step], *, verbose: bool = True) -> None:
    """Run the steps. What is somebody else's is told in one message."""
    transcript = session.transcript
    lines = StepLines(session.screen, run.settings, verbose=verbose)
    began: dict[str, float] = {}

    def started(step: Step) -> None:
        began[step.name] = run.aws.waiting.clock()
        session.waits.begin()
        lines.started(step)
        transcript.step(step.name)

    def ended(step: Step, results: list[ResourceResult]) -> None:
        hide_ids(session.screen, run.aws, run.state)
        session.note(*map(result_of, results))
        lines.ended(step, results, run.aws.waiting.clock() - began[step.name])
        transcript.done(step.name, results)

    with explained(run.aws):
        try:
            run_steps(run.aws, run.settings, run.state, started=started, ended=ended, steps=steps)
            if STEPS[-1] in steps:
                note_urls(session, run.settings, run.state.outputs("stage")["url"])
        except NotOurs as met:
            raise conflicts.in_the_way(run, met) from met
        except TagLost as met:
            raise conflicts.without_its_tag(run, met) from met
