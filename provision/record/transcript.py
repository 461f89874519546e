"""What a run did, as JSON lines beside the state file. docs/transcript.md has the format.

The run itself does not need it: if a transcript cannot be written there is one warning, and the run goes on. The room
`replay` reads it afterwards.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.aws.operations import SHOW_KEYS
from provision.aws.waiting import Wait, Waiting
from provision.terminal import outcome
from provision.terminal.disk import make_private
from provision.terminal.json_values import bounded, plain
from provision.terminal.redaction import without_key_values, without_secrets, without_strangers_secrets

if TYPE_CHECKING:
    from provision.aws.answers import Call
    from provision.state.entries import Resource, ResourceResult
    from provision.state.state import State


VERSION = 1
FOLDER = "transcripts"  # beside the state file
# Without O_BINARY, which Windows alone has, os.write would make CR LF of each LF.
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Transcript:
    """Listens to one run. What happens before `begin`, which says where the file is, is written by it.

    `warn` gets a sentence when the file cannot be written.
    """

    def __init__(self, waiting: Waiting, warn: Callable[[str], None] = lambda sentence: None) -> None:
        self.path: Path | None = None
        self.warn = warn
        self.started = datetime.datetime.now(datetime.timezone.utc)
        self._waiting = waiting
        self._began = waiting.clock()
        self.events: list[dict[str, Any]] = []  # all of them, as the file has them
        self._file: int | None = None
        self._share: Callable[[str], object] | None = None
        self._begun = False
        self._state: State | None = None
        self._entries: dict[str, dict[str, Any]] = {}

    def share(self, write: Callable[[str], object]) -> None:
        """Give each line to `write`, too, from the first on. After an OSError it gets no more."""
        self._share = write

    def begin(self, program: str, state: State, *, keep: bool = True, **header: Any) -> None:
        """Open the run's file and write everything that happened until now. `header` goes into its first line.

        Without `keep` there is no file: the lines of a run that only reads are for `share` alone.
        """
        self._state = state
        self._entries = {resource.key: _entry(resource) for resource in state.resources}
        first = {
            "type": "transcript",
            "version": VERSION,
            "program": program,
            "started": self.started.isoformat(timespec="milliseconds"),
            "account": state.account,
            "region": state.region,
            "endpoint": state.endpoint,
            "deployment": state.deployment,
            **header,
        }
        if keep:
            try:
                self.path, self._file = _new_file(state.path, self.started, program)
            except OSError as error:
                self._give_up(error)
        self._begin_with(first)

    def _begin_with(self, first: dict[str, Any]) -> None:
        self._begun = True
        for event in [{"at": 0.0, **first}, *self.events]:
            self._append(event)

    # What happens in a run.

    def step(self, name: str) -> None:
        self._write("step", step=name)

    def call(self, call: Call) -> None:
        error = None
        if call.error is not None:
            error = {"code": call.error, "message": without_secrets(call.message or ""), "status": call.status}
        ended = call.ended if call.ended is not None else self._waiting.clock()
        self._write(
            "call",
            at=call.started - self._began,
            number=call.number,
            step=call.step,
            key=self._state.at_work if self._state is not None else None,
            service=call.service,
            operation=call.operation,
            read=call.is_read,
            parameters=without_strangers_secrets(plain(call.parameters)),
            answer=answer_of(call),
            error=error,
            seconds=ended - call.started,
            sent=call.sent,
        )

    def wait(self, wait: Wait, call: Call | None, step: str) -> None:
        self._write("wait", step=step, call=None if call is None else call.number, **vars(wait))

    def entries(self, resources: Sequence[Resource]) -> None:
        """The state file has been saved: write what is new in it."""
        if self._state is None:
            return
        for resource in resources:
            entry = _entry(resource)
            if self._entries.get(resource.key) != entry:
                self._entries[resource.key] = entry
                self._write("entry", entry=entry)

    def done(self, name: str, results: list[ResourceResult]) -> None:
        self._write(
            "done",
            step=name,
            happened=[
                {**vars(one), "differences": [vars(difference) for difference in one.differences]} for one in results
            ],
        )

    def smoke_test(self, title: str, saw: str) -> None:
        self._write("trial", title=title, saw=saw)

    def removed(self, word: str, resource: Resource, remark: str) -> None:
        self._write(
            "removed",
            word=word,
            key=resource.key,
            kind=resource.kind,
            identity=resource.identity,
            remark=remark,
        )

    def hop(self, **hop: Any) -> None:
        self._write("hop", **hop)

    def ended(self, exit_code: int, calls: int, writes: int, stop: outcome.UserError | None) -> None:
        """Write the last line and close the file. A run that ended before `begin` has a short first line."""
        if not self._begun:
            started = self.started.isoformat(timespec="milliseconds")
            self._begin_with({"type": "transcript", "version": VERSION, "started": started})
        fields: dict[str, Any] = {"exit_code": exit_code, "calls": calls, "writes": writes}
        if stop is not None:
            fields["stop"] = {"what": stop.what, "means": stop.means, "advice": list(stop.advice)}
        self._write("ended", **fields)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # The file.

    def _write(self, what: str, *, at: float | None = None, **fields: Any) -> None:
        now = self._waiting.clock() - self._began if at is None else at
        event = {"at": round(now, 4), "type": what, **plain(fields)}
        self.events.append(event)
        self._append(event)

    def _append(self, event: dict[str, Any]) -> None:
        if not self._begun or (self._file is None and self._share is None):
            return
        line = (json.dumps(event, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        if self._file is not None:
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError("the disk took only a part of a line")
            except OSError as error:
                os.close(self._file)
                self._file = None
                self._give_up(error)
        if self._share is not None:
            try:
                self._share(line.decode("utf-8"))
            except OSError as error:
                self._share = None
                self.warn(f"The events cannot be written any more ({error.strerror or error}). The run goes on.")

    def _give_up(self, error: OSError) -> None:
        self.warn(f"The transcript of this run cannot be written ({error.strerror or error}). The run goes on.")


def answer_of(call: Call) -> Any:
    """The answer without secrets; None where there was none."""
    if call.answer is None:
        return None
    answer = without_strangers_secrets(bounded(plain(call.answer)))
    return without_key_values(answer) if call.operation in SHOW_KEYS else answer


def _new_file(state_path: Path, started: datetime.datetime, program: str) -> tuple[Path, int]:
    """A new file for this run, which only its owner can read, hidden from git."""
    folder = folder_of(state_path)
    make_private(folder.parent)
    make_private(folder)
    number = 1
    while True:
        again = f"-{number}" if number > 1 else ""
        path = folder / f"{started:%Y%m%d-%H%M%S}-{started.microsecond // 1000:03d}-{program}{again}.jsonl"
        try:
            return path, os.open(path, NEW_FILE, 0o600)
        except FileExistsError:
            number += 1


def folder_of(state_path: Path) -> Path:
    """The folder with the transcripts of the runs on a state file."""
    return state_path.parent / FOLDER / state_path.stem


def _entry(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = plain(vars(resource))
    return {name: value for name, value in entry.items() if name != "before"}  # a person's own data
