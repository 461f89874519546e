"""Runs the steps in order, and runs a step again when the answer to one of its writes was lost."""

from __future__ import annotations

from collections.abc import Callable

from provision import STEPS, Step
from provision.aws import Clients
from provision.ledger import Happened, Ledger
from provision.settings import Settings
from provision.tap import AnswerLost
from provision.waiting import Wait

# How often a step is run again after a lost answer. Each time its look finds what the lost call made, if it did.
TRIES = 4
# Seconds before that look: lists lag behind what was just made.
SETTLE = 5.0


def run_steps(
    aws: Clients,
    settings: Settings,
    ledger: Ledger,
    *,
    started: Callable[[Step], None],
    ended: Callable[[Step, list[Happened]], None],
) -> None:
    """Run all steps. `started` and `ended` are told, the latter with what the step did. Errors pass."""
    for step in STEPS:
        ledger.step = step.name
        started(step)
        first = len(ledger.happened)
        try:
            run_step(step, aws, settings, ledger)
        finally:
            ended(step, ledger.happened[first:])


def run_step(step: Step, aws: Clients, settings: Settings, ledger: Ledger) -> None:
    first = len(ledger.happened)
    for tries_left in reversed(range(TRIES)):
        try:
            step.load().provision(aws, settings, ledger)
            return
        except AnswerLost as lost:
            if not tries_left:
                raise
            aws.waiting.tell(
                Wait(
                    "answer lost",
                    "Whether AWS acted is open: the step looks again and goes on from what it finds.",
                    str(lost),
                    0.0,
                    SETTLE,
                )
            )
            aws.waiting.sleep(SETTLE)
        finally:
            ledger.happened[first:] = once_each(ledger.happened[first:])


def once_each(happened: list[Happened]) -> list[Happened]:
    """Every thing once, over several tries of a step: what a later try found as it should be, an earlier one made."""
    by_key: dict[str, Happened] = {}
    for event in happened:
        if event.key not in by_key or event.outcome != "unchanged":
            by_key[event.key] = event
    return list(by_key.values())
