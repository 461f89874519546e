"""The programs as they are run, as child processes, with an endpoint in between that troubles them: it resets, cuts,
hangs, throttles and kills at chosen calls. After each trouble the same command line is given again, until it succeeds.

What is troubled depends on the seed alone: every call that writes, of a build and of a teardown, once, shared out
among some lives that are lived at the same time, as most of each is waiting. A failure names the command that lives
that life again, alone.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
from botocore.exceptions import ClientError

from provision.aws.operations import READS
from provision.state.file import parse
from sandbox import Sandbox
from tests.rig.answers import region_of
from tests.rig.clock import never
from tests.rig.deployment import Stranger
from tests.rig.programs import Folder

# What can happen to a call that writes. "Before" is before the call was passed on, "after" is after it was carried out.
RESET_BEFORE = "the connection is reset before"
RESET_AFTER = "the connection is reset after"
ERROR_BEFORE = "HTTP 500 before"
ERROR_AFTER = "HTTP 500 after"
CUT = "half of the answer, after"
GARBAGE = "a web page instead of the answer, after"
THROTTLED = "refused as one too many"
KILLED_BEFORE = "SIGKILL before"
KILLED_AFTER = "SIGKILL after"
TERMINATED = "SIGTERM during the call"
INTERRUPTED = "Ctrl-C during the call"
HANGS = "it hangs, after, until Ctrl-C was pressed twice"
KINDS = (
    RESET_BEFORE,
    RESET_AFTER,
    ERROR_BEFORE,
    ERROR_AFTER,
    CUT,
    GARBAGE,
    THROTTLED,
    KILLED_BEFORE,
    KILLED_AFTER,
    TERMINATED,
    INTERRUPTED,
    HANGS,
)
BEFORE = {RESET_BEFORE: RESET_AFTER, ERROR_BEFORE: ERROR_AFTER, KILLED_BEFORE: KILLED_AFTER}
# Which the program looks for during half a minute when they were not carried out: test_unpleasant.py has these, with a
# clock of its own.
LOOKED_FOR_LONG = ("CreateRestApi", "CreateDeployment")
SEED = 7
LIVES = 4
ALONE = "BLACK_BOX_LIFE"  # an environment variable: the one life to be lived


@dataclass(frozen=True)
class Asked:
    """One request of the program: the service, the operation, and whether that writes."""

    service: str
    operation: str

    @property
    def is_write(self) -> bool:
        return self.operation not in READS.get(self.service, frozenset())


# They share verb and path with operations of the suite's.
NEVER_CALLED = ("ImportRestApi", "ImportApiKeys")


@functools.cache
def rest_operations(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """Verb, pattern of the path, and name of each operation of a service that names none in its requests."""
    model = botocore.session.Session().get_service_model(service)
    found = []
    for name in model.operation_names:
        if name in NEVER_CALLED:
            continue
        http_part = model.operation_model(name).http
        path = re.escape(http_part["requestUri"].partition("?")[0])
        found.append((http_part["method"], re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", path)), name))
    return found


def asked_for(verb: str, path: str, headers: Any, body: bytes) -> Asked:
    scope = str(headers.get("Authorization", "")).partition("Credential=")[2].split("/")
    service = scope[3] if len(scope) > 3 else ""
    assert region_of(headers)
    target = str(headers.get("X-Amz-Target", ""))
    if target:
        return Asked(service, target.rpartition(".")[2])
    if service in ("iam", "sts"):
        return Asked(service, parse_qs(body.decode())["Action"][0])
    plain = path.partition("?")[0]
    [name] = [name for method, pattern, name in rest_operations(service) if method == verb and pattern.fullmatch(plain)]
    return Asked(service, name)


@dataclass
class Point:
    """One trouble that was served."""

    program: str
    operation: str
    kind: str


@dataclass
class Proxy:
    """An endpoint in front of another one. `decide` is asked for each request and answers a kind, or None."""

    behind: str
    decide: Callable[[Asked], str | None] = lambda asked: None
    child: subprocess.Popen[str] | None = None
    seen: list[Asked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, verb: str, path: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.behind.removeprefix("http://"), timeout=60)
        try:
            connection.request(verb, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            content = answer.read()
            own = ("content-length", "transfer-encoding", "connection", "date", "server")
            return answer.status, [one for one in answer.getheaders() if one[0].lower() not in own], content
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = asked_for(self.command, self.path, self.headers, body)
                with proxy._guard:
                    proxy.seen.append(asked)
                    kind = proxy.decide(asked)
                try:
                    self.serve(asked, kind, body)
                except OSError:
                    self.close_connection = True  # whoever asked has gone

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

            def serve(self, asked: Asked, kind: str | None, body: bytes) -> None:
                child = proxy.child
                if kind in (RESET_BEFORE, ERROR_BEFORE, KILLED_BEFORE, THROTTLED):
                    status, headers, content = 500, [("Content-Type", "text/plain")], b""
                else:
                    if kind in (TERMINATED, INTERRUPTED):
                        assert child is not None
                        child.send_signal(signal.SIGTERM if kind == TERMINATED else signal.SIGINT)
                        time.sleep(0.2)
                    status, headers, content = proxy.pass_on(self.command, self.path, self.headers, body)
                if kind in (KILLED_BEFORE, KILLED_AFTER, HANGS):
                    assert child is not None
                    if kind == HANGS:
                        child.send_signal(signal.SIGINT)
                        time.sleep(0.3)
                        child.send_signal(signal.SIGINT)
                    else:
                        child.kill()
                    proxy.ended.wait(1)
                    self.close_connection = True
                elif kind in (RESET_BEFORE, RESET_AFTER):
                    self.close_connection = True
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif kind in (ERROR_BEFORE, ERROR_AFTER):
                    self.answer(500, [("Content-Type", "text/plain")], b"")
                elif kind == THROTTLED:
                    self.answer(*throttle(asked.service))
                elif kind == GARBAGE:
                    page = b"<!DOCTYPE html><html><body>Please log in<br></body></html>"
                    self.answer(200, [("Content-Type", "text/html")], page)
                elif kind == CUT:
                    self.answer(status, headers, content[: len(content) // 2], is_recorded=len(content) or 10)
                    self.close_connection = True
                else:
                    self.answer(status, headers, content)

            def answer(
                self, status: int, headers: list[tuple[str, str]], content: bytes, is_recorded: int | None = None
            ) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content) if is_recorded is None else is_recorded))
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing on the screen."""

        return Handler


