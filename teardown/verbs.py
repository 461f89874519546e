"""What teardown does with each resource type: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.account.inventory import FINDS
from provision.aws.clients import Clients
from provision.state.entries import Resource
from provision.state.state import State
from teardown import api, function, message_queue, policies, roles, stage, table, trigger

Found = dict[str, Any]


def find(aws: Clients, state: State, resource: Resource) -> Found | None:
    """What AWS has under the recorded identity; None if it is gone."""
    return FINDS[resource.kind](aws, resource.identity)


@dataclass(frozen=True)
class Verbs:
    """What teardown does with one type of resource. Each takes the entry, and all but `find` what was found of it.

    `delete`: delete it, and wait until AWS has finished.
    `restore`: put the attributes of something adopted back, then remove our tag. In this order a run that was ended in
    between can still prove whose it is.
    `others_on`: the names of what somebody else attached to it. If there are any, it is not deleted.
    `iam_refuses`: IAM itself refuses to delete it while others depend on it, so nobody asks just before the call.
    `find`: what AWS has of it, or None.
    `is_part`: of what can carry no tags, whether it is the part of its parent (as found) that the suite made. The entry
    alone does not prove it, as the file may be wrong.
    `must_go`: whether it is deleted although it was adopted.
    `came_back`: whether what is found after its deletion is ours.
    `contents`: what is in it and is deleted with it, in words.
    """

    delete: Callable[[Clients, State, Resource, Found], None]
    restore: Callable[[Clients, State, Resource, Found], None] | None = None
    others_on: Callable[[Clients, State, Resource, Found], list[str]] | None = None
    iam_refuses: bool = False
    find: Callable[[Clients, State, Resource], Found | None] = find
    is_part: Callable[[Clients, State, Resource, Found], bool] | None = None
    must_go: Callable[[State, Resource], bool] = lambda state, resource: False
    came_back: Callable[[Clients, State, Resource, Found], bool] = lambda aws, state, resource, found: False
    contents: Callable[[Clients, Found], str] | None = None


VERBS = {
    "apigateway:usage-plan-key": Verbs(stage.delete_usage_plan_key, is_part=stage.key_is_part),
    "apigateway:usage-plan": Verbs(
        stage.delete_usage_plan, others_on=stage.others_on_usage_plan, find=stage.find_usage_plan
    ),
    "apigateway:api-key": Verbs(stage.delete_api_key, others_on=stage.others_on_api_key, find=stage.find_api_key),
    "apigateway:stage": Verbs(stage.delete, find=stage.find, is_part=stage.is_part),
    "apigateway:rest-api": Verbs(api.delete, others_on=api.others_on, find=api.find),
    "lambda:permission": Verbs(api.remove_permission, api.restore_permission, is_part=api.permission_is_part),
    "lambda:event-source-mapping": Verbs(trigger.delete, trigger.restore, find=trigger.find),
    "lambda:function": Verbs(function.delete, function.restore, function.others_on),
    "logs:log-group": Verbs(function.delete_log_group, function.restore_log_group, came_back=function.came_back),
    "sqs:queue": Verbs(
        message_queue.delete, message_queue.restore, message_queue.others_on, contents=message_queue.contents
    ),
    "dynamodb:table": Verbs(table.delete, table.restore, table.others_on, contents=table.contents),
    "iam:role-policy-attachment": Verbs(
        roles.detach_policy, roles.leave_attached, is_part=roles.attachment_is_part, must_go=roles.is_of_our_policy
    ),
    "iam:role": Verbs(roles.delete, roles.restore, roles.others_on, iam_refuses=True),
    "iam:policy": Verbs(policies.delete, policies.restore, policies.others_on),
}
