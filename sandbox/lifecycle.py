"""A sandbox's life: its options, its start on a loopback port, what it says about itself, its end."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sandbox.protocol.wire import OWN, Admit, WireServer
from sandbox.weather.forecast import parse

if TYPE_CHECKING:
    from sandbox.lambda_.functions import Functions
    from sandbox.lambda_.mappings import Mappings
    from sandbox.server import Interior
    from sandbox.state import State


class Sandbox:
    """A local AWS, serving from :meth:`start` to :meth:`stop`.

    ``port`` 0 takes a free one. ``weather`` is a text for :func:`sandbox.weather.forecast.parse`, which raises
    ValueError. ``enforced_users`` are the IAM users who are held to their policies ("*": all), as sessions of roles
    always are. ``runtime_client`` is what Python runs in an execution environment instead of our own client of the
    Lambda Runtime API. ``key`` is the secret access key that calls are signed with; None opens the sandbox to every
    user of this machine. ``state_dir`` is the folder of the journal, from which the sandbox comes back; raises
    :class:`sandbox.state.CannotComeBack`. moto's state belongs to the process, so a process can have one started
    sandbox at a time; without ``state_dir`` each begins empty.
    """

    _started: Sandbox | None = None
    _started_guard = threading.Lock()

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        id: str | None = None,
        *,
        weather: str = "calm",
        enforced_users: Collection[str] = (),
        runtime_client: tuple[str, ...] | None = None,
        state_dir: Path | None = None,
        key: str | None = None,
    ) -> None:
        if host not in ("127.0.0.1", "localhost"):
            raise ValueError(f"the sandbox listens on loopback only, not on {host}")

        self._forecast = parse(weather)
        self._weather_text = weather
        self._enforced_users = tuple(enforced_users)
        self._runtime_client = runtime_client
        self._state_dir = state_dir
        self._key = key
        self.id = id or f"sb-{secrets.token_hex(4)}"
        self._host = "127.0.0.1"
        self._wanted_port = port
        self._since = ""
        self._disabled_triggers = 0
        self._called = time.monotonic()
        self._server: WireServer | None = None
        self._inside: Interior | None = None
        self._ends = ExitStack()
        self._stopped = threading.Event()
        self._stop_guard = threading.Lock()

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the sandbox has not been started")
        return self._server.port

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, by anybody; False also before the start."""
        return self._stopped.is_set()

    @property
    def inside(self) -> Interior:
        if self._inside is None:
            raise RuntimeError("the sandbox has not been started")
        return self._inside

    @property
    def mappings(self) -> Mappings:
        return self.inside.mappings

    @property
    def functions(self) -> Functions:
        return self.inside.functions

    @property
    def idle_seconds(self) -> float:
        """Since the last call, or the start. Requests about the sandbox itself do not count."""
        return time.monotonic() - self._called

    def start(self) -> Sandbox:
        """Serve in the background. Raises OSError if the port is taken, ImportError without the extra."""
        with Sandbox._started_guard:
            if Sandbox._started is not None:
                raise RuntimeError(f"{Sandbox._started.id} is running in this process; moto's state allows one")
            Sandbox._started = self
        try:
            self._open()
        except BaseException:
            with Sandbox._started_guard:
                Sandbox._started = None
            raise
        return self

    def stop(self) -> None:
        """Stop the pollers, the workers and the server, and wait for them. A second call does nothing."""
        with self._stop_guard:
            if self._stopped.is_set() or self._server is None:
                return
            self._ends.close()
            with Sandbox._started_guard:
                Sandbox._started = None
            self._stopped.set()

    def serve_forever(self) -> None:
        """Start unless it has been started, and return when somebody has stopped the sandbox."""
        if self._server is None:
            self.start()
        while not self._stopped.wait(0.5):  # an endless wait would keep a signal's handler from running on some systems
            continue

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        # Late: these import werkzeug, botocore and moto, which takes a second.
        from sandbox.door import admission
        from sandbox.server import Interior
        from sandbox.state import State

        with ExitStack() as undo:
            # The folder, then the port: if either is taken, nothing else has been started.
            state = State(self._state_dir) if self._state_dir is not None else None
            if state is not None:
                undo.callback(state.close)
                self.id = state.id or self.id
            server = self._server = self._listen(state, admission)
            try:
                inside = self._inside = Interior(
                    lambda: self.url,
                    self._own,
                    id=self.id,
                    key=self._key,
                    forecast=self._forecast,
                    enforced_users=self._enforced_users,
                    runtime_client=self._runtime_client,
                    state=state,
                )
                if state is not None:
                    state.replay(inside.backend, inside.front.ask)
                    state.open(self.id, self.port)
                    if state.is_from_elsewhere:
                        enabled = inside.mappings.enabled()
                        state.disable_triggers(inside.backend, enabled, inside.front.ask)
                        self._disabled_triggers = len(enabled)
                inside.start()
            except BaseException:
                server.server_close()
                self._server = None
                raise
            self._called = time.monotonic()
            self._since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="sandbox", daemon=True
            )
            thread.start()
            # They run in reverse: pollers and workers, the server, the journal.
            undo.callback(thread.join, timeout=5)
            undo.callback(server.stop)
            undo.callback(inside.stop)
            self._ends = undo.pop_all()

    def _listen(self, state: State | None, admit: Admit) -> WireServer:
        if state is not None and not self._wanted_port:
            with suppress(OSError):  # the port it had before, unless another program has it now
                return WireServer(self._host, state.port, self._serve, admit)
        return WireServer(self._host, self._wanted_port, self._serve, admit)

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(OWN):
            self._called = time.monotonic()
        return self.inside.front(environ, start_response)

    def _own(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The answers to requests about the sandbox itself; no AWS service has these paths."""
        match method, path:
            case "GET", "/_sandbox":
                return 200, self.describe()
            case "GET", "/_sandbox/weather":
                return 200, self.inside.weather.describe()
            case "GET", "/_sandbox/refusals":
                return 200, {"refusals": list(self.inside.guard.refusals)}
            case "POST", "/_sandbox/weather/renew":
                self.inside.weather.renew()
                return 200, {"renewed": True}
            case "POST", "/_sandbox/stop" if headers.get("X-Sandbox-Id") != self.id:
                return 403, {"message": "X-Sandbox-Id does not name this sandbox."}
            case "POST", "/_sandbox/stop":
                # Not in this thread, which must answer first.
                threading.Thread(target=self._stop_soon, name="sandbox-stop").start()
                return 202, {"id": self.id, "stopping": True}
        return 404, {"message": f"The sandbox has nothing at {method} {path}."}

    def _stop_soon(self) -> None:
        self._stopped.wait(0.1)
        self.stop()

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": os.getpid(),
            "port": self.port,
            "moto": metadata.version("moto"),
            "python": platform.python_version(),
            "started": self._since,
            "weather": self._weather_text,
            "enforced_users": list(self._enforced_users),
            "open": self._key is None,
            "disabled_triggers": self._disabled_triggers,  # at the start, as its journal is from elsewhere
            "state_dir": str(self._state_dir) if self._state_dir is not None else None,
        }
