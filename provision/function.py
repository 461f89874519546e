"""Step 5: the function, and the log group it writes to. The lesson: lessons/function.md

Lambda would make the log group by itself at the first invocation, keep its logs for ever and leave it behind. Made
here first, it is ours to keep short and to remove, and the function needs no right to make one.
https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from provision.aws.clients import Clients
from provision.aws.reasons import ROLE_NOT_YET_ASSUMABLE
from provision.documents import policy_document, same_meaning
from provision.package import code_sha256, fetched, source, zipped
from provision.roles import find_role
from provision.settings import Settings
from provision.state.entries import Making
from provision.state.state import Ledger

NEEDS = ("roles", "table")


def find_log_group(logs: Any, name: str) -> dict[str, Any] | None:
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                try:
                    listed = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))
                except logs.exceptions.ResourceNotFoundException:
                    return None
                return {**group, "Tags": listed.get("tags", {})}
    return None


def find_function(lambda_: Any, name: str) -> dict[str, Any] | None:
    """The function's configuration, with its tags.

    AWS leaves the tags out when there are none, and also when the caller may not call ListTags: the latter is unknown.
    """
    try:
        answer = lambda_.get_function(FunctionName=name)
        marks = answer.get("Tags") or tags_of_function(lambda_, answer["Configuration"]["FunctionArn"])
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    return {**answer["Configuration"], "Tags": marks}


def tags_of_function(lambda_: Any, arn: str) -> dict[str, str] | None:
    """None when this caller may not see them."""
    try:
        return dict(lambda_.list_tags(Resource=arn).get("Tags", {}))
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return None
        raise


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    make_log_group(aws, settings, ledger)
    make_function(aws, settings, ledger)


def make_log_group(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    group = find_log_group(aws.logs, settings.log_group)
    if ledger.leaves_alone("log-group", "logs:log-group", group, logGroupName=settings.log_group):
        return
    with ledger.making("log-group", "logs:log-group", found=group, logGroupName=settings.log_group) as made:
        if group is None:
            aws.logs.create_log_group(
                logGroupName=settings.log_group,
                tags=ledger.tags,
            )
            group = aws.waiting.poll_until(
                "the log group to become visible", lambda: find_log_group(aws.logs, settings.log_group), budget=30
            )
            made.identify(group)
            if settings.log_retention:
                aws.logs.put_retention_policy(
                    logGroupName=settings.log_group,
                    retentionInDays=settings.log_retention,
                )
        else:
            if made.lacks_mark():
                aws.logs.tag_resource(
                    resourceArn=group["arn"].removesuffix(":*"),
                    tags=made.tags,
                )
            found = group.get("retentionInDays")
            if settings.log_retention and made.differs("retentionInDays", found=found, wanted=settings.log_retention):
                aws.logs.put_retention_policy(
                    logGroupName=settings.log_group,
                    retentionInDays=settings.log_retention,
                )


def make_function(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    package = zipped(source(settings))
    role = ledger.outputs("function-role")

    function = find_function(aws.lambda_, settings.function)
    with ledger.making("function", "lambda:function", found=function, FunctionName=settings.function) as made:
        if function is None:
            for attempt in aws.waiting.retry_while(
                ROLE_NOT_YET_ASSUMABLE, unless=lambda: role_does_not_trust_lambda(aws, settings)
            ):
                with attempt:
                    aws.lambda_.create_function(
                        FunctionName=settings.function,
                        Runtime=settings.runtime,
                        Role=role["arn"],
                        Handler=settings.handler,
                        Code={"ZipFile": package},
                        Timeout=settings.timeout,
                        MemorySize=settings.memory_size,
                        Environment={"Variables": settings.environment},
                        Tags=ledger.tags,
                    )
        else:
            made.cannot_mend("PackageType", found=function.get("PackageType", "Zip"), wanted="Zip")
            if made.is_adopted and function["CodeSha256"] != code_sha256(package):
                keep_code(aws, settings, ledger, made, function)
            if made.lacks_mark():
                aws.lambda_.tag_resource(
                    Resource=function["FunctionArn"],
                    Tags=made.tags,
                )
            mend_code(aws, settings, made, function, package)
            mend_configuration(aws, settings, made, function, role)
        if function is None or function.get("State") == "Pending":
            aws.lambda_.get_waiter("function_active_v2").wait(
                FunctionName=settings.function,
                WaiterConfig={"Delay": 1, "MaxAttempts": 300},
            )
        made["arn"] = aws.arn("lambda", f"function:{settings.function}")
        made["role_id"] = role["id"]
        made["CodeSha256"] = code_sha256(package)


def role_does_not_trust_lambda(aws: Clients, settings: Settings) -> str | None:
    """What is wrong with the function's role; None when Lambda may take it and only has to see that."""
    found = find_role(aws.iam, settings.function_role)
    if found is None:
        return f"The role {settings.function_role} does not exist."
    if not same_meaning(found["AssumeRolePolicyDocument"], policy_document("trust-lambda", aws, settings)):
        return f"The trust policy of {settings.function_role} does not let Lambda take the role."
    return None


