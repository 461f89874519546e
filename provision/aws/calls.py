"""The listener: one listener on botocore's events of the suite's own clients.

Every call passes here, before it leaves and after its answer. The guard hangs on it (a write leaves only when the
state file permits), the call count, and the suite's own retries: botocore is told to send each request once, since only
we know which requests may be sent twice.

Event names and their order: https://botocore.amazonaws.com/v1/documentation/api/latest/topics/events.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from botocore.exceptions import ClientError, WaiterError

from provision.aws.answers import EXPECTED, AnswerLost, Call, NotAWS, came_from, flaw_of, has_field
from provision.aws.operations import NEVER_SENT, NO_ANSWER, READS, REFUSED_WITH_502, WAITED_FOR
from provision.aws.retries import Retries
from provision.aws.waiting import Wait, Waiting
from provision.terminal import outcome


class UnrecordedWrite(Exception):
    """A write was about to leave without an entry in the state file: a defect of the suite, stopped before the wire."""


def permit_none(call: Call) -> None:
    """The guard until a state file brings its own: nothing could be recorded, so no write leaves."""
    raise UnrecordedWrite(f"{call.service} {call.operation} without a state file")


class Answers(Protocol):
    """What answers in AWS's place while a plan is made."""

    def answer(self, call: Call) -> dict[str, Any] | None:
        """The answer as botocore would parse it; None for a read that AWS must answer."""

    def amend(self, call: Call, answer: dict[str, Any]) -> None:
        """Bring AWS's own answer to a read to where the plan's writes would have brought it."""


