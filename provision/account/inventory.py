"""What is in this account and Region under the suite's names, and whose it is. Reads only.

Used where no state file says it: to write a lost one anew, to tell what stands in the way, to look before "nothing to
do".

Each resource is asked for through its own service: lists of roles and policies carry no tags, and the tagging API lists
resources that are long gone, and none of IAM's. REST APIs and event source mappings are listed whole: names of the
former repeat, and the latter have none. What can carry no tags (attachment, permission, stage) has its parent's tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from provision.api import find_permission, list_apis
from provision.aws.clients import Clients
from provision.aws.credentials import EXPIRED, REFUSED
from provision.function import find_function, find_log_group
from provision.message_queue import find_queue
from provision.policies import find_policy
from provision.roles import find_attachment, find_role, managed_policy_arn
from provision.settings import Settings
from provision.stage import find_stage
from provision.state.entries import ADOPTED_TAG, TAG
from provision.state.resources import PLACES, TYPES, born, immutable_id
from provision.table import find_table
from provision.trigger import serves, with_tags

PAUSE = 1.0  # seconds between two looks for the same


@dataclass(frozen=True)
class FoundResource:
    """Something that bears one of the names, or a tag of the suite.

    `key` is its place in a state file, "" where that has none for it. `tags` is None where they could not be read.
    """

    key: str
    kind: str
    identity: dict[str, str]
    outputs: dict[str, str]
    tags: Mapping[str, str] | None
    born: str = ""
    parent: str | None = None
    going: bool = False  # AWS is deleting it already
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
        """Whether a person made it, and the deployment took it over."""
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
        is_time = field in ("CreatedTimestamp", "creationTime")  # said in words by `born`
        return ", ".join(
            [
                self.whose.removesuffix(" of this suite"),
                *([f"{field} {known}"] if known and field and not is_time else []),
                *([self.born] if self.born else []),
            ]
        )


@dataclass(frozen=True)
class Unanswered:
    """What could not be looked at, and AWS's code. `key` is its place in a state file, "" where that has none."""

    key: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


@dataclass(frozen=True)
class Inventory:
    """What is there, in the order of a build, and what could not be looked at: that may be there or not."""

    resources: tuple[FoundResource, ...]
    unanswered: tuple[Unanswered, ...]


@dataclass(frozen=True)
class Look:
    """One question to AWS, in words, and the call. `repeats`: a list may lack one resource and have others."""

    key: str
    what: str
    ask: Callable[[], list[FoundResource]]
    repeats: bool = False


def take_inventory(aws: Clients, settings: Settings, *, times: int = 1) -> Inventory:
    """Look for everything; for what is not there, `times` times, as one look may be answered by a place that lags.

    A look that AWS refuses is among the unanswered. Raises ClientError for credentials that are no good any more.
    """
    return _take_inventory(aws, partial(looks, aws, settings), partial(looks_for_parts, aws, settings), times)


def take_inventory_of_iam(aws: Clients, settings: Settings) -> Inventory:
    """The same, of the names alone that an account has once for all its Regions: four calls."""
    return _take_inventory(aws, partial(looks_in_iam, aws, settings), lambda resources: iter(()), 1)


def _take_inventory(
    aws: Clients,
    wholes: Callable[[], Iterator[Look]],
    parts: Callable[[list[FoundResource]], Iterator[Look]],
    times: int,
) -> Inventory:
    seen: dict[tuple[str, ...], FoundResource] = {}
    unanswered: dict[str, Unanswered] = {}
    answered: set[str] = set()

    def ask(look: Look) -> None:
        if look.what in answered and not look.repeats:
            return
        try:
            resources = look.ask()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in EXPIRED | REFUSED:
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
            aws.waiting.sleep(PAUSE)
        for look in wholes():
            ask(look)
        for look in parts(list(seen.values())):
            ask(look)
    order = list(PLACES)
    in_order = sorted(seen.values(), key=lambda resource: order.index(resource.key) if resource.key else len(order))
    return Inventory(tuple(in_order), tuple(unanswered.values()))