def keep_code(aws: Clients, settings: Settings, ledger: Ledger, made: Making, function: dict[str, Any]) -> None:
    """Keep the code that somebody else wrote, beside the ledger, before it is replaced; once for each adoption.

    GetFunction names an address from which the zip can be fetched for ten minutes.
    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html
    """
    if "CodeSha256" in made.resource.before:
        return  # what is there now is no longer what was found
    code = aws.lambda_.get_function(FunctionName=settings.function)["Code"]
    package = fetched(settings.function, code.get("Location", ""), function["CodeSha256"])
    ledger.keep_code(package)


def mend_code(aws: Clients, settings: Settings, made: Making, function: dict[str, Any], package: bytes) -> None:
    if made.differs("CodeSha256", found=function["CodeSha256"], wanted=code_sha256(package)):
        aws.lambda_.update_function_code(
            FunctionName=settings.function,
            ZipFile=package,
        )
        wait_until_updated(aws, settings)


def mend_configuration(
    aws: Clients, settings: Settings, made: Making, function: dict[str, Any], role: dict[str, str]
) -> None:
    found = {
        "Runtime": function.get("Runtime"),
        "Role": function["Role"],
        "Handler": function.get("Handler"),
        "Timeout": function["Timeout"],
        "MemorySize": function["MemorySize"],
        "Environment": function.get("Environment", {}).get("Variables", {}),
        "role id": made.get("role_id"),
    }
    wanted = {
        "Runtime": settings.runtime,
        "Role": role["arn"],
        "Handler": settings.handler,
        "Timeout": settings.timeout,
        "MemorySize": settings.memory_size,
        "Environment": settings.environment,
        # A role that was deleted and made again is another one to Lambda, although its name is the same.
        "role id": role["id"],
    }
    differing = [name for name in wanted if made.differs(name, found=found[name], wanted=wanted[name])]
    if differing:
        for attempt in aws.waiting.retry_while(
            ROLE_NOT_YET_ASSUMABLE, unless=lambda: role_does_not_trust_lambda(aws, settings)
        ):
            with attempt:
                aws.lambda_.update_function_configuration(
                    FunctionName=settings.function,
                    Runtime=settings.runtime,
                    Role=role["arn"],
                    Handler=settings.handler,
                    Timeout=settings.timeout,
                    MemorySize=settings.memory_size,
                    Environment={"Variables": settings.environment},
                )
        wait_until_updated(aws, settings)


def wait_until_updated(aws: Clients, settings: Settings) -> None:
    aws.lambda_.get_waiter("function_updated_v2").wait(
        FunctionName=settings.function,
        WaiterConfig={"Delay": 1, "MaxAttempts": 300},
    )
