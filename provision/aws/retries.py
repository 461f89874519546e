"""When a request is sent again, and after which pause.

botocore sends each request once, as only the suite knows which requests may be sent twice. A request that AWS did not
apply is sent again: throttled, never sent, or refused for a reason that passes. A request that AWS may have applied is
sent again only where that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from provision.aws.answers import Call, flaw_of
from provision.aws.operations import (
    DEAD_LETTER_CALLS,
    DELETING_VERBS,
    NEVER_SENT,
    NO_ANSWER,
    NOT_IMPLEMENTED,
    READS,
    REFUSED_WITH_502,
    SMOKE_TEST_CALLS,
)
from provision.aws.reasons import JUST_MADE, NOT_JUST_MADE, SERVICES_SAY, TOO_MANY_REQUESTS, Reason
from provision.aws.waiting import StillRefused, Wait, Waiting
from provision.terminal import outcome

# Fixed quotas per account, not raisable: one DeleteRestApi in 30 s, one CreateRestApi in 3 s, one CreateDeployment
# in 5 s. The budgets are enough for thirty learners who start together.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
THROTTLE_BUDGETS = {"DeleteRestApi": 1200.0, "CreateRestApi": 300.0, "CreateDeployment": 450.0}

# Tries, and seconds in all, for reads, for what was never sent, and for what a smoke test may repeat. On a network that
# does not answer each try takes a minute.
TRIES = 5

CONNECTION_BUDGET = 180.0


@dataclass
class Retries:
    """Asked by botocore after each try. `under_way` is the call that is being made, `stopping` whether to give up."""

    waiting: Callable[[], Waiting]
    under_way: Callable[[], Call | None]
    stopping: Callable[[], bool]

    def needs_retry(
        self,
        response: tuple[Any, dict[str, Any]] | None,
        operation: Any,
        attempts: int,
        caught_exception: BaseException | None,
        **event: Any,
    ) -> int | None:
        """0 to send the request again now, after the pause made here; None to let the outcome stand."""
        service = operation.service_model.service_name
        is_read = operation.name in READS.get(service, frozenset())
        # A smoke test's item has an id of its own: sending, creating or deleting it twice changes nothing.
        may_repeat = (
            is_read or operation.name in SMOKE_TEST_CALLS.get(service, {}) or operation.name in DEAD_LETTER_CALLS
        )
        if caught_exception is not None:
            if isinstance(caught_exception, NO_ANSWER) and (may_repeat or isinstance(caught_exception, NEVER_SENT)):
                return self.try_again("no connection to AWS", str(caught_exception), attempts)
            return None
        if response is None:
            return None
        http_response, parsed = response
        error = parsed.get("Error", {})
        words = f"{error.get('Code')}: {error.get('Message')}"
        retry_after = http_response.headers.get("Retry-After")
        if is_throttle(error.get("Code"), http_response.status_code, retry_after):
            return self.wait_for_turn(operation.name, words, retry_after)
        final = http_response.status_code == NOT_IMPLEMENTED or error.get("Code") in REFUSED_WITH_502
        if may_repeat and http_response.status_code >= 500 and not final:
            return self.try_again("AWS had an error of its own", words, attempts)
        flaw = flaw_of(operation, http_response, is_read=is_read) if http_response.status_code < 300 else None
        if may_repeat and flaw:
            return self.try_again("no answer of AWS", flaw, attempts)
        passing = [reason for reason in reasons_of(service, operation.name, is_read) if reason.is_said_by(parsed)]
        if not passing or http_response.status_code >= 500 or is_lasting(passing[0], words):
            return None
        return self.wait_for(passing[0], words)

    def try_again(self, reason: str, words: str, attempts: int) -> int | None:
        """After a failure of the connection or of AWS: 1, 2, 4, 8 s, within the budget."""
        pause = min(2.0 ** (attempts - 1), 8.0)
        elapsed = self.elapsed()
        if attempts >= TRIES or elapsed + pause > CONNECTION_BUDGET:
            return None
        call = self.under_way()
        if call is not None:
            call.repeated += 1
        means = f"Trying again, {TRIES - attempts} times at most."
        self.pause(Wait(reason, means, words, elapsed, CONNECTION_BUDGET), pause)
        return 0

    def wait_for_turn(self, operation: str, words: str, retry_after: str | None) -> int:
        """After a throttled call: as long as AWS says, else 2 s, and 5 s when it has lasted for 10."""
        budget = THROTTLE_BUDGETS.get(operation, TOO_MANY_REQUESTS.budget)
        pause = float(retry_after) if retry_after and retry_after.isdigit() else 5.0 if self.elapsed() > 10 else 2.0
        return self.wait_for(replace(TOO_MANY_REQUESTS, budget=budget), words, pause)

    def wait_for(self, reason: Reason, words: str, pause: float | None = None) -> int:
        """Pause, after a refusal that passes by itself; 0, to have the call sent again. Raises StillRefused."""
        pause = self.waiting().every if pause is None else pause
        elapsed = self.elapsed()
        if elapsed + pause > reason.budget:
            raise StillRefused(
                f"Gave up after {elapsed:.0f} s: {reason.name}. AWS said: {words}",
                means=reason.means,
                advice=("Run the same command again in some minutes: it goes on where this run stopped.",),
            )
        self.pause(Wait(reason.name, reason.means, words, elapsed, reason.budget), pause)
        return 0

    def elapsed(self) -> float:
        """Seconds since the call that is under way was first sent."""
        call = self.under_way()
        return self.waiting().clock() - call.started if call is not None else 0.0

    def pause(self, wait: Wait, seconds: float) -> None:
        if self.stopping():
            raise outcome.Interrupted
        self.waiting().pause(wait, seconds)
        call = self.under_way()
        if call is not None:
            call.sent += 1


def reasons_of(service: str, operation: str, is_read: bool) -> tuple[Reason, ...]:
    """The refusals of this service that pass by themselves. What is "not there" may have just been created."""
    reasons = SERVICES_SAY.get(service, ())
    return reasons if is_read or operation.startswith(DELETING_VERBS) else (*reasons, JUST_MADE)


def is_throttle(code: str | None, status: int, retry_after: str | None) -> bool:
    """Whether AWS throttled it. API Gateway also answers 429, without Retry-After, when a quota is used up."""
    if code == "LimitExceededException":
        return status == 429 and retry_after is not None
    return code in TOO_MANY_REQUESTS.codes or status == 429


def is_lasting(reason: Reason, words: str) -> bool:
    """Whether waiting for what was just made is no use: these words name what nobody has just made."""
    return reason is JUST_MADE and any(one in words for one in NOT_JUST_MADE)