def looks(aws: Clients, settings: Settings) -> Iterator[Look]:
    """What stands by itself."""
    yield from looks_in_iam(aws, settings)
    yield Look("table", f"table {settings.table}", partial(table, aws, settings.table))
    for key, name in (("dead-letter-queue", settings.dead_letter_queue), ("queue", settings.queue)):
        yield Look(key, f"queue {name}", partial(queue, aws, key, name))
    yield Look("log-group", f"log group {settings.log_group}", partial(log_group, aws, settings.log_group))
    yield Look("", "log groups of other learners", partial(tagged_log_groups, aws))
    yield Look("function", f"function {settings.function}", partial(function, aws, settings.function))
    names = f"triggers on {settings.queue}, {settings.dead_letter_queue} and {settings.function}"
    yield Look("trigger", names, partial(triggers, aws, settings), repeats=True)
    yield Look("api", f"REST APIs named {settings.api}", partial(apis, aws, settings), repeats=True)


def looks_in_iam(aws: Clients, settings: Settings) -> Iterator[Look]:
    for key, name in (("write-policy", settings.write_policy), ("read-policy", settings.read_policy)):
        yield Look(key, f"policy {name}", partial(policy, aws, key, name))
    for key, name in (("function-role", settings.function_role), ("api-role", settings.api_role)):
        yield Look(key, f"role {name}", partial(role, aws, key, name))


def looks_for_parts(aws: Clients, settings: Settings, resources: list[FoundResource]) -> Iterator[Look]:
    """What is part of something that was found, and carries its tag in the place of one of its own."""
    tags = {resource.tag for resource in resources if resource.key and resource.tag}
    attached = {
        "function-role/write-policy": aws.arn("iam", f"policy/{settings.write_policy}", region=""),
        "function-role/read-policy": aws.arn("iam", f"policy/{settings.read_policy}", region=""),
        "api-role/logs-policy": managed_policy_arn(aws, settings),
    }
    for resource in resources:
        if resource.kind == "iam:role":
            for key, arn in attached.items():
                if key.startswith(f"{resource.key}/"):
                    name = f"whether {arn.rpartition('/')[2]} is attached to {resource.identity['RoleName']}"
                    yield Look(key, name, partial(attachment, aws, key, resource, arn))
        elif resource.key == "function":
            name = f"permission {settings.permission} on {settings.function}"
            yield Look("permission", name, partial(permission, aws, resource, settings.permission))
        elif resource.kind == "apigateway:rest-api" and (resource.key or resource.tag in tags):
            name = f"stage {settings.stage} of REST API {resource.outputs['id']}"
            yield Look("stage", name, partial(stage, aws, settings, resource))


def policy(aws: Clients, key: str, name: str) -> list[FoundResource]:
    arn = aws.arn("iam", f"policy/{name}", region="")
    found = find_policy(aws.iam, arn)
    return [] if found is None else [resource(key, "iam:policy", {"PolicyArn": arn}, found)]


def role(aws: Clients, key: str, name: str) -> list[FoundResource]:
    found = find_role(aws.iam, name)
    if found is None:
        return []
    return [resource(key, "iam:role", {"RoleName": name}, found, arn=aws.arn("iam", f"role/{name}", region=""))]


def attachment(aws: Clients, key: str, parent: FoundResource, arn: str) -> list[FoundResource]:
    name = parent.identity["RoleName"]
    if find_attachment(aws.iam, name, arn) is None:
        return []
    return [part(key, "iam:role-policy-attachment", {"RoleName": name, "PolicyArn": arn}, parent)]


def table(aws: Clients, name: str) -> list[FoundResource]:
    found = find_table(aws.dynamodb, name)
    if found is None:
        return []
    arn = aws.arn("dynamodb", f"table/{name}")
    going = found["TableStatus"] == "DELETING"
    return [resource("table", "dynamodb:table", {"TableName": name}, found, going=going, arn=arn)]


def queue(aws: Clients, key: str, name: str) -> list[FoundResource]:
    found = find_queue(aws.sqs, name)
    if found is None:
        return []
    return [resource(key, "sqs:queue", {"QueueName": name}, found, arn=found["QueueArn"], url=found["QueueUrl"])]


