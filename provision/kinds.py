"""What AWS calls each kind of thing in the ledger, and by what name a person knows one."""

from __future__ import annotations

KINDS = {
    "iam:policy": "policy",
    "iam:role": "role",
    "iam:role-policy-attachment": "attachment",
    "dynamodb:table": "table",
    "sqs:queue": "queue",
    "logs:log-group": "log group",
    "lambda:function": "function",
    "lambda:event-source-mapping": "trigger",
    "lambda:permission": "permission",
    "apigateway:rest-api": "REST API",
    "apigateway:stage": "stage",
}


def name_of(kind: str, identity: dict[str, str]) -> str:
    """The short name by which a person knows the thing; ARNs are left to those who ask for them."""
    last = {name: value.split(":")[-1].split("/", 1)[-1] for name, value in identity.items()}
    if kind == "iam:role-policy-attachment":
        return f"{last['PolicyArn'].removeprefix('service-role/')} to {identity['RoleName']}"
    if kind == "lambda:event-source-mapping":
        return f"{last['EventSourceArn']} to {identity['FunctionName']}"
    if kind == "lambda:permission":
        return f"{identity['StatementId']} on {identity['FunctionName']}"
    if kind == "apigateway:stage":
        return identity["stageName"]
    if kind == "iam:policy":
        return last["PolicyArn"]
    return ", ".join(identity.values())
