"""One start of a program: its screen, its calls to AWS, its result, and what is written down of them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.aws.calls import Calls
from provision.aws.waiting import Wait, Waiting
from provision.cli.progress import Progress
from provision.cli.results import Result, error_of
from provision.record import log
from provision.record.transcript import Transcript
from provision.record.views import WaitLines
from provision.terminal import outcome
from provision.terminal.command_line import state_folder
from provision.terminal.screen import Screen
from provision.terminal.writing import writing

if TYPE_CHECKING:
    from provision.account.outcomes import ResourceOutcome
    from provision.aws.clients import Clients
    from provision.settings import Settings
    from provision.state.state import State

PATIENCE_SECONDS = 3.0  # a shorter wait leaves no line


class Session:
    """What a program has before it reads its command line, and hands to the command that it is.

    The transcript is the first that hears of a call which has ended. `log` is where `--debug` writes. `result` is what
    is known so far: a command that fails has done something until then, too. `sleep` takes the place of its own way to
    wait.
    """

    def __init__(
        self, screen: Screen, program: str = "provision", sleep: Callable[[float], None] | None = None
    ) -> None:
        self.screen = screen
        self.calls = Calls(Waiting(sleep=sleep or self.sleep, tell=self.wait))
        self.result = Result(program)
        self._began = time.monotonic()
        self.transcript = Transcript(self.calls.waiting, screen.warn)
        self.calls.listeners.append(self.transcript.call)
        self.waits = WaitLines(screen)
        self.log: Path | None = None
        self.options = argparse.Namespace()
        self._progress: Progress | None = None

    def note(self, *resources: ResourceOutcome, **members: Any) -> Result:
        """The result with these as well, from here on. Of each resource the last word counts."""
        by_key = {one.key: one for one in (*self.result.resources, *resources)}
        self.result = replace(self.result, resources=tuple(by_key.values()), **members)
        return self.result

    def counted(self, result: Result) -> Result:
        """The same with the calls until now, and the seconds since the program started."""
        count, writes = len(self.calls.history), len(self.calls.writes())
        return replace(result, calls=count, writing_calls=writes, seconds=round(time.monotonic() - self._began, 1))

    def warn(self, text: str) -> None:
        self.screen.warn(text)
        self.note(warnings=(*self.result.warnings, text))

    def note_place(self, aws: Clients) -> None:
        """Where it is done, and by whom."""
        self.note(
            account=aws.account_id,
            caller=aws.caller,
            region=aws.region,
            endpoint=aws.endpoint,
            warnings=(*self.result.warnings, *aws.warnings),
        )

    def begin(self, options: argparse.Namespace) -> None:
        """What the command line says about how it looks, and about what is written beside it. Raises UserError."""
        self.options = options
        screen = self.screen
        events: Path | None = getattr(options, "events", None)
        takes_stdout = str(events) == "-" or getattr(options, "step", False)
        output = getattr(options, "output", "text")
        if takes_stdout and options.sources.get("output") != "--output":
            options.output = output = "text"  # a setting for all commands is none for one that has no document
        screen.use(
            plain=options.plain, presenting=getattr(options, "present", False), color=options.color, output=output
        )
        at_once = getattr(options, "verbose", False) or getattr(options, "step", False)
        self.waits = WaitLines(screen, 0 if at_once else PATIENCE_SECONDS)
        for warning in options.warnings:
            self.warn(warning)
        if events is not None:
            self._share(events, output)
        if getattr(options, "debug", False):
            state: Path | None = options.state
            beside = state.parent if state else state_folder()
            with writing(beside / log.FOLDER):
                self.log = log.begin(beside, self.result.program)
            self.calls.listeners.append(
                lambda call: log.ROOM.debug("%s %s ended: %s", call.service, call.operation, call.error)
            )
            screen.keep(f"Log            {self.log}")

    def _share(self, events: Path, output: str) -> None:
        """`--events`: each line of the transcript at once, in a file or on stdout."""
        if str(events) != "-":
            with writing(events):
                file = events.open("w", encoding="utf-8", newline="\n", buffering=1)
            self.transcript.share(file.write)
            return
        if output == "json":
            raise outcome.UserError(
                "--events - and --output json both write to stdout.",
                means="Nothing was done.",
                advice=("Name a file: --events FILE",),
                exit_code=outcome.USAGE,
            )
        self.transcript.share(self.screen.give_stdout_away())

    def write_down(
        self,
        program: str,
        arguments: list[str] | None,
        aws: Clients,
        settings: Settings,
        state: State,
        *,
        keep: bool = True,
    ) -> None:
        """Begin the transcript, beside the state file; without `keep` only for whoever listens to its events."""
        self.note_place(aws)
        self.note(
            deployment=state.deployment,
            state_file=str(state.path),
            learner=settings.learner,
            as_written=settings.as_written,
        )
        self.transcript.begin(
            program,
            state,
            keep=keep,
            partition=aws.partition,
            arguments=sys.argv[1:] if arguments is None else arguments,
            learner=settings.learner,
            as_written=settings.as_written,
            runtime=settings.runtime,
        )

    @contextmanager
    def progress(self, progress: Progress) -> Iterator[None]:
        """Show how the run gets on while the block lasts; it is told of each wait."""
        self._progress = progress
        try:
            with self.screen.progress(progress):
                yield
        finally:
            self._progress = None

    def sleep(self, seconds: float) -> None:
        """time.sleep in short pieces, so that Ctrl-C ends a wait at once."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.calls.stopping:
                raise outcome.Interrupted
            time.sleep(min(left, 0.2))

    def wait(self, wait: Wait) -> None:
        """AWS is waited for: said, drawn and written down."""
        log.ROOM.debug("waiting %s", wait)
        if self._progress is not None:
            self._progress.wait(wait)
        self.waits.show(wait)
        self.transcript.wait(wait, self.calls.under_way, self.calls.step)

    def stopped(self, stop: outcome.UserError, transcript: Path | None = None) -> outcome.Error:
        """Say how it ended; `transcript` is its file, where that tells more."""
        error = error_of(stop, transcript, self.log)
        self.screen.stopped(error)
        return error