def log_group(aws: Clients, name: str) -> list[FoundResource]:
    found = find_log_group(aws.logs, name)
    return [] if found is None else [resource("log-group", "logs:log-group", {"logGroupName": name}, found)]


def tagged_log_groups(aws: Clients) -> list[FoundResource]:
    """Log groups of functions called POC-Lambda-1-... that carry a tag: this helps who forgot a learner's name."""
    seen = []
    for page in aws.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=Settings().log_group + "-"):
        for group in page["logGroups"]:
            found = find_log_group(aws.logs, group["logGroupName"])
            if found is not None and TAG in found["Tags"]:
                seen.append(resource("", "logs:log-group", {"logGroupName": group["logGroupName"]}, found))
    return seen


def function(aws: Clients, name: str) -> list[FoundResource]:
    found = find_function(aws.lambda_, name)
    if found is None:
        return []
    arn = aws.arn("lambda", f"function:{name}")
    return [resource("function", "lambda:function", {"FunctionName": name}, found, arn=arn)]


def triggers(aws: Clients, settings: Settings) -> list[FoundResource]:
    """Those on one of our queues' or the function's names; they outlive both, so neither need be there.

    All of them are listed: with the name of a function that is gone AWS refuses to list anything.
    """
    main, dead = aws.arn("sqs", settings.queue), aws.arn("sqs", settings.dead_letter_queue)
    seen = []
    for page in aws.lambda_.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            source, to = mapping.get("EventSourceArn", ""), serves(mapping)
            if source not in (main, dead) and to != settings.function:
                continue
            going = mapping["State"] == "Deleting"
            try:
                found = {**mapping, "Tags": {}} if going else with_tags(aws.lambda_, mapping)
            except aws.lambda_.exceptions.ResourceNotFoundException:
                continue  # gone since it was listed
            key = "trigger" if (source, to) == (main, settings.function) else ""
            identity = {"EventSourceArn": source, "FunctionName": to}
            seen.append(resource(key, "lambda:event-source-mapping", identity, found, going=going))
    return seen


def apis(aws: Clients, settings: Settings) -> list[FoundResource]:
    """All of our name, and all with a tag of the suite, whatever their names."""
    return [
        resource("api" if api["name"] == settings.api else "", "apigateway:rest-api", {"name": api["name"]}, api)
        for api in list_apis(aws.apigateway)
        if api["name"] == settings.api or TAG in api["Tags"]
    ]


def permission(aws: Clients, parent: FoundResource, statement_id: str) -> list[FoundResource]:
    name = parent.identity["FunctionName"]
    if find_permission(aws.lambda_, name, statement_id) is None:
        return []
    return [part("permission", "lambda:permission", {"FunctionName": name, "StatementId": statement_id}, parent)]


def stage(aws: Clients, settings: Settings, parent: FoundResource) -> list[FoundResource]:
    api_id = parent.outputs["id"]
    if find_stage(aws.apigateway, api_id, settings.stage) is None:
        return []
    url = aws.invoke_url(api_id, settings.stage, settings.path_part)
    return [part("stage", "apigateway:stage", {"restApiId": api_id, "stageName": settings.stage}, parent, url=url)]


def resource(
    key: str, kind: str, identity: dict[str, str], found: Mapping[str, Any], *, going: bool = False, **outputs: str
) -> FoundResource:
    """What was found, with the outputs that a step would have noted of it, as far as AWS still tells them."""
    known = immutable_id(kind, found)
    return FoundResource(
        key,
        kind,
        identity,
        {**({} if known is None else {"id": known}), **outputs},
        found.get("Tags", {}),
        born=born(kind, found),
        going=going,
        can_be_tagged="Tags" in found,
    )


def part(key: str, kind: str, identity: dict[str, str], whole: FoundResource, **outputs: str) -> FoundResource:
    return FoundResource(key, kind, identity, outputs, whole.tags, parent=whole.key or "api", can_be_tagged=False)
