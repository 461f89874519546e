"""Waiting for AWS: the named reasons, and the two ways to wait.

`retry_while` tries a call again while AWS refuses it for one named reason; `poll_until` looks again until something
is so. Both have a budget, both tell what they wait for, and neither waits where waiting cannot help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

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
        return self.is_said_by(error.response)

    def is_said_by(self, parsed: Mapping[str, Any]) -> bool:
        """Whether this is what an answer says, as botocore parsed it."""
        answer = parsed.get("Error", {})
        codes = {answer.get("Code"), parsed.get("QueryErrorCode")}
        if not codes.intersection(self.codes):
            return False
        message = answer.get("Message") or ""
        return not self.fragments or any(fragment in message for fragment in self.fragments)


# What a whole service says while it is not ready; the tap waits for these, whichever call it is (by SERVICES_SAY).

TOO_MANY_REQUESTS = Reason(
    "too many requests",
    "The quota for this call is shared by everybody in the account; your turn comes.",
    (
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
    ),
    (),
    120,
    "the codes are those of botocore's retries/standard.py; the few calls with a fixed quota have budgets of their own",
)
JUST_MADE = Reason(
    "just made, not yet visible everywhere",
    "AWS answers from many places, and what was just made has not reached all of them.",
    (
        "NoSuchEntity",
        "NotFoundException",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    ),
    (),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency; "
    "of the other services terraform-provider-aws waits the same way (internal/service/lambda/permission.go)",
)
IAM_BUSY = Reason(
    "IAM is busy with this already",
    "Somebody else is changing the same role or policy, or one of that name was deleted a moment ago.",
    ("ConcurrentModification", "ConcurrentModificationException", "EntityTemporarilyUnmodifiable"),
    (),
    300,
    "https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html and API_DeleteRole.html: "
    "it is likely to succeed after several minutes",
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
TABLE_BUSY = Reason(
    "table busy",
    "The table is still being made, changed or deleted.",
    ("ResourceInUseException",),
    ("which is still in use", "is being created", "is being updated", "is being deleted"),
    300,
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteTable.html",
)
TABLES_BUSY = Reason(
    "many tables at work",
    "DynamoDB makes, changes and deletes only so many tables of an account at the same time.",
    ("LimitExceededException",),
    ("simultaneously",),
    300,
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html",
)
API_BUSY = Reason(
    "API Gateway is busy with this API",
    "Another change of the same API is not finished.",
    ("ConflictException", "BadRequestException"),
    ("concurrent modification",),
    120,
    "hashicorp/terraform-provider-aws#776; carlnordenfelt/aws-api-gateway-for-cloudformation#27 for the second code",
)
DEFINITION_NOT_YET_VISIBLE = Reason(
    "the API's methods not yet visible",
    "API Gateway does not see yet everywhere what was just put into the API.",
    ("BadRequestException", "NotFoundException"),
    ("doesn't contain any methods", "No integration defined for method"),
    30,
    "inferred: the methods were put before, and API Gateway names no time; the words are moto's",
)
LOG_GROUP_BUSY = Reason(
    "log group busy",
    "Something else is at work on the same log group: Lambda makes it, too, when a function writes.",
    ("OperationAbortedException",),
    (),
    60,
    "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html, "
    "aws/aws-cdk#17688",
)

# By service, what none of its calls can help but wait for.
SERVICES_SAY: dict[str, tuple[Reason, ...]] = {
    "iam": (IAM_BUSY,),
    "lambda": (FUNCTION_BUSY, TRIGGER_BUSY),
    "dynamodb": (TABLE_BUSY, TABLES_BUSY),
    "apigateway": (API_BUSY, DEFINITION_NOT_YET_VISIBLE),
    "logs": (LOG_GROUP_BUSY,),
}

# What one step meets with what it has just made; the step names the reason at the call.

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
STILL_ATTACHED = Reason(
    "detachment not yet visible",
    "IAM still sees the attachment that was just taken away.",
    ("DeleteConflict",),
    # DeleteRole and DeletePolicy; what else stands in their way (inline policies, versions) does not go by itself.
    ("must detach all policies first", "Cannot delete a policy attached to entities"),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
)
VISIBILITY_TIMEOUT_NOT_YET_SEEN = Reason(
    "visibility timeout not yet seen",
    "A queue's changed attributes take up to a minute to be known everywhere.",
    ("InvalidParameterValueException",),
    ("is less than Function timeout",),
    90,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html; "
    "winglang/wing#1507 for the words",
)

# What contradicts the look that came before: the look was answered from a place that lags behind. The runner looks
# again.

ALREADY_THERE = Reason(
    "there already, but not seen",
    "It was not there when the step looked, and AWS says that it is: the step looks again.",
    (
        "EntityAlreadyExists",
        "QueueAlreadyExists",
        "QueueNameExists",
        "ResourceInUseException",
        "ResourceConflictException",
        "ConflictException",
        "ResourceAlreadyExistsException",
    ),
    ("already exist", "already has this name"),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency; "
    "SQS names 60 s for its own lists and attributes",
)


# How many looks in a row must say that waiting cannot help: with the pauses between them, eight seconds. IAM's reads
# lag behind its writes by a few seconds as a rule; a really wrong trust policy must not cost the whole budget.
SURE = 5


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

        Each attempt is a `with` block around the call. After a refusal `unless` looks whether waiting can help: it
        returns None, or the sentence that says what is really wrong. What it looks at may itself be new and not yet
        readable everywhere, so it is believed after SURE looks in a row, between which the call is tried again; then
        WaitingCannotHelp is raised. Once it saw nothing wrong it is asked again only when the budget is used up.
        Raises GaveUp when the budget of a reason is used up.
        """
        since: dict[Reason, float] = {}
        wrong_looks = 0
        trusted = unless is None
        while True:
            attempt = Attempt(reasons)
            yield attempt
            if attempt.refusal is None or attempt.reason is None:
                return
            reason, means, words = attempt.reason, attempt.reason.means, _words(attempt.refusal)
            started = since.setdefault(reason, self.clock())
            is_last = self.clock() - started + self.every > reason.budget
            if unless is not None and (is_last or not trusted):
                wrong = unless()
                trusted = wrong is None
                if wrong:
                    wrong_looks += 1
                    if is_last or wrong_looks >= SURE:
                        raise WaitingCannotHelp(words, means=wrong, exit_code=outcome.SERVICE) from attempt.refusal
                    means = f"{wrong} If that is still so in some seconds, waiting cannot help."
            self._pause(reason.name, means, words, started, reason.budget)

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
        self.looks_again(wait)
        self.sleep(every)

    def looks_again(self, wait: Wait) -> None:
        """Told before each further look."""
        self.waited.append(wait)
        self.tell(wait)


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