@dataclass
class Calls:
    """Listens on every client it is put on.

    `permit` is the guard: asked before each write, it raises to stop it. `listeners` are told of each call when it has
    ended. `step` is the step at work, by name. `stopping` makes the next call raise Interrupted.
    """

    waiting: Waiting = field(default_factory=Waiting)
    permit: Callable[[Call], None] = permit_none
    listeners: list[Callable[[Call], None]] = field(default_factory=list)
    history: list[Call] = field(default_factory=list)
    stopping: bool = False
    step: str = ""
    _parameters: dict[str, Any] = field(default_factory=dict)
    _current: Call | None = None
    _waiter: Waiter | None = None
    _answers: Answers | None = None

    def __post_init__(self) -> None:
        self.retries = Retries(lambda: self.waiting, lambda: self._current, lambda: self.stopping)

    @property
    def under_way(self) -> Call | None:
        """The call that has begun and not yet ended."""
        return self._current

    @contextmanager
    def guarded_by(self, permit: Callable[[Call], None]) -> Iterator[None]:
        """Inside the block this is the guard."""
        before, self.permit = self.permit, permit
        try:
            yield
        finally:
            self.permit = before

    @contextmanager
    def in_step(self, name: str) -> Iterator[None]:
        """Inside the block this step is at work; after an error still, for whoever says where that was."""
        before, self.step = self.step, name
        yield
        self.step = before

    @contextmanager
    def untold(self) -> Iterator[None]:
        """Inside the block nobody is told of the calls, and they are not kept: somebody only watches."""
        listeners, count = self.listeners, len(self.history)
        self.listeners = []
        try:
            yield
        finally:
            self.listeners = listeners
            del self.history[count:]

    @property
    def is_planning(self) -> bool:
        """Whether writes are answered in AWS's place."""
        return self._answers is not None

    @contextmanager
    def planning(self, permit: Callable[[Call], None], waiting: Waiting, answers: Answers) -> Iterator[None]:
        """Inside the block `answers` answers each write, and the reads that need it: those are no calls.

        So they are neither counted nor told of. `permit` sees each write before; `waiting` is how the block waits.
        """
        before = self.waiting, self._answers
        self.waiting, self._answers = waiting, answers
        try:
            with self.guarded_by(permit):
                yield
        finally:
            self.waiting, self._answers = before

    @contextmanager
    def clearing_up(self) -> Iterator[None]:
        """Inside the block calls leave, although the run is to stop. Another Ctrl-C stops these, too."""
        stopping, self.stopping = self.stopping, False
        try:
            yield
        finally:
            self.stopping = self.stopping or stopping

    def put_on(self, client: Any) -> None:
        """Listen on one client. Clients that botocore makes for itself, to get credentials, pass unseen."""
        events = client.meta.events
        events.register_last("before-parameter-build.*.*", self._note_parameters)
        events.register_last("before-call.*.*", self._before_call)
        events.register_first("after-call.*.*", self._after_call)
        events.register_first("after-call-error.*.*", self._after_call_error)
        events.register_last("needs-retry.*.*", self.retries.needs_retry)
        get_waiter = client.get_waiter
        client.get_waiter = lambda name: Waiter(self, name, get_waiter(name))

    def writes(self) -> list[Call]:
        return [call for call in self.history if not call.is_read]

    def _note_parameters(self, params: dict[str, Any], **event: Any) -> None:
        self._parameters = dict(params)

    def _before_call(self, model: Any, **event: Any) -> tuple[Any, dict[str, Any]] | None:
        """None, so that the request is sent; or the answer that takes AWS's place."""
        if self.stopping:
            raise outcome.Interrupted
        service = model.service_model.service_name
        call = Call(
            number=len(self.history) + 1,
            service=service,
            operation=model.name,
            parameters=self._parameters,
            is_read=model.name in READS.get(service, frozenset()),
            started=self.waiting.clock(),
            step=self.step,
        )
        if self._waiter is not None:
            self._waiter.looks_again(call)
        if not call.is_read:
            self.permit(call)
        answer = self._answers.answer(call) if self._answers is not None else None
        if answer is not None:
            return SimpleNamespace(status_code=404 if "Error" in answer else 200, headers={}, content=b""), answer
        self.history.append(call)
        self._current = call
        return None

    def _after_call(self, http_response: Any, parsed: dict[str, Any], model: Any, **event: Any) -> None:
        error = parsed.get("Error", {})
        status = http_response.status_code
        if self._current is not None:
            self._current.status = status
            self._current.message = error.get("Message") or ""
            self._current.answer = parsed if status < 300 else None
        call = self._ended(error.get("Code"))
        # botocore counts its one attempt as used up and would add "reached max retries" to every error's text.
        parsed.get("ResponseMetadata", {}).pop("MaxAttemptsReached", None)
        if call is None:
            return
        flaw = flaw_of(model, http_response, is_read=call.is_read) if status < 300 else None
        if call.is_read:
            if flaw:
                raise NotAWS(call, flaw)
            if self._answers is not None and status < 300:
                self._answers.amend(call, parsed)
            return
        if status >= 500 and call.error not in REFUSED_WITH_502:
            raise AnswerLost(call, f"HTTP {status} {error.get('Code')}: {error.get('Message')}")
        expected = EXPECTED.get(call.operation)
        if status < 300 and expected and not has_field(parsed, expected):
            raise AnswerLost(call, f"the answer lacks {expected}")
        if flaw:
            raise AnswerLost(call, flaw)

    def _after_call_error(self, exception: BaseException, **event: Any) -> None:
        if self._current is not None:
            self._current.message = str(exception)
        call = self._ended(type(exception).__name__)
        if call is None:
            return
        unparsable = came_from(exception, "botocore.parsers")
        if call.is_read:
            if unparsable:
                raise NotAWS(call, "its answer cannot be parsed") from exception
            return
        if unparsable:
            raise AnswerLost(call, f"an answer that cannot be parsed ({exception})") from exception
        if isinstance(exception, NO_ANSWER) and not isinstance(exception, NEVER_SENT):
            raise AnswerLost(call, f"no answer ({exception})") from exception

    def _ended(self, error: str | None) -> Call | None:
        call, self._current = self._current, None
        if call is not None:
            call.ended = self.waiting.clock()
            call.error = error
            for listener in self.listeners:
                listener(call)
        return call


class Waiter:
    """One of botocore's waiters, which by itself waits without a word: from its second look on the screen is told."""

    def __init__(self, calls: Calls, name: str, waiter: Any) -> None:
        self.calls = calls
        self.what = WAITED_FOR.get(name, name)
        self.waiter = waiter
        self.budget = 0.0
        self.began: float | None = None

    def wait(self, **arguments: Any) -> None:
        """As botocore's: https://boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html#waiters"""
        if self.calls.is_planning:
            return  # a plan takes it that what is waited for comes
        config = {"Delay": self.waiter.config.delay, "MaxAttempts": self.waiter.config.max_attempts}
        config.update(arguments.get("WaiterConfig", {}))
        self.budget = float(config["Delay"] * config["MaxAttempts"])
        self.calls._waiter = self
        try:
            self.waiter.wait(**arguments)
        except WaiterError as error:
            # botocore wraps a refusal that the waiter does not know; so expired credentials would read as slowness.
            if str(error.kwargs.get("reason")).startswith("An error occurred ("):
                raise ClientError(error.last_response, self.calls.history[-1].operation) from error
            raise
        finally:
            self.calls._waiter = None

    def looks_again(self, call: Call) -> None:
        if self.began is None:
            self.began = call.started
            return
        self.calls.waiting.looks_again(Wait(self.what, "", "", call.started - self.began, self.budget))
