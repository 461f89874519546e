"""Calls that moto refuses as AWS does, but in its own words or with its own code.

A line has the service, the operations (none: all), a pattern of moto's message, AWS's message, and AWS's code if moto's
is wrong. AWS's words come from its API references, from errors quoted in public issue threads, and from tests of other
emulators that were recorded on AWS.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from werkzeug.wrappers import Response

from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Words, refusal, words_of

GAP = re.compile(r"\{(\w+)\}")


class Rewording(NamedTuple):
    service: str
    operations: tuple[str, ...]
    moto: re.Pattern[str]
    code: str
    message: str


def line(service: str, operations: str, moto: str, message: str, code: str = "") -> Rewording:
    return Rewording(service, tuple(operations.split()), re.compile(moto, re.DOTALL), code, message)


NO_TABLE = "Requested resource not found: Table: {TableName} not found"

REWORDINGS = (
    line("iam", "", r"Role (\S+) not found", "The role with name {1} cannot be found."),
    line("iam", "GetPolicyVersion DeletePolicyVersion SetDefaultPolicyVersion", r"Policy( version)? not found",
         "Policy {PolicyArn} version {VersionId} does not exist or is not attachable."),
    line("iam", "", r"Policy (\S+) not found", "Policy {1} was not found."),
    line("iam", "GetRolePolicy DeleteRolePolicy", r"Policy (?:Document )?(\S+) not attached to role (\S+)",
         "The role policy with name {1} cannot be found."),
    line("dynamodb", "DeleteTable UpdateTable DescribeTable", r"Requested resource not found(?!: Table)", NO_TABLE),
    line("dynamodb", "UpdateTimeToLive DescribeTimeToLive", r"Table not found", NO_TABLE, "ResourceNotFoundException"),
    line("dynamodb", "PutItem", r"One or more parameter values were invalid: An AttributeValue may not contain an "
         r"empty string\. Key: (.+)", "One or more parameter values are not valid. The AttributeValue for a key "
         "attribute cannot contain an empty string value. Key: {1}"),
    line("dynamodb", "UpdateItem", r"1 validation error detected: (Value provided in .+)", "{1}"),
    line("dynamodb", "Scan Query", r"Invalid ConditionExpression: (.+)", "Invalid FilterExpression: {1}"),
    line("dynamodb", "CreateTable", r"ProvisionedThroughput cannot be specified.+",
         "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be "
         "specified when BillingMode is PAY_PER_REQUEST"),
    line("dynamodb", "DeleteTable", r".+can't be deleted while DeletionProtectionEnabled.+",
         "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection "
         "first."),
    line("sqs", "RemovePermission", r"(.+ Reason: can't find label).*", "{1}."),
    line("logs", "CreateLogStream", r"The specified log group already exists",
         "The specified log stream already exists"),
)  # fmt: skip


def reworded(operation: Operation, response: Response) -> Response:
    """The response, with a refusal of moto's in AWS's words."""
    if response.status_code < 400:
        return response
    said = words_of(response.status_code, response.get_data())
    if said is None:
        return response
    for one in REWORDINGS:
        if one.service != operation.service or (one.operations and operation.name not in one.operations):
            continue
        found = one.moto.fullmatch(said.message)
        if found is not None:
            named = {name: str(value) for name, value in operation.parameters.items()}
            named |= {str(number): group for number, group in enumerate(found.groups(), 1)}
            message = GAP.sub(functools.partial(filled, named), one.message)
            return refusal(operation, Words(said.status, one.code or said.code, message))
    return response


def filled(named: Mapping[str, str], gap: re.Match[str]) -> str:
    return named.get(gap[1], "")
