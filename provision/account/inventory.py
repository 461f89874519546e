"""What is in this account and Region under the suite's names, and whose it is. Reads only.

It is used where no state file says it: to recover a lost one, to say what stands in the way, and before a teardown says
that there is nothing to do.

Each resource is asked for through its own service. Lists of roles and policies have no tags; the tagging API lists
resources that are long gone, and none of IAM's. REST APIs and triggers are listed: several APIs may have one name, and
triggers have none; so are API keys and usage plans, which an earlier run may have made. What can carry no tags
(attachment, permission, stage, a key's place in a plan) has its parent's tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from provision.api import find_permission, list_apis
from provision.aws.clients import Clients
from provision.aws.credentials import is_of_credentials
from provision.function import find_function, find_log_group
from provision.message_queue import find_queue
from provision.policies import find_policy
from provision.roles import find_attachment, find_role
from provision.settings import Settings
from provision.stage import find_stage, find_usage_plan_key, list_api_keys, list_usage_plans
from provision.state.entries import ADOPTED_TAG, TAG
from provision.state.ownership import is_being_deleted
from provision.state.resources import IAM, PLACES, TYPES, identities, immutable_id, made_at, name_of, names, noun_of
from provision.table import find_table
from provision.trigger import serves, with_tags

PAUSE_SECONDS = 1.0  # seconds between two looks for the same


@dataclass(frozen=True)
class FoundResource:
    """Something that has one of the names, or a tag of the suite.

    `key`: its place in a state file; "" if there is none for it. `tags`: None if they could not be read.
    """

    key: str
    kind: str
    identity: dict[str, str]
    outputs: dict[str, str]
    tags: Mapping[str, str] | None
    made: str = ""
    parent: str | None = None
    is_being_deleted: bool = False  # AWS is deleting it already
    can_be_tagged: bool = True

    @property
    def tag(self) -> str | None:
        """The deployment whose tag it carries, if any."""
        return (self.tags or {}).get(TAG)

    @property
    def is_unreadable(self) -> bool:
        return self.tags is None

    @property
    def is_adopted(self) -> bool:
        """Whether somebody else made it and a deployment adopted it."""
        return ADOPTED_TAG in (self.tags or {})

    @property
    def whose(self) -> str:
        if self.tags is None:
            return "its tags could not be read"
        return f"deployment {self.tag}" if self.tag else "no tag of this suite"

    @property
    def described(self) -> str:
        """Whose it is, and what tells it from a namesake: AWS's own id, and when it was made."""
        known = self.outputs.get("id")
        field = TYPES[self.kind].id_field
        is_time = field in ("CreatedTimestamp", "creationTime")  # said in words by `made`
        return ", ".join(
            [
                self.whose.removesuffix(" of this suite"),
                *([f"{field} {known}"] if known and field and not is_time else []),
                *([self.made] if self.made else []),
            ]
        )


@dataclass(frozen=True)
class Unanswered:
    """What could not be looked at, and AWS's error code. `key`: its place in a state file, or ""."""

    key: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


@dataclass(frozen=True)
class Inventory:
    """What is there, in the order of a build; and what could not be looked at, and so may be there.

    `not_listed`: the same of what only an option makes. Whoever never asked for an API key needs no permission to list
    them: that list has the values of all keys of the Region for whoever wants them.
    """

    resources: tuple[FoundResource, ...]
    unanswered: tuple[Unanswered, ...]
    not_listed: tuple[Unanswered, ...] = ()


@dataclass(frozen=True)
class Look:
    """One question to AWS, in words, and the call. `repeats`: ask again, as a list may be incomplete."""

    key: str
    what: str
    ask: Callable[[], list[FoundResource]]
    repeats: bool = False


