"""The real programs at work in this process: on the in-process account, on a clock that runs as fast as they wait."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.waiter
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

import provision.__main__
import provision.account.smoke_tests
import provision.aws.connect
import provision.aws.sandbox_process
import provision.cli.deployment
import provision.cli.session
import provision.state.file
import teardown.__main__
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Sourced
from provision.aws.connect import client_config
from provision.aws.operations import READS
from provision.aws.waiting import Waiting
from tests.faults.account import REGION, SERVICES, URL, Account, environment
from tests.faults.disk import FOLDER, Disk

SANDBOX = "sb-faults"
PROGRAMS = {"provision": provision.__main__.main, "teardown": teardown.__main__.main}


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Sent:
    """One request that the program is about to send: the how-manieth, and of what operation."""

    number: int
    service: str
    operation: str

    @property
    def is_post(self) -> bool:
        """A request to the deployed API, which answers status and text instead of botocore's response."""
        return self.service == "http"


@dataclass
class Ended:
    """How a program's run ended: its exit code, and what it said."""

    code: int
    talk: str
    data: str
    sent: list[Sent] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """How many endings were told."""
        return sum(line.startswith(("Error: ", "aws: [ERROR]", "Interrupted")) for line in self.talk.splitlines())


Faults = Callable[[Sent, Callable[[], Any]], Any]


class World:
    """An account, a clock, a disk, and the programs. `faults` decides what becomes of each request."""

    def __init__(self, seed: int = 0) -> None:
        environment()
        random.seed(seed)
        self.account = Account()
        self.clock = Clock()
        self.disk = Disk()
        self.faults: Faults | None = None
        self.sent: list[Sent] = []
        self.applied: list[str] = []  # every write that reached the account, in order
        self.locks: list[Any] = []
        self.on_tap: Callable[[Calls], None] = lambda calls: None
        session = boto3.Session(
            aws_access_key_id="sandbox", aws_secret_access_key=SECRET, aws_session_token=TOKEN, region_name=REGION
        )
        self.session = session
        self.client_config = client_config
        self.clients = self._make_clients()
        self.pristine: dict[str, Any] = {}

    def _make_clients(self) -> dict[str, Any]:
        clients = {
            service: self.session.client(service, config=self.client_config(), endpoint_url=URL) for service in SERVICES
        }
        for client in clients.values():
            client.meta.events.register_first("before-send.*.*", self._send)
        return clients

    # Requests

    def _send(self, request: AWSPreparedRequest, event_name: str, **event: Any) -> AWSResponse:
        _, service, operation = event_name.split(".")
        service = {"api-gateway": "apigateway", "cloudwatch-logs": "logs"}.get(service, service)
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        what = f"{request.method} {request.url} {text_of(body)}"
        return self._pass(service, operation, what, lambda: self.account.answer(request))

    def _post(
        self, aws: Clients, url: str, event: dict[str, Any], *, signed: bool = False, api_key: str = ""
    ) -> tuple[int, str]:
        assert not signed and not api_key  # the URL of a sweep's API is open
        result: tuple[int, str] = self._pass("http", "POST", f"{url} {event}", lambda: self.account.post(url, event))
        return result

    def _pass(self, service: str, operation: str, what: str, answer: Callable[[], Any]) -> Any:
        sent = Sent(len(self.sent) + 1, service, operation)
        self.sent.append(sent)
        self.clock.now += 0.05

        def applied() -> Any:
            result = answer()
            status = result[0] if service == "http" else result.status_code
            if operation not in READS.get(service, ()) and status < 300:
                self.applied.append(what)
            return result

        return applied() if self.faults is None else self.faults(sent, applied)

    @property
    def wrote(self) -> list[str]:
        """The writing operations that the last run sent."""
        return [sent.operation for sent in self.sent if sent.operation not in READS.get(sent.service, ())]

    # Programs

    def run(self, name: str, *arguments: str) -> Ended:
        """A program from its command line to its exit code, in the current folder."""
        talk, data = io.StringIO(), io.StringIO()
        self.sent = []
        with redirect_stderr(talk), redirect_stdout(data):
            code = PROGRAMS[name](["--sandbox", *arguments])
        return Ended(code, talk.getvalue(), data.getvalue(), self.sent)

    def abandon(self) -> None:
        """What a kill leaves of a program: its locks are gone with it. The caller never returns to it."""
        held = {descriptor for descriptor, path in self.disk.still_open().items() if path.endswith(".lock")}
        held |= {lock.fileno() for lock in self.locks if not lock.closed}
        for descriptor in held:
            with suppress(OSError):
                os.close(descriptor)
        self.locks = []
        self.disk.open_files = {}
        self.faults = None
        self.disk.watch = None
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

    @contextmanager
    def installed(self) -> Iterator[World]:
        """The programs see this account, clock and disk for as long as the block lasts."""
        running = provision.aws.sandbox_process.Running(SANDBOX, URL, os.getpid(), Path("sandbox.json"))
        take_lock = provision.state.file.take_lock

        def remember_lock(path: Path) -> Any:
            lock = take_lock(path)
            self.locks.append(lock)
            return lock

        def make_tap(waiting: Waiting) -> Calls:
            for client in self.clients.values():
                self._forget_tap(client)
            calls = Calls(waiting=waiting)
            self.on_tap(calls)
            return calls

        def sleep(session: provision.cli.session.Session, seconds: float) -> None:
            self.sleep(seconds)
            if session.calls.stopping:
                raise provision.terminal.outcome.Interrupted

        asked = provision.aws.connect._Asked(
            self.session, Sourced(REGION, "the walkthrough's"), URL, "throw-away ones of the sandbox"
        )
        changes: list[tuple[Any, str, Any]] = [
            (provision.cli.session, "Calls", make_tap),
            (provision.cli.session, "Waiting", lambda **how: Waiting(clock=self.clock, **how)),
            (provision.cli.session.Session, "sleep", sleep),
            (provision.cli.deployment, "sandbox_of", lambda options, folder, screen, start: running),
            (provision.aws.connect, "_ask_sandbox", lambda target: asked),
            (provision.aws.connect, "_clients", lambda asked, target: dict(self.clients)),
            (provision.account.smoke_tests, "post", self._post),
            (provision.state.file, "take_lock", remember_lock),
            (provision.aws.sandbox_process, "find", lambda folder: running),
            (provision.aws.sandbox_process, "stop", lambda running: None),
            (botocore.waiter, "time", types.SimpleNamespace(sleep=self.sleep)),
        ]
        saved = [(place, name, place.__dict__[name]) for place, name, _ in changes]
        for place, name, value in changes:
            setattr(place, name, value)
        try:
            with self.disk.installed():
                yield self
        finally:
            for place, name, value in saved:
                setattr(place, name, value)

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.account.pump()

    def _forget_tap(self, client: Any) -> None:
        """Clients are made once, as that is slow; each run's listener must be the only one that listens."""
        vars(client).pop("get_waiter", None)  # which the last listener put in the place of botocore's own
        emitter = client.meta.events
        service = client.meta.service_model.service_name
        if service not in self.pristine:
            self.pristine[service] = _copy_of(emitter)
        _restore(emitter, self.pristine[service])


