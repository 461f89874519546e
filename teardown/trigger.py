"""Undoes step 6: the event source mapping, which neither the function nor the queue takes along."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.trigger import find_trigger
from provision.waiting import TRIGGER_BUSY


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_trigger(aws.lambda_, resource.identity["EventSourceArn"], resource.identity["FunctionName"])


def delete_trigger(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    if found["State"] != "Deleting":
        for attempt in aws.waiting.retry_while(TRIGGER_BUSY):
            with attempt:
                aws.lambda_.delete_event_source_mapping(
                    UUID=found["UUID"],
                )

    def gone() -> bool:
        try:
            aws.lambda_.get_event_source_mapping(UUID=found["UUID"])
        except aws.lambda_.exceptions.ResourceNotFoundException:
            return True
        return False

    aws.waiting.poll_until(
        "the trigger to be gone", gone, budget=300, means="Lambda stops receiving from the queue first."
    )


def others_on(aws: Clients, **source_or_function: str) -> list[str]:
    """The triggers that hang on a queue (EventSourceArn=...) or on a function (FunctionName=...)."""
    return [
        f"trigger {mapping['UUID']}"
        for page in aws.lambda_.get_paginator("list_event_source_mappings").paginate(**source_or_function)
        for mapping in page["EventSourceMappings"]
        if mapping["State"] != "Deleting"
    ]
