"""Step 5: the function, and the log group it writes to. The lesson: lessons/function.md

Lambda creates a log group at the first invocation, keeps its logs for ever, and leaves it behind. So this step creates
it first: then it has a retention and a tag, and the function needs no permission to create one.
https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from provision.aws.clients import Clients
from provision.aws.reasons import ROLE_NOT_YET_ASSUMABLE, ROLE_NOT_YET_KNOWN_TO_KMS
from provision.aws.web import fetch_code
from provision.documents import policy_document, same_meaning
from provision.package import code_sha256, source, zipped
from provision.roles import find_role
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("roles", "table")


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The log group comes first: where there is none, Lambda creates its own."""
    provision_log_group(aws, settings, state)
    provision_function(aws, settings, state)


def provision_log_group(aws: Clients, settings: Settings, state: State) -> None:
    """Find the log group; create it, or update how long it keeps its logs; record it."""
    name = settings.log_group
    group = find_log_group(aws.logs, name)
    if state.leaves_alone("log-group", "logs:log-group", group, logGroupName=name):
        return
    with state.resource("log-group", "logs:log-group", found=group, logGroupName=name) as entry:
        if group is None:
            create_log_group(aws, entry, name)
            entry.identify(wait_until_listed(aws, name))
            if settings.log_retention:
                keep_logs_for(aws, name, settings.log_retention)
        else:
            update_log_group(aws, settings, entry, group)


def provision_function(aws: Clients, settings: Settings, state: State) -> None:
    """Find the function; create it, or update its code and configuration; wait until it is ready; record it."""
    package = zipped(source(settings))
    role = state.outputs("function-role")
    function = find_function(aws.lambda_, settings.function)
    with state.resource("function", "lambda:function", found=function, FunctionName=settings.function) as entry:
        if function is None:
            aws.waiting.retry(
                lambda: create_function(aws, settings, entry, role["arn"], package),
                ROLE_NOT_YET_ASSUMABLE,
                ROLE_NOT_YET_KNOWN_TO_KMS,
                unless=lambda: role_does_not_trust_lambda(aws, settings),
            )
        else:
            update_function(aws, settings, state, entry, function, package)
            update_configuration(aws, settings, entry, function, role)
        if function is None or function.get("State") == "Pending":
            wait_until_ready(aws, settings)
        entry["arn"] = aws.arn("lambda", f"function:{settings.function}")
        entry["role_id"] = role["id"]
        entry["CodeSha256"] = code_sha256(package)


def create_log_group(aws: Clients, entry: Entry, name: str) -> None:
    """Lambda writes to the log group /aws/lambda/ and the function's name."""
    aws.logs.create_log_group(
        logGroupName=name,
        tags=entry.tags,
    )


def keep_logs_for(aws: Clients, name: str, days: int) -> None:
    """Without a retention policy CloudWatch keeps logs for ever.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    """
    aws.logs.put_retention_policy(
        logGroupName=name,
        retentionInDays=days,
    )


def create_function(aws: Clients, settings: Settings, entry: Entry, role_arn: str, package: bytes) -> None:
    """The code is sent as a zip. Lambda assumes the role when it runs the function, so the role must trust Lambda."""
    aws.lambda_.create_function(
        FunctionName=settings.function,
        Runtime=settings.runtime,
        Role=role_arn,
        Handler=settings.handler,
        Code={"ZipFile": package},
        Timeout=settings.timeout,
        MemorySize=settings.memory_size,
        Environment={"Variables": settings.environment},
        Tags=entry.tags,
    )


def update_log_group(aws: Clients, settings: Settings, entry: Entry, group: dict[str, Any]) -> None:
    """Put the tag back; set how long CloudWatch keeps the logs."""
    if entry.needs_tag():
        aws.logs.tag_resource(
            resourceArn=group["arn"].removesuffix(":*"),
            tags=entry.tags,
        )
    found = group.get("retentionInDays")
    if settings.log_retention and entry.drifted("retentionInDays", found=found, wanted=settings.log_retention):
        keep_logs_for(aws, settings.log_group, settings.log_retention)


def update_function(
    aws: Clients, settings: Settings, state: State, entry: Entry, function: dict[str, Any], package: bytes
) -> None:
    """Put the tag back, then send the code if its hash differs: Lambda itself does not compare.

    https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionCode.html
    """
    entry.must_be_replaced("PackageType", found=function.get("PackageType", "Zip"), wanted="Zip")
    if entry.is_adopted and function["CodeSha256"] != code_sha256(package):
        keep_code(aws, state, entry, function)
    if entry.needs_tag():
        aws.lambda_.tag_resource(
            Resource=function["FunctionArn"],
            Tags=entry.tags,
        )
    if entry.drifted("CodeSha256", found=function["CodeSha256"], wanted=code_sha256(package)):
        aws.lambda_.update_function_code(
            FunctionName=settings.function,
            ZipFile=package,
        )
        wait_until_updated(aws, settings.function)


