"""What is in the things that are deleted, and goes with them: items and messages."""

from __future__ import annotations

from botocore.exceptions import ClientError

from provision.account.status import messages
from provision.aws.clients import Clients
from provision.aws.credentials import EXPIRED, REFUSED
from provision.state.entries import Resource
from provision.state.state import Ledger
from provision.terminal.text import plural
from teardown import FIND
from teardown.backwards import is_ours

MANY = 1000  # items counted at most, so that looking stays cheap


def contents(aws: Clients, ledger: Ledger) -> dict[str, str]:
    """For each recorded table and queue, by key, a remark on what is in it. Reads only."""
    remarks = {}
    for resource in ledger.standing:
        ledger.step = resource.step
        if resource.kind in ("dynamodb:table", "sqs:queue"):
            try:
                remarks[resource.key] = remark_on(aws, ledger, resource)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in EXPIRED | REFUSED:
                    raise
                remarks[resource.key] = f"what is in it could not be counted: {code}"
    return remarks


def remark_on(aws: Clients, ledger: Ledger, resource: Resource) -> str:
    found = FIND[resource.kind](aws, ledger, resource)
    if found is None:
        return "not there any more"
    if found["Tags"] is not None and not is_ours(aws, ledger, resource, found):
        return "somebody else's by now, and not touched"
    if resource.kind == "dynamodb:table":
        answer = aws.dynamodb.scan(
            TableName=resource.identity["TableName"],
            Select="COUNT",
            Limit=MANY,
        )
        more = "more than " if "LastEvaluatedKey" in answer else ""
        return more + plural(answer["Count"], "item") if answer["Count"] else "no items"
    return messages(found)
