"""The sandbox's front: one loopback port, behind it our planes and, for everything else, moto.

A web page must not be able to call it, or any site the user visits could read and write here: a request whose
Host is not a loopback name (DNS rebinding) or that carries an Origin (a browser sent it) is refused.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

    from sandbox.backend import Backend
    from sandbox.iam.iam import Guard
    from sandbox.lambda_.functions import Functions
    from sandbox.lambda_.mappings import Mappings
    from sandbox.protocol.operations import Operation
    from sandbox.protocol.wire import WireServer
    from sandbox.state import State
    from sandbox.weather.weather import Weather

    Plane = Callable[[Request], Response | None]
    Gate = Callable[[Request, Operation], Response | None]

log = logging.getLogger(__name__)

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Sandbox:
    """A local AWS, serving from :meth:`start` to :meth:`stop`.

    ``port`` 0 takes a free one. ``weather`` is a text that :func:`sandbox.weather.forecast.parse` reads, which raises
    ValueError; ``enforced_users`` are the IAM users who are held to their policies ("*": all of them), as sessions
    of roles always are. ``runtime_client`` is what Python runs in an execution environment in the place of our own
    client of the Lambda Runtime API. ``state_dir`` is a folder from which a sandbox comes back and that remembers
    this one; :class:`sandbox.state.CannotComeBack` is raised where that cannot be. moto's state belongs to the
    process: there can be one started sandbox in a process at a time, and without ``state_dir`` each begins empty.
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
    ) -> None:
        if host not in ("127.0.0.1", "localhost"):
            raise ValueError(f"the sandbox listens on loopback only, not on {host}")
        from sandbox.weather.forecast import parse

        self._forecast = parse(weather)
        self._weather_text = weather
        self._enforced_users = tuple(enforced_users)
        self._runtime_client = runtime_client
        self._state_dir = state_dir
        self._state: State | None = None
        self.id = id or f"sb-{secrets.token_hex(4)}"
        self._host = "127.0.0.1"
        self._wanted_port = port
        self._since = ""
        self._server: WireServer | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._stop_guard = threading.Lock()
        self._backend: Backend | None = None
        self._functions: Functions | None = None
        self._mappings: Mappings | None = None
        self._weather: Weather | None = None
        self._guard: Guard | None = None
        self._front: Front | None = None

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
        """Whether it has been stopped, by whoever it was; False also before the start."""
        return self._stopped.is_set()

    @property
    def mappings(self) -> Mappings:
        if self._mappings is None:
            raise RuntimeError("the sandbox has not been started")
        return self._mappings

    @property
    def functions(self) -> Functions:
        if self._functions is None:
            raise RuntimeError("the sandbox has not been started")
        return self._functions

    def start(self) -> Sandbox:
        """Serve in the background. Raises OSError where the port is taken, ImportError without the extra."""
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
            if self._mappings is not None:
                self._mappings.stop()
            if self._functions is not None:
                self._functions.stop()
            self._server.stop()
            if self._thread is not None:
                self._thread.join(timeout=5)
            if self._state is not None:
                self._state.close()
            with Sandbox._started_guard:
                Sandbox._started = None
            self._stopped.set()

    def serve_forever(self) -> None:
        """Start where that has not been done, and return when the sandbox has been stopped, by whoever it was."""
        if self._server is None:
            self.start()
        while not self._stopped.wait(0.5):  # a wait without end would not let a signal's handler run everywhere
            continue

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        from sandbox.backend import Backend
        from sandbox.iam.iam import Guard
        from sandbox.lambda_.functions import Functions
        from sandbox.lambda_.mappings import Mappings
        from sandbox.state import State
        from sandbox.weather.weather import Weather

        # The folder, then the port: if one is taken, nothing else needs to be started.
        self._state = State(self._state_dir) if self._state_dir is not None else None
        self.id = (self._state.id if self._state is not None else None) or self.id
        try:
            self._server = self._listen()
            self._backend = Backend(one_lock=self._state is not None)
            self._backend.open()
            self._functions = Functions(self._backend, lambda: self.url, self._runtime_client)
            self._mappings = Mappings(self._backend, self._functions, polling=self._state is None)
            self._weather = Weather(self._forecast, self._backend)
            self._guard = Guard(self._backend, self._functions.roles, self._functions, self._enforced_users)
            self._front = front(
                self._backend,
                self._functions,
                self._mappings,
                weather=self._weather,
                guard=self._guard,
                own=self._own,
                state=self._state,
            )
            if self._state is not None:
                self._come_back(self._state)
            self._functions.start()
            self._mappings.go()
        except BaseException:
            if self._server is not None:
                self._server.server_close()
                self._server = None
            if self._state is not None:
                self._state.close()
            raise
        self._since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="sandbox", daemon=True
        )
        self._thread.start()

    def _listen(self) -> WireServer:
        from sandbox.protocol.wire import WireServer

        if self._state is not None and not self._wanted_port:
            with suppress(OSError):  # the port of its earlier life, unless somebody has it now
                return WireServer(self._host, self._state.port, self._serve)
        return WireServer(self._host, self._wanted_port, self._serve)

    def _come_back(self, state: State) -> None:
        assert self._backend is not None
        assert self._front is not None
        messages = self._backend.messages
        state.replay(self._backend, messages, self._front.ask)
        state.open(self.id, self.port)
        messages.kept, messages.dropped = state.keep_message, state.drop_message

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert self._front is not None
        return self._front(environ, start_response)

    def _own(self, request: Request) -> Response | None:
        """The sandbox's questions about itself; no AWS service answers at these paths."""
        if not request.path.startswith("/_sandbox"):
            return None
        if request.path == "/_sandbox" and request.method == "GET":
            return answer_json(200, self.describe())
        if request.path == "/_sandbox/weather" and request.method == "GET":
            assert self._weather is not None
            return answer_json(200, self._weather.describe())
        if request.path == "/_sandbox/refusals" and request.method == "GET":
            assert self._guard is not None
            return answer_json(200, {"refusals": list(self._guard.refusals)})
        if request.path == "/_sandbox/weather/renew" and request.method == "POST":
            assert self._weather is not None
            self._weather.renew()
            return answer_json(200, {"renewed": True})
        if request.path == "/_sandbox/stop" and request.method == "POST":
            if request.headers.get("X-Sandbox-Id") != self.id:
                return answer_json(403, {"message": "X-Sandbox-Id does not name this sandbox."})
            # Not in this thread, which has an answer to give first.
            threading.Thread(target=self._stop_soon, name="sandbox-stop").start()
            return answer_json(202, {"id": self.id, "stopping": True})
        return answer_json(404, {"message": f"The sandbox has nothing at {request.method} {request.path}."})

    def _stop_soon(self) -> None:
        self._stopped.wait(0.1)
        self.stop()

    def describe(self) -> dict[str, Any]:
        from importlib import metadata

        return {
            "id": self.id,
            "pid": os.getpid(),
            "port": self.port,
            "moto": metadata.version("moto"),
            "python": platform.python_version(),
            "started": self._since,
            "weather": self._weather_text,
            "enforced_users": list(self._enforced_users),
            "state_dir": str(self._state_dir) if self._state_dir is not None else None,
        }


