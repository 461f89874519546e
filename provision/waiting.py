"""Waiting for AWS: the named reasons, and the two ways to wait.

`retry_while` tries a call again while AWS refuses it for one named reason; `poll_until` looks again until something
is so. Both have a budget, both tell what they wait for, and neither waits where waiting cannot help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from botocore.exceptions import ClientError

from provision import outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Reason:
    """Something that AWS refuses now and allows soon.

    It is recognised by error code plus a fragment of the message (any of `fragments`; none: the code suffices).
    `budget` is in seconds; `source` says where code, fragment and budget come from.
    """

    name: str
    means: str
    codes: tuple[str, ...]
    fragments: tuple[str, ...]
    budget: float
    source: str

    def matches(self, error: ClientError) -> bool:
        answer = error.response.get("Error", {})
        codes = {answer.get("Code"), error.response.get("QueryErrorCode")}
        if not codes.intersection(self.codes):
            return False
        message = answer.get("Message") or ""
        return not self.fragments or any(fragment in message for fragment in self.fragments)


JUST_MADE = Reason(
    "just made, not yet visible everywhere",
    "IAM answers from many places, and what was just made has not reached all of them.",
    ("NoSuchEntity",),
    (),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
)
ROLE_NOT_YET_ASSUMABLE = Reason(
    "role not yet assumable",
    "Lambda cannot see yet that the new role trusts it.",
    ("InvalidParameterValueException",),
    ("cannot be assumed by Lambda",),
    120,
    "DataDog/stratus-red-team#358, pulumi/pulumi-aws-native#148: seconds as a rule, up to a minute",
)
ROLE_NOT_YET_PERMITTED = Reason(
    "role's permissions not yet visible",
    "Lambda cannot see yet that the function's role may read from the queue.",
    ("InvalidParameterValueException",),
    ("execution role does not have permissions", "cannot be assumed", "ensure the role can perform"),
    120,
    "aws/aws-cdk#6770, terraform-provider-aws internal/service/lambda/event_source_mapping.go",
)
QUEUE_POLICY_NAMES_NEW_ROLE = Reason(
    "queue policy names a role that SQS does not know yet",
    "SQS looks up each role that an access policy names, and a new role has not reached it.",
    ("InvalidAttributeValue", "InvalidParameterValue"),
    ("Invalid value for the parameter Policy",),
    120,
    "hashicorp/terraform-provider-aws#35861",
)
DEAD_LETTER_QUEUE_NOT_YET_VISIBLE = Reason(
    "dead-letter queue not yet visible",
    "SQS looks for the dead-letter queue that was just made, and does not see it yet everywhere.",
    ("InvalidParameterValue", "InvalidAttributeValue"),
    ("Dead letter target does not exist",),
    60,
    "serverless/serverless#5215 for the words; that it passes by itself is inferred from the second that "
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html asks to wait",
)
QUEUE_NAME_BLOCKED = Reason(
    "queue name blocked after deletion",
    "SQS gives the name of a deleted queue free again after 60 seconds.",
    ("AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"),
    (),
    90,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html; 70 s is what "
    "hashicorp/terraform-provider-aws#3113 found necessary",
)
FUNCTION_BUSY = Reason(
    "function busy",
    "The function is still being made or updated.",
    ("ResourceConflictException",),
    ("is currently in the following state", "update is in progress"),
    300,
    "https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html",
)
TRIGGER_BUSY = Reason(
    "trigger in transition",
    "The event source mapping is still being made, changed or deleted.",
    ("ResourceInUseException",),
    (),
    180,
    "https://docs.aws.amazon.com/lambda/latest/api/API_DeleteEventSourceMapping.html",
)
STILL_ATTACHED = Reason(
    "detachment not yet visible",
    "IAM still sees the attachment that was just taken away.",
    ("DeleteConflict",),
    # DeleteRole and DeletePolicy; what else stands in their way (inline policies, versions) does not go by itself.
    ("must detach all policies first", "Cannot delete a policy attached to entities"),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
)
TABLE_BUSY = Reason(
    "table busy",
    "The table is still being made or changed.",
    ("ResourceInUseException",),
    ("which is still in use", "is being created", "is being updated"),
    300,
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteTable.html",
)
API_NOT_YET_VISIBLE = Reason(
    "just made, not yet visible everywhere",
    "API Gateway does not know yet everywhere what was just made.",
    ("NotFoundException",),
    (),
    30,
    "inferred: terraform-provider-aws waits for nothing here; a second try harms nobody",
)


class GaveUp(outcome.Stop):
    """The budget of a wait is used up. AWS's own last words are in the message."""


