"""Programs without their start: a process that has imported what they need forks for each of them.

A fork is a child as any other: it has its own standard streams, folder, environment, session and signals, and ends as
Python ends. What it keeps of its server is what Python has imported. Only whoever waits for it is another one: the
server does, and tells over the connection.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

# What each kind of server imports.
PROGRAMS = ("provision", "teardown", "sandbox")
SERVICES = ("iam", "dynamodb", "sqs", "lambda", "apigateway", "sts", "logs")

# Variables that Python itself, or the C library, reads as it starts: who changes one wants a start.
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
AS_IT_GOES = ("PYTHON_COLORS",)

# The interpreter's options for the worker of a function: sandbox/lambda_/functions.py.
LIKE_A_WORKER = ("-u", "-s")

# What a process started by the tests does at Ctrl-C: nothing, where their shell runs them in the background.
AT_FIRST = signal.getsignal(signal.SIGINT)


class Forks:
    """Where a server listens that forks for whoever asks; `environ` is what it was started with."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        self.address = address
        self.environ = environ

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Whether a program with these variables would start as the server did."""

        def read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
            return {
                name: value for name, value in variables.items() if name.startswith(AT_START) and name not in AS_IT_GOES
            }

        return read_at_start(environ) == read_at_start(self.environ)

    def start(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        streams: Sequence[int],
        session: bool = False,
    ) -> socket.socket:
        """Have a fork run a module, or the `aws` command; the connection over which its id comes, and its end."""
        asked = socket.socket(socket.AF_UNIX)
        asked.connect(self.address)
        socket.send_fds(asked, [b"3"], streams)
        call = [command[0], command[1:], dict(environ), str(folder), session]
        asked.sendall(json.dumps(call).encode() + b"\n")
        return asked


class Server(Forks):
    """A process that has imported what `kind` names: "programs", "aws" or "lambda". It ends with this one.

    The sandboxes among the programs have the workers of their functions from `workers`.
    """

    def __init__(self, address: Path, kind: str, environ: Mapping[str, str], workers: Forks | None = None) -> None:
        super().__init__(str(address), environ)
        options = LIKE_A_WORKER if kind == "lambda" else ()
        more = [workers.address, json.dumps(dict(workers.environ))] if workers is not None else []
        self.process = subprocess.Popen(
            [sys.executable, *options, __file__, self.address, kind, *more],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.process.communicate()


class Child:
    """A fork of a server, used as `subprocess.Popen` is."""

    def __init__(
        self,
        server: Forks,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        streams: Sequence[int] = (),
        session: bool = False,
    ) -> None:
        """`streams` are its own; without any it gets no input, and pipes for the rest."""
        self.args = command
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._read: dict[IO[str], list[bytes]] = {}
        given: list[int] = []
        if not streams:
            (out, to_out), (err, to_err) = os.pipe(), os.pipe()
            self.stdout, self.stderr = os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8")
            self._read = {self.stdout: [], self.stderr: []}
            given = [os.open(os.devnull, os.O_RDONLY), to_out, to_err]
        self._connection = server.start(
            command, folder=folder, environ=environ, streams=streams or given, session=session
        )
        for descriptor in given:
            os.close(descriptor)
        self._told = self._connection.makefile("r")
        self._waiting = threading.Lock()
        self.pid = int(self._told.readline())

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0)  # another thread is told first
            try:
                self._read_how_it_ended(timeout)
            finally:
                self._waiting.release()
        assert self.returncode is not None
        return self.returncode

    def _read_how_it_ended(self, timeout: float | None) -> None:
        if self.returncode is not None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
        # Nothing is told where the server itself has ended, with the tests.
        self.returncode = int(self._told.readline() or -signal.SIGKILL)
        self._told.close()
        self._connection.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that the child writes until its end. Where the time is over before, it may be called again."""
        until = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for stream in (self.stdout, self.stderr):
                if stream is not None and not stream.closed:
                    selector.register(stream, selectors.EVENT_READ, self._read[stream])
            while selector.get_map():
                ready = selector.select(None if until is None else max(until - time.monotonic(), 0))
                if not ready:
                    raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
                for key, _ in ready:
                    part = os.read(key.fd, 65536)
                    key.data.append(part)
                    if not part:
                        selector.unregister(key.fileobj)
        self.wait(None if until is None else max(until - time.monotonic(), 0))
        for stream in self._read:
            stream.close()
        texts = [b"".join(parts).decode().replace("\r\n", "\n").replace("\r", "\n") for parts in self._read.values()]
        return (texts[0], texts[1]) if texts else ("", "")


# From here on it is the server.


