"""The faults of `break`, one row for each: which resource, how the fault is made, and how it is taken back.

Each has three functions. `look` reads what the fault is about to change; that is kept in a file before the first write.
`make` makes the fault, and `undo` puts back what `look` read. All three may run twice. What a learner reads of a fault
stands under its name in lessons/exercises/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from provision.api import (
    Place,
    create_default_response,
    delete_integration_response,
    find_permission,
    permissions_of,
    remove_permission,
)
from provision.aws.api_definition import resources_of
from provision.aws.clients import Clients
from provision.documents import same_meaning
from provision.function import wait_until_updated
from provision.settings import Settings
from provision.state.state import State

Before = dict[str, Any]  # what was there, as JSON
Look = Callable[[Clients, Settings, State], Before]
Write = Callable[[Clients, Settings, State, Before], None]

TEMPLATE_KINDS = ("application/json", "application/x-www-form-urlencoded")

# Seconds until what was put back is seen: SQS names 60 for a queue's attributes.
VISIBLE_SECONDS = 90.0


def equals(now: Before, before: Before) -> bool:
    return now == before


@dataclass(frozen=True)
class Fault:
    """One fault. `key`: the entry of the state file that it is in.

    `is_back`: whether what is there now, as `look` reads it, is what was there before. `seen_at`: another key under
    which `check` may see it. `obstacle`: why it cannot be made here; "" if it can. `is_repeatable`:
    made twice it is the same; else what a run that was ended has made is undone first. `corrected_only`: what the
    walkthrough builds as it is written has no place for it.
    """

    name: str
    key: str
    look: Look
    make: Write
    undo: Write
    is_back: Callable[[Before, Before], bool] = equals
    seen_at: str = ""
    obstacle: Callable[[Before], str] = lambda before: ""
    is_repeatable: bool = True
    corrected_only: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries whose owner is verified before a write."""
        return (self.key, self.seen_at) if self.seen_at else (self.key,)


# The policies. A policy is never edited: the fault is a version more, and the former one becomes the default again.


def look_at_policy(key: str, aws: Clients, settings: Settings, state: State) -> Before:
    """The default version with its document, and the ids of all versions."""
    arn = state.identity(key)["PolicyArn"]
    default = aws.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    version = aws.iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]
    versions = aws.iam.list_policy_versions(PolicyArn=arn)["Versions"]  # five at most: one page
    return {
        "default": default,
        "document": version["Document"],
        "versions": sorted(one["VersionId"] for one in versions),
    }


def same_document(now: Before, before: Before) -> bool:
    return same_meaning(now["document"], before["document"])


def is_full(before: Before) -> str:
    return "The policy has five versions, and IAM keeps no sixth." if len(before["versions"]) >= 5 else ""