def update_configuration(
    aws: Clients, settings: Settings, entry: Entry, function: dict[str, Any], role: dict[str, str]
) -> None:
    """One call changes everything but the code. It must wait until the change of the code is finished.

    https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html
    """
    found = {
        "Runtime": function.get("Runtime"),
        "Role": function["Role"],
        "Handler": function.get("Handler"),
        "Timeout": function["Timeout"],
        "MemorySize": function["MemorySize"],
        "Environment": function.get("Environment", {}).get("Variables", {}),
        "role id": entry.get("role_id"),
    }
    wanted = {
        "Runtime": settings.runtime,
        "Role": role["arn"],
        "Handler": settings.handler,
        "Timeout": settings.timeout,
        "MemorySize": settings.memory_size,
        "Environment": settings.environment,
        # To Lambda a role that was deleted and made again is another role, although its name is the same.
        "role id": role["id"],
    }
    if [name for name in wanted if entry.drifted(name, found=found[name], wanted=wanted[name])]:
        aws.waiting.retry(
            lambda: send_configuration(aws, settings, role["arn"]),
            ROLE_NOT_YET_ASSUMABLE,
            ROLE_NOT_YET_KNOWN_TO_KMS,
            unless=lambda: role_does_not_trust_lambda(aws, settings),
        )
        wait_until_updated(aws, settings.function)


def send_configuration(aws: Clients, settings: Settings, role_arn: str) -> None:
    """All of it, as CreateFunction got it."""
    aws.lambda_.update_function_configuration(
        FunctionName=settings.function,
        Runtime=settings.runtime,
        Role=role_arn,
        Handler=settings.handler,
        Timeout=settings.timeout,
        MemorySize=settings.memory_size,
        Environment={"Variables": settings.environment},
    )


def find_log_group(logs: Any, name: str) -> dict[str, Any] | None:
    """The group as DescribeLogGroups gives it, with its tags under "Tags"; None if none has exactly this name."""
    group = describe_log_group(logs, name)
    if group is None:
        return None
    try:
        listed = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))
    except logs.exceptions.ResourceNotFoundException:
        return None
    return {**group, "Tags": listed.get("tags", {})}


def describe_log_group(logs: Any, name: str) -> dict[str, Any] | None:
    """The same without its tags. CloudWatch Logs lists by the beginning of the name."""
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                return dict(group)
    return None


def find_function(lambda_: Any, name: str) -> dict[str, Any] | None:
    """The function's configuration, with "Concurrency", and its tags under "Tags"; None if there is none.

    GetFunction leaves the tags out when there are none, and also when the caller may not call ListTags. Then "Tags" is
    None: nobody knows.
    """
    try:
        answer = lambda_.get_function(FunctionName=name)
        tags = answer.get("Tags") or tags_of_function(lambda_, answer["Configuration"]["FunctionArn"])
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    return {**answer["Configuration"], "Concurrency": answer.get("Concurrency", {}), "Tags": tags}


def tags_of_function(lambda_: Any, arn: str) -> dict[str, str] | None:
    """None when the caller may not see them."""
    try:
        return dict(lambda_.list_tags(Resource=arn).get("Tags", {}))
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return None
        raise


def wait_until_listed(aws: Clients, name: str) -> dict[str, Any]:
    """The log group, once it is listed: then its creationTime is known, which tells it from a namesake."""
    return aws.waiting.poll_until(
        "the log group to become visible", lambda: describe_log_group(aws.logs, name), budget=30
    )


def wait_until_ready(aws: Clients, settings: Settings) -> None:
    """A new function is Pending at first, and cannot be invoked before it is Active.

    https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
    """
    aws.lambda_.get_waiter("function_active_v2").wait(
        FunctionName=settings.function,
        WaiterConfig={"Delay": 1, "MaxAttempts": 300},
    )


def wait_until_updated(aws: Clients, name: str) -> None:
    """Until LastUpdateStatus is Successful. Before that Lambda refuses the next change."""
    aws.lambda_.get_waiter("function_updated_v2").wait(
        FunctionName=name,
        WaiterConfig={"Delay": 1, "MaxAttempts": 300},
    )


def role_does_not_trust_lambda(aws: Clients, settings: Settings) -> str | None:
    """Why waiting cannot help: what is wrong with the function's role. None when Lambda only has to see that it may."""
    found = find_role(aws.iam, settings.function_role)
    if found is None:
        return f"The role {settings.function_role} does not exist."
    if settings.rules.lambda_role_arn:
        return None  # whom somebody else's role trusts may be said in other words
    if not same_meaning(found["AssumeRolePolicyDocument"], policy_document("trust-lambda", aws, settings)):
        return f"The trust policy of {settings.function_role} does not let Lambda assume the role."
    return None


def keep_code(aws: Clients, state: State, entry: Entry, function: dict[str, Any]) -> None:
    """Keep the code that somebody else wrote, before it is replaced for the first time.

    GetFunction answers with an address from which the zip can be downloaded for ten minutes.
    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html
    """
    if "CodeSha256" in entry.resource.before:
        return  # it was replaced already
    code = aws.lambda_.get_function(FunctionName=function["FunctionName"])["Code"]
    state.keep_code(fetch_code(aws, function["FunctionName"], code.get("Location", ""), function["CodeSha256"]))
