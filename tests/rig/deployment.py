"""The suite at work in a test: build, look, change behind its back, build again, take down."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config

from provision.account.plan import DryState, Planned, make_plan
from provision.account.smoke_tests import SmokeTest, run_smoke_tests
from provision.aws.answers import Call
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.aws.connect import connect
from provision.aws.waiting import Waiting
from provision.cli.runner import run_steps
from provision.settings import Settings
from provision.state.entries import Difference, ResourceResult
from provision.state.file import checksum
from provision.state.state import State
from provision.terminal.json_values import plain
from teardown.backwards import Left, prove, receipt, take_down
from teardown.looks import Looks

ACCOUNT = "123456789012"
REGION = "us-east-1"


def policy_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:policy/{name}"


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


class Noting(Calls):
    """A listener that knows what has been registered on a client since it was put on it."""

    def put_on(self, client: Any) -> None:
        note(client)
        super().put_on(client)


NOTED: dict[int, tuple[dict[str, Any], list[tuple[Any, ...]]]] = {}  # by client: what it was, and what came to it
REGISTERING = ("register", "register_first", "register_last")


def note(client: Any) -> None:
    """From now on it is known what is done to this client, so that it can be undone."""
    events = client.meta.events
    came: list[tuple[Any, ...]] = []
    NOTED[id(client)] = (dict(vars(client)), came)

    def noting(register: Callable[..., None]) -> Callable[..., None]:
        def registered(name: str, handler: Any, *more: Any) -> None:
            came.append((name, handler))
            register(name, handler, *more)

        return registered

    for name in REGISTERING:
        setattr(events, name, noting(getattr(events, name)))


def undo(client: Any) -> None:
    was, came = NOTED.pop(id(client))
    events = client.meta.events
    for name in REGISTERING:
        delattr(events, name)
    for name, handler in came:
        events.unregister(name, handler)
    vars(client).clear()
    vars(client).update(was)


class Connections:
    """Clients that the next run uses again, as they take most of a run's time here; a run's traces on them are undone.

    Who connects while such a run goes on gets clients of its own.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Clients] = {}
        self._lent: dict[str, Calls] = {}
        self._lock = threading.Lock()

    def lend(self, target: Target, calls: Calls) -> Clients:
        """As `connect` makes them, until `give_back`."""
        key = repr((target, sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))
        with self._lock:
            if key in self._lent:
                return connect(target, calls)
            self._lent[key] = calls
        try:
            if key not in self._kept:
                for old in list(self._kept)[:-1]:
                    del self._kept[old]
                self._kept[key] = connect(target, Noting(waiting=calls.waiting))
            kept = self._kept[key]
            for client in kept.clients:
                undo(client)
                note(client)
                calls.put_on(client)
            kept.sts.get_caller_identity()  # as whoever connects does
        except Exception:  # noqa: BLE001  # whatever it is, `connect` has the words for it
            self.give_back(calls)
            calls.history.clear()
            return connect(target, calls)
        return replace(kept, calls=calls)

    def give_back(self, calls: Calls) -> None:
        with self._lock:
            self._lent = {key: lent for key, lent in self._lent.items() if lent is not calls}


CONNECTIONS = Connections()