def deny_receive(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """To take the action out would not do: the queue's own access policy allows it, too. A denial beats both.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    denial = {"Effect": "Deny", "Action": "sqs:ReceiveMessage", "Resource": "*"}
    document = {**before["document"], "Statement": [*before["document"]["Statement"], denial]}
    aws.iam.create_policy_version(
        PolicyArn=state.identity("read-policy")["PolicyArn"],
        PolicyDocument=json.dumps(document),
        SetAsDefault=True,
    )


def take_scan_out(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """What no statement allows is denied."""
    statements = [
        {**one, "Action": [action for action in one["Action"] if action.lower() != "dynamodb:scan"]}
        for one in before["document"]["Statement"]
    ]
    aws.iam.create_policy_version(
        PolicyArn=state.identity("write-policy")["PolicyArn"],
        PolicyDocument=json.dumps({**before["document"], "Statement": statements}),
        SetAsDefault=True,
    )


def put_version_back(key: str, aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """The former version is the default again, and what came after it goes."""
    arn = state.identity(key)["PolicyArn"]
    now = look_at_policy(key, aws, settings, state)
    if before["default"] in now["versions"]:
        aws.iam.set_default_policy_version(
            PolicyArn=arn,
            VersionId=before["default"],
        )
    elif not same_document(now, before):  # somebody deleted it, and IAM gives no version's id twice
        aws.iam.create_policy_version(
            PolicyArn=arn,
            PolicyDocument=json.dumps(before["document"]),
            SetAsDefault=True,
        )
    default = aws.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    for version in now["versions"]:
        if version not in before["versions"] and version != default:
            aws.iam.delete_policy_version(
                PolicyArn=arn,
                VersionId=version,
            )


# The queue.


def look_at_queue_policy(aws: Clients, settings: Settings, state: State) -> Before:
    """The access policy, which SQS keeps as text."""
    found = aws.sqs.get_queue_attributes(QueueUrl=state.outputs("queue")["url"], AttributeNames=["Policy"])
    return {"document": json.loads(found["Attributes"]["Policy"])}


def name_the_wrong_role(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Where API Gateway's role may send, the function's role stands."""
    text = json.dumps(before["document"])
    sender, other = state.outputs("api-role")["arn"], state.outputs("function-role")["arn"]
    aws.sqs.set_queue_attributes(
        QueueUrl=state.outputs("queue")["url"],
        Attributes={"Policy": text.replace(json.dumps(sender), json.dumps(other))},
    )


def put_queue_policy_back(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """SQS leaves the other attributes as they are."""
    aws.sqs.set_queue_attributes(
        QueueUrl=state.outputs("queue")["url"],
        Attributes={"Policy": json.dumps(before["document"])},
    )


def poison(state: State) -> str:
    """The body of the message. The handler knows no such operation."""
    return json.dumps({"operation": "refund", "payload": {"order": state.deployment}})


def messages_in(aws: Clients, state: State, key: str) -> int:
    """How many wait in a queue or are being worked on; SQS calls the numbers approximate."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.sqs.get_queue_attributes(QueueUrl=state.outputs(key)["url"], AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def look_at_messages(aws: Clients, settings: Settings, state: State) -> Before:
    """How many messages there are in both queues."""
    return {"messages": messages_in(aws, state, "queue") + messages_in(aws, state, "dead-letter-queue")}


def no_more_messages(now: Before, before: Before) -> bool:
    return bool(now["messages"] <= before["messages"])


def send_poison(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """A message that the function refuses each time."""
    aws.sqs.send_message(
        QueueUrl=state.outputs("queue")["url"],
        MessageBody=poison(state),
    )


def take_poison_away(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Delete it from the dead-letter queue, once it is there. In the queue itself the function takes it first."""
    url = state.outputs("dead-letter-queue")["url"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    queue = aws.sqs.get_queue_attributes(QueueUrl=state.outputs("queue")["url"], AttributeNames=names)["Attributes"]
    receives = int(json.loads(queue["RedrivePolicy"])["maxReceiveCount"])

    def look() -> bool:
        answer = aws.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=1,
        )
        ours = [message for message in answer.get("Messages", []) if message["Body"] == poison(state)]
        for message in ours:
            aws.sqs.delete_message(
                QueueUrl=url,
                ReceiptHandle=message["ReceiptHandle"],
            )
        return no_more_messages(look_at_messages(aws, settings, state), before)

    aws.waiting.poll_until(
        "the message in the dead-letter queue",
        look,
        budget=receives * int(queue["VisibilityTimeout"]) + VISIBLE_SECONDS,
        means="Until it was received often enough, only the function may take it.",
    )


# The function.


def look_at_function(attribute: str, aws: Clients, settings: Settings, state: State) -> Before:
    """One attribute of its configuration, as UpdateFunctionConfiguration takes it."""
    found = aws.lambda_.get_function(FunctionName=settings.function)["Configuration"][attribute]
    return {attribute: {"Variables": found["Variables"]} if attribute == "Environment" else found}


def name_another_handler(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """The file is there, and no such function is in it. Lambda does not look."""
    aws.lambda_.update_function_configuration(
        FunctionName=settings.function,
        Handler="lambda_function.handler",
    )
    wait_until_updated(aws, settings.function)


def name_another_table(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """UpdateFunctionConfiguration replaces all variables."""
    aws.lambda_.update_function_configuration(
        FunctionName=settings.function,
        Environment={"Variables": {**before["Environment"]["Variables"], "TABLE_NAME": f"{settings.table}s"}},
    )
    wait_until_updated(aws, settings.function)


def shorten_timeout(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """One second, the least that Lambda takes."""
    aws.lambda_.update_function_configuration(
        FunctionName=settings.function,
        Timeout=1,
    )
    wait_until_updated(aws, settings.function)


def put_configuration_back(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Lambda leaves what is not named as it is."""
    aws.lambda_.update_function_configuration(
        FunctionName=settings.function,
        **before,
    )
    wait_until_updated(aws, settings.function)


# The trigger.


def look_at_trigger(aws: Clients, settings: Settings, state: State) -> Before:
    """Whether Lambda polls the queue, or is about to."""
    mapping = aws.lambda_.get_event_source_mapping(UUID=state.outputs("trigger")["id"])
    return {"enabled": mapping["State"] not in ("Disabling", "Disabled")}


def disable_trigger(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Lambda no longer polls the queue. The messages stay in it."""
    aws.lambda_.update_event_source_mapping(
        UUID=state.outputs("trigger")["id"],
        Enabled=False,
    )
    wait_until_trigger_is(aws, state, "Disabled")


def enable_trigger(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Lambda goes on with what waits in the queue."""
    aws.lambda_.update_event_source_mapping(
        UUID=state.outputs("trigger")["id"],
        Enabled=True,
    )
    wait_until_trigger_is(aws, state, "Enabled")


def wait_until_trigger_is(aws: Clients, state: State, wanted: str) -> None:
    """It is Disabling or Enabling first, often for some tens of seconds."""
    uuid = state.outputs("trigger")["id"]
    aws.waiting.poll_until(
        f"the trigger to be {wanted.lower()}",
        lambda: aws.lambda_.get_event_source_mapping(UUID=uuid)["State"] == wanted,
        budget=300,
    )


# The permission to invoke the function.


def look_at_permission(aws: Clients, settings: Settings, state: State) -> Before:
    """The statement of step 7, and the ids of others that name the same API."""
    api = f":{state.outputs('api')['id']}/"
    others = [one["Sid"] for one in permissions_of(aws.lambda_, settings.function) if api in json.dumps(one)]
    return {
        "statement": find_permission(aws.lambda_, settings.function, settings.permission),
        "others": sorted(set(others) - {settings.permission}),
    }


def take_permission(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Without its statement API Gateway may not invoke the function."""
    if find_permission(aws.lambda_, settings.function, settings.permission) is not None:
        remove_permission(aws, settings)


def put_permission_back(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """The same statement. One of another id, which a person put in its place, goes: teardown would stop at it."""
    now = look_at_permission(aws, settings, state)
    for statement_id in now["others"]:
        if statement_id not in before["others"]:
            aws.lambda_.remove_permission(
                FunctionName=settings.function,
                StatementId=statement_id,
            )
    if now["statement"] == before["statement"]:
        return
    take_permission(aws, settings, state, before)
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=before["statement"]["Condition"]["ArnLike"]["AWS:SourceArn"],
    )


# The API, and what its stage serves.


def place_of(aws: Clients, state: State, path: str) -> Place:
    api_id = state.outputs("api")["id"]
    return Place(api_id, resources_of(aws.apigateway, api_id)[path]["id"])


def integration_of(aws: Clients, place: Place) -> dict[str, Any]:
    """Empty where the method is gone."""
    try:
        method = aws.apigateway.get_method(
            restApiId=place.api_id,
            resourceId=place.resource_id,
            httpMethod="POST",
        )
    except aws.apigateway.exceptions.NotFoundException:
        return {}
    return dict(method.get("methodIntegration", {}))


def direct_place(aws: Clients, settings: Settings, state: State) -> Place:
    return place_of(aws, state, f"/{settings.path_part}")


def queue_place(aws: Clients, settings: Settings, state: State) -> Place:
    return place_of(aws, state, f"/{settings.path_part}/{settings.queue_path_part}")


def look_at_stage(aws: Clients, settings: Settings, api_id: str) -> Before:
    """The deployment that the stage serves, and the ids of all deployments."""
    stage = aws.apigateway.get_stage(restApiId=api_id, stageName=settings.stage)
    pages = aws.apigateway.get_paginator("get_deployments").paginate(restApiId=api_id)
    return {
        "deployment": stage["deploymentId"],
        "deployments": sorted(one["id"] for page in pages for one in page["items"]),
    }


def deploy(aws: Clients, settings: Settings, api_id: str) -> None:
    """The stage serves the definition as it is at this moment."""
    aws.apigateway.create_deployment(
        restApiId=api_id,
        stageName=settings.stage,
    )


def put_stage_back(aws: Clients, settings: Settings, api_id: str, before: Before) -> None:
    """The stage points to its former deployment. The later ones go, if no stage serves them."""
    now = look_at_stage(aws, settings, api_id)
    if now["deployment"] != before["deployment"]:
        aws.apigateway.update_stage(
            restApiId=api_id,
            stageName=settings.stage,
            patchOperations=[{"op": "replace", "path": "/deploymentId", "value": before["deployment"]}],
        )
    served = {stage["deploymentId"] for stage in aws.apigateway.get_stages(restApiId=api_id)["item"]}
    for deployment in now["deployments"]:
        if deployment not in before["deployments"] and deployment not in served:
            aws.apigateway.delete_deployment(
                restApiId=api_id,
                deploymentId=deployment,
            )


def look_at_templates(aws: Clients, settings: Settings, state: State) -> Before:
    """The mapping templates of the queue's route, and what is deployed."""
    place = queue_place(aws, settings, state)
    templates = integration_of(aws, place).get("requestTemplates", {})
    return {"templates": templates, **look_at_stage(aws, settings, place.api_id)}


def misspell_templates(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """SQS asks for MessageBody. The change is deployed, so that clients meet it."""
    put_templates(aws, settings, state, dict.fromkeys(TEMPLATE_KINDS, "Action=SendMessage&Message=$input.body"))
    deploy(aws, settings, state.outputs("api")["id"])


def put_templates(aws: Clients, settings: Settings, state: State, templates: Mapping[str, str]) -> None:
    """In a patch operation's path ~1 stands for a slash."""
    place = queue_place(aws, settings, state)
    aws.apigateway.update_integration(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        patchOperations=[
            {"op": "replace", "path": f"/requestTemplates/{kind.replace('/', '~1')}", "value": template}
            for kind, template in templates.items()
        ],
    )


def put_templates_back(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Template and stage as they were."""
    if look_at_templates(aws, settings, state)["templates"] != before["templates"]:
        put_templates(aws, settings, state, before["templates"])
    put_stage_back(aws, settings, state.outputs("api")["id"], before)


def look_at_response(aws: Clients, settings: Settings, state: State) -> Before:
    """The integration responses of the direct route, and what is deployed."""
    place = direct_place(aws, settings, state)
    responses = integration_of(aws, place).get("integrationResponses", {})
    return {"responses": responses, **look_at_stage(aws, settings, place.api_id)}


def deploy_without_response(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """What is deployed lacks a response. The definition has it again, and nobody deploys that."""
    place = direct_place(aws, settings, state)
    if "200" in integration_of(aws, place).get("integrationResponses", {}):
        delete_integration_response(aws, place, "200")
    deploy(aws, settings, place.api_id)
    create_default_response(aws, place, "200")


def put_served_back(aws: Clients, settings: Settings, state: State, before: Before) -> None:
    """Response and stage as they were."""
    place = direct_place(aws, settings, state)
    now = look_at_response(aws, settings, state)["responses"]
    for status_code in now.keys() - before["responses"].keys():
        delete_integration_response(aws, place, status_code)
    if now.get("200") != before["responses"]["200"]:
        create_default_response(aws, place, "200")
    put_stage_back(aws, settings, place.api_id, before)


FAULTS = (
    Fault(
        "receive-denied",
        "read-policy",
        partial(look_at_policy, "read-policy"),
        deny_receive,
        partial(put_version_back, "read-policy"),
        is_back=same_document,
        obstacle=is_full,
        is_repeatable=False,
    ),
    Fault(
        "scan-not-allowed",
        "write-policy",
        partial(look_at_policy, "write-policy"),
        take_scan_out,
        partial(put_version_back, "write-policy"),
        is_back=same_document,
        obstacle=is_full,
        is_repeatable=False,
        corrected_only=True,
    ),
    Fault(
        "queue-policy-roles",
        "queue",
        look_at_queue_policy,
        name_the_wrong_role,
        put_queue_policy_back,
        is_back=same_document,
        corrected_only=True,
    ),
    Fault(
        "poison-message",
        "queue",
        look_at_messages,
        send_poison,
        take_poison_away,
        is_back=no_more_messages,
        seen_at="dead-letter-queue",
        corrected_only=True,
    ),
    Fault(
        "wrong-handler",
        "function",
        partial(look_at_function, "Handler"),
        name_another_handler,
        put_configuration_back,
    ),
    Fault(
        "wrong-table",
        "function",
        partial(look_at_function, "Environment"),
        name_another_table,
        put_configuration_back,
        corrected_only=True,
    ),
    Fault(
        "timeout-too-short",
        "function",
        partial(look_at_function, "Timeout"),
        shorten_timeout,
        put_configuration_back,
    ),
    Fault("trigger-disabled", "trigger", look_at_trigger, disable_trigger, enable_trigger),
    Fault("permission-missing", "permission", look_at_permission, take_permission, put_permission_back),
    Fault(
        "wrong-template",
        "api",
        look_at_templates,
        misspell_templates,
        put_templates_back,
        seen_at="stage",
        is_repeatable=False,
        corrected_only=True,
    ),
    Fault(
        "forgotten-deploy",
        "api",
        look_at_response,
        deploy_without_response,
        put_served_back,
        seen_at="stage",
        is_repeatable=False,
    ),
)

BY_NAME = {fault.name: fault for fault in FAULTS}
