"""The sandbox's front: one port, behind it our planes and, for everything else, moto. Its door is in `sandbox.door`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.apigateway.gateway import Gateway
from sandbox.backend import Backend, MotoFailed
from sandbox.door import Keys, is_of_itself, unsigned
from sandbox.dynamodb.tables import Tables
from sandbox.iam.iam import Guard
from sandbox.iam.identities import Identities
from sandbox.lambda_.functions import Functions
from sandbox.lambda_.mappings import Mappings
from sandbox.logs import LogGroups
from sandbox.protocol import constraints
from sandbox.protocol.operations import Operation, operation_of
from sandbox.protocol.refusals import NotSimulated, Refused, Words, answer_json, refusal
from sandbox.protocol.scope import MODULES
from sandbox.protocol.wording import reworded
from sandbox.sqs.queues import Queues
from sandbox.state import State
from sandbox.weather.forecast import Forecast
from sandbox.weather.weather import Lost, Weather

log = logging.getLogger(__name__)

Unsigned = Callable[[Request], Response | None]
Plane = Callable[[Operation], Response | None]


class Front:
    """The WSGI application: it decides who may call, and which plane answers. `sandbox.door.admission` has seen each
    request before.

    Some planes see every request. The others see the requests signed for their service, once weather and guard have
    let them pass. A plane returns None for what it leaves to the next one; the rest goes to moto. With mappings that
    do not poll, everything happens in the caller's thread.
    """

    def __init__(
        self,
        backend: Backend,
        functions: Functions,
        mappings: Mappings,
        *,
        weather: Weather | None = None,
        guard: Guard | None = None,
        keys: Keys | None = None,
        own: Unsigned | None = None,
        state: State | None = None,
    ) -> None:
        self._backend = backend
        self._keys = keys or Keys(None, {})
        self._weather = weather
        self._guard = guard
        self._state = state
        functions.permissions.tags.ask = self.ask
        identities, log_groups = Identities(backend), LogGroups(backend)
        gateway = (
            Gateway(backend, functions, guard.identify, self._keys.refusal) if guard else Gateway(backend, functions)
        )
        of_weather = weather.serve if weather else None
        self._unsigned = [one for one in (functions.code, own, of_weather, gateway.serve) if one]
        self._signed: Mapping[str, Sequence[Plane]] = {
            "apigateway": [gateway.handle],
            "dynamodb": [Tables(backend).handle],
            "iam": [identities.check],
            "lambda": [mappings.handle, functions.handle],
            "logs": [log_groups.take_tags_along, log_groups.check],
            "sqs": [Queues(backend).handle],
            "sts": [identities.check],
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        operation = None
        try:
            answers = (ask(request) for ask in self._unsigned)
            response = next((one for one in answers if one is not None), None)
            if response is None:
                operation = operation_of(request)
                response = self._answer(operation)
        except Lost:
            raise  # the connection's handler closes it without an answer
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            words = Words(500, "InternalFailure", f"The sandbox failed: {type(error).__name__}: {error}")
            response = refusal(operation or Operation("", ""), words)
        return response(environ, start_response)

    def _answer(self, operation: Operation | None) -> Response:
        if operation is None:
            return unsigned()
        wrong = self._keys.refusal(operation)
        if wrong is not None:
            response = refusal(operation, wrong)
        elif self._weather is None:
            response = self._past_the_guard(operation)
        else:
            response = self._weather.around(operation, self._past_the_guard)
        log.info("%s %s %s", response.status_code, operation.service, operation.name or operation.path)
        return response

    def _past_the_guard(self, operation: Operation) -> Response:
        words = self._guard.check(operation) if self._guard is not None else None
        if words is not None:
            return refusal(operation, words)
        if self._state is None:
            response = self.ask(operation)
        else:
            response = self._state.record(self._backend, operation, self.ask)
        if operation.success is not None and response.status_code in (200, 201, 202, 204):
            response.status_code = operation.success  # moto says 200 to AddPermission, among others
        return response

    def ask(self, operation: Operation) -> Response:
        """The answer of the planes, or else of moto, to a call that the guard let pass."""
        called = f"{operation.name or f'{operation.method} {operation.path}'} of {operation.service}"
        try:
            return self._asked(operation)
        except Refused as refused:
            return refusal(operation, refused.words, more=refused.more)
        except NotSimulated as lacking:
            said = str(lacking)
        except NotImplementedError:
            said = f"The sandbox has no {called}."
        except MotoFailed as error:
            log.exception("moto cannot answer %s", operation.called)
            said = f"The sandbox cannot carry out this {called} ({error})."
        return refusal(operation, Words(501, "NotImplementedException", said))

    def _asked(self, operation: Operation) -> Response:
        """Raises Refused, NotSimulated, MotoFailed, and NotImplementedError for what nobody behind the front has."""
        if operation.service not in MODULES:
            # moto may have it, but nobody here has compared its answers with AWS.
            raise NotSimulated(f"The sandbox has no {operation.service} service.")
        if operation.request.headers.get("X-Amz-Target", "").startswith("DynamoDBStreams_"):
            raise NotSimulated("The sandbox has no streams of DynamoDB.")
        constraints.check(operation)
        for plane in self._signed.get(operation.service, ()):
            reply = plane(operation)
            if reply is not None:
                return reply
        response = reworded(operation, self._backend.forward(operation))
        if response.status_code in (404, 405) and response.mimetype == "text/html":
            raise NotImplementedError  # no route of moto's: its web framework answers
        return response


class Interior:
    """All that is behind a sandbox's port. ``own`` answers requests about the sandbox itself: it returns status and
    body for a verb, a path and headers. ``key`` None: the sandbox is open to everybody on this machine."""

    def __init__(
        self,
        endpoint: Callable[[], str],
        own: Callable[[str, str, Mapping[str, str]], tuple[int, dict[str, Any]]],
        *,
        id: str,
        key: str | None,
        forecast: Forecast,
        enforced_users: Sequence[str],
        runtime_client: tuple[str, ...] | None,
        state: State | None,
    ) -> None:
        self.backend = Backend(one_lock=state is not None)
        self.backend.open()
        self.functions = Functions(self.backend, endpoint, runtime_client)
        self.mappings = Mappings(self.backend, self.functions, polling=False)
        self.weather = Weather(forecast, self.backend)
        self.guard = Guard(self.backend, self.functions.permissions, enforced_users)

        keys = Keys(key, self.backend.secrets)

        def about_itself(request: Request) -> Response | None:
            if not is_of_itself(request.path):
                return None
            return keys.refusal_of_own(request, id) or answer_json(
                *own(request.method, request.path, dict(request.headers))
            )

        self.front = Front(
            self.backend,
            self.functions,
            self.mappings,
            weather=self.weather,
            guard=self.guard,
            keys=keys,
            own=about_itself,
            state=state,
        )

    def start(self) -> None:
        self.functions.start()
        self.mappings.go()

    def stop(self) -> None:
        self.mappings.stop()
        self.functions.stop()
