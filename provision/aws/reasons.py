"""The refusals of AWS that pass by themselves: by code and a fragment of the message, with the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Reason:
    """Something that AWS refuses now and allows soon.

    An error matches by its code and a fragment of its message: any of `fragments`, or none if there are none.
    `budget`: seconds. `source`: where codes, fragments and budget come from.
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
        """Whether an answer, as botocore parsed it, gives this reason."""
        answer = parsed.get("Error", {})
        codes = {answer.get("Code"), parsed.get("QueryErrorCode")}
        if not codes.intersection(self.codes):
            return False
        message = answer.get("Message") or ""
        return not self.fragments or any(fragment in message for fragment in self.fragments)


# What a service may answer to any call while it is not ready: the listener waits for these (SERVICES_SAY).

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

# In the ARN of a policy of AWS's own. Every account has these from the first: nobody has just made one.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html
OF_AWS = ":iam::aws:policy/"
# How IAM speaks of a permissions boundary that is not there. The owner of the account made it before, or never.
NO_SUCH_BOUNDARY = "Scope ARN: "
NOT_JUST_MADE = (OF_AWS, NO_SUCH_BOUNDARY)

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
    ("is currently in the following state", "update is in progress", "concurrent update operation"),
    300,
    "https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html; the third is what AddPermission says, too "
    "(go-to-k/cdkd, src/deployment/retryable-errors.ts)",
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


# By service, the reasons for which any of its calls waits.
SERVICES_SAY: dict[str, tuple[Reason, ...]] = {
    "iam": (IAM_BUSY,),
    "lambda": (FUNCTION_BUSY, TRIGGER_BUSY),
    "dynamodb": (TABLE_BUSY, TABLES_BUSY),
    "apigateway": (API_BUSY, DEFINITION_NOT_YET_VISIBLE),
    "logs": (LOG_GROUP_BUSY,),
}


# What one call of a step may meet after what was just created. The step names the reason at the call.

ROLE_NOT_YET_ASSUMABLE = Reason(
    "role not yet assumable",
    "Lambda cannot see yet that the new role trusts it.",
    ("InvalidParameterValueException",),
    ("cannot be assumed by Lambda",),
    120,
    "DataDog/stratus-red-team#358, pulumi/pulumi-aws-native#148: seconds as a rule, up to a minute",
)

ROLE_NOT_YET_KNOWN_TO_KMS = Reason(
    "role not yet known to KMS",
    "Lambda encrypts the function's environment variables, and KMS cannot see yet the new role that is to read them.",
    ("InvalidParameterValueException",),
    ("KMS key is invalid for CreateGrant",),
    120,
    "hashicorp/terraform-provider-aws#4633 and #5849: CreateFunction and UpdateFunctionConfiguration",
)

ROLE_NOT_YET_PERMITTED = Reason(
    "role's permissions not yet visible",
    "Lambda cannot see yet that the function's role may read from the queue.",
    ("InvalidParameterValueException",),
    ("execution role does not have permissions", "cannot be assumed", "ensure the role can perform"),
    120,
    "aws/aws-cdk#6770, terraform-provider-aws internal/service/lambda/event_source_mapping.go",
)

QUEUE_NOT_YET_KNOWN_TO_LAMBDA = Reason(
    "queue not yet known to Lambda",
    "Lambda asks SQS for the new queue, and SQS does not see it yet everywhere.",
    ("InvalidParameterValueException",),
    ("AWS.SimpleQueueService.NonExistentQueue",),
    60,
    "localstack/localstack has AWS's words; that it passes by itself is inferred from the second that "
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html asks to wait",
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
    # DeleteRole and DeletePolicy. Their other conflicts (inline policies, versions) do not pass by themselves.
    ("must detach all policies first", "Cannot delete a policy attached to entities"),
    60,
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency",
)

STAGES_STILL_ON = Reason(
    "stages still in the usage plan",
    "API Gateway still sees the stage that was just taken off the plan.",
    ("BadRequestException",),
    ("because there are API Stages associated with it",),
    60,
    "aws/aws-sdk-js#3841 for the words; serverless/serverless#4006 for the race",
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


# AWS contradicts the look before: that was answered from a place that lags behind. The runner looks again.

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
