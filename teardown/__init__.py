"""The state file read backwards. A module here bears the name of the step that made the resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.aws.clients import Clients
from provision.state.entries import Resource
from provision.state.state import State
from teardown import api, function, message_queue, policies, roles, stage, table, trigger

Found = dict[str, Any]


@dataclass(frozen=True)
class Verbs:
    """What teardown does with one type of resource.

    `find`: what AWS has under the recorded identity, or None. `delete`: and wait where AWS answers before it has
    finished. `restore`: give what was adopted its former attributes, then take our tag off, in this order, so that a
    run that was ended in between can still prove whose it is. `others_on`: the names of what somebody else hung on
    it; with any, it is not deleted. `is_part`: of what can carry no tags, whether it is the part of its parent (as
    found) that the suite made; the entry's own word for it is not enough, as the file may be wrong. `contents`: what
    is in it and goes with it, in words.
    """

    find: Callable[[Clients, State, Resource], Found | None]
    delete: Callable[[Clients, State, Resource, Found], None]
    restore: Callable[[Clients, State, Resource, Found], None] | None = None
    others_on: Callable[[Clients, State, Resource, Found], list[str]] | None = None
    is_part: Callable[[Clients, State, Resource, Found], bool] | None = None
    contents: Callable[[Clients, Found], str] | None = None


VERBS = {
    "apigateway:stage": Verbs(stage.find, stage.delete, is_part=stage.is_part),
    "apigateway:rest-api": Verbs(api.find, api.delete, others_on=api.others_on),
    "lambda:permission": Verbs(
        api.find_permission_of, api.remove_permission, api.restore_permission, is_part=api.permission_is_part
    ),
    "lambda:event-source-mapping": Verbs(trigger.find, trigger.delete, trigger.restore),
    "lambda:function": Verbs(function.find, function.delete, function.restore, function.others_on),
    "logs:log-group": Verbs(function.find_logs, function.delete_log_group, function.restore_log_group),
    "sqs:queue": Verbs(
        message_queue.find,
        message_queue.delete,
        message_queue.restore,
        message_queue.others_on,
        contents=message_queue.contents,
    ),
    "dynamodb:table": Verbs(table.find, table.delete, table.restore, table.others_on, contents=table.contents),
    "iam:role-policy-attachment": Verbs(
        roles.find_attached, roles.detach_policy, roles.leave_attached, is_part=roles.attachment_is_part
    ),
    "iam:role": Verbs(roles.find, roles.delete, roles.restore, roles.others_on),
    "iam:policy": Verbs(policies.find, policies.delete, policies.restore, policies.others_on),
}
