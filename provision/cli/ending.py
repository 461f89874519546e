"""Runs a program's body, and turns every ending into words on the screen and an exit code."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.exceptions import HTTPClientError

from provision import STEPS
from provision.aws.calls import Tap
from provision.aws.clients import Clients
from provision.aws.waiting import Wait
from provision.cli.errors import explain
from provision.cli.options import FOLDER
from provision.record import log
from provision.settings import Settings
from provision.state.state import Ledger
from provision.terminal import outcome
from provision.terminal.redaction import without_secrets
from provision.terminal.screen import Screen
from provision.terminal.writing import writing


def run_program(body: Callable[[], int], screen: Screen, tap: Tap, *, again: str = "") -> int:
    """Run a program's body; turn every ending into words on the screen and an exit code.

    `again` is the command line that goes on after an interruption.
    """

    at_a_question = False

    def stop_softly(number: int, frame: FrameType | None) -> None:
        nonlocal at_a_question
        if tap.stopping or screen.asking:
            at_a_question = screen.asking and not tap.stopping
            raise KeyboardInterrupt
        tap.stopping = True
        screen.say_at_once("Stopping after the call in flight. Press Ctrl-C again to stop at once.")

    def waits(wait: Wait) -> None:
        log.ROOM.debug("waiting %s", wait)
        screen.wait(wait)
        tap.transcript.wait(wait, tap.under_way)

    def ended(stop: outcome.Stop) -> int:
        for number in previous:  # it ends already: a burst of them must not spoil its last words
            signal.signal(number, signal.SIG_IGN)
        screen.stopped(stop, tap.transcript.path)
        tap.transcript.ended(stop.exit_code, len(tap.calls), len(tap.writes()), stop)
        with suppress(OSError):  # stdout may be what failed
            screen.finish(stop.exit_code)
        return stop.exit_code

    tap.waiting.tell = waits
    tap.waiting.sleep = Sleep(tap)
    tap.transcript.warn = screen.warn
    previous = {number: signal.signal(number, stop_softly) for number in (signal.SIGINT, signal.SIGTERM)}
    go_on = f"Go on with: {again}" if again else "Running the same command again goes on where this run stopped."
    try:
        code = body()
        tap.transcript.ended(code, len(tap.calls), len(tap.writes()), None)
        screen.finish(code)
        return code
    except KeyboardInterrupt:
        means = "If a call was in flight, whether it did its work is open: the ledger has it, and the next run looks."
        if at_a_question:
            means = "No call was in flight: a question waited for its answer."
        return ended(outcome.Stop("Interrupted.", means=means, advice=(go_on,), exit_code=outcome.INTERRUPTED))
    except outcome.Stop as stop:
        log.ROOM.debug("stopped by", exc_info=stop)
        if stop.exit_code == outcome.INTERRUPTED and not stop.advice:
            stop.advice = (go_on,)
        return ended(stop)
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a message
        log.ROOM.debug("ended by", exc_info=error)
        return ended(explain(error, step="outside the steps", profile=None) or unexpected(error))
    finally:
        log.end()
        for number, handler in previous.items():
            signal.signal(number, handler)


class Sleep:
    """time.sleep in short pieces, so that Ctrl-C ends a wait at once."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    def __call__(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.tap.stopping:
                raise outcome.Interrupted
            time.sleep(min(left, 0.2))


def unexpected(error: Exception) -> outcome.Stop:
    """The message for an error that nobody foresaw; its traceback is kept in a file."""
    text = without_secrets("".join(traceback.format_exception(error)))
    where = FOLDER / f"error-{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    try:
        where.parent.mkdir(exist_ok=True)
        where.touch(mode=0o600)
        where.write_text(text, encoding="utf-8")
        kept = f"The traceback is in {where}."
    except OSError:
        kept = text
    return outcome.Stop(
        without_secrets(f"{type(error).__name__}: {error}"),
        means="This is a defect of the suite. What was made until now is recorded in the ledger.",
        advice=(kept, "Running the same command again goes on where this run stopped."),
    )


@contextmanager
def explained(aws: Clients, ledger: Ledger | None = None, *, step: str = "") -> Iterator[None]:
    """Errors of AWS and of the connection inside the block become a Stop that says what they mean at this step."""
    try:
        yield
    except Exception as error:
        if ledger is not None:
            step = next((f"{one.number} ({one.title})" for one in STEPS if one.name == ledger.step), ledger.step)
        stop = explain(error, step=step, profile=aws.profile)
        if stop is None or stop is error:
            raise
        if str(aws.endpoint).startswith("sandbox:") and isinstance(error, (HTTPClientError, BotocoreConnectionError)):
            stop.means = f"The local AWS, {aws.endpoint}, does not answer: most likely it was stopped."
            stop.advice = ("Run the same command again, when this one has ended: it finds or starts a sandbox.",)
        raise stop from error


def begin(options: argparse.Namespace, screen: Screen, tap: Tap) -> None:
    """What the command line says about how it looks, and about what is written beside it. Raises Stop."""
    events: Path | None = getattr(options, "events", None)
    takes_stdout = str(events) == "-" or getattr(options, "step", False)
    output = getattr(options, "output", "text")
    if takes_stdout and options.sources.get("output") != "--output":
        options.output = output = "text"  # a setting for all commands is none for one that has no document
    screen.use(plain=options.plain, presenting=options.present, color=options.color, output=output)
    screen.sources = options.sources
    for warning in options.warnings:
        screen.warn(warning)
    if events is not None and str(events) == "-":
        if output == "json":
            raise outcome.Stop(
                "--events - and --output json both write to stdout.",
                means="Nothing was done.",
                advice=("Name a file: --events FILE",),
                exit_code=outcome.USAGE,
            )
        tap.transcript.share(screen.give_stdout_away())
    elif events is not None:
        with writing(events):
            file = events.open("w", encoding="utf-8", newline="\n", buffering=1)
        tap.transcript.share(file.write)
    if getattr(options, "debug", False):
        state: Path | None = options.state
        beside = state.parent if state else FOLDER
        with writing(beside / log.FOLDER):
            screen.log = log.begin(beside, screen.document["program"])
        tap.listeners.append(lambda call: log.ROOM.debug("%s %s ended: %s", call.service, call.operation, call.error))
        screen.keep(f"Log            {screen.log}")


def write_down(
    program: str,
    arguments: list[str] | None,
    aws: Clients,
    settings: Settings,
    ledger: Ledger,
    *,
    keep: bool = True,
) -> None:
    """Begin the run's transcript, beside the ledger; without `keep` only for whoever listens to its events."""
    aws.tap.transcript.begin(
        program,
        ledger,
        keep=keep,
        partition=aws.partition,
        arguments=sys.argv[1:] if arguments is None else arguments,
        learner=settings.learner,
        as_written=settings.as_written,
        runtime=settings.runtime,
    )