def front(
    backend: Backend,
    functions: Functions,
    mappings: Mappings,
    *,
    weather: Weather | None = None,
    guard: Guard | None = None,
    own: Plane | None = None,
    state: State | None = None,
) -> Front:
    """The planes in their order. With mappings that do not poll, everything happens in the caller's own thread."""
    from sandbox.apigateway.gateway import Gateway
    from sandbox.dynamodb import Tables
    from sandbox.iam.identities import Identities
    from sandbox.logs import LogGroups
    from sandbox.protocol.refusals import refusing
    from sandbox.sqs.queues import Queues

    identities = refusing(Identities(backend).refused)
    gateway = Gateway(backend, functions)
    log_groups = LogGroups(backend)
    return Front(
        backend,
        unsigned=[functions.code, *([own] if own else []), *([weather.serve] if weather else []), gateway.serve],
        signed={
            "apigateway": [gateway.handle],
            "dynamodb": [refusing(Tables(backend).refused)],
            "iam": [identities],
            "lambda": [mappings.handle, functions.handle],
            "logs": [log_groups.take_tags_along, refusing(log_groups.refused)],
            "sqs": [gateway.notice, Queues(backend).handle],
            "sts": [identities],
        },
        gates=[*([weather.before] if weather else []), *([guard.check] if guard else [])],
        last_word=weather.after if weather else None,
        state=state,
    )


