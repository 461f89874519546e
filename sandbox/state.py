"""A sandbox that comes back: a journal keeps every write, and the next start replays it, with the same ids.

moto makes its ids with a random generator that its API seeds (``/moto-api/seed``), and its dates by the clock. So each
write has a seed of its own, and the clock stands still while it runs; the replay uses the same seed and the same time
(time-machine holds the clock). The replayed answer is compared with the first one. If they differ, as they may with
another version of moto, the start fails.

Messages are kept one by one, since what a trigger received cannot be replayed.

The journal is a file of JSON lines: a head (version, id, port, moto, owner, folder), then one line for each write or
message. One process writes it at a time. It is never compacted. It holds the requests, without signatures and session
tokens.

A journal is a program: its functions run as whoever starts a sandbox from it, by themselves where a message waits for a
trigger. So its folder is its owner's only, and one of another owner is refused. What another user or another folder
wrote comes back with its triggers disabled.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from werkzeug.wrappers import Request, Response

from provision.aws.sandbox_process import JOURNAL
from provision.terminal import disk, outcome
from provision.terminal.shell import to_move
from sandbox.backend import Backend
from sandbox.protocol.operations import Operation, operation_of
from sandbox.protocol.scope import MODULES, Scope, environ_of, signed
from sandbox.sqs.messages import Message, Messages

Ask = Callable[[Operation], Response]

log = logging.getLogger(__name__)

LOCK = "journal.lock"
NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
VERSION = 3

LOCK_SECONDS = 2.0  # one that has just stopped answering may not have let go of it yet
SAY_EVERY_SECONDS = 2.0  # a start is waited for as long as it says something

# Calls that change nothing which must come back; messages have lines of their own.
READS = re.compile(r"(Get|List|Describe|Filter|Simulate|Test|BatchGet|TransactGet|Query|Scan|Invoke|AssumeRole).*")
# The parts of an answer that differ each time.
PASSING = re.compile(rb'<RequestId>.*?</RequestId>|"LastProcessingResult": "[^"]*"')


class CannotComeBack(outcome.UserError):
    """The journal cannot be read, or its replay does not give the same answers."""

    exit_code = outcome.ENVIRONMENT


def cannot_come_back(path: Path, why: str, *advice: str) -> CannotComeBack:
    return CannotComeBack(
        f"The journal {path} cannot be replayed: {why}.",
        means="Nothing was brought back, and the journal is as it was.",
        advice=(*advice, f"To begin with an empty sandbox, move the journal away: {to_move(path)}"),
    )


class State:
    """The journal of one folder, locked until :meth:`close`. Call :meth:`replay` once, before the first request is
    served, then :meth:`record`. Raises CannotComeBack, and OSError if the folder cannot be written to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(folder)
        self._whose = {"owner": owner(), "folder": str(folder.resolve())}
        self._lock = disk.open_private(folder / LOCK, "a")
        deadline = time.monotonic() + LOCK_SECONDS
        while not (locked := disk.try_lock(self._lock)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not locked:
            self._lock.close()
            raise CannotComeBack(
                f"Another sandbox uses the journal in {folder}.",
                means="Two sandboxes would mix up their journals.",
                advice=("Stop that one first, or choose another folder with --state-dir.",),
            )
        self._head: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []
        self._number = 0
        self._file: IO[str] | None = None
        self._replaying = False
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    @property
    def id(self) -> str | None:
        """The sandbox's id, which state files carry; None if there is no journal yet."""
        return self._head.get("id")

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether another user wrote the journal, or it was written in another folder."""
        return bool(self._head) and {name: self._head.get(name) for name in self._whose} != self._whose

    @property
    def port(self) -> int:
        return int(self._head.get("port") or 0)

    def open(self, id: str, port: int) -> None:
        """Open the journal for new lines. Raises OSError."""
        new = {"version": VERSION, "id": id, "port": port, "moto": metadata.version("moto")}
        whole = [self._head or {**new, **self._whose}]
        # Written anew, without a torn last line; the replayed lines stay as they are.
        text = "".join(json.dumps(line) + "\n" for line in [*whole, *self._lines])
        disk.write_durably(self.path, text.encode())
        self._file = disk.open_private(self.path, "a")
        self._lines = []

    def disable_triggers(self, backend: Backend, triggers: Iterable[tuple[str, str]], ask: Ask) -> None:
        """Disable these triggers (UUID and Region) of a journal from elsewhere, and take it over: from now on it is
        this user's, in this folder. Call :meth:`open` before. Raises OSError."""
        log.warning("%s was written by another user or in another folder: its triggers are disabled", self.path)
        for uuid, region in triggers:
            headers = {"Host": f"lambda.{region}.amazonaws.com", "Content-Type": "application/json"}
            headers["Authorization"] = signed(Scope("sandbox", region, "lambda"))
            environ = environ_of(
                "PUT", f"/2015-03-31/event-source-mappings/{uuid}", headers.items(), b'{"Enabled": false}'
            )
            operation = operation_of(Request(environ))
            assert operation is not None
            self.record(backend, operation, ask)
        assert self._file is not None
        self._file.close()
        head, _, lines = self.path.read_text(encoding="utf-8").partition("\n")
        text = json.dumps({**json.loads(head), **self._whose}) + "\n" + lines
        disk.write_durably(self.path, text.encode())
        self._file = disk.open_private(self.path, "a")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.close()

    # Writing

    def record(self, backend: Backend, operation: Operation, ask: Ask) -> Response:
        """Carry out the request, and keep it if it changed something."""
        if READS.fullmatch(operation.name) or is_of_messages(operation) or not operation.name:
            return ask(operation)
        with backend.one_lock():  # it also keeps the order of the lines
            self._number += 1
            number, at = self._number, time.time()
            for service in MODULES:
                backend.wake(service, operation.region)
            response = carried_out(backend, number, at, lambda: ask(operation))
            if response.status_code < 300:
                self._append(
                    {
                        "number": number,
                        "at": at,
                        "call": operation.called,
                        "method": operation.method,
                        "uri": str(operation.request.environ.get("RAW_URI", operation.request.full_path)),
                        "headers": kept_headers(operation),
                        "body": base64.b64encode(operation.body).decode(),
                        "answer": digest(response),
                    }
                )
        return response

    def keep_message(self, arn: str, message: Message) -> None:
        self._append({"queue": arn, "message": asdict(message)})

    def drop_message(self, arn: str, identity: str | None) -> None:
        """``identity`` None: all messages of the queue."""
        self._append({"queue": arn, "gone": identity})

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is None or self._replaying:
            return
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    # Coming back

    def _read(self) -> None:
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | NO_LINK), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise cannot_come_back(self.path, f"it cannot be read ({error})") from error
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                decoded = json.loads(line)
                if not isinstance(decoded, dict):
                    raise ValueError("no object")
            except ValueError as error:
                if number == len(lines) and number > 1:
                    log.warning("the last line of %s is torn and is left out", self.path)
                    break
                raise cannot_come_back(self.path, f"line {number} cannot be read") from error
            self._lines.append(decoded)
        if self._lines:
            self._head, self._lines = self._lines[0], self._lines[1:]
        if self._head and (self._head.get("version") != VERSION or not isinstance(self._head.get("id"), str)):
            raise cannot_come_back(self.path, "it is not one that this version of the sandbox wrote")

    def replay(self, backend: Backend, ask: Ask) -> None:
        """Replay the journal; from then on messages are kept. Raises CannotComeBack if an answer differs."""
        messages = backend.messages
        messages.kept, messages.dropped = self.keep_message, self.drop_message
        self._replaying = True
        said = time.monotonic()
        try:
            for done, line in enumerate(self._lines):
                if time.monotonic() - said > SAY_EVERY_SECONDS:
                    said = time.monotonic()
                    log.info("%d of %d lines of the journal are replayed", done, len(self._lines))
                if "queue" in line:
                    bring_back(messages, line)
                else:
                    self._again(backend, line, ask)
                    self._number = max(self._number, int(line["number"]))
        except (KeyError, TypeError, ValueError) as error:
            why = f"it has a line that the sandbox did not write ({error!r})"
            raise cannot_come_back(self.path, why) from error
        finally:
            self._replaying = False

    def _again(self, backend: Backend, line: Mapping[str, Any], ask: Ask) -> None:
        environ = environ_of(line["method"], line["uri"], line["headers"].items(), base64.b64decode(line["body"]))
        operation = operation_of(Request(environ))
        if operation is None:
            raise ValueError("a request without a signature")
        for service in MODULES:
            backend.wake(service, operation.region)
        response = carried_out(backend, line["number"], line["at"], lambda: ask(operation))
        if response.status_code >= 300 or digest(response) != line["answer"]:
            now, then = metadata.version("moto"), self._head.get("moto")
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(line["at"]))
            raise cannot_come_back(
                self.path,
                f"{line['call']} of {when} UTC has another answer now (moto {now}, then {then})",
                *([f"To have it back, install the version of then: pip install moto=={then}"] if now != then else []),
            )


