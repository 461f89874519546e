"""Runs a program's body, and turns every ending into words on the screen and a result with its exit code."""

from __future__ import annotations

import datetime
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from types import FrameType
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.exceptions import HTTPClientError

from provision import STEPS
from provision.cli.errors import explain
from provision.cli.results import Result
from provision.cli.session import Session
from provision.record import log
from provision.state.file import StateDamaged
from provision.terminal import outcome
from provision.terminal.command_line import WrongCommandLine, asks_for_json, look_at_help, state_folder
from provision.terminal.disk import make_private, open_private
from provision.terminal.redaction import without_secrets

if TYPE_CHECKING:
    from provision.aws.clients import Clients


def run_program(body: Callable[[], Result], session: Session, *, again: str = "", given: Sequence[str] = ()) -> Result:
    """Run a program's body; turn every ending into words on the screen and a result.

    `again` is the command line that goes on after an interruption, `given` this one.
    """
    screen, calls, transcript = session.screen, session.calls, session.transcript
    at_a_question = False

    def stop_softly(number: int, frame: FrameType | None) -> None:
        nonlocal at_a_question
        if calls.stopping or screen.asking:
            at_a_question = screen.asking and not calls.stopping
            raise KeyboardInterrupt
        calls.stopping = True
        screen.say_at_once("Stopping after the call in flight. Press Ctrl-C again to stop at once.")

    def ended(stop: outcome.UserError) -> Result:
        for number in previous:  # it ends already: a burst of them must not spoil its last words
            signal.signal(number, signal.SIG_IGN)
        try:
            error = session.stopped(stop, transcript.path)
        except outcome.UserError as unheard:
            stop, error = unheard, unheard.error()
        transcript.ended(stop.exit_code, len(calls.history), len(calls.writes()), stop)
        return written(session.counted(replace(session.result, exit_code=stop.exit_code, error=error)), session)

    previous = {number: signal.signal(number, stop_softly) for number in (signal.SIGINT, signal.SIGTERM)}
    go_on = f"Go on with: {again}" if again else "Running the same command again goes on where this run stopped."
    try:
        done = session.counted(body())
        transcript.ended(done.exit_code, done.calls, done.writing_calls, None)
        screen.write_json(asdict(done))
        return done
    except WrongCommandLine as wrong:
        return refused(wrong, session, given)
    except KeyboardInterrupt:
        means = (
            "If a call was in flight, whether it did its work is open: the state file has it, and the next run looks."
        )
        if at_a_question:
            means = "No call was in flight: a question waited for its answer."
        return ended(outcome.UserError("Interrupted.", means=means, advice=(go_on,), exit_code=outcome.INTERRUPTED))
    except outcome.UserError as stop:
        log.ROOM.debug("stopped by", exc_info=stop)
        return ended(advised(stop, go_on, again, session))
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a message
        log.ROOM.debug("ended by", exc_info=error)
        return ended(explain(error, step="outside the steps", profile=None) or unexpected(error))
    finally:
        log.end()
        for number, handler in previous.items():
            signal.signal(number, handler)


def advised(stop: outcome.UserError, go_on: str, again: str, session: Session) -> outcome.UserError:
    """The same, where the program knows more to do than whoever raised it."""
    if stop.exit_code == outcome.INTERRUPTED and not stop.advice:
        return stop.with_words(advice=(go_on,))
    if isinstance(stop, StateDamaged):
        from provision.cli.damage import with_ways_on  # which knows the sandbox: few endings need it

        return with_ways_on(stop, session.options)
    if stop.code == "no-credentials":
        return stop.with_words(advice=(*in_a_sandbox(again), *stop.advice))
    if stop.exit_code == outcome.USAGE:
        return stop.with_words(advice=(*stop.advice, look_at_help(command_of(session.result))))
    return stop


def command_of(result: Result) -> str:
    """The words of a command that `--help` goes with. A plan and a recovery are options of a build."""
    words = ["python", "-m", result.program]
    if result.program == "provision":
        words.append(result.command if result.command not in ("", "plan", "recover") else "build")
    return " ".join(words)


def in_a_sandbox(again: str) -> tuple[str, ...]:
    """The advice for who forgot --sandbox: a sandbox's state file is here."""
    here = [path for path in sorted(state_folder().glob("sandbox-*.json")) if path.suffixes == [".json"]]
    return (f"{here[0]} is a sandbox's state file. For that one:", f"    {again} --sandbox") if here else ()


def refused(wrong: WrongCommandLine, session: Session, given: Sequence[str]) -> Result:
    """The result of a command line that could not be read; its error has been said."""
    if asks_for_json(given) and not session.screen.writes_json:  # it was refused before that was heeded
        session.screen.use(plain=True, presenting=False, output="json")
    result = session.counted(replace(session.result, exit_code=outcome.USAGE, error=wrong.error()))
    return written(result, session)


def written(failed: Result, session: Session) -> Result:
    """Write the result of a failure, and return it; stdout may be what failed, or fail now."""
    try:
        session.screen.write_json(asdict(failed))
    except outcome.UserError as unwritten:
        return replace(failed, exit_code=unwritten.exit_code)
    return failed


def unexpected(error: Exception) -> outcome.UserError:
    """The message for an error that nobody foresaw; its traceback is kept in a file."""
    text = without_secrets("".join(traceback.format_exception(error)))
    try:
        where = make_private(state_folder()) / f"error-{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
        with open_private(where, "w") as file:
            file.write(text)
        kept = f"The traceback is in {where}."
    except (OSError, outcome.UserError):
        kept = text
    return outcome.UserError(
        without_secrets(f"{type(error).__name__}: {error}"),
        means="This is a defect of the suite. What was made until now is recorded in the state file.",
        advice=(kept, "Running the same command again goes on where this run stopped."),
        code="defect",
    )


@contextmanager
def explained(aws: Clients, *, step: str = "") -> Iterator[None]:
    """Errors of AWS and of the connection inside the block become a UserError that says what they mean.

    At the step that is at work, unless `step` says it in words.
    """
    try:
        yield
    except Exception as error:
        at = aws.calls.step
        at = step or next((f"{one.number} ({one.title})" for one in STEPS if one.name == at), at)
        stop = explain(error, step=at, profile=aws.profile)
        if stop is None or stop is error:
            raise
        if aws.is_sandbox and isinstance(error, (HTTPClientError, BotocoreConnectionError)):
            stop = stop.with_words(
                means=f"The local AWS, {aws.endpoint}, does not answer: most likely it was stopped.",
                advice=("Run the same command again, when this one has ended: it starts the sandbox again.",),
            )
        raise stop from error
