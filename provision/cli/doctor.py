"""`doctor`: whether a build would work from here. Nothing is changed.

It starts nothing new. A sandbox that has ended and left a journal is started again, as by every command.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from provision.account.doctor import FAIL, PASS, UNKNOWN, Condition, of_the_account, of_this_machine
from provision.account.plan import DryState
from provision.cli.deployment import begun, connected, path_of_state
from provision.cli.ending import explained
from provision.cli.options import add_target_options
from provision.cli.results import Result
from provision.cli.session import Session
from provision.settings import Settings
from provision.terminal import outcome
from provision.terminal.command_line import Parser
from provision.terminal.screen import Screen

STYLES = {PASS: "green", FAIL: "red", UNKNOWN: "yellow"}
WORDS = {PASS: "pass", FAIL: "fail", UNKNOWN: "unknown"}


def doctor_parser() -> Parser:
    parser = Parser(
        prog="python -m provision doctor",
        description="Whether a build would work from here, and what to do if not. Nothing is changed.",
        example="python -m provision doctor --sandbox",
    )
    add_target_options(parser, asks=False, presents=False)
    return parser


def doctor(given: list[str], session: Session) -> Result:
    """`doctor`: exit code 1 where something would fail. What could not be checked is no failure."""
    options, settings = begun(doctor_parser(), given, session)
    conditions: list[Condition] = []
    session.screen.tell()
    for condition in chain(of_this_machine(sandbox=options.sandbox), of_the_place(session, settings)):
        conditions.append(condition)
        show(session.screen, condition)
    failed = any(one.outcome == FAIL for one in conditions)
    session.screen.tell()
    session.screen.tell("Something would fail." if failed else "A build would work, as far as that can be told.")
    return session.note(conditions=tuple(conditions), exit_code=outcome.LEFT if failed else outcome.DONE)


def of_the_place(session: Session, settings: Settings) -> Iterator[Condition]:
    """What is to be seen with the credentials; where none work, why."""
    options = session.options
    try:
        aws = connected(options, session, without="plan")
        if aws.is_empty:
            yield Condition("Sandbox", PASS, "none is running: a build starts one")
            return
        session.note_place(aws)
        state = DryState.open(
            path_of_state(options, aws), account=aws.account_id, region=aws.region, endpoint=aws.endpoint
        )
        with explained(aws), aws.calls.guarded_by(state.permit), aws.calls.in_step("doctor"):
            yield from of_the_account(aws, settings, state)
    except outcome.Interrupted:
        raise
    except outcome.UserError as stop:
        yield Condition("Stopped here", FAIL, stop.what, "\n".join(" ".join(line.split()) for line in stop.advice))


def show(screen: Screen, condition: Condition) -> None:
    """A line of the table, and below it what to do."""
    word = WORDS[condition.outcome]
    screen.prose(f"{condition.name:<14} {word:<9}", condition.saw, STYLES[condition.outcome], data=True)
    for line in condition.remedy.splitlines():
        screen.prose(" " * 24, line, data=True)