class Deployment:
    """One state file and one sandbox (or endpoint). Every `build` and `tear_down` is a run of its own, as a user's are.

    `results` and `calls` are those of the last run; `aws` are plain boto3 clients of a stranger who looks at the
    account, or changes it behind the suite's back.
    """

    def __init__(
        self, sandbox_id: str, url: str, path: Path, settings: Settings | None = None, *, key: str = ""
    ) -> None:
        self.sandbox_id = sandbox_id
        self.url = url
        self.key = key
        self.path = path
        self.settings = settings or Settings()
        self.results: list[ResourceResult] = []
        self.calls: list[Call] = []
        # Real clock, short sleeps: what is waited for here comes within milliseconds.
        self.waiting = Waiting(sleep=lambda seconds: time.sleep(seconds / 20))
        self.prepare: Callable[[Clients, State], None] = lambda aws, state: None
        self.aws = Stranger(url, key=key) if key else Stranger(url)

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.aws.close()

    @property
    def target(self) -> Target:
        return Target(sandbox=(self.sandbox_id, self.url), sandbox_key=self.key)

    def connect(self) -> Clients:
        return connect(self.target, Calls(waiting=self.waiting))

    @contextmanager
    def connected(self) -> Iterator[Clients]:
        """The same for one run, with clients that runs before it have used."""
        calls = Calls(waiting=self.waiting)
        try:
            yield CONNECTIONS.lend(self.target, calls)
        finally:
            CONNECTIONS.give_back(calls)

    def open(self, aws: Clients) -> State:
        state = State.open(self.path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
        aws.calls.permit = state.permit
        self.prepare(aws, state)
        return state

    def build(self, settings: Settings | None = None) -> list[ResourceResult]:
        """Run the eight steps; what they did."""
        with self.connected() as aws:
            state = self.open(aws)
            try:
                run_steps(
                    aws,
                    settings or self.settings,
                    state,
                    started=lambda step: None,
                    ended=lambda step, results: None,
                )
            finally:
                self.results, self.calls = state.results, aws.calls.history
                state.close()
        return self.results

    def plan(self, settings: Settings | None = None) -> dict[str, Planned]:
        """What a build would do, by key."""
        with self.connected() as aws:
            state = DryState.open(self.path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
            state.fix_deployment()
            try:
                return {one.key: one for one in make_plan(aws, settings or self.settings, state)}
            finally:
                state.close()

    def build_as_planned(self, settings: Settings | None = None) -> list[ResourceResult]:
        """Build, and hold what was done, resource by resource and attribute by attribute, against the plan made before.

        The run sends the calls of the plan, and no other write.
        """
        planned = self.plan(settings)
        results = self.build(settings)
        foreseen = [call for one in planned.values() for call in one.calls]
        assert unlike(foreseen, [call for call in self.calls if not call.is_read]) == []
        done = {event.key: event for event in results}
        assert set(planned) == set(done)
        for key, event in done.items():
            assert agrees(planned[key], event), f"{planned[key]}\nand then {event}"
        return results

    def smoke_tests(self, settings: Settings | None = None) -> list[SmokeTest]:
        """Run the walkthrough's tests."""
        with self.connected() as aws:
            state = self.open(aws)
            try:
                return list(run_smoke_tests(aws, settings or self.settings, state))
            finally:
                self.calls = aws.calls.history
                state.close()

    def tear_down(self, *, include_adopted: bool = False) -> list[Left]:
        """Remove what the state file records; what is left."""
        with self.connected() as aws:
            state = self.open(aws)
            try:
                left = take_down(
                    Looks(aws, state), tell=lambda word, resource, remark: None, include_adopted=include_adopted
                )
                left += prove(aws, state)
                state.close_books(receipt(state))
                return left
            finally:
                self.calls = aws.calls.history
                state.close()

    @property
    def state(self) -> dict[str, Any]:
        """The state file's file, as it is on the disk."""
        content: dict[str, Any] = json.loads(self.path.read_bytes())
        return content

    def rewrite(self, change: Callable[[dict[str, dict[str, Any]]], None]) -> None:
        """Edit the state file's file by hand, entry by key, so that its checksum fits again."""
        content = self.state
        change({entry["key"]: entry for entry in content["resources"]})
        content["checksum"] = checksum(content)
        self.path.write_text(json.dumps(content))

    def outputs(self, key: str) -> dict[str, str]:
        return next(entry["outputs"] for entry in self.state["resources"] if entry["key"] == key)

    @property
    def changed(self) -> dict[str, ResourceResult]:
        """What the last build did not find as wanted, by key."""
        return {event.key: event for event in self.results if event.outcome != "unchanged"}

    @property
    def writes(self) -> list[str]:
        """The writing operations of the last run."""
        return [call.operation for call in self.calls if not call.is_read]


KNOWN_LATER = re.compile(r"\(known after step \d: [^)]*\)")


def unlike(planned: Sequence[Call], sent: Sequence[Call]) -> list[tuple[str, str]]:
    """The calls of a plan that are not those that were sent, each beside what was sent in its place.

    What the plan did not know may be anything, but everywhere the same.
    """
    known: dict[str, str] = {}
    differing = []
    for one, other in itertools.zip_longest(planned, sent):
        wanted, found = ("" if call is None else written(call) for call in (one, other))
        unknown = KNOWN_LATER.findall(wanted)
        match = as_foreseen(wanted, found)
        values = match.groups() if match else ()
        if match is None or any(
            known.setdefault(name, value) != value for name, value in zip(unknown, values, strict=False)
        ):
            differing.append((wanted, found))
    return differing


def as_foreseen(planned: str, found: str) -> re.Match[str] | None:
    """What stands where the plan said that it would be known later, if all the rest is as planned."""
    return re.fullmatch("(.+?)".join(re.escape(part) for part in KNOWN_LATER.split(planned)), found)


def same_differences(planned: Sequence[Difference], found: Sequence[Difference]) -> bool:
    """Whether a plan foresaw these differences, save what it could not know."""
    return len(planned) == len(found) and all(
        replace(one, wanted=other.wanted) == other and as_foreseen(str(one.wanted), str(other.wanted)) is not None
        for one, other in zip(planned, found, strict=True)
    )


def written(call: Call) -> str:
    return json.dumps([call.service, call.operation, plain(call.parameters)], sort_keys=True)


def agrees(planned: Planned, event: ResourceResult) -> bool:
    """Whether a resource's plan is what then happened to it."""
    if planned.word == "drifted":
        return event.outcome == "unchanged" and same_differences(planned.differences, event.differences)
    if planned.word == "unchanged":
        return event.outcome == "unchanged" or (event.outcome == "recovered" and not event.differences)
    if planned.word == "create":
        return event.outcome in ("created", "recovered") and not event.differences
    outcomes = ("adopted",) if planned.word == "adopt" else ("updated", "recovered")
    return event.outcome in outcomes and same_differences(planned.differences, event.differences)


@functools.lru_cache(maxsize=2)
def strange_clients(url: str, region: str, attempts: int, key: str) -> dict[str, Any]:
    session = boto3.Session(aws_access_key_id="stranger", aws_secret_access_key=key, region_name=region)
    config = Config(retries={"total_max_attempts": attempts})
    return {
        service: session.client(service, endpoint_url=url, config=config)
        for service in ("iam", "dynamodb", "sqs", "lambda", "apigateway", "logs", "sts")
    }


class Standing(Deployment):
    """A deployment that keeps its clients from run to run, as making them takes longer than using them."""

    _clients: Clients | None = None

    def connect(self) -> Clients:
        if self._clients is None:
            self._clients = super().connect()
        self._clients.calls.history = []
        return self._clients


class Stranger:
    """Plain boto3 clients on a local endpoint, as anybody might use them; the suite's guard knows nothing of them."""

    def __init__(self, url: str, region: str = REGION, *, attempts: int = 1, key: str = "stranger") -> None:
        self._clients = strange_clients(url, region, attempts, key)
        self.iam = self._clients["iam"]
        self.dynamodb = self._clients["dynamodb"]
        self.sqs = self._clients["sqs"]
        self.lambda_ = self._clients["lambda"]
        self.apigateway = self._clients["apigateway"]
        self.logs = self._clients["logs"]
        self.sts = self._clients["sts"]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def inventory(self, part: str = "") -> dict[str, Any]:
        """Everything in the account that the suite could make, or touch, with its shape and tags.

        Ids and times are left out: what is deleted and made again as it was leaves no trace in here. `part`: only
        what has this in its name, and all APIs; of what other tests have left no more than the names is read.
        """
        apis = {api["id"]: api for api in self._list(self.apigateway, "get_rest_apis", "items")}
        return {
            "policies": self._policies(part),
            "roles": self._roles(part),
            "tables": self._tables(part),
            "queues": self._queues(part),
            "log groups": self._log_groups(part),
            "functions": self._functions(apis, part),
            "triggers": self._triggers(part),
            "apis": sorted(map(self._api, apis.values()), key=lambda api: json.dumps(api, sort_keys=True)),
        }

    @staticmethod
    def _list(client: Any, operation: str, field: str, **parameters: Any) -> list[Any]:
        """All that a paginated list holds, whatever the size of its pages."""
        return [one for page in client.get_paginator(operation).paginate(**parameters) for one in page.get(field, [])]

    def _policies(self, part: str) -> dict[str, Any]:
        return {
            policy["PolicyName"]: {
                "versions": len(self.iam.list_policy_versions(PolicyArn=policy["Arn"])["Versions"]),
                "document": self.iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])[
                    "PolicyVersion"
                ]["Document"],
                "tags": self.iam.list_policy_tags(PolicyArn=policy["Arn"])["Tags"],
            }
            for policy in self._list(self.iam, "list_policies", "Policies", Scope="Local")
            if part in policy["PolicyName"]
        }

    def _roles(self, part: str) -> dict[str, Any]:
        return {
            role["RoleName"]: {
                "trust": role["AssumeRolePolicyDocument"],
                "attached": sorted(
                    policy["PolicyName"]
                    for policy in self.iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
                ),
                "inline": self.iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"],
                "tags": self.iam.list_role_tags(RoleName=role["RoleName"])["Tags"],
            }
            for role in self._list(self.iam, "list_roles", "Roles")
            if part in role["RoleName"]
        }

    def _tables(self, part: str) -> dict[str, Any]:
        tables = {}
        for name in self._list(self.dynamodb, "list_tables", "TableNames"):
            if part not in name:
                continue
            table = self.dynamodb.describe_table(TableName=name)["Table"]
            billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
            throughput = table.get("ProvisionedThroughput", {}) if billing == "PROVISIONED" else {}
            tables[name] = {
                "key": table["KeySchema"],
                "attributes": table["AttributeDefinitions"],
                "billing": billing,
                "throughput": [throughput.get("ReadCapacityUnits"), throughput.get("WriteCapacityUnits")],
                "items": self.dynamodb.scan(TableName=name)["Items"],
                "tags": self.dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]).get("Tags", []),
            }
        return tables

    def _queues(self, part: str) -> dict[str, Any]:
        queues = {}
        for url in self._list(self.sqs, "list_queues", "QueueUrls"):
            if part not in url.rsplit("/", 1)[1]:
                continue
            attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            queues[url.rsplit("/", 1)[1]] = {
                "policy": json.loads(attributes.get("Policy") or "null"),
                "redrive": json.loads(attributes.get("RedrivePolicy") or "null"),
                "visibility": attributes["VisibilityTimeout"],
                "retention": attributes["MessageRetentionPeriod"],
                "tags": self.sqs.list_queue_tags(QueueUrl=url).get("Tags", {}),
            }
        return queues

    def _log_groups(self, part: str) -> dict[str, Any]:
        return {
            group["logGroupName"]: {
                "retention": group.get("retentionInDays"),
                "tags": self.logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*")).get("tags", {}),
            }
            for group in self._list(self.logs, "describe_log_groups", "logGroups")
            if part in group["logGroupName"]
        }

    def _functions(self, apis: dict[str, Any], part: str) -> dict[str, Any]:
        functions = {}
        for function in self._list(self.lambda_, "list_functions", "Functions"):
            name = function["FunctionName"]
            if part not in name:
                continue
            try:
                policy = self.lambda_.get_policy(FunctionName=name)["Policy"]
            except self.lambda_.exceptions.ResourceNotFoundException:
                policy = '{"Statement": []}'
            for api_id, api in apis.items():  # an API that is made again has another id
                policy = policy.replace(f":{api_id}/", f":{api['name']}/")
            functions[name] = {
                "runtime": function["Runtime"],
                "role": function["Role"],
                "handler": function["Handler"],
                "timeout": function["Timeout"],
                "memory": function["MemorySize"],
                "code": function["CodeSha256"],
                "environment": function.get("Environment", {}).get("Variables", {}),
                "policy": [
                    {part: one.get(part) for part in ("Sid", "Effect", "Principal", "Action", "Condition")}
                    for one in json.loads(policy)["Statement"]
                ],
                "tags": self.lambda_.list_tags(Resource=function["FunctionArn"]).get("Tags", {}),
            }
        return functions

    def _triggers(self, part: str) -> list[Any]:
        return sorted(
            (
                mapping["EventSourceArn"],
                mapping["FunctionArn"],
                mapping["State"],
                mapping["BatchSize"],
                mapping.get("FunctionResponseTypes", []),
                str(mapping.get("ScalingConfig", {})),
                sorted(self.lambda_.list_tags(Resource=mapping["EventSourceMappingArn"]).get("Tags", {}).items()),
            )
            for mapping in self._list(self.lambda_, "list_event_source_mappings", "EventSourceMappings")
            if part in mapping["EventSourceArn"] + mapping["FunctionArn"]
        )

    def _api(self, api: dict[str, Any]) -> dict[str, Any]:
        resources = self._list(self.apigateway, "get_resources", "items", restApiId=api["id"])
        return {
            "name": api["name"],
            "endpoint": api["endpointConfiguration"]["types"],
            "methods": {
                f"{verb} {resource['path']}": self._method(api["id"], resource["id"], verb)
                for resource in sorted(resources, key=lambda resource: str(resource["path"]))
                for verb in sorted(resource.get("resourceMethods", {}))
            },
            "stages": {
                stage["stageName"]: stage.get("tags", {})
                for stage in self.apigateway.get_stages(restApiId=api["id"])["item"]
            },
            "tags": api.get("tags", {}),
        }

    def _method(self, api_id: str, resource_id: str, verb: str) -> dict[str, Any]:
        method = self.apigateway.get_method(restApiId=api_id, resourceId=resource_id, httpMethod=verb)
        integration = method.get("methodIntegration", {})
        return {
            "authorization": method.get("authorizationType"),
            "responses": sorted(method.get("methodResponses", {})),
            "to": integration.get("uri"),
            "integration responses": sorted(integration.get("integrationResponses", {})),
        }
