"""What of each resource type is compared, and what becomes of a difference. One row for each type.

`updated`: what its step sets; a run updates it. `reported`: what the step leaves as AWS makes it; a difference may be
meant, so a run leaves it, and says so. `looks`: the same, where only a call of its own shows it: status and plan ask.
`not_compared`: what nobody looks at, and why.
In the first three is all that can stop the architecture, cost money, or open it. docs/reference/comparison.md is
written from these rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# A call that shows an attribute: service, operation, parameters. Texts in {braces}: from identity and outputs.
Call = tuple[str, str, dict[str, str]]

NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True)
class Look:
    """An attribute that only a call of its own shows: a person's word for it, the call, and the field of its answer.

    `defaults` as in `reported`. Of a list, `ours` is the field by which members of the deployment are known.
    """

    attribute: str
    call: Call
    field: str
    defaults: tuple[Any, ...] = ()
    ours: str = ""


@dataclass(frozen=True)
class Comparison:
    """One type. `reported` has, by the field of AWS's description, what AWS gives it by default.

    A field may be a path, a.b; * stands for all that is there. Nothing at all is always a default.
    """

    updated: tuple[str, ...] = ()
    reported: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    not_compared: str = ""


COMPARED = {
    "iam:policy": Comparison(
        updated=("document", "tag"),
        not_compared="path, description; to what else it is attached",
    ),
    "iam:role": Comparison(
        updated=("trust policy", "tag"),
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html
        reported={"PermissionsBoundary.PermissionsBoundaryArn": ()},
        looks=(
            Look("inline policies", ("iam", "ListRolePolicies", {"RoleName": "{RoleName}"}), "PolicyNames"),
            Look(
                "other attached policies",
                ("iam", "ListAttachedRolePolicies", {"RoleName": "{RoleName}"}),
                "AttachedPolicies",
                ours="PolicyArn",
            ),
        ),
        not_compared="path, description, session duration: no service that assumes it asks for more than an hour",
    ),
    "iam:role-policy-attachment": Comparison(not_compared="it has no attributes: it is there, or not"),
    "dynamodb:table": Comparison(
        updated=("key", "key attribute", "billing mode", "tag"),
        # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
        reported={
            "StreamSpecification.StreamEnabled": (False,),
            "SSEDescription.KMSMasterKeyArn": (),
            "TableClassSummary.TableClass": ("STANDARD",),
            "OnDemandThroughput.MaxReadRequestUnits": (-1,),
            "OnDemandThroughput.MaxWriteRequestUnits": (-1,),
            "DeletionProtectionEnabled": (False,),
            "GlobalSecondaryIndexes": (),
            "Replicas": (),
        },
        looks=(
            Look(
                "time to live",
                ("dynamodb", "DescribeTimeToLive", {"TableName": "{TableName}"}),
                "TimeToLiveDescription.TimeToLiveStatus",
                ("DISABLED",),
            ),
            Look(
                "point-in-time recovery",
                ("dynamodb", "DescribeContinuousBackups", {"TableName": "{TableName}"}),
                "ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus",
                ("DISABLED",),
            ),
            Look("resource policy", ("dynamodb", "GetResourcePolicy", {"ResourceArn": "{arn}"}), "Policy"),
            Look(
                "Kinesis destinations",
                ("dynamodb", "DescribeKinesisStreamingDestination", {"TableName": "{TableName}"}),
                "KinesisDataStreamDestinations.*.DestinationStatus",
                ("DISABLED",),
            ),
            Look(
                "contributor insights",
                ("dynamodb", "DescribeContributorInsights", {"TableName": "{TableName}"}),
                "ContributorInsightsStatus",
                ("DISABLED",),
            ),
        ),
        not_compared="warm throughput: it grows with use",
    ),
    "sqs:queue": Comparison(
        updated=("Policy", "VisibilityTimeout", "RedrivePolicy", "MessageRetentionPeriod", "roles named", "tag"),
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
        reported={
            "Policy": (),
            "RedrivePolicy": (),
            "RedriveAllowPolicy": (),
            "DelaySeconds": ("0",),
            "MessageRetentionPeriod": ("345600",),
            "MaximumMessageSize": ("262144", "1048576"),  # AWS raised it in August 2025
            "KmsMasterKeyId": (),
        },
        looks=(
            Look(
                "other triggers",
                ("lambda", "ListEventSourceMappings", {"EventSourceArn": "{arn}"}),
                "EventSourceMappings",
                ours="UUID",
            ),
        ),
        not_compared="receive wait time: Lambda sets its own; SSE-SQS: it costs nothing, and stops nobody",
    ),
    "logs:log-group": Comparison(
        updated=("retentionInDays", "tag"),
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
        reported={
            "kmsKeyId": (),
            "metricFilterCount": (0,),
            "dataProtectionStatus": (),
            "deletionProtectionEnabled": (False,),
        },
        looks=(
            Look(
                "subscription filters",
                ("logs", "DescribeSubscriptionFilters", {"logGroupName": "{logGroupName}"}),
                "subscriptionFilters",
            ),
        ),
        not_compared="class: it can never be changed; field indexes, transformers",
    ),
    "lambda:function": Comparison(
        updated=(
            *(
                "PackageType",
                "CodeSha256",
                "Runtime",
                "Role",
                "Handler",
                "Timeout",
                "MemorySize",
                "Environment",
                "role id",
            ),
            "tag",
        ),
        # https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html; and GetFunction's Concurrency.
        reported={
            "Concurrency.ReservedConcurrentExecutions": (),
            "State": ("Active", "Pending", "Inactive"),
            "LastUpdateStatus": ("Successful", "InProgress"),
            "KMSKeyArn": (),
            "TracingConfig.Mode": ("PassThrough",),
            "DeadLetterConfig.TargetArn": (),
            "EphemeralStorage.Size": (512,),
            "Layers": (),
            "VpcConfig.SubnetIds": (),
            "FileSystemConfigs": (),
            "LoggingConfig.LogGroup": ("/aws/lambda/{FunctionName}",),
            "SnapStart.ApplyOn": ("None",),
        },
        looks=(
            Look(
                "other permissions",
                ("lambda", "GetPolicy", {"FunctionName": "{FunctionName}"}),
                "Policy.Statement",
                ours="Sid",
            ),
            Look(
                "function URL",
                ("lambda", "GetFunctionUrlConfig", {"FunctionName": "{FunctionName}"}),
                "FunctionUrl",
            ),
            Look(
                "provisioned concurrency",
                ("lambda", "ListProvisionedConcurrencyConfigs", {"FunctionName": "{FunctionName}"}),
                "ProvisionedConcurrencyConfigs",
            ),
            Look(
                "other triggers",
                ("lambda", "ListEventSourceMappings", {"FunctionName": "{FunctionName}"}),
                "EventSourceMappings",
                ours="UUID",
            ),
        ),
        not_compared="description, architecture, log format and level, code signing, versions; what only asynchronous "
        "invocations meet",
    ),
    "lambda:event-source-mapping": Comparison(
        updated=(
            *("State", "FunctionName", "BatchSize", "FunctionResponseTypes"),
            *("ScalingConfig > MaximumConcurrency", "tag"),
        ),
        # https://docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html
        reported={
            "FilterCriteria.Filters": (),
            "MaximumBatchingWindowInSeconds": (0,),
            "KMSKeyArn": (),
            "ProvisionedPollerConfig": (),
            "MetricsConfig.Metrics": (),
        },
        not_compared="LastProcessingResult: each poll replaces it",
    ),
    "lambda:permission": Comparison(updated=("Action", "Principal", "Condition")),
    "apigateway:rest-api": Comparison(
        updated=(
            *("name", "endpoint type", "disableExecuteApiEndpoint", "policy"),
            *("authorizationType", "apiKeyRequired", "requestValidatorId"),
            *("type", "httpMethod", "uri", "credentials", "passthroughBehavior", "contentHandling"),
            *("requestParameters", "requestTemplates", "timeoutInMillis", "selectionPattern"),
            *("responseParameters", "responseTemplates", "tag"),
        ),
        # https://docs.aws.amazon.com/apigateway/latest/api/API_RestApi.html
        reported={"binaryMediaTypes": (), "endpointConfiguration.vpcEndpointIds": ()},
        not_compared="routes of others; request models and cache keys of ours; gateway responses, compression, domain "
        "names; usage plans of others",
    ),
    "apigateway:stage": Comparison(
        updated=(
            *("what it serves", "endpoint or policy changed"),
            *("methodSettings > */* > throttlingRateLimit", "methodSettings > */* > throttlingBurstLimit"),
        ),
        # https://docs.aws.amazon.com/apigateway/latest/api/API_MethodSetting.html. Without a throttle of its own, -1, a
        # method has the account's: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html.
        reported={
            "methodSettings.*.throttlingBurstLimit": (5000, 1250, -1),
            "methodSettings.*.throttlingRateLimit": (10000, 2500, -1),
            "methodSettings.*.cachingEnabled": (False,),
            "methodSettings.*.loggingLevel": ("OFF",),
            "methodSettings.*.dataTraceEnabled": (False,),
            "methodSettings.*.metricsEnabled": (False,),
            "cacheClusterEnabled": (False,),
            "tracingEnabled": (False,),
            "canarySettings": (),
            "clientCertificateId": (),
            "webAclArn": (),
            "accessLogSettings": (),
            "variables": (),
        },
        not_compared="description, documentation version; stages of others",
    ),
    "apigateway:api-key": Comparison(
        updated=("name", "enabled", "tag"),
        not_compared="its value, which nobody reads here; description, customer; usage plans of others",
    ),
    "apigateway:usage-plan": Comparison(
        updated=("name", "apiStages", "throttle > rateLimit", "throttle > burstLimit", "tag"),
        # https://docs.aws.amazon.com/apigateway/latest/api/API_UsagePlan.html
        reported={"quota": (), "apiStages.*.throttle": ()},
        not_compared="description, product code; stages and keys of others",
    ),
    "apigateway:usage-plan-key": Comparison(not_compared="it has no attributes: the key is in the plan, or not"),
}


def compared(
    kind: str, description: Mapping[str, Any], identity: Mapping[str, str]
) -> Iterator[tuple[str, Any, Any, bool]]:
    """Of each attribute that is reported: its name, what is found, AWS's default, and whether that is the same."""
    for path, defaults in COMPARED[kind].reported.items():
        for name, found in fields(description, path):
            usual = [text.format_map(identity) if isinstance(text, str) else text for text in defaults]
            yield name, found, (usual or [None])[0], is_default(found, usual)


def is_default(found: Any, defaults: Sequence[Any]) -> bool:
    """Whether this is nothing, or one of the defaults."""
    return found in NOTHING or found in defaults


def fields(description: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The name and the value of the field at a path; with * in it of each, and of none where there are none.

    JSON in a text is read. What is not there is None.
    """
    first, _, rest = path.partition(".")
    if isinstance(description, str) and description.startswith("{"):
        description = json.loads(description)
    if isinstance(description, list):
        description = {str(place): member for place, member in enumerate(description)}
    known = description if isinstance(description, Mapping) else {}
    for name in list(known) if first == "*" else [first]:
        if not rest:
            yield name, known.get(name)
            continue
        for below, value in fields(known.get(name), rest):
            yield f"{name} > {below}", value
