"""Undoes step 6: the event source mapping, which stays when the function or the queue is deleted."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.state.entries import TAG, TAG_KEYS, Resource
from provision.state.state import State
from provision.terminal import outcome
from provision.trigger import CONCURRENCY, find_trigger, serves, with_tags


def find(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The mapping with the recorded UUID, else the one between queue and function; None if there is none."""
    between = resource.identity["EventSourceArn"], resource.identity["FunctionName"]
    return find_trigger(aws.lambda_, *between, uuid=resource.outputs.get("id"))


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Its State is Deleting until Lambda has stopped polling the queue: the proof waits for it."""
    if found["State"] != "Deleting":
        aws.lambda_.delete_event_source_mapping(
            UUID=found["UUID"],
        )


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put its attributes back, and enable or disable it as it was."""
    is_on = found["State"] not in ("Disabled", "Disabling")
    was_on = resource.was("State", "Enabled" if is_on else "Disabled") not in ("Disabled", "Disabling")
    if resource.before.keys() & {"State", "FunctionName", "BatchSize", "FunctionResponseTypes", CONCURRENCY}:
        found_limit = found.get("ScalingConfig", {}).get("MaximumConcurrency")
        limit = resource.was(CONCURRENCY, found_limit)
        aws.lambda_.update_event_source_mapping(
            UUID=found["UUID"],
            FunctionName=resource.was("FunctionName", serves(found)),
            Enabled=was_on,
            BatchSize=resource.was("BatchSize", found["BatchSize"]),
            FunctionResponseTypes=resource.was("FunctionResponseTypes", found.get("FunctionResponseTypes", [])),
            # Nothing in it takes the limit away.
            # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
            ScalingConfig={} if limit is None else {"MaximumConcurrency": limit},
        )
        aws.waiting.poll_until(
            "the trigger to be as before",
            lambda: (
                aws.lambda_.get_event_source_mapping(UUID=found["UUID"])["State"]
                == ("Enabled" if was_on else "Disabled")
            ),
            budget=300,
        )
    state.note_restored(resource)
    if "Tags" in found:
        aws.lambda_.untag_resource(
            Resource=found["EventSourceMappingArn"],
            TagKeys=list(TAG_KEYS),
        )


def triggers_of_others(aws: Clients, state: State, **source_or_function: str) -> list[str]:
    """The names of somebody else's triggers on a source (EventSourceArn=...) or a function (FunctionName=...)."""
    triggers = [entry for entry in state.resources if entry.kind == "lambda:event-source-mapping"]
    recorded = {entry.outputs.get("id") for entry in triggers}
    # An adopted one was there without its queue or function before the suite made that. So it stays.
    left = {entry.outputs.get("id") for entry in triggers if "left" in entry.outputs}
    names = []
    for page in aws.lambda_.get_paginator("list_event_source_mappings").paginate(**source_or_function):
        for listed in page["EventSourceMappings"]:
            mapping = with_tags(aws.lambda_, listed) if listed["State"] != "Deleting" else None
            if mapping is None or mapping["UUID"] in left:
                continue
            ours = mapping["Tags"].get(TAG) == state.deployment if "Tags" in mapping else mapping["UUID"] in recorded
            if not ours:
                names.append(f"trigger {mapping['UUID']}")
    return names


def refuse_while_our_trigger_is_on(state: State, **source_or_function: str) -> None:
    """Raise UserError while our own trigger is on it: AWS would delete it and leave the trigger behind."""
    for entry in state.standing:
        if entry.kind == "lambda:event-source-mapping" and source_or_function.items() <= entry.identity.items():
            raise outcome.UserError("its trigger is still there, and would be left behind")