def throttle(service: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the service says when there were too many requests; the next one may come at once."""
    at_once = ("Retry-After", "0")
    if service == "iam":
        text = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
        return 400, [("Content-Type", "text/xml"), at_once], text.encode()
    code = {"sqs": "RequestThrottled", "dynamodb": "ThrottlingException", "logs": "ThrottlingException"}.get(
        service, "TooManyRequestsException"
    )
    status = 400 if service in ("sqs", "dynamodb", "logs") else 429
    body = json.dumps({"__type": code, "message": "Rate exceeded"}).encode()
    return status, [("Content-Type", "application/json"), ("x-amzn-ErrorType", code), at_once], body


class Program:
    """The suite's command line behind one proxy, in one working folder, as one learner."""

    def __init__(self, folder: Folder, proxy: Proxy, learner: str) -> None:
        self.folder = folder
        self.proxy = proxy
        self.learner = learner

    def arguments(self, program: str) -> list[str]:
        no_tests = ["--no-try"] if program == "provision" else []
        return [program, "--endpoint-url", self.proxy.url, "--learner", self.learner, "--yes", *no_tests]

    def start(self, program: str, *options: str) -> subprocess.Popen[str]:
        self.proxy.child = self.folder.start(*self.arguments(program), *options)
        return self.proxy.child

    def run(self, program: str) -> subprocess.CompletedProcess[str]:
        child = self.start(program)
        try:
            out, talk = child.communicate(timeout=90)
        finally:
            child.kill()
        return subprocess.CompletedProcess(self.arguments(program), child.returncode, out, talk)

    @property
    def state(self) -> dict[str, Any]:
        """The one state file, whole and with the right checksum."""
        [path] = (self.folder.path / ".provision").glob("*.json")
        return parse(path.read_bytes(), path)

    def shape(self, stranger: Stranger) -> dict[str, Any]:
        """What is in the account under this learner's name, the learner and the deployment's tag left out."""
        mine = {}
        for kind, resources in inventory(stranger).items():
            pairs = resources.items() if isinstance(resources, dict) else [(json.dumps(one), one) for one in resources]
            kept = {name: resource for name, resource in pairs if f"-{self.learner}" in str(name)}
            mine[kind] = kept if isinstance(resources, dict) else list(kept.values())
        text = json.dumps(mine, sort_keys=True, default=str).replace(f"-{self.learner}", "-SOMEBODY")
        shape: dict[str, Any] = json.loads(text.replace(self.state["deployment"], "MARK"))
        return shape


def inventory(stranger: Stranger) -> dict[str, Any]:
    """The account. Another life may take something away between a list and the look at it: then once more."""
    for _ in range(20):
        try:
            return stranger.inventory()
        except ClientError as error:
            assert "Not" in error.response["Error"]["Code"] or "NoSuch" in error.response["Error"]["Code"]
    return stranger.inventory()


@pytest.fixture(scope="module")
def stranger(sandbox: Sandbox) -> Iterator[Stranger]:
    client = Stranger(sandbox.url)
    yield client
    client.close()


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[Proxy]:
    with Proxy(sandbox.url) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


@dataclass
class Clean:
    """A life without trouble: the account before and when it was built, and how often each operation wrote."""

    before: dict[str, Any]
    built: dict[str, Any]
    writes: dict[str, Counter[str]]


@pytest.fixture(scope="module")
def clean(sandbox: Sandbox, stranger: Stranger, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    before = stranger.inventory()
    writes = {}
    with Folder(tmp_path_factory.mktemp("clean")) as folder, Proxy(sandbox.url) as proxy:
        program = Program(folder, proxy, "clean")
        for name in ("provision", "teardown"):
            proxy.seen.clear()
            ended = program.run(name)
            assert ended.returncode == 0, ended.stderr
            writes[name] = Counter(asked.operation for asked in proxy.seen if asked.is_write)
            if name == "provision":
                built = program.shape(stranger)
    assert stranger.inventory() == before
    assert len(writes["provision"]) > 15
    assert len(writes["teardown"]) > 8
    return Clean(before, built, writes)


class Troubles:
    """This life's share of the calls that write, by operation and occurrence, with a kind for each."""

    def __init__(self, program: str, writes: Counter[str], life: int) -> None:
        self.program = program
        self.planned: dict[tuple[str, int], str] = {}
        calls = [(operation, number + 1) for operation, times in sorted(writes.items()) for number in range(times)]
        random.Random(f"{SEED} {program}").shuffle(calls)
        for index, (operation, number) in enumerate(calls):
            kind = KINDS[index % len(KINDS)]
            if operation in LOOKED_FOR_LONG:
                kind = BEFORE.get(kind, kind)
            if (index + index // len(KINDS)) % LIVES == life:  # so that no life has the same kinds only
                self.planned[operation, number] = kind
        self.came: Counter[str] = Counter()
        self.served: list[Point] = []

    def __call__(self, asked: Asked) -> str | None:
        if not asked.is_write:
            return None
        self.came[asked.operation] += 1
        kind = self.planned.get((asked.operation, self.came[asked.operation]))
        if kind is not None:
            self.served.append(Point(self.program, asked.operation, kind))
        return kind


def live(life: int, folder: Path, sandbox: Sandbox, stranger: Stranger, clean: Clean) -> list[Point]:
    """Build and take down, with this life's troubles, giving the same command again until it succeeds."""
    served: list[Point] = []
    folder.mkdir()
    with Folder(folder) as working, Proxy(sandbox.url) as proxy:
        program = Program(working, proxy, f"life{life}")
        for name, writes in clean.writes.items():
            troubles = proxy.decide = Troubles(name, writes, life)
            told = ""
            for _ in range(30):
                ended = program.run(name)
                told = f"{again(life)}\n{name}: {troubles.served}\n{ended.stderr}"
                assert "Traceback" not in ended.stderr, told
                assert "defect" not in ended.stderr, told
                assert ended.returncode in (0, 130, 253, -signal.SIGKILL), told
                if ended.returncode == 130:
                    assert f"Go on with: python -m {name}" in ended.stderr, told
                assert program.state["resources"] or name == "teardown", told
                if ended.returncode == 0:
                    break
            assert ended.returncode == 0, told
            assert len(troubles.served) == len(troubles.planned), told
            if name == "provision":
                assert program.shape(stranger) == clean.built, told
                assert {entry["status"] for entry in program.state["resources"]} == {"created"}, told
            else:
                assert not any(program.shape(stranger).values()), told
                assert program.state["resources"] == [], told
            served += troubles.served
    return served


def again(life: int) -> str:
    """The command that lives one life alone."""
    test = f"{Path(__file__).name}::{test_whatever_happens_at_a_write_the_next_runs_complete_it.__name__}"
    return f"Again: {ALONE}={life} python -m pytest -n 0 tests/{test}"


@pytest.mark.timeout(300)  # some forty programs, one behind the other
def test_whatever_happens_at_some_writes_the_next_runs_complete_it(
    tmp_path: Path, sandbox: Sandbox, stranger: Stranger, clean: Clean
) -> None:
    """One of the lives below."""
    served = live(0, tmp_path / "0", sandbox, stranger, clean)
    assert stranger.inventory() == clean.before
    assert len(served) >= 10 and len({point.kind for point in served}) >= 5


@pytest.mark.slow
def test_whatever_happens_at_a_write_the_next_runs_complete_it(
    tmp_path: Path, sandbox: Sandbox, stranger: Stranger, clean: Clean
) -> None:
    alone = os.environ.get(ALONE)
    lives = range(LIVES) if alone is None else [int(alone)]
    with ThreadPoolExecutor(LIVES) as pool:
        running = [pool.submit(live, life, tmp_path / str(life), sandbox, stranger, clean) for life in lives]
    served = [point for life in running for point in life.result()]
    assert stranger.inventory() == clean.before
    if alone is None:
        for program, writes in clean.writes.items():
            assert Counter(point.operation for point in served if point.program == program) == writes
        assert {point.kind for point in served} == set(KINDS)
        assert len(served) >= 40


def test_one_that_is_left_behind_or_made_twice_does_not_pass_for_a_clean_build(
    folder: Folder, proxy: Proxy, stranger: Stranger, clean: Clean
) -> None:
    """The check above has teeth."""
    program = Program(folder, proxy, "teeth")
    assert program.run("provision").returncode == 0
    assert program.shape(stranger) == clean.built
    twin = stranger.apigateway.create_rest_api(name="POC-API-teeth")["id"]
    assert program.shape(stranger) != clean.built
    stranger.apigateway.delete_rest_api(restApiId=twin)
    stranger.dynamodb.delete_table(TableName="name-teeth")
    assert program.shape(stranger) != clean.built
    assert program.run("teardown").returncode == 0
    assert stranger.inventory() == clean.before


# Interrupted while it waits, and while it takes down.


def refused_role(asked: Asked) -> tuple[int, list[tuple[str, str]], bytes]:
    body = json.dumps({"message": "The role defined for the function cannot be assumed by Lambda."}).encode()
    return 400, [("x-amzn-ErrorType", "InvalidParameterValueException"), ("Content-Type", "application/json")], body


@pytest.mark.sweep(2)
@pytest.mark.once_more
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_during_a_wait_it_ends_at_once(
    folder: Folder,
    proxy: Proxy,
    stranger: Stranger,
    clean: Clean,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS does not take the new role; the second of the pauses between two tries is cut short."""
    passed_on = proxy.pass_on
    refused = threading.Semaphore(0)

    def pass_on(verb: str, path: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        asked = asked_for(verb, path, headers, body)
        if asked.operation != "CreateFunction":
            return passed_on(verb, path, headers, body)
        refused.release()
        return refused_role(asked)

    monkeypatch.setattr(proxy, "pass_on", pass_on)
    program = Program(folder, proxy, f"wait-{number.name.lower()}")
    child = program.start("provision", "--verbose")
    assert refused.acquire(timeout=30)
    assert refused.acquire(timeout=30)
    time.sleep(0.3)  # now it pauses
    writes = sum(asked.is_write for asked in proxy.seen)
    began = time.monotonic()
    child.send_signal(number)
    _, talk = child.communicate(timeout=30)
    assert time.monotonic() - began < 1.5
    assert child.returncode == 130, talk
    assert "role not yet assumable (at most 120 s)" in talk
    assert "The role defined for the function cannot be assumed by Lambda." in talk
    assert f"Go on with: python -m provision --endpoint-url {proxy.url}" in talk
    assert sum(asked.is_write for asked in proxy.seen) == writes
    assert program.state["resources"][-1]["status"] == "creating"

    monkeypatch.setattr(proxy, "pass_on", passed_on)
    ended = program.run("provision")
    assert ended.returncode == 0, ended.stderr
    assert program.shape(stranger) == clean.built
    assert program.run("teardown").returncode == 0
    assert stranger.inventory() == clean.before


@pytest.mark.slow
@pytest.mark.once_more
def test_a_call_that_hangs_is_left_at_the_second_ctrl_c_and_nobody_else_may_come_in_meanwhile(
    folder: Folder, proxy: Proxy, stranger: Stranger, clean: Clean
) -> None:
    """It holds the state file's lock while it hangs, is named by whoever else comes, and the lock vanishes with it."""
    program = Program(folder, proxy, "hang")
    arrived = threading.Event()
    passed_on = proxy.pass_on

    def hang(verb: str, path: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        if asked_for(verb, path, headers, body).operation == "CreateQueue" and not arrived.is_set():
            arrived.set()
            proxy.ended.wait(30)
            raise ConnectionError("the program has gone")
        return passed_on(verb, path, headers, body)

    proxy.pass_on = hang  # type: ignore[method-assign]
    child = program.start("provision")
    assert arrived.wait(30)
    second = subprocess.run(
        [folder.python, "-m", *program.arguments("provision")],
        cwd=folder.path,
        env=folder.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert f"is in use by process {child.pid} on {socket.gethostname()}" in second.stderr
    assert ": python -m provision " in second.stderr.replace(folder.python, "python")
    child.kill()
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL

    arrived.clear()
    child = program.start("provision")  # not refused: the lock died with its process
    assert arrived.wait(30)
    child.send_signal(signal.SIGINT)
    never(lambda: child.poll() is not None, 0.5)  # it lets the call end
    child.send_signal(signal.SIGINT)
    _, talk = child.communicate(timeout=5)
    assert child.returncode == 130, talk
    assert "Traceback" not in talk
    assert "Go on with: python -m provision" in talk
    assert program.state["resources"][-1]["status"] == "creating"

    ended = program.run("provision")
    assert ended.returncode == 0, ended.stderr
    assert program.shape(stranger) == clean.built
    assert program.run("teardown").returncode == 0
    assert stranger.inventory() == clean.before


def test_what_is_not_aws_behind_the_endpoint_is_one_message_and_changes_nothing(folder: Folder, proxy: Proxy) -> None:
    proxy.decide = lambda asked: GARBAGE
    program = Program(folder, proxy, "portal")
    ended = program.run("provision")
    assert ended.returncode == 253, ended.stderr
    assert "is not AWS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not any(asked.is_write for asked in proxy.seen)
    assert [path.name for path in folder.path.iterdir()] == ["home"]
