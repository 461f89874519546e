"""A sandbox that comes back: every write is kept in a journal, and replayed at the next start, ids included.

moto makes its ids with a random generator that its own API seeds (``/moto-api/seed``), and its dates by the clock. So
each write is carried out with a seed of its own while the clock stands still, and again with the same seed at the same
time when it is replayed; time-machine holds the clock. What an answer was then and is now is compared: where they
differ, another version of moto would bring back other ids, and nothing is brought back at all.

Messages are kept by what happens to them, as a trigger's receipts cannot be replayed.

The journal is a file of JSON lines: a head (version, id, port, moto), then one line for each write or message. It is
written by one process at a time, never compacted, and holds what the requests held, signatures and session tokens
left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import portalocker
from werkzeug.wrappers import Request, Response

from provision.terminal import disk, outcome
from sandbox.backend import Backend
from sandbox.protocol.operations import Operation, operation_of
from sandbox.protocol.scope import MODULES, Scope, environ_of, signed
from sandbox.sqs.messages import Message, Messages

Ask = Callable[[Operation], Response]

log = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
LOCK = "journal.lock"
VERSION = 1

# What changes nothing that is to come back; messages have lines of their own.
READS = re.compile(r"(Get|List|Describe|Filter|Simulate|Test|BatchGet|TransactGet|Query|Scan|Invoke|AssumeRole).*")
# Of an answer, what is another one each time, or tells what happened meanwhile.
PASSING = re.compile(rb'<RequestId>.*?</RequestId>|"LastProcessingResult": "[^"]*"')


class CannotComeBack(outcome.UserError):
    """The journal cannot be read, or replaying it gives something else than what was."""

    exit_code = outcome.ENVIRONMENT

    def __init__(self, what: str, *, means: str = "", advice: tuple[str, ...] = ()) -> None:
        super().__init__(
            what,
            means=means or "Nothing was brought back, and the journal is as it was.",
            advice=advice or ("Start without --state-dir, or with another folder.",),
        )


class State:
    """The journal of one folder, which nobody else has until :meth:`close`. :meth:`replay` once, before anybody is
    served; then :meth:`record`. Raises CannotComeBack, and OSError where the folder cannot be written to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = portalocker.Lock(folder / LOCK, mode="a", timeout=0, fail_when_locked=True)
        try:
            self._lock.acquire()
        except portalocker.exceptions.LockException as error:
            raise CannotComeBack(
                f"Another sandbox remembers in {folder}.",
                means="Two at once would mix up what they remember.",
                advice=("Stop that one first, or choose another folder with --state-dir.",),
            ) from error
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
        """The sandbox's id, which ledgers carry; None where there is no journal yet."""
        return self._head.get("id")

    @property
    def port(self) -> int:
        return int(self._head.get("port") or 0)

    def open(self, id: str, port: int) -> None:
        """Write on, behind what is there. Raises OSError."""
        whole = [self._head or {"version": VERSION, "id": id, "port": port, "moto": metadata.version("moto")}]
        # Anew, so that a torn last line is not written on; what was replayed is kept as it stands.
        text = "".join(json.dumps(line) + "\n" for line in [*whole, *self._lines])
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        disk.replace(new, self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._lines = []

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.release()

    # Writing

    def record(self, backend: Backend, operation: Operation, ask: Ask) -> Response:
        """Carry the request out, and keep it where it changed something."""
        if READS.fullmatch(operation.name) or is_of_messages(operation) or not operation.name:
            return ask(operation)
        with backend.one_lock():  # also about the order of the lines
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
        """``identity`` None: all of the queue's."""
        self._append({"queue": arn, "gone": identity})

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is None or self._replaying:
            return
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    # Coming back

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise CannotComeBack(f"The journal {self.path} cannot be read: {error}.") from error
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
                raise CannotComeBack(f"Line {number} of the journal {self.path} cannot be read.") from error
            self._lines.append(decoded)
        if self._lines:
            self._head, self._lines = self._lines[0], self._lines[1:]
        if self._head and (self._head.get("version") != VERSION or not isinstance(self._head.get("id"), str)):
            raise CannotComeBack(f"The journal {self.path} is not one that this version of the sandbox wrote.")

    def replay(self, backend: Backend, ask: Ask) -> None:
        """Raises CannotComeBack where an answer is not what it was. Messages are kept from then on."""
        messages = backend.messages
        messages.kept, messages.dropped = self.keep_message, self.drop_message
        self._replaying = True
        try:
            for line in self._lines:
                if "queue" in line:
                    bring_back(messages, line)
                else:
                    self._again(backend, line, ask)
                    self._number = max(self._number, int(line["number"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CannotComeBack(f"The journal {self.path} holds a line that is none of its own: {error!r}.") from error
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
            raise CannotComeBack(
                f"What {self.path} holds does not come back as it was: {line['call']} of {when} UTC is answered "
                f"otherwise now (moto {now}, then {then}).",
                advice=("Start without --state-dir, with another folder, or with the moto of then.",),
            )


def carried_out(backend: Backend, number: int, at: float, act: Callable[[], Response]) -> Response:
    """With the seed and the time that belong to this write."""
    import time_machine  # late: only who comes back needs it

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
    """Those that decide about the answer; of the signature only its scope."""
    given = operation.request.headers
    kept = {name: value for name, value in given.items() if name.lower() in ("host", "content-type", "x-amz-target")}
    return {**kept, "Authorization": signed(Scope(operation.access_key, operation.region, operation.service))}


def digest(response: Response) -> str:
    return hashlib.sha256(PASSING.sub(b"", response.get_data())).hexdigest()
