"""`--step`: what the lesson needs of a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from provision import STEPS, Step
from provision.account import conflicts
from provision.account.plan import DryState, make_plan
from provision.aws.answers import Call
from provision.check.verdicts import CODE, PASS, Finding, Seen, check_step
from provision.cli.build import (
    asks_for_adoption,
    before_the_first_write,
    build,
    progress_of,
    show_not_tested,
    try_it,
)
from provision.cli.ending import explained
from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.build import show_to_paste
from provision.lesson.guide import Can, Guide
from provision.record.recording import calls_that_made
from provision.terminal.json_values import plain
from provision.terminal.outcome import UserError
from provision.terminal.redaction import without_strangers_secrets


def lead(run: conflicts.Run, options: argparse.Namespace, session: Session) -> Result:
    """`--step`: lead through the lesson. With --to the steps up to there are built first."""
    screen = session.screen
    asking = asks_for_adoption(options)
    if options.to:
        steps = STEPS[: options.to.number]
        before_the_first_write(run, session, steps, asking=asking)
        with session.progress(progress_of(run, screen, steps)):
            build(run, session, steps)

    def run_step(step: Step, *, asking: bool = asking) -> None:
        before_the_first_write(run, session, [step], asking=asking)
        with session.progress(progress_of(run, screen, [step])):
            build(run, session, [step], verbose=False)

    def run_smoke_tests() -> None:
        before_the_first_write(run, session, [], asking=asking, tests=True)
        with session.progress(progress_of(run, screen, [], smoke_tests=True)):
            try_it(run.aws, run.settings, run.state, session)

    def made_by(step: Step) -> list[dict[str, Any]]:
        path = session.transcript.path
        return [] if path is None else calls_that_made(step.name, path, run.state.endpoint)

    can = Can(
        run_step=run_step,
        test=run_smoke_tests,
        show_result=lambda: show_to_paste(screen, run.aws, run.settings, run.state),
        stopped=session.stopped,
        made=made_by,
        **by_hand(run, lambda step: run_step(step, asking=True)),
    )
    guide = Guide(run, screen, session.transcript, can, options.lessons)
    guide.lead(after=options.to)
    show_not_tested(run, screen)
    return session.result


def by_hand(run: conflicts.Run, run_step: Callable[[Step], None]) -> dict[str, Any]:
    """What the lesson needs of a step that a learner does by hand: the last four of Can."""
    aws, settings, state = run.aws, run.settings, run.state
    seen = Seen()

    def look(step: Step) -> list[Finding]:
        # Not those of an earlier look: by now another may have the name, too.
        seen.api_id = state.known_id("api")
        known = {key: state.known_id(key) for key in ("api-key", "usage-plan")}
        seen.ids = {key: value for key, value in known.items() if value}
        with explained(aws), aws.calls.untold():
            return check_step(aws, settings, step, seen)

    def meant() -> dict[str, str]:
        return {**seen.ids, **({"api": seen.api_id} if seen.api_id else {})}

    def plan_of(step: Step) -> list[tuple[str, Call]]:
        """The calls of the step, each with the key of its resource."""
        with explained(aws), aws.calls.untold(), state.taking_over(meant()):
            plan = make_plan(aws, settings, DryState.of(state), STEPS[: step.number])
        calls = [(one.key, call) for one in plan for call in one.calls if call.step == step.name]
        return [(key, call) for key, call in calls if not call.operation.startswith("Tag")]

    def planned(step: Step) -> list[dict[str, Any]]:
        return [event_of(call) for _, call in plan_of(step)]

    def left(step: Step, findings: Sequence[Finding]) -> list[dict[str, Any]]:
        wrong = {one.key for one in findings if one.outcome != PASS}
        codes = [one.outcome for one in findings if one.attribute == CODE]
        try:
            calls = [call for key, call in plan_of(step) if key in wrong]
        except UserError:
            return []  # no call corrects it: what to do about that stands with what was found
        # The step compares zips byte by byte. Another zip of the right code need not be sent again.
        return [event_of(call) for call in calls if call.operation != "UpdateFunctionCode" or codes != [PASS]]

    def take_over(step: Step) -> None:
        with state.taking_over(meant()):
            run_step(step)

    return {"planned": planned, "left": left, "look": look, "take_over": take_over}


def event_of(call: Call) -> dict[str, Any]:
    """A call of a plan, as a `call` event of a transcript."""
    return {
        "service": call.service,
        "operation": call.operation,
        "parameters": without_strangers_secrets(plain(call.parameters)),
        "answer": None,
        "error": None,
        "read": False,
        "seconds": 0.0,
        "sent": 1,
    }
