"""`break`, `hint` and `heal`: an exercise in the learner's own deployment."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from provision.account.plan import DryState
from provision.aws.clients import Clients
from provision.cli.deployment import begun, deployment
from provision.cli.ending import explained
from provision.cli.options import (
    add_target_options,
    add_variant_options,
    folder_named,
    target_arguments,
    variant_arguments,
)
from provision.cli.progress import Progress
from provision.cli.results import ExerciseOutcome, Result
from provision.cli.session import Session
from provision.cli.views.exercise import show_broken, show_healed, show_hints
from provision.exercise.exercise import (
    Exercise,
    ExerciseRefused,
    chosen,
    findings_on,
    make,
    note_if_mended,
    read,
    refuse_unless_as_built,
    save,
    undo,
)
from provision.exercise.faults import FAULTS
from provision.lesson.exercise_page import COUNT, ExercisePage, names_in, read_exercise
from provision.record.views import WaitLines
from provision.settings import Settings
from provision.state.resources import names
from provision.state.state import State
from provision.terminal import prompts
from provision.terminal.command_line import Parser
from provision.terminal.screen import Screen
from provision.terminal.shell import program


def break_parser() -> Parser:
    parser = Parser(
        prog="python -m provision break",
        description="Put one fault into what is built, without naming it: find it, and mend it. heal takes it back.",
        example="python -m provision break --sandbox",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--fault", metavar="NAME", choices=[fault.name for fault in FAULTS], help="this one")
    which.add_argument("--seed", metavar="N", type=int, help="by lot, and with the same N the same for each learner")
    add_target_options(parser)
    add_variant_options(parser)
    return parser


def break_it(given: list[str], session: Session) -> Result:
    """`break`: one fault, in a deployment that is whole and as it was built."""
    options, settings = begun(break_parser(), given, session)
    with (
        at_work("break", given, options, settings, session) as (aws, settings, state),
        explained(aws),
        written_out(options, aws),
    ):
        state.check_names(names(aws, settings))
        exercise = read(state)
        if exercise is not None and exercise.made:
            raise ExerciseRefused(
                "Something is broken already: one exercise is open, and there is one at a time.",
                means="Nothing was changed.",
                advice=("For a hint (heal in its place takes it back):", "python -m provision hint"),
            )
        if exercise is None:
            refuse_unless_as_built(aws, settings, state)
            exercise = chosen(aws, settings, state, options.fault, options.seed)
        consent(aws, state, session.screen, "Break one thing")
        session.screen.say()
        session.screen.say("One thing is being broken. On AWS that may take a minute ...")
        session.waits = WaitLines(session.screen, math.inf)  # what is waited for would tell what it is
        make(aws, settings, state, exercise)
        session.note(exercise=ExerciseOutcome(is_open=True))
        show_broken(session.screen, aws, settings, state, target_arguments(options, aws))
    return session.result


def hint_parser() -> Parser:
    parser = Parser(
        prog="python -m provision hint",
        description="Help with what break has broken: of three hints one more each time. Nothing is changed.",
        example="python -m provision hint --sandbox",
    )
    add_target_options(parser, asks=False)
    add_lessons_option(parser)
    return parser


def hint(given: list[str], session: Session) -> Result:
    """`hint`: the hints so far, and one more."""
    options, settings = begun(hint_parser(), given, session)
    with (
        deployment("hint", given, options, settings, session, kind=DryState) as (aws, settings, state),
        written_out(options, aws),
    ):
        exercise = open_exercise(state)
        page = page_of(aws, exercise, state, options)
        exercise.hints = min(exercise.hints + 1, COUNT)
        save(state, exercise)
        hints = page.hints[: exercise.hints]
        session.note(exercise=ExerciseOutcome(is_open=True, hints=hints))
        show_hints(session.screen, hints, COUNT, target_arguments(options, aws))
    return session.result


def heal_parser() -> Parser:
    parser = Parser(
        prog="python -m provision heal",
        description="End the exercise: put back what was there before break, and say what it was.",
        example="python -m provision heal --sandbox",
    )
    add_target_options(parser)
    add_lessons_option(parser)
    return parser


def heal(given: list[str], session: Session) -> Result:
    """`heal`: what was there before is there again. Whether it was mended by hand is decided before the first write."""
    options, settings = begun(heal_parser(), given, session)
    with (
        at_work("heal", given, options, settings, session) as (aws, settings, state),
        explained(aws),
        written_out(options, aws),
    ):
        exercise = open_exercise(state)
        settings = replace(exercise.settings(options.learner), rules=settings.rules)
        state.check_names(names(aws, settings))  # the faults name what they change by the settings
        page = page_of(aws, exercise, state, options)
        note_if_mended(state, exercise, findings_on(aws, settings, state, exercise))
        consent(aws, state, session.screen, "Put back what was there before the exercise")
        if not exercise.healing:
            exercise.healing = True
            save(state, exercise)
        with session.progress(Progress({}, lambda: "", aws.calls)):
            undo(aws, settings, state, exercise)
        hints = page.hints[: exercise.hints]
        told = ExerciseOutcome(False, exercise.fault, hints, bool(exercise.mended), exercise.seconds)
        session.note(exercise=told)
        show_healed(session.screen, aws, page, exercise, target_arguments(options, aws))
    return session.result


def at_work(
    command: str, given: list[str], options: argparse.Namespace, settings: Settings, session: Session
) -> AbstractContextManager[tuple[Clients, Settings, State]]:
    """The deployment, for a command that writes once a person has agreed; in the sandbox nobody is asked."""
    may_write = options.yes or options.sandbox
    return deployment(command, given, options, settings, session, kind=State, may_write=may_write)


@contextmanager
def written_out(options: argparse.Namespace, aws: Clients) -> Iterator[None]:
    """The command that helps where an exercise is refused, with the options of this one."""
    try:
        yield
    except ExerciseRefused as stop:
        *advice, last = stop.advice
        if not last.startswith("python -m provision"):
            raise
        command = last.split()[3:]
        variant = variant_arguments(options) if "as_written" in options and command != ["hint"] else []
        line = program("provision", [*command, *target_arguments(options, aws), *variant])
        raise stop.with_words(advice=(*advice, f"    {line}")) from stop


def consent(aws: Clients, state: State, screen: Screen, what: str) -> None:
    """Ask once, unless that was answered beforehand. Raises UserError."""
    if not state.may_write:
        where = aws.endpoint or f"account {aws.account_id}, Region {aws.region}"
        prompts.ask(screen, f"{what} in {where}?", flag="--yes")
        state.allow_writes()


def open_exercise(state: State) -> Exercise:
    """Raises ExerciseRefused where there is none."""
    exercise = read(state)
    if exercise is None:
        raise ExerciseRefused(
            "Nothing is broken: no exercise is open here.",
            means="Nothing was changed.",
            advice=("To begin one:", "python -m provision break"),
        )
    return exercise


def page_of(aws: Clients, exercise: Exercise, state: State, options: argparse.Namespace) -> ExercisePage:
    known = names_in(aws, exercise.settings(options.learner), state)
    return read_exercise(exercise.fault, known, folder=options.lessons)


def add_lessons_option(parser: Parser) -> None:
    parser.add_argument("--lessons", metavar="FOLDER", type=folder_named, help="pages of your own; the others stay")
