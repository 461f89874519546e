"""The ledger read backwards: a few functions for each kind of thing that the steps make.

A module here bears the name of the step that made the thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from provision.aws.clients import Clients
from provision.state.entries import Resource
from provision.state.state import Ledger
from teardown import api, function, message_queue, policies, roles, stage, table, trigger

Found = dict[str, Any]

# kind -> look: what AWS has under a recorded identity, or None.
FIND: dict[str, Callable[[Clients, Ledger, Resource], Found | None]] = {
    "apigateway:stage": stage.find,
    "apigateway:rest-api": api.find,
    "lambda:permission": api.find_permission_of,
    "lambda:event-source-mapping": trigger.find,
    "lambda:function": function.find,
    "logs:log-group": function.find_logs,
    "sqs:queue": message_queue.find,
    "dynamodb:table": table.find,
    "iam:role-policy-attachment": roles.find_attached,
    "iam:role": roles.find,
    "iam:policy": policies.find,
}

# kind -> undo: delete it, and wait where AWS answers before it has finished.
UNDO: dict[str, Callable[[Clients, Ledger, Resource, Found], None]] = {
    "apigateway:stage": stage.delete_stage,
    "apigateway:rest-api": api.delete_api,
    "lambda:permission": api.remove_permission,
    "lambda:event-source-mapping": trigger.delete_trigger,
    "lambda:function": function.delete_function,
    "logs:log-group": function.delete_log_group,
    "sqs:queue": message_queue.delete_queue,
    "dynamodb:table": table.delete_table,
    "iam:role-policy-attachment": roles.detach_policy,
    "iam:role": roles.delete_role,
    "iam:policy": policies.delete_policy,
}

# kind -> put back: give what was adopted its former attributes, then take our mark off, in this order, so that a run
# that was ended in between can still prove whose it is. An attachment has no attributes.
PUT_BACK: dict[str, Callable[[Clients, Ledger, Resource, Found], None]] = {
    "lambda:permission": api.put_permission_back,
    "lambda:event-source-mapping": trigger.put_trigger_back,
    "lambda:function": function.put_function_back,
    "logs:log-group": function.put_log_group_back,
    "sqs:queue": message_queue.put_queue_back,
    "dynamodb:table": table.put_table_back,
    "iam:role-policy-attachment": roles.leave_attached,
    "iam:role": roles.put_role_back,
    "iam:policy": policies.put_policy_back,
}

# kind -> the names of what somebody else hung on it. With any, it is not deleted.
OTHERS: dict[str, Callable[[Clients, Ledger, Resource, Found], list[str]]] = {
    "apigateway:rest-api": api.others_on,
    "lambda:function": function.others_on,
    "sqs:queue": message_queue.others_on,
    "dynamodb:table": table.others_on,
    "iam:role": roles.others_on,
    "iam:policy": policies.others_on,
}

# kind of what can carry no tags -> whether it is the part of its parent (as found) that the suite made. The entry's
# own word for it is not enough: what the file says may be wrong.
IS_PART: dict[str, Callable[[Clients, Ledger, Resource, Found], bool]] = {
    "apigateway:stage": stage.is_part,
    "lambda:permission": api.permission_is_part,
    "iam:role-policy-attachment": roles.attachment_is_part,
}
