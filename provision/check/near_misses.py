"""What is there in the place of something missing: a FIFO queue, a stage of another name, a path in another case.

One call each, and only where something is missing. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from provision.api import permissions_of
from provision.aws.api_definition import resources_of
from provision.aws.clients import Clients
from provision.check.leeway import same_principal
from provision.settings import Settings
from provision.trigger import serves

API_GATEWAY = {"Service": "apigateway.amazonaws.com"}


def near_resource(aws: Clients, settings: Settings, key: str, identity: Mapping[str, str]) -> str | None:
    """What there is in place of a resource, in words; None where there is nothing like it."""
    look = NEAR.get(key)
    return None if look is None else look(aws, settings, identity)


def fifo_queue(aws: Clients, settings: Settings, identity: Mapping[str, str]) -> str | None:
    """A FIFO queue's name ends in .fifo: nobody who asks for the other one finds it."""
    name = f"{identity['QueueName']}.fifo"
    with suppress(aws.sqs.exceptions.QueueDoesNotExist):
        aws.sqs.get_queue_url(QueueName=name)
        return name
    return None


def other_trigger(aws: Clients, settings: Settings, identity: Mapping[str, str]) -> str | None:
    """A trigger on the queue to another function, or from another queue to the function."""
    found = []
    for page in aws.lambda_.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            source, to = mapping.get("EventSourceArn", ""), serves(mapping)
            if source == identity["EventSourceArn"] or to == identity["FunctionName"]:
                found.append(f"{source.rpartition(':')[2]} to {to}")
    return ", ".join(sorted(found)) or None


def other_stages(aws: Clients, settings: Settings, identity: Mapping[str, str]) -> str | None:
    stages = aws.apigateway.get_stages(restApiId=identity["restApiId"])["item"]
    return ", ".join(sorted(stage["stageName"] for stage in stages)) or None


NEAR = {
    "queue": fifo_queue,
    "dead-letter-queue": fifo_queue,
    "trigger": other_trigger,
    "stage": other_stages,
}


def near_attribute(aws: Clients, api_id: str, attribute: str) -> str | None:
    """What an API has in place of a resource or of the method POST; None where there is nothing like it."""
    what, _, rest = attribute.partition(" ")
    if what == "resource":
        paths = resources_of(aws.apigateway, api_id)
        return next((path for path in sorted(paths) if path.lower() == rest.lower()), None)
    path, _, part = rest.partition(" ")
    if what == "POST" and part == "method":
        verbs = resources_of(aws.apigateway, api_id).get(path, {}).get("resourceMethods") or {}
        return ", ".join(sorted(verbs)) or None
    return None


def statement_of(aws: Clients, settings: Settings, api_id: str) -> str:
    """The StatementId of API Gateway's permission: the one that names this API, else any; else the suite's own.

    The console invents it, so what the statement says must tell.
    """
    statements = permissions_of(aws.lambda_, settings.function)
    ours = [one for one in statements if same_principal(settings, one.get("Principal"), API_GATEWAY)]
    ours.sort(key=lambda one: f":{api_id}/" not in str(one.get("Condition")))
    return str(ours[0]["Sid"]) if ours else settings.permission