# By resource type, how the resource of an identity is found. What is not here is listed: see `looks`.
FINDS: dict[str, Callable[[Clients, Mapping[str, str]], dict[str, Any] | None]] = {
    "iam:policy": lambda aws, identity: find_policy(aws.iam, identity["PolicyArn"]),
    "iam:role": lambda aws, identity: find_role(aws.iam, identity["RoleName"]),
    "iam:role-policy-attachment": lambda aws, identity: find_attachment(
        aws.iam, identity["RoleName"], identity["PolicyArn"]
    ),
    "dynamodb:table": lambda aws, identity: find_table(aws.dynamodb, identity["TableName"]),
    "sqs:queue": lambda aws, identity: find_queue(aws.sqs, identity["QueueName"]),
    "logs:log-group": lambda aws, identity: find_log_group(aws.logs, identity["logGroupName"]),
    "lambda:function": lambda aws, identity: find_function(aws.lambda_, identity["FunctionName"]),
    "lambda:permission": lambda aws, identity: find_permission(
        aws.lambda_, identity["FunctionName"], identity["StatementId"]
    ),
    "apigateway:stage": lambda aws, identity: find_stage(aws.apigateway, identity["restApiId"], identity["stageName"]),
    "apigateway:usage-plan-key": lambda aws, identity: find_usage_plan_key(
        aws.apigateway, identity["usagePlanId"], identity["keyId"]
    ),
}


def take_inventory(aws: Clients, settings: Settings, *, times: int = 1) -> Inventory:
    """Look for everything; `times` times for what is not there, as an answer may come from a place that lags behind.

    What AWS refuses to show is unanswered. Raises ClientError when the credentials have expired or are refused.
    """
    return _take_inventory(aws, partial(all_looks, aws, settings), times)


def take_inventory_of_iam(aws: Clients, settings: Settings) -> Inventory:
    """The same for IAM only, whose names are the same in all Regions: four calls."""
    return _take_inventory(aws, lambda seen: (look for look in looks(aws, settings) if look.key in IAM), 1)


Seen = dict[tuple[str, ...], FoundResource]


def _take_inventory(aws: Clients, all_looks: Callable[[Seen], Iterator[Look]], times: int) -> Inventory:
    seen: Seen = {}
    unanswered: dict[str, Unanswered] = {}
    answered: set[str] = set()

    def ask(look: Look) -> None:
        if look.what in answered and not look.repeats:
            return
        try:
            resources = look.ask()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if is_of_credentials(error):
                raise
            unanswered[look.what] = Unanswered(look.key, look.what, code)
            return
        unanswered.pop(look.what, None)
        if resources:
            answered.add(look.what)
        for resource in resources:
            seen.setdefault((resource.kind, *resource.identity.values(), resource.outputs.get("id", "")), resource)

    for number in range(times):
        if number:
            aws.waiting.sleep(PAUSE_SECONDS)
        for look in all_looks(seen):
            ask(look)
    order = list(PLACES)
    in_order = sorted(seen.values(), key=lambda resource: order.index(resource.key) if resource.key else len(order))
    extras = [one for one in unanswered.values() if one.key and PLACES[one.key].is_extra]
    needed = [one for one in unanswered.values() if one not in extras]
    return Inventory(tuple(in_order), tuple(needed), tuple(extras))


def all_looks(aws: Clients, settings: Settings, seen: Seen) -> Iterator[Look]:
    """First for what stands by itself, then for the parts of what was found."""
    yield from looks(aws, settings)
    yield from looks_for_parts(aws, settings, list(seen.values()))


def looks(aws: Clients, settings: Settings) -> Iterator[Look]:
    """For what stands by itself: by name, or in a list."""
    for key, identity in names(aws, settings).items():
        kind = PLACES[key].kind
        if kind in FINDS:
            yield Look(key, f"{noun_of(kind)} {name_of(kind, identity)}", partial(find, aws, key, identity))
    yield Look("", "log groups of other learners", partial(tagged_log_groups, aws))
    ends = f"triggers on {settings.queue}, {settings.dead_letter_queue} and {settings.function}"
    yield Look("trigger", ends, partial(triggers, aws, settings), repeats=True)
    for key, called, name, listed in (
        ("api", "REST APIs", settings.api, list_apis),
        ("api-key", "API keys", settings.api_key, list_api_keys),
        ("usage-plan", "usage plans", settings.usage_plan, list_usage_plans),
    ):
        asked = partial(of_this_name, aws, key, name, listed)
        yield Look(key, f"{called} named {name}", asked, repeats=True)