def import_programs() -> None:
    import botocore.loaders
    import botocore.session
    import rich.live
    import rich.markdown
    import rich.syntax  # noqa: F401

    import provision

    for module in pkgutil.walk_packages(provision.__path__, "provision."):
        if not module.name.endswith(("__main__", "as_written_handler")):
            importlib.import_module(module.name)
    read_once(botocore.loaders.JSONFileLoader)
    session = botocore.session.Session()
    for service in SERVICES:
        session.create_client(service, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
    for name in PROGRAMS:
        importlib.import_module(f"{name}.__main__")
        # What `python -m` runs, nothing has imported before.
        del sys.modules[f"{name}.__main__"]
        del sys.modules[name].__main__


def import_sandbox() -> None:
    """What a sandbox that a program starts imports, and what moto reads at the first call to each service."""
    from moto.moto_api._internal import mock_random

    from sandbox.backend import Backend
    from sandbox.protocol.scope import DEFAULT_REGION, MODULES

    backend = Backend()
    backend.open()
    for service in MODULES:
        backend.wake(service, DEFAULT_REGION)
    os.register_at_fork(after_in_child=mock_random.seed)  # or all sandboxes would make the same ids


def import_lambda() -> None:
    """What the walkthrough's function imports and reads as its worker starts."""
    import boto3.dynamodb.types
    import botocore.loaders

    read_once(botocore.loaders.JSONFileLoader)
    session = boto3.session.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")
    session.resource("dynamodb")


def fork_workers(server: Forks) -> None:
    """The sandboxes of this process fork the workers of their functions, unless Python would start otherwise."""
    from sandbox.lambda_ import worker

    start = worker.start_process

    @functools.wraps(start)
    def start_process(
        command: Sequence[str], environment: Mapping[str, str], folder: Path, output: int
    ) -> subprocess.Popen[bytes] | Child:
        *options, script = command[1:]
        ours = tuple(options) == LIKE_A_WORKER and Path(script).name == "bootstrap.py"
        if not ours or not server.fits(environment):
            return start(command, environment, folder, output)
        end, lifeline = os.pipe()
        streams = [end, output, output]
        child = Child(server, ["lambda", script], folder=folder, environ=environment, streams=streams, session=True)
        os.close(end)
        child.stdin = os.fdopen(lifeline, "wb")
        return child

    worker.start_process = start_process  # type: ignore[assignment]


def fork_sandboxes(address: str) -> None:
    """A program that starts a sandbox gets a fork, too."""
    from provision.aws import sandbox_process

    def spawn(folder: Path, log: IO[bytes], wish: sandbox_process.Wish) -> Child:
        command = ["sandbox", "run", "--verbose", "--record", str(folder / sandbox_process.RECORD), *wish.arguments()]
        with Path(os.devnull).open("rb") as nothing:
            return Child(
                Forks(address, {}),
                command,
                folder=sandbox_process.BESIDE,
                environ=sandbox_process.child_environment(),
                streams=[nothing.fileno(), log.fileno(), log.fileno()],
                session=True,
            )

    assert hasattr(sandbox_process, "_spawn")
    sandbox_process._spawn = spawn  # type: ignore[assignment]


def read_once(loader: Any) -> None:
    """A model that one session has read, the next one has, too."""
    loader.load_file = staticmethod(functools.cache(loader().load_file))


def import_aws() -> None:
    import awscli.clidriver  # type: ignore[import-untyped]

    session = awscli.clidriver.create_clidriver().session
    read_once(type(session.get_component("data_loader").file_loader))
    for service in SERVICES:
        session.create_client(service, region_name="us-east-1")  # and all that making one imports and reads


def run(command: str, arguments: list[str]) -> None:
    if command == "aws":
        import awscli.clidriver

        sys.argv = ["aws", *arguments]
        sys.exit(awscli.clidriver.main())
    if command == "lambda":
        sys.argv = arguments
        sys.orig_argv = [sys.executable, *LIKE_A_WORKER, *arguments]
        runpy.run_path(arguments[0], run_name="__main__")
        return
    sys.argv = [command, *arguments]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    runpy.run_module(command, run_name="__main__", alter_sys=True)


def serve(address: str) -> tuple[str, list[str]]:
    """Fork for each call. What returns is a fork, with what it has to run."""
    bell, rings = socket.socketpair()
    rings.setblocking(False)
    bell.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests' own end is this one's
    gc.freeze()  # a fork need not go through all that, which would copy it
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(address)
        listening.listen(8)
        for source in (listening, rings, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if rings in ready:
                rings.recv(4096)
                tell_who_ended(running)
            if listening in ready:
                asked, _ = listening.accept()
                _, streams, _, _ = socket.recv_fds(asked, 1, 3)
                with asked.makefile("rb") as call:
                    command, arguments, environ, folder, session = json.loads(call.readline())
                pid = os.fork()
                if pid == 0:
                    for one in (listening, selector, bell, rings, asked, *running.values()):
                        one.close()
                    become(streams, environ, folder, session=session)
                    return command, arguments
                for stream in streams:
                    os.close(stream)
                running[pid] = asked
                tell(asked, pid)
            if sys.stdin in ready:  # whoever started this has gone
                os._exit(0)


def tell_who_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as asked:
            tell(asked, os.waitstatus_to_exitcode(status))


def tell(asked: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # perhaps nobody waits for this one any more
        asked.sendall(f"{number}\n".encode())


def become(streams: list[int], environ: dict[str, str], folder: str, *, session: bool) -> None:
    """A process as if it had just been started so."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, AT_FIRST)
    if session:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # awscli writes the first at its import, and Python the second at its start where there is no such locale.
    own = {name: os.environ[name] for name in ("AWS_DATA_PATH", "LC_CTYPE") if name in os.environ}
    os.environ.clear()
    os.environ.update({**environ, **own})
    time.tzset()
    os.chdir(folder)
    sys.path[0] = folder
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        was = getattr(sys, name)
        at_once = was.write_through  # python -u
        lines = not at_once and (name == "stderr" or os.isatty(number))
        raw = open(number, f"{mode}b", buffering=0 if at_once else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            raw, encoding=was.encoding, errors=was.errors, line_buffering=lines, write_through=at_once
        )
        getattr(raw, "raw", raw).name = f"<{name}>"
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    if sys.argv[2] == "aws":
        import_aws()
    elif sys.argv[2] == "lambda":
        import_lambda()
    else:
        import_sandbox()  # first: moto changes models of botocore's that it reads
        import_programs()
        fork_sandboxes(sys.argv[1])
        if sys.argv[3:]:
            fork_workers(Forks(sys.argv[3], json.loads(sys.argv[4])))
    run(*serve(sys.argv[1]))