class Front:
    """The WSGI application: who may ask, and which plane answers.

    ``unsigned`` planes see every request; ``signed`` ones those signed for their service, once the ``gates`` let them
    pass. A plane or gate answers None for what it leaves to the next; what is nobody's goes to moto. ``last_word`` is
    asked about every answer that no gate gave, and may raise Lost.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        unsigned: Sequence[Plane],
        signed: Mapping[str, Sequence[Plane]],
        gates: Sequence[Gate] = (),
        last_word: Callable[[Request, Operation, Response], Response] | None = None,
        state: State | None = None,
    ) -> None:
        self._backend = backend
        self._unsigned = unsigned
        self._signed = signed
        self._gates = gates
        self._last_word = last_word
        self._state = state

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        from werkzeug.wrappers import Request

        from sandbox.weather.weather import Lost

        request = Request(environ)
        try:
            response = self._answer(request)
        except Lost:
            raise  # the connection's handler closes it without an answer
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            response = self._failed(request, error)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        from sandbox.protocol.operations import operation_of

        refusal = _foreign(request)
        if refusal is not None:
            return refusal
        for plane in self._unsigned:
            response = plane(request)
            if response is not None:
                return response
        operation = operation_of(request)
        if operation is None:
            # moto would take it for a request to S3.
            return answer_json(
                403,
                {"message": "Missing Authentication Token"},
                {"x-amzn-ErrorType": "MissingAuthenticationTokenException"},
            )
        response = self._past_the_gates(request, operation)
        log.info("%s %s %s", response.status_code, operation.service, operation.name or request.path)
        return response

    def _past_the_gates(self, request: Request, operation: Operation) -> Response:
        from sandbox.protocol.operations import success_of

        for gate in self._gates:
            response = gate(request, operation)
            if response is not None:
                return response
        if self._state is None:
            response = self.ask(request, operation)
        else:
            response = self._state.record(self._backend, request, operation, self.ask)
        expected = success_of(operation)
        if expected is not None and response.status_code in (200, 201, 202, 204):
            response.status_code = expected  # moto says 200 to AddPermission, among others
        return response if self._last_word is None else self._last_word(request, operation, response)

    def ask(self, request: Request, operation: Operation) -> Response:
        """What the planes, and then moto, answer to one whom the gates let pass."""
        from sandbox.backend import MotoFailed
        from sandbox.protocol import constraints
        from sandbox.protocol.scope import MODULES
        from sandbox.protocol.wording import reworded

        if operation.service not in MODULES:
            # moto has it, perhaps, and would answer; nobody here has looked how that compares with AWS.
            return not_here(request, operation, f"The sandbox has no {operation.service} service.")
        if request.headers.get("X-Amz-Target", "").startswith("DynamoDBStreams_"):
            return not_here(request, operation, "The sandbox has no streams of DynamoDB.")
        unfit = constraints.check(request, operation)
        if unfit is not None:
            return unfit
        try:
            for plane in self._signed.get(operation.service, ()):
                response = plane(request)
                if response is not None:
                    return response
            response = reworded(request, operation, self._backend.forward(request))
        except NotImplementedError:
            return not_here(request, operation)
        except MotoFailed as error:
            log.exception("moto cannot answer %s %s", operation.service, operation.name)
            called = operation.name or f"{operation.method} {operation.path}"
            said = f"The sandbox cannot carry out this {called} of {operation.service} ({error})."
            return not_here(request, operation, said)
        if response.status_code in (404, 405) and response.mimetype == "text/html":
            return not_here(request, operation)  # no route of moto's: its web framework answers
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        from sandbox.protocol.operations import operation_of
        from sandbox.protocol.refusals import Words, refusal

        message = f"The sandbox failed: {type(error).__name__}: {error}"
        operation = operation_of(request)
        if operation is not None:
            return refusal(request, operation, Words(500, "InternalFailure", message))
        return answer_json(
            500, {"__type": "InternalFailure", "message": message}, {"x-amzn-ErrorType": "InternalFailure"}
        )


def not_here(request: Request, operation: Operation, message: str = "") -> Response:
    """501 for what neither we nor moto have, in one sentence."""
    from sandbox.protocol.refusals import Words, refusal

    called = operation.name or f"{operation.method} {operation.path}"
    message = message or f"The sandbox has no {called} of {operation.service}."
    return refusal(request, operation, Words(501, "NotImplementedException", message))


def _foreign(request: Request) -> Response | None:
    """The refusal of what a web page or another machine may have sent, and of moto's own API."""
    host = request.headers.get("Host", "").lower()
    if host.rpartition(":")[0] not in LOOPBACK_NAMES and host not in LOOPBACK_NAMES:
        return answer_json(403, {"message": "The sandbox answers on loopback names only."})
    if "Origin" in request.headers:
        return answer_json(403, {"message": "The sandbox does not answer web pages."})
    if request.path.startswith("/moto-api"):
        # Our planes would go on with functions and mappings that moto has forgotten.
        return answer_json(403, {"message": "moto's own API is not open here; start another sandbox instead."})
    return None


def answer_json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    from werkzeug.wrappers import Response

    return Response(
        json.dumps(body).encode(),
        status=status,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
