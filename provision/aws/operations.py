"""Which operations only read, which a smoke test may use, and which errors leave open whether AWS acted."""

from __future__ import annotations

from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

# The operations that change nothing. Every other operation is a write, and needs a record in the state file.
READS: dict[str, frozenset[str]] = {
    "sts": frozenset({"GetCallerIdentity"}),
    "iam": frozenset(
        {
            "GetAccountSummary",
            "GetPolicy",
            "GetPolicyVersion",
            "GetRole",
            "ListAccountAliases",
            "ListAttachedRolePolicies",
            "ListEntitiesForPolicy",
            "ListInstanceProfilesForRole",
            "ListPolicyVersions",
            "ListRolePolicies",
            "SimulatePrincipalPolicy",
        }
    ),
    "dynamodb": frozenset(
        {
            "DescribeContinuousBackups",
            "DescribeContributorInsights",
            "DescribeKinesisStreamingDestination",
            "DescribeTable",
            "DescribeTimeToLive",
            "GetItem",
            "GetResourcePolicy",
            "ListTagsOfResource",
            "Scan",
        }
    ),
    "sqs": frozenset({"GetQueueAttributes", "GetQueueUrl", "ListQueueTags"}),
    "lambda": frozenset(
        {
            "GetAccountSettings",
            "GetEventSourceMapping",
            "GetFunction",
            "GetFunctionConfiguration",
            "GetFunctionUrlConfig",
            "GetPolicy",
            "ListEventSourceMappings",
            "ListProvisionedConcurrencyConfigs",
            "ListTags",
        }
    ),
    "apigateway": frozenset(
        {
            "GetApiKey",
            "GetApiKeys",
            "GetDeployment",
            "GetDeployments",
            "GetExport",
            "GetMethod",
            "GetResources",
            "GetRestApi",
            "GetRestApis",
            "GetStage",
            "GetStages",
            "GetUsagePlan",
            "GetUsagePlanKeys",
            "GetUsagePlans",
        }
    ),
    "logs": frozenset(
        {
            "DescribeLogGroups",
            "DescribeLogStreams",
            "DescribeSubscriptionFilters",
            "FilterLogEvents",
            "ListTagsForResource",
        }
    ),
}


# The calls of API Gateway whose answer may have the value of an API key: a secret, and nowhere written down.
SHOW_KEYS = frozenset(
    {
        "CreateApiKey",
        "CreateUsagePlanKey",
        "GetApiKey",
        "GetApiKeys",
        "GetUsagePlanKey",
        "GetUsagePlanKeys",
        "UpdateApiKey",
    }
)

# The status of an answer that says: there is no such operation here. Emulators give it; asking again is no use.
NOT_IMPLEMENTED = 501

# What smoke tests may do beside reading: send to and invoke what the state file records, and delete their own items.
# By operation, the parameter that names the resource.
SMOKE_TEST_CALLS: dict[str, dict[str, str]] = {
    "lambda": {"Invoke": "FunctionName"},
    "apigateway": {"TestInvokeMethod": "restApiId"},
    "sqs": {"SendMessage": "QueueUrl"},
    "dynamodb": {"DeleteItem": "TableName"},
}

# What a smoke test may do to the dead-letter queue only: take its own message out. In the queue itself it would take
# the function's messages.
DEAD_LETTER_CALLS = frozenset({"ReceiveMessage", "DeleteMessage"})


# Never sent: there was no connection. After every other failure of the connection nobody knows whether AWS acted. Nor
# after ProxyConnectionError: urllib3 1.26 raises it also when a proxy hangs up after it has passed the request on.
NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError)

NO_ANSWER = (HTTPClientError, BotocoreConnectionError)


# Invoke says with status 502 that the function cannot be started as it is: a refusal, not a fault of Lambda's.
# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
REFUSED_WITH_502 = frozenset(
    {
        "EC2AccessDeniedException",
        "ENILimitReachedException",
        "InvalidRuntimeException",
        "InvalidSecurityGroupIDException",
        "InvalidSubnetIDException",
        "InvalidZipFileException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "SubnetIPAddressLimitReachedException",
    }
)

# When such a write is told that the resource is not there, the caller decides: waiting would not help.
DELETING_VERBS = ("Delete", "Detach", "Remove", "Untag")


# What botocore's waiters wait for, in words.
WAITED_FOR = {
    "table_exists": "the table to be ready",
    "table_not_exists": "the table to be gone",
    "function_active_v2": "the function to be ready",
    "function_updated_v2": "the function's update to be finished",
}
