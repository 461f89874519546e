"""The tap: one listener on botocore's events of the suite's own clients.

Every call passes here, before it leaves and after its answer. The guard hangs on it (a write leaves only when the
ledger permits), the call count, and the suite's own retries: botocore is told to send each request once, since only
we know which requests may be sent twice.

Event names and their order: https://botocore.amazonaws.com/v1/documentation/api/latest/topics/events.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from provision.aws.answers import EXPECTED, _came_from_parsing, _flaw, _has
from provision.aws.operations import NEVER_SENT, NO_ANSWER, READS, TAKEN_OUT, TAKING_AWAY, TRIALS, WAITED_FOR
from provision.aws.reasons import JUST_MADE, SERVICES_SAY, TOO_MANY_REQUESTS, Reason
from provision.aws.waiting import GaveUp, Wait, Waiting
from provision.record.transcript import Transcript
from provision.terminal import outcome

# Fixed quotas per account, not raisable: one DeleteRestApi in 30 s, one CreateRestApi in 3 s, one CreateDeployment
# in 5 s. The budgets let thirty learners press the key together.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
THROTTLE_BUDGETS = {"DeleteRestApi": 1200.0, "CreateRestApi": 300.0, "CreateDeployment": 450.0}

# Reads, what never left, and what a trial may repeat: tried so often, and no longer than this many seconds in all. A
# network that answers nothing takes a minute for each try.
TRIES = 5

CONNECTION_BUDGET = 180.0


class AnswerLost(Exception):
    """A write was sent, and whether AWS applied it is not known: no answer, or one without the expected fields.

    The step is run again, and its look decides. Such a write is never sent again blindly.
    """

    def __init__(self, call: Call, why: str) -> None:
        super().__init__(f"{call.service} {call.operation}: {why}")
        self.call = call
        self.why = why


class NotAWS(outcome.Stop):
    """A read was answered by something that is not AWS, or by a part of an answer, again and again.

    Nothing may be concluded from it: an empty answer would otherwise read as "no tags", and so as "not ours".
    """

    exit_code = outcome.ENVIRONMENT

    def __init__(self, call: Call, why: str) -> None:
        super().__init__(
            f"What answered {call.service} {call.operation} is not AWS: {why}.",
            means="A proxy or a captive portal may stand between, or the endpoint is something else.",
            advice=("Check the network, --region and --endpoint-url, then run the same command again.",),
        )


class UnpromisedWrite(Exception):
    """A write was about to leave without a promise in the ledger: a defect of this suite, stopped before the wire."""


@dataclass
class Call:
    """One call to AWS: what was asked, when (seconds of the tap's clock), and how it ended."""

    number: int
    service: str
    operation: str
    parameters: dict[str, Any]
    is_read: bool
    started: float
    ended: float | None = None
    error: str | None = None
    message: str = ""  # AWS's words, when it refused
    status: int | None = None  # of HTTP, when there was an answer
    answer: dict[str, Any] | None = None  # as botocore parsed it, when it was one
    sent: int = 1  # how often
    repeated: int = 0  # how often it was sent again although AWS may have acted already


@dataclass
class Tap:
    """Listens on every client it is put on.

    `doubt` is asked before each write and may raise to hold it back: whoever runs the steps may know that it could be
    a repetition. `permit` is asked after it and raises to stop the write; until a ledger sets it none leaves at all.
    `listeners` are told of each call when it has ended, the transcript first. `stopping` makes the next call raise
    Interrupted.
    """

    waiting: Waiting = field(default_factory=Waiting)
    doubt: Callable[[Call], None] = lambda call: None
    permit: Callable[[Call], None] | None = None
    listeners: list[Callable[[Call], None]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    stopping: bool = False
    _parameters: dict[str, Any] = field(default_factory=dict)
    _current: Call | None = None
    _waiter: Waiter | None = None

    def __post_init__(self) -> None:
        self.transcript = Transcript(self.waiting)
        self.listeners.insert(0, self.transcript.call)

    @property
    def under_way(self) -> Call | None:
        """The call that has begun and not yet ended."""
        return self._current

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
        events.register_last("needs-retry.*.*", self._needs_retry)
        get_waiter = client.get_waiter
        client.get_waiter = lambda name: Waiter(self, name, get_waiter(name))

    def writes(self) -> list[Call]:
        return [call for call in self.calls if not call.is_read]

    def _note_parameters(self, params: dict[str, Any], **event: Any) -> None:
        self._parameters = dict(params)

    def _before_call(self, model: Any, **event: Any) -> None:
        if self.stopping:
            raise outcome.Interrupted
        service = model.service_model.service_name
        call = Call(
            number=len(self.calls) + 1,
            service=service,
            operation=model.name,
            parameters=self._parameters,
            is_read=model.name in READS.get(service, frozenset()),
            started=self.waiting.clock(),
        )
        if self._waiter is not None:
            self._waiter.looks_again(call)
        if not call.is_read:
            self.doubt(call)
            if self.permit is None:
                raise UnpromisedWrite(f"{service} {model.name} without a ledger")
            self.permit(call)
        self.calls.append(call)
        self._current = call

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
        flaw = _flaw(model, http_response, is_read=call.is_read) if status < 300 else None
        if call.is_read:
            if flaw:
                raise NotAWS(call, flaw)
            return
        if status >= 500:
            raise AnswerLost(call, f"HTTP {status} {error.get('Code')}: {error.get('Message')}")
        expected = EXPECTED.get(call.operation)
        if status < 300 and expected and not _has(parsed, expected):
            raise AnswerLost(call, f"the answer lacks {expected}")
        if flaw:
            raise AnswerLost(call, flaw)

    def _after_call_error(self, exception: BaseException, **event: Any) -> None:
        if self._current is not None:
            self._current.message = str(exception)
        call = self._ended(type(exception).__name__)
        if call is None:
            return
        unparsable = _came_from_parsing(exception)
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

    def _needs_retry(
        self,
        response: tuple[Any, dict[str, Any]] | None,
        operation: Any,
        attempts: int,
        caught_exception: BaseException | None,
        **event: Any,
    ) -> int | None:
        """0 to send the request again at once (the pause was made here), None to let the outcome stand."""
        service = operation.service_model.service_name
        is_read = operation.name in READS.get(service, frozenset())
        # A trial's item has an id of its own: to send, to create or to delete it twice comes to the same.
        may_repeat = is_read or operation.name in TRIALS.get(service, {}) or operation.name in TAKEN_OUT
        if caught_exception is not None:
            if isinstance(caught_exception, NO_ANSWER) and (may_repeat or isinstance(caught_exception, NEVER_SENT)):
                return self._try_again("no connection to AWS", str(caught_exception), attempts)
            return None
        if response is None:
            return None
        http_response, parsed = response
        error = parsed.get("Error", {})
        words = f"{error.get('Code')}: {error.get('Message')}"
        retry_after = http_response.headers.get("Retry-After")
        if _is_throttle(error.get("Code"), http_response.status_code, retry_after):
            return self._wait_for_turn(operation.name, words, retry_after)
        if may_repeat and http_response.status_code >= 500:
            return self._try_again("AWS had an error of its own", words, attempts)
        if may_repeat and http_response.status_code < 300:
            flaw = _flaw(operation, http_response, is_read=is_read)
            if flaw:
                return self._try_again("no answer of AWS", flaw, attempts)
        if http_response.status_code < 500:
            reasons = SERVICES_SAY.get(service, ())
            if not is_read and not operation.name.startswith(TAKING_AWAY):
                reasons = (*reasons, JUST_MADE)
            for reason in reasons:
                if reason.is_said_by(parsed):
                    return self._wait_for(reason, words)
        return None

    def _try_again(self, reason: str, words: str, attempts: int) -> int | None:
        pause = min(2.0 ** (attempts - 1), 8.0)
        elapsed = self._elapsed()
        if attempts >= TRIES or elapsed + pause > CONNECTION_BUDGET:
            return None
        if self._current is not None:
            self._current.repeated += 1
        means = f"Trying again, {TRIES - attempts} times at most."
        self._pause(Wait(reason, means, words, elapsed, CONNECTION_BUDGET), pause)
        return 0

    def _wait_for_turn(self, operation: str, words: str, retry_after: str | None) -> int:
        budget = THROTTLE_BUDGETS.get(operation, TOO_MANY_REQUESTS.budget)
        pause = float(retry_after) if retry_after and retry_after.isdigit() else 5.0 if self._elapsed() > 10 else 2.0
        return self._wait_for(replace(TOO_MANY_REQUESTS, budget=budget), words, pause)

    def _wait_for(self, reason: Reason, words: str, pause: float | None = None) -> int:
        """Pause, after a refusal that passes by itself; 0, to have the call sent again. Raises GaveUp."""
        pause = self.waiting.every if pause is None else pause
        elapsed = self._elapsed()
        if elapsed + pause > reason.budget:
            raise GaveUp(
                f"Gave up after {elapsed:.0f} s: {reason.name}. AWS said: {words}",
                means=reason.means,
                advice=("Run the same command again in some minutes: it goes on where this run stopped.",),
            )
        self._pause(Wait(reason.name, reason.means, words, elapsed, reason.budget), pause)
        return 0

    def _elapsed(self) -> float:
        """Seconds since the call that is under way was first sent."""
        return self.waiting.clock() - self._current.started if self._current is not None else 0.0

    def _pause(self, wait: Wait, seconds: float) -> None:
        if self.stopping:
            raise outcome.Interrupted
        self.waiting.waited.append(wait)
        self.waiting.tell(wait)
        self.waiting.sleep(seconds)
        if self._current is not None:
            self._current.sent += 1


class Waiter:
    """One of botocore's waiters, which by itself waits without a word: from its second look on the screen is told."""

    def __init__(self, tap: Tap, name: str, waiter: Any) -> None:
        self.tap = tap
        self.what = WAITED_FOR.get(name, name)
        self.waiter = waiter
        self.budget = 0.0
        self.began: float | None = None

    def wait(self, **arguments: Any) -> None:
        """As botocore's: https://boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html#waiters"""
        config = {"Delay": self.waiter.config.delay, "MaxAttempts": self.waiter.config.max_attempts}
        config.update(arguments.get("WaiterConfig", {}))
        self.budget = float(config["Delay"] * config["MaxAttempts"])
        self.tap._waiter = self
        try:
            self.waiter.wait(**arguments)
        except WaiterError as error:
            # botocore wraps a refusal that the waiter does not know; so expired credentials would read as slowness.
            if str(error.kwargs.get("reason")).startswith("An error occurred ("):
                raise ClientError(error.last_response, self.tap.calls[-1].operation) from error
            raise
        finally:
            self.tap._waiter = None

    def looks_again(self, call: Call) -> None:
        if self.began is None:
            self.began = call.started
            return
        self.tap.waiting.looks_again(Wait(self.what, "", "", call.started - self.began, self.budget))


def _is_throttle(code: str | None, status: int, retry_after: str | None) -> bool:
    """Whether AWS says: not now. API Gateway also answers 429 when a quota is used up, and then names no time."""
    if code == "LimitExceededException":
        return status == 429 and retry_after is not None
    return code in TOO_MANY_REQUESTS.codes or status == 429
