"""The suite's programs as a user starts them: child processes in a folder of their own, with next to no environment."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from provision.aws import sandbox_process
from tests.rig.warm import AT_START, PROGRAMS, Child, Server

SCRIPTS = sysconfig.get_path("scripts")
SYSTEM_FOLDERS = "/usr/local/bin:/usr/bin:/bin"
DEAD = "http://127.0.0.1:9"  # nobody listens on the port of RFC 863's discard service


def start(
    *command: str, folder: Path, environ: Mapping[str, str], fresh: bool = False, python: str = sys.executable
) -> subprocess.Popen[str] | Child:
    """A program with pipes: a fork of a process that has imported it already, unless it has to be `fresh`."""
    if not fresh and is_warm(command, environ, python):
        return Child(warm_server(), command, folder=folder, environ=environ)
    return subprocess.Popen(
        [python, "-m", *command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(child: subprocess.Popen[str] | Child) -> subprocess.CompletedProcess[str]:
    """What a program has said when it has ended by itself."""
    try:
        out, talk = child.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        child.kill()
        out, talk = child.communicate()
        raise AssertionError(f"{child.args} did not end:\n{out}\n{talk}") from None
    assert child.returncode is not None
    return subprocess.CompletedProcess(child.args, child.returncode, out, talk)


def plain_environ() -> dict[str, str]:
    """This process's environment, without what would change how Python starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(AT_START)}
    return {**kept, "LANG": "C.UTF-8"}


def is_warm(command: Sequence[str], environ: Mapping[str, str], python: str = sys.executable) -> bool:
    """Whether a fork does for this command."""
    return hasattr(os, "fork") and python == sys.executable and command[0] in PROGRAMS and warm_server().fits(environ)


class Folder:
    """A working folder and the few environment variables that a program started in it gets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.python = sys.executable
        home = path / "home"
        home.mkdir()
        self.environ = {
            "PATH": f"{SCRIPTS}:{SYSTEM_FOLDERS}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            # Where there are no credentials botocore asks the instance it might run on: not from a test.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = sandbox_process.find(self.path / ".provision")
        if running is not None:
            sandbox_process.stop(running)

    def start(self, *command: str, fresh: bool = False, **environ: str | None) -> subprocess.Popen[str] | Child:
        """A program with pipes. `environ` changes the environment; None takes a variable away.

        It is a fork of a process that has imported it already, unless it has to be `fresh`.
        """
        changed = {**self.environ, **environ}
        variables = {name: value for name, value in changed.items() if value is not None}
        return start(*command, folder=self.path, environ=variables, fresh=fresh, python=self.python)

    def run(self, *command: str, fresh: bool = False, **environ: str | None) -> subprocess.CompletedProcess[str]:
        """A program's whole run: its exit code, stdout and stderr."""
        return end(self.start(*command, fresh=fresh, **environ))

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line pasted into a shell in this folder."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    @property
    def sandbox(self) -> dict[str, Any]:
        """What the folder's record says of its sandbox."""
        record: dict[str, Any] = json.loads((self.path / ".provision" / "sandbox.json").read_bytes())
        return record

    def state(self, name: str = "sandbox-us-east-1.json") -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / ".provision" / name).read_bytes())
        return content


@functools.cache
def warm_server() -> Server:
    """The one from which this process's programs are forked. conftest.py ends it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    environ = {"PATH": SYSTEM_FOLDERS, "HOME": str(folder), "LANG": "C.UTF-8"}
    return Server(folder / "calls", "programs", environ, worker_server())


@functools.cache
def worker_server() -> Server:
    """The one from which the workers of functions are forked."""
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    environ = {"PATH": SYSTEM_FOLDERS, "LANG": "en_US.UTF-8", "PYTHONIOENCODING": "utf-8", **inherited}
    return Server(Path(tempfile.mkdtemp(prefix="warm-")) / "calls", "lambda", environ)


def end_warm_servers() -> None:
    for server in (warm_server, worker_server):
        if server.cache_info().currsize:
            server().close()
            shutil.rmtree(Path(server().address).parent)
            server.cache_clear()


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self").exists()  # it went just now, or this system has no /proc
    return state != "Z"


class Gate:
    """An endpoint in front of another one. It counts, and holds some requests until it is told to go on.

    `hold` is what a request's X-Amz-Target, or else its path, ends in.
    `arrived` is set when such a request has come, `passed` when its answer has been given.
    """

    def __init__(self, url: str, hold: str = "") -> None:
        self.behind = url.removeprefix("http://")
        self.hold = hold
        self.requests = 0
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.passed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Gate:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                gate.requests += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked_for = (self.headers.get("X-Amz-Target") or self.path).replace("/", ".")
                held = bool(gate.hold) and asked_for.endswith(f".{gate.hold}")
                if held:
                    gate.arrived.set()
                    gate.release.wait(60)
                connection = http.client.HTTPConnection(gate.behind, timeout=60)
                try:
                    connection.request(self.command, self.path, body=body, headers=dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                    headers = answer.getheaders()
                finally:
                    connection.close()
                if held:
                    gate.passed.set()
                try:
                    self.send_response(answer.status)
                    for name, value in headers:
                        if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # whoever asked has gone

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests print what they need."""

        return Handler