class WaitingCannotHelp(outcome.Stop):
    """AWS refused, for a reason that often passes by itself, but here something is really wrong."""


@dataclass(frozen=True)
class Wait:
    """One look at a wait that goes on: what for, AWS's words if it refused, seconds so far, seconds at most."""

    reason: str
    means: str
    words: str
    elapsed: float
    budget: float


@dataclass
class Waiting:
    """The clock, the sleep, and who is told. Tests bring a clock of their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[Wait], None] = lambda wait: None
    every: float = 2.0
    waited: list[Wait] = field(default_factory=list)

    def retry_while(self, *reasons: Reason, unless: Callable[[], str | None] | None = None) -> Iterator[Attempt]:
        """Attempts, until one succeeds or fails for a reason that is not among `reasons`.

        Each attempt is a `with` block around the call. Before the first wait `unless` is asked whether waiting can
        help: it returns None, or the sentence that says what is really wrong, which is raised as WaitingCannotHelp.
        Raises GaveUp when the budget of a reason is used up.
        """
        since: dict[Reason, float] = {}
        while True:
            attempt = Attempt(reasons)
            yield attempt
            if attempt.refusal is None or attempt.reason is None:
                return
            words = _words(attempt.refusal)
            if unless is not None:
                wrong = unless()
                if wrong:
                    raise WaitingCannotHelp(words, means=wrong, exit_code=outcome.SERVICE) from attempt.refusal
                unless = None
            reason = attempt.reason
            started = since.setdefault(reason, self.clock())
            self._pause(reason.name, reason.means, words, started, reason.budget)

    def poll_until(
        self,
        what: str,
        look: Callable[[], T | None],
        *,
        budget: float,
        means: str = "",
        times: int = 1,
        every: float | None = None,
    ) -> T:
        """What `look` returns, as soon as it is neither None nor False, `times` looks in a row.

        "Not there" is believed only after several looks: an answer may come from a place that lags behind. `every` is
        the pause between two looks in seconds; None: the usual one.
        """
        started = self.clock()
        seen = 0
        while True:
            found = look()
            if found is None or found is False:
                seen = 0
            else:
                seen += 1
                if seen >= times:
                    return found
            if seen:
                self.sleep(min(self.every, 1.0))
            else:
                self._pause(what, means, "", started, budget, every)

    def _pause(
        self, reason: str, means: str, words: str, started: float, budget: float, every: float | None = None
    ) -> None:
        every = self.every if every is None else every
        elapsed = self.clock() - started
        wait = Wait(reason, means, words, elapsed, budget)
        if elapsed + every > budget:
            raise GaveUp(
                f"Gave up after {elapsed:.0f} s: {reason}." + (f" AWS said: {words}" if words else ""),
                means=means,
                advice=("Run the same command again: it goes on where this run stopped.",),
            )
        self.waited.append(wait)
        self.tell(wait)
        self.sleep(every)


class Attempt:
    """One try of `retry_while`: a `with` block that swallows exactly the errors that the reasons name."""

    def __init__(self, reasons: tuple[Reason, ...]) -> None:
        self.reasons = reasons
        self.reason: Reason | None = None
        self.refusal: ClientError | None = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ClientError):
            return False
        self.reason = next((reason for reason in self.reasons if reason.matches(error)), None)
        self.refusal = error
        return self.reason is not None


def _words(error: ClientError) -> str:
    answer = error.response.get("Error", {})
    return f"{answer.get('Code')}: {answer.get('Message')}"
