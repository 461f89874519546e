"""One execution environment of a function: a child process behind a Lambda Runtime API of its own.

The paths of the Runtime API name no function (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), so each worker
listens on a loopback port of its own. AWS's awslambdaric can replace our bootstrap, as both use that API.

Whoever may call it reads payloads and answers in the handler's place. So its paths begin with a token, which only the
process is told (AWS_LAMBDA_RUNTIME_API is HOST:PORT/TOKEN), and web pages are refused as at the sandbox's door.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import queue
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.wrappers import Request, Response

from sandbox.door import Admission, foreign
from sandbox.protocol.refusals import answer_json
from sandbox.protocol.wire import WireHandler, WireServer

# AWS gives the code outside the handler ten seconds (Lambda guide, lambda-runtime-environment, "Init phase").
INIT_SECONDS = 10.0

# Bytes that one invocation may print; the rest is dropped, so that an endless loop does not fill the memory.
LARGEST_LOG = 1024 * 1024

# A result above 6 MB is read, so that the function's error can tell its size.
LARGEST_RESULT = 64 * 1024 * 1024

RUNTIME_PATH = re.compile(r"/2018-06-01/runtime/(?:invocation/(?P<id>[^/]+)/)?(?P<what>[a-z/]+)")

KINDS = {"response": "response", "error": "error", "init/error": "init-error"}


@dataclass(frozen=True)
class Task:
    """One invocation for a worker's process."""

    request_id: str
    payload: bytes
    function_arn: str
    timeout: float
    client_context: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: ``kind`` is response, error, init-error, timeout or exit.

    ``body`` is what the process posted; for exit it says how the process ended, in AWS's words. Times are in seconds;
    ``memory`` is the greatest resident size in MB, 0 if the system does not tell.
    """

    kind: str
    body: bytes
    log: str
    duration: float
    init_duration: float | None
    memory: int


class WorkerGone(Exception):
    """The process ended before it took the task, so another worker may take it."""


def start_process(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: int
) -> subprocess.Popen[bytes]:
    """A process of its own session. It writes to the descriptor ``output``, and ends when its standard input does."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        cwd=folder,
        env=environment,
        close_fds=True,
        start_new_session=True,
        creationflags=DETACHED,
    )