def looks_for_parts(aws: Clients, settings: Settings, wholes: list[FoundResource]) -> Iterator[Look]:
    """For the parts of what was found. A part has its parent's tag, as it can carry none."""
    tags = {whole.tag for whole in wholes if whole.key and whole.tag}
    wholes = [whole for whole in wholes if whole.key or whole.tag in tags]
    for whole in wholes:
        api_id = whole.outputs.get("id", "")
        for key, identity in identities(aws, settings, {"api": api_id}).items():
            kind = PLACES[key].kind
            is_part = TYPES[kind].part_of == whole.kind and PLACES[key].joins[0] == (whole.key or "api")
            if not is_part or key == "usage-plan-key":
                continue
            what = f"{noun_of(kind)} {name_of(kind, identity)}"
            outputs = {}
            if key == "stage":
                what += f" of REST API {api_id}"
                outputs["url"] = aws.invoke_url(api_id, settings.stage, settings.path_part)
            yield Look(key, what, partial(find, aws, key, identity, whole, **outputs))
    yield from looks_for_plan_keys(aws, wholes)


def looks_for_plan_keys(aws: Clients, wholes: list[FoundResource]) -> Iterator[Look]:
    """For each API key of a deployment in each of its usage plans."""
    keys = [one for one in wholes if one.kind == PLACES["api-key"].kind and one.tag]
    for plan in [one for one in wholes if one.kind == PLACES["usage-plan"].kind]:
        for api_key in [one for one in keys if one.tag == plan.tag]:
            identity = {"usagePlanId": plan.outputs["id"], "keyId": api_key.outputs["id"]}
            what = f"API key {identity['keyId']} in usage plan {identity['usagePlanId']}"
            yield Look("usage-plan-key", what, partial(find, aws, "usage-plan-key", identity, plan))


def find(
    aws: Clients, key: str, identity: dict[str, str], whole: FoundResource | None = None, **outputs: str
) -> list[FoundResource]:
    """The resource of this identity, or none. A part has the tags of `whole`."""
    kind = PLACES[key].kind
    found = FINDS[kind](aws, identity)
    if found is None:
        return []
    if whole is None:
        return [resource(key, kind, identity, found)]
    parent = whole.key or PLACES[key].joins[0]
    return [FoundResource(key, kind, identity, outputs, whole.tags, parent=parent, can_be_tagged=False)]


def tagged_log_groups(aws: Clients) -> list[FoundResource]:
    """The tagged log groups of functions called POC-Lambda-1-...: they show the learner's name to who forgot it."""
    seen = []
    for page in aws.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=Settings().log_group + "-"):
        for group in page["logGroups"]:
            found = find_log_group(aws.logs, group["logGroupName"])
            if found is not None and TAG in found["Tags"]:
                seen.append(resource("", PLACES["log-group"].kind, {"logGroupName": group["logGroupName"]}, found))
    return seen


def triggers(aws: Clients, settings: Settings) -> list[FoundResource]:
    """Those on one of our queues or our function. A trigger stays when these are deleted.

    So all triggers are listed: with the name of a function that is gone Lambda refuses to list anything.
    """
    main, dead = aws.arn("sqs", settings.queue), aws.arn("sqs", settings.dead_letter_queue)
    seen = []
    for page in aws.lambda_.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            source, to = mapping.get("EventSourceArn", ""), serves(mapping)
            if source not in (main, dead) and to != settings.function:
                continue
            found = with_tags(aws.lambda_, mapping)
            if found is not None:
                key = "trigger" if (source, to) == (main, settings.function) else ""
                identity = {"EventSourceArn": source, "FunctionName": to}
                seen.append(resource(key, PLACES["trigger"].kind, identity, found))
    return seen


def of_this_name(
    aws: Clients, key: str, name: str, listed: Callable[[Any], list[dict[str, Any]]]
) -> list[FoundResource]:
    """Those of a kind whose names repeat: with our name, and with a tag of the suite under any name."""
    return [
        resource(key if one.get("name") == name else "", PLACES[key].kind, {"name": one.get("name", "")}, one)
        for one in listed(aws.apigateway)
        if one.get("name") == name or TAG in one["Tags"]
    ]


def resource(key: str, kind: str, identity: dict[str, str], found: Mapping[str, Any]) -> FoundResource:
    """What was found, with the outputs that a step notes, as far as AWS says them."""
    known = immutable_id(kind, found)
    return FoundResource(
        key,
        kind,
        identity,
        {
            **({} if known is None else {"id": known}),
            **{output: found[field] for output, field in TYPES[kind].outputs.items()},
        },
        found.get("Tags", {}),
        made=made_at(kind, found),
        is_being_deleted=is_being_deleted(found),
        can_be_tagged="Tags" in found,
    )
