"""Which operations only read, which a smoke test may use, and which errors leave open whether AWS acted."""

from __future__ import annotations

from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

# The operations that change nothing. Every other operation is a write, and needs a record in the state file.
READS: dict[str, frozenset[str]] = {
    "sts": frozenset({"GetCallerIdentity"}),
    "iam": frozenset(
        {
            "GetPolicy",
            "GetPolicyVersion",
            "GetRole",
            "ListAccountAliases",
            "ListAttachedRolePolicies",
            "ListEntitiesForPolicy",
            "ListInstanceProfilesForRole",
            "ListPolicyVersions",
            "ListRolePolicies",
        }
    ),
    "dynamodb": frozenset({"DescribeTable", "GetItem", "ListTagsOfResource", "Scan"}),
    "sqs": frozenset({"GetQueueAttributes", "GetQueueUrl", "ListQueueTags"}),
    "lambda": frozenset(
        {
            "GetEventSourceMapping",
            "GetFunction",
            "GetFunctionConfiguration",
            "GetPolicy",
            "ListEventSourceMappings",
            "ListTags",
        }
    ),
    "apigateway": frozenset(
        {
            "GetDeployment",
            "GetDeployments",
            "GetMethod",
            "GetResources",
            "GetRestApi",
            "GetRestApis",
            "GetStage",
            "GetStages",
        }
    ),
    "logs": frozenset({"DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "ListTagsForResource"}),
}


# What smoke tests may do beside reading: send to and invoke what the state file records, and take away their own items.
# Each operation with the parameter that says to what.
SMOKE_TEST_CALLS: dict[str, dict[str, str]] = {
    "lambda": {"Invoke": "FunctionName"},
    "apigateway": {"TestInvokeMethod": "restApiId"},
    "sqs": {"SendMessage": "QueueUrl"},
    "dynamodb": {"DeleteItem": "TableName"},
}

# What a smoke test may do to the dead-letter queue alone: take its own message out again. From the queue itself it
# would take what the function is to get.
DEAD_LETTER_CALLS = frozenset({"ReceiveMessage", "DeleteMessage"})


# Never sent: no connection came about. Every other failure of the connection leaves open whether AWS acted; so does
# ProxyConnectionError, which urllib3 1.26 also raises when a proxy hangs up after it has passed the request on.
NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError)

NO_ANSWER = (HTTPClientError, BotocoreConnectionError)


# A write that takes something away and is told that it is not there: for the caller to judge, not to wait for.
DELETING_VERBS = ("Delete", "Detach", "Remove", "Untag")


# What botocore's waiters wait for, in words.
WAITED_FOR = {
    "policy_exists": "the new policy to be visible",
    "role_exists": "the new role to be visible",
    "table_exists": "the table to be ready",
    "table_not_exists": "the table to be gone",
    "function_active_v2": "the function to be ready",
    "function_updated_v2": "the function's update to be finished",
}