# What a run may never write anywhere.
SECRET = "SECRETsecretSECRETsecretSECRETsecret1234"
TOKEN = "TOKENtoken" * 30


def text_of(body: bytes) -> str:
    """A request's body to compare; a zip by its hash."""
    return body.decode("utf-8", "replace") if len(body) < 4000 else hashlib.sha256(body).hexdigest()


def _copy_of(emitter: Any) -> Any:
    import copy

    return copy.copy(_inner(emitter)._handlers)


def _restore(emitter: Any, handlers: Any) -> None:
    import copy

    inner = _inner(emitter)
    inner._handlers = copy.copy(handlers)
    inner._lookup_cache = {}


def _inner(emitter: Any) -> Any:
    return getattr(emitter, "_emitter", emitter)


def copy_folder(source: Path, target: Path) -> None:
    """The working folder as it is on the disk now."""
    target.mkdir(parents=True, exist_ok=True)
    if (source / FOLDER).exists():
        shutil.copytree(source / FOLDER, target / FOLDER)


def lay_out(folder: Path, files: dict[str, bytes] | None) -> None:
    """Make the folder `.provision` hold exactly these files; None: there is no such folder."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if files is not None:
        (folder / FOLDER).mkdir(parents=True)
        for name, content in files.items():
            (folder / FOLDER / name).write_bytes(content)
