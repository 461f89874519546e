"""Where to see a thing: a deep link into the console, and the `aws` command that shows it.

The console's addresses are nowhere documented, and change: each here is that of the service's own page, by the name
that the thing has. No link is better than a wrong one, so what has no page of its own has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provision.aws.call_text import aws_command

if TYPE_CHECKING:
    from provision.aws.clients import Clients
    from provision.state.entries import Resource

# https://docs.aws.amazon.com/general/latest/gr/rande-manage.html names the partitions
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


TABS = {
    "lambda:function": "tab=code",
    "lambda:permission": "tab=configure&subtab=permissions",
    "lambda:event-source-mapping": "tab=configure&subtab=triggers",
}


def where_to_see(entry: Resource, aws: Clients) -> str:
    """The console's page of a thing, or the command that shows it: in a sandbox, and where there is no page."""
    if aws.endpoint is None:
        place = {"region": aws.region, "account": aws.account_id, "partition": aws.partition}
        url = console_url(entry.kind, entry.identity, entry.outputs, **place)
        if url is not None:
            return url
    return look_command(
        entry.kind,
        entry.identity,
        entry.outputs,
        region=aws.region,
        endpoint_url=aws.base_url,
        profile=aws.profile,
    )


def console_url(
    kind: str,
    identity: Mapping[str, str],
    outputs: Mapping[str, str],
    *,
    region: str,
    account: str,
    partition: str,
) -> str | None:
    """The console's page of a thing that the ledger records; None where there is none to be sure of."""
    if partition not in CONSOLES:
        return None
    here = f"https://{region}.{CONSOLES[partition]}" if partition == "aws" else f"https://{CONSOLES[partition]}"
    at = f"?region={region}"
    if kind == "iam:policy":
        return f"{here}/iam/home{at}#/policies/details/{quote(identity['PolicyArn'], safe='')}"
    if kind in ("iam:role", "iam:role-policy-attachment"):
        return f"{here}/iam/home{at}#/roles/details/{quote(identity['RoleName'])}"
    if kind == "dynamodb:table":
        return f"{here}/dynamodbv2/home{at}#table?name={quote(identity['TableName'])}"
    if kind == "sqs:queue" and "url" in outputs:
        return f"{here}/sqs/v3/home{at}#/queues/{quote(outputs['url'], safe='')}"
    if kind == "logs:log-group":
        # The console encodes the name twice, with a dollar sign in the place of the second per cent sign.
        name = quote(quote(identity["logGroupName"], safe=""), safe="").replace("%25", "$25")
        return f"{here}/cloudwatch/home{at}#logsV2:log-groups/log-group/{name}"
    if kind in ("lambda:function", "lambda:permission", "lambda:event-source-mapping"):
        return f"{here}/lambda/home{at}#/functions/{quote(identity['FunctionName'])}?{TABS[kind]}"
    if kind == "apigateway:rest-api" and "id" in outputs:
        return f"{here}/apigateway/main/apis/{outputs['id']}/resources{at}&api={outputs['id']}"
    if kind == "apigateway:stage":
        return f"{here}/apigateway/main/apis/{identity['restApiId']}/stages{at}&api={identity['restApiId']}"
    return None


def look_command(
    kind: str,
    identity: Mapping[str, str],
    outputs: Mapping[str, str],
    *,
    region: str,
    endpoint_url: str | None = None,
    profile: str | None = None,
) -> str:
    """The `aws` command that shows a thing that the ledger records, on one line."""
    service, operation, parameters = look(kind, identity, outputs)
    command = aws_command(service, operation, parameters, region=region, endpoint_url=endpoint_url, profile=profile)
    return command.replace(" \\\n    ", " ")


def look(kind: str, identity: Mapping[str, str], outputs: Mapping[str, str]) -> tuple[str, str, dict[str, Any]]:
    if kind == "iam:policy":
        return "iam", "GetPolicy", {"PolicyArn": identity["PolicyArn"]}
    if kind == "iam:role":
        return "iam", "GetRole", {"RoleName": identity["RoleName"]}
    if kind == "iam:role-policy-attachment":
        return "iam", "ListAttachedRolePolicies", {"RoleName": identity["RoleName"]}
    if kind == "dynamodb:table":
        return "dynamodb", "DescribeTable", {"TableName": identity["TableName"]}
    if kind == "sqs:queue" and "url" in outputs:
        return "sqs", "GetQueueAttributes", {"QueueUrl": outputs["url"], "AttributeNames": ["All"]}
    if kind == "sqs:queue":
        return "sqs", "GetQueueUrl", {"QueueName": identity["QueueName"]}
    if kind == "logs:log-group":
        return "logs", "DescribeLogGroups", {"logGroupNamePrefix": identity["logGroupName"]}
    if kind == "lambda:function":
        return "lambda", "GetFunctionConfiguration", {"FunctionName": identity["FunctionName"]}
    if kind == "lambda:permission":
        return "lambda", "GetPolicy", {"FunctionName": identity["FunctionName"]}
    if kind == "lambda:event-source-mapping":
        return "lambda", "ListEventSourceMappings", {"FunctionName": identity["FunctionName"]}
    if kind == "apigateway:stage":
        return "apigateway", "GetStage", {"restApiId": identity["restApiId"], "stageName": identity["stageName"]}
    if "id" in outputs:
        return "apigateway", "GetRestApi", {"restApiId": outputs["id"]}
    return "apigateway", "GetRestApis", {}