def owner() -> int | None:
    """The number of this process's user; None where the system has none."""
    if sys.platform == "win32":
        return None
    return os.getuid()


def make_private(folder: Path) -> None:
    """Let only its owner into the folder. Raises CannotComeBack for a link, and for a folder of another user."""
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) or (owner() is not None and found.st_uid != owner()):
        why = "is a link" if stat.S_ISLNK(found.st_mode) else "belongs to another user"
        raise CannotComeBack(
            f"The folder {folder} {why}.",
            means="What is in a journal runs as you: nothing was read from it.",
            advice=("Name a folder of your own with --state-dir.",),
        )
    if found.st_mode & 0o077 and {one.name for one in folder.iterdir()} <= {JOURNAL, LOCK}:
        folder.chmod(0o700)
    elif found.st_mode & 0o022:
        raise CannotComeBack(
            f"Other users may write in the folder {folder}.",
            means="What is in a journal runs as you: nothing was read from it.",
            advice=("Name a folder with --state-dir that has nothing else in it.",),
        )


def carried_out(backend: Backend, number: int, at: float, act: Callable[[], Response]) -> Response:
    """Act with the seed and the time of this write."""
    import time_machine  # late: only a sandbox with a journal needs it

    with backend.ids_from(number), time_machine.travel(at, tick=False):
        return act()


def is_of_messages(operation: Operation) -> bool:
    return operation.service == "sqs" and operation.name in (
        "SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch",
        "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "PurgeQueue",
    )  # fmt: skip


def bring_back(messages: Messages, line: Mapping[str, Any]) -> None:
    if "message" in line:
        messages.restore(line["queue"], Message(**line["message"]))
    else:
        messages.remove(line["queue"], line["gone"])


def kept_headers(operation: Operation) -> dict[str, str]:
    """The headers that the answer depends on; of the signature only its scope."""
    given = operation.request.headers
    kept = {name: value for name, value in given.items() if name.lower() in ("host", "content-type", "x-amz-target")}
    return {**kept, "Authorization": signed(Scope(operation.access_key, operation.region, operation.service))}


def digest(response: Response) -> str:
    return hashlib.sha256(PASSING.sub(b"", response.get_data())).hexdigest()