class Worker:
    """One process and its Runtime API; :class:`sandbox.lambda_.functions.Functions` uses it in one thread at a time."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.idle_since = time.monotonic()
        self._tasks: queue.Queue[Task | None] = queue.Queue()
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._ready = threading.Event()
        self._current: Task | None = None
        self._taken: Task | None = None
        self._fresh = True
        self._started = time.monotonic()
        self._ready_at = self._started
        self._token = secrets.token_urlsafe(16)
        self._api = WireServer("127.0.0.1", 0, self._application, self._admission, RuntimeHandler)
        threading.Thread(
            target=self._api.serve_forever, kwargs={"poll_interval": 0.5}, name="runtime-api", daemon=True
        ).start()
        read_end, write_end = os.pipe()
        try:
            variables = {**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.port}/{self._token}"}
            self._process = start_process(command, variables, folder, write_end)
        except BaseException:
            os.close(read_end)
            self._api.stop()
            raise
        finally:
            os.close(write_end)
        self._log = LogPipe(read_end)
        threading.Thread(target=self._watch, name=f"worker-{self._process.pid}", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(self, task: Task) -> Outcome:
        """Run the task and wait for its end. The worker is dead unless that is a response or an error."""
        fresh, self._fresh = self._fresh, False
        if not self._ready.wait(INIT_SECONDS):
            self.kill()
            return self._ended("timeout", b"", self._started, None)
        init = self._ready_at - self._started if fresh else None
        with contextlib.suppress(queue.Empty):
            kind, body = self._events.get_nowait()
            if not fresh:
                raise WorkerGone
            self.kill()
            return self._ended(kind, body, self._started, None)
        started = time.monotonic()
        self._current = task
        self._tasks.put(task)
        try:
            kind, body = self._events.get(timeout=task.timeout)
        except queue.Empty:
            kind, body = "timeout", b""
        if kind == "exit" and self._taken is not task:
            raise WorkerGone
        # Before the kill: the memory is read from the process.
        outcome = self._ended(kind, body, started, init)
        if kind in ("timeout", "exit", "init-error"):
            self.kill()
        self._current = None
        self.idle_since = time.monotonic()
        return outcome

    def kill(self) -> None:
        """Kill the process and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()  # not its children: Windows has no process groups to kill
            else:
                # The worker has a process group of its own, with only its children in it.
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def _ended(self, kind: str, body: bytes, started: float, init: float | None) -> Outcome:
        duration = time.monotonic() - started
        return Outcome(kind, body, self._log.take(), duration, init, self._memory())

    def _memory(self) -> int:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        return int(peak.group(1)) // 1024 if peak else 0

    def _watch(self) -> None:
        code = self._process.wait()
        if code < 0:
            ended = f"signal: {signal.Signals(-code).name.removeprefix('SIG').lower()}"
            # AWS's agent is written in Go, which says "killed".
            ended = ended.replace("signal: kill", "signal: killed")
        else:
            ended = f"exit status {code}"
        self._events.put(("exit", ended.encode()))
        self._ready.set()
        self._tasks.put(None)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._log.close()
        self._api.stop()

    # The Runtime API's side, which the process's connection calls

    def _admission(self, environ: dict[str, Any], length: str) -> Admission:
        refused = foreign(EnvironHeaders(environ))
        token = str(environ["PATH_INFO"]).split("/")[1]
        if not refused and not hmac.compare_digest(token.encode(), self._token.encode()):
            refused = "Only the function's own process may call this."
        said = {"errorMessage": refused or "The result is too large.", "errorType": "Forbidden"}
        return Admission(-1 if refused else LARGEST_RESULT, partial(answer_json, 403 if refused else 413, said))

    def _application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        path = RUNTIME_PATH.fullmatch(request.path.removeprefix(f"/{self._token}"))
        kind = KINDS.get(path["what"]) if path else None
        if path and kind and request.method == "POST":
            if self._accept(kind, path["id"], request.get_data()):
                return answer_json(202, {"status": "OK"})
            return answer_json(400, {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"})
        if path is None or path["what"] != "invocation/next" or request.method != "GET":
            return answer_json(404, {"errorMessage": "Not found", "errorType": "NotFound"})
        task = self._next_task()
        if task is None:
            raise ConnectionAbortedError("the worker is at its end")
        head = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": task.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + task.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": task.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Sampled=0",
        }
        if task.client_context:
            head["Lambda-Runtime-Client-Context"] = task.client_context
        return Response(task.payload, headers=head)

    def _next_task(self) -> Task | None:
        """Waits for work. None: the worker is at its end."""
        if not self._ready.is_set():
            self._ready_at = time.monotonic()
            self._ready.set()
        self._taken = self._tasks.get()
        return self._taken

    def _accept(self, kind: str, request_id: str | None, body: bytes) -> bool:
        """Take what the process posted; False if it is about another invocation than the present one."""
        if kind == "init-error":
            self._events.put((kind, body))
            self._ready.set()
            return True
        if self._current is None or request_id != self._current.request_id:
            return False
        self._current = None  # a second result for the same invocation is refused
        self._events.put((kind, body))
        return True


if sys.platform == "win32":
    import _winapi
    import msvcrt

    DETACHED = subprocess.CREATE_NEW_PROCESS_GROUP  # otherwise Ctrl-C in the sandbox's console would reach the handler

    def prepare(descriptor: int) -> None:
        """Nothing: before Python 3.12 a pipe on Windows always blocks, so it is only read when it has something."""

    def has_something(descriptor: int, seconds: float) -> bool:
        """Whether there is something to read, or the end. Windows cannot wait for a pipe, so this asks repeatedly."""
        until = time.monotonic() + seconds
        while _waiting(descriptor) == 0:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        return True

    def read_at_once(descriptor: int) -> bytes | None:
        """What can be read now; empty at the end, None if there is nothing yet."""
        waiting = _waiting(descriptor)
        return None if waiting == 0 else b"" if waiting is None else os.read(descriptor, min(waiting, 65536))

    def _waiting(descriptor: int) -> int | None:
        try:
            return _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor))[-2]
        except OSError:
            return None

else:
    DETACHED = 0

    def prepare(descriptor: int) -> None:
        os.set_blocking(descriptor, False)

    def has_something(descriptor: int, seconds: float) -> bool:
        """Whether there is something to read, or the end."""
        readable = select.poll()
        readable.register(descriptor, select.POLLIN)
        return bool(readable.poll(seconds * 1000))

    def read_at_once(descriptor: int) -> bytes | None:
        """What can be read now; empty at the end, None if there is nothing yet."""
        try:
            return os.read(descriptor, 65536)
        except BlockingIOError:
            return None


class LogPipe:
    """The reading end of a process's output.

    When a result arrives, everything printed before it is in the kernel's buffer, but may not have been read. So
    :meth:`take` reads once more, without blocking.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._gathered = bytearray()
        self._dropped = False
        self._open = True
        self._closing = False
        prepare(descriptor)
        threading.Thread(target=self._read, name="worker-log", daemon=True).start()

    def take(self) -> str:
        """What was printed since the last call; bytes that are not UTF-8 become replacement characters."""
        with self._guard:
            self._empty()
            taken = bytes(self._gathered)
            self._gathered.clear()
            dropped, self._dropped = self._dropped, False
        text = taken.decode("utf-8", "replace")
        if text and not text.endswith("\n"):
            text += "\n"
        return text + ("(the sandbox dropped the rest of this output)\n" if dropped else "")

    def close(self) -> None:
        """The process has ended. A child of it that still holds the pipe is not waited for."""
        self._closing = True

    def _read(self) -> None:
        while self._open:
            ready = has_something(self._descriptor, 0.5)
            with self._guard:
                if ready:
                    self._empty()
                elif self._closing:
                    self._shut()

    def _empty(self) -> None:
        while self._open:
            piece = read_at_once(self._descriptor)
            if piece is None:
                return
            if not piece:
                self._shut()
                return
            room = LARGEST_LOG - len(self._gathered)
            self._dropped = self._dropped or len(piece) > room
            self._gathered += piece[: max(room, 0)]

    def _shut(self) -> None:
        self._open = False
        os.close(self._descriptor)


class RuntimeHandler(WireHandler):
    timeout = None  # a handler may take its time between two requests
