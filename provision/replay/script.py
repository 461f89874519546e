"""A deployment's runs as a plan: its calls in the walkthrough's order, their waits, and its teardown.

script_text.py writes the plan as a script of `aws` commands, or of boto3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from provision import STEPS, Step
from provision.aws.call_text import is_file
from provision.package import source, zipped
from provision.record.fields import flaw_of_call
from provision.record.recording import Recording
from provision.replay.foreign import Home, foreign
from provision.settings import Settings
from provision.state.entries import TAG
from provision.state.resources import PLACES
from provision.terminal import outcome
from provision.terminal.json_values import plain

SERVICES = ("iam", "dynamodb", "sqs", "lambda", "apigateway", "logs")
# The writing calls of the steps that a script may have; an interrupted run updated what it had made.
MAKING = frozenset(
    (service, operation)
    for service, operations in {
        "iam": "CreatePolicy CreatePolicyVersion CreateRole AttachRolePolicy UpdateAssumeRolePolicy TagPolicy TagRole",
        "dynamodb": "CreateTable UpdateTable TagResource",
        "sqs": "CreateQueue SetQueueAttributes TagQueue",
        "lambda": "CreateFunction UpdateFunctionCode UpdateFunctionConfiguration AddPermission TagResource "
        "CreateEventSourceMapping UpdateEventSourceMapping",
        "logs": "CreateLogGroup PutRetentionPolicy TagResource",
        "apigateway": "CreateRestApi CreateResource PutMethod PutMethodResponse PutIntegration PutIntegrationResponse "
        "CreateDeployment UpdateStage UpdateRestApi UpdateMethod TagResource",
    }.items()
    for operation in operations.split()
)
# What limits a role, or the callers of the URL: where a later run set it, the calls that made the resource lack it.
LIMITS = frozenset({"PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary", "UpdateStage"})
LIMITS_IN_PATCH = frozenset(
    {("UpdateRestApi", "/policy"), ("UpdateMethod", "/authorizationType"), ("UpdateMethod", "/apiKeyRequired")}
)
# These calls may be refused for a while, because they need something new.
RETRIED = re.compile("(Attach|SetQueue|PutRetention|Update|Add).*|Create(Queue|Function|EventSourceMapping|Deployment)")
# The waiters that boto3 and the aws command share, by the call that they follow: name, the call that looks, and its
# parameter. https://docs.aws.amazon.com/cli/latest/reference/lambda/wait/ and the pages of other services
WAITERS = {
    "CreateRole": ("role_exists", "GetRole", "RoleName"),
    "CreateTable": ("table_exists", "DescribeTable", "TableName"),
    "DeleteTable": ("table_not_exists", "DescribeTable", "TableName"),
    "CreateFunction": ("function_active_v2", "GetFunction", "FunctionName"),
    "UpdateFunctionCode": ("function_updated_v2", "GetFunction", "FunctionName"),
    "UpdateFunctionConfiguration": ("function_updated_v2", "GetFunction", "FunctionName"),
}
# By the call that made a resource: what it is, the calls that delete it and look for it, and the parameter of both.
TAKEN_DOWN = {
    "CreatePolicy": ("policy", "DeletePolicy", "GetPolicy", "PolicyArn"),
    "CreateRole": ("role", "DeleteRole", "GetRole", "RoleName"),
    "CreateTable": ("table", "DeleteTable", "DescribeTable", "TableName"),
    "CreateFunction": ("function", "DeleteFunction", "GetFunction", "FunctionName"),
}
METHOD = ("restApiId", "resourceId", "httpMethod")
# https://docs.aws.amazon.com/general/latest/gr/rande.html
SUFFIXES = {"aws-cn": "amazonaws.com.cn"}
# What of a transcript's first line may go into a script: the file may come from anybody.
PLAIN = re.compile(r"[A-Za-z0-9_.:/=+@-]+")
NAME_ANOTHER = "Name the transcript of a run before it was taken down: python -m provision replay --list has them."
BUILD_THE_REST = (
    "Build the rest: python -m provision, with the same options as before. Then make the script again;",
    "or name the transcript of a run after which it was whole: python -m provision replay --list has them.",
)
IS_IT_YOURS = "Make scripts of transcripts of your own. This one was changed, or made by another version of the suite."
BUILD_ANEW = (
    "Build in a new folder, without deleting .provision/transcripts meanwhile, and make the script of that;",
    "python -m provision --sandbox needs no account for it.",
)


class CannotScript(outcome.UserError):
    """The transcripts do not have the whole deployment."""

    exit_code = outcome.USAGE


def refusal(why: str, *advice: str) -> CannotScript:
    return CannotScript(
        f"No script can be made of these transcripts: {why}.",
        means="A script has to be complete. Nothing was written.",
        advice=advice or BUILD_ANEW,
    )


@dataclass(frozen=True)
class Call:
    """A call. `keep` is the variable that gets what `query`, a path into the answer, finds."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    keep: str = ""
    query: str = ""
    of_method: bool = False

    @property
    def is_retried(self) -> bool:
        return bool(RETRIED.fullmatch(self.operation))


TRIGGER = Call("lambda", "GetEventSourceMapping", {"UUID": "$TRIGGER_ID"}, query="State")


@dataclass(frozen=True)
class Wait:
    """A waiter that boto3 and the `aws` command share, by boto3's name, and the call with which it looks."""

    waiter: str
    look: Call


@dataclass(frozen=True)
class Until:
    """A look that is repeated until it finds this text; "" stands for nothing."""

    look: Call
    text: str


@dataclass(frozen=True)
class Method:
    """The parameters that the next calls share, and that a call with `of_method` leaves out."""

    parameters: Mapping[str, Any]


Line = Call | Wait | Until | Method


@dataclass(frozen=True)
class Removal:
    """How to delete one resource. `look` says whether its name is taken; `each` finds what `calls` delete."""

    title: str
    look: Call | None
    calls: list[Line]
    each: Call | None = None


@dataclass(frozen=True)
class Plan:
    """What a script does, in neither language. `names` are the variables for values that differ in another account.

    `tagged` looks for the tag on what is made first and deleted last: while that tag is there, all the rest is the
    script's.
    """

    region: str
    deployment: str
    names: dict[str, str]
    package: bytes
    stage: str
    path_part: str
    dns_suffix: str
    parts: list[tuple[Step, list[Line]]]
    removals: list[Removal]
    tagged: Call


def plan(runs: list[Recording]) -> Plan:
    """The plan of the deployment whose runs these are, the oldest first. Raises CannotScript."""
    stands = Standing()
    for run in runs:
        stands.add(run)
    if any(key in PLACES and PLACES[key].is_extra for key in stands.there):
        raise refusal("it has an API key (--auth api-key), and a script makes none")
    if stands.adopted:
        raise refusal(f"{in_words(sorted(stands.adopted))} was there before, and was adopted")
    if not stands.built:
        raise refusal("after the last of them nothing stands", NAME_ANOTHER)
    header, settings = stands.built[-1].header, stands.built[-1].settings
    if len({(one.settings.as_written, one.settings.runtime_asked) for one in stands.built}) > 1:
        raise refusal("they were made with different options; run teardown, and build anew")
    if stands.limited:
        changed = in_words(sorted(stands.limited))
        raise refusal(f"a later run changed who may call the URL, how often, or the limit of a role ({changed})")
    refuse_what_is_missing(stands, settings)
    place = {"account": str(header["account"]), "region": str(header["region"])}
    place["partition"] = header.get("partition") or "aws"
    for what, value in {**place, "deployment": str(header["deployment"])}.items():
        if not PLAIN.fullmatch(value):
            raise refusal(f"their first line has {value!r} as {what}")
    package = zipped(source(settings))
    paths = resource_paths(runs)
    names = {
        place["account"]: "ACCOUNT_ID",
        place["region"]: "AWS_REGION",
        str(header["deployment"]): "DEPLOYMENT",
        **dict.fromkeys(code_hashes(stands.built, package), "FUNCTION_ZIP"),
        **dict.fromkeys(api_ids(runs), "API_ID"),
        **{resource_id: variable_of(path) for resource_id, path in paths.items()},
        **{f"${name}": name for name in ("API_ID", "TRIGGER_ID", "QUEUE_URL", "DEPLOYMENT")},
    }
    home = Home(place["partition"], place["region"], place["account"], settings)
    calls = [checked(call, names, home) for key in PLACES for call in stands.made.get(key, [])]
    by_step = [(step, [call for call in calls if call["step"] == step.name]) for step in STEPS]
    removals = list(removals_of(calls, **place))
    first = removals[-1].look
    if first is None or first.operation != "GetPolicy":
        raise refusal("the first resource that they made is not a policy")
    return Plan(
        region=place["region"],
        deployment=str(header["deployment"]),
        names=names,
        package=package,
        stage=settings.stage,
        path_part=settings.path_part,
        dns_suffix=SUFFIXES.get(place["partition"], "amazonaws.com"),
        parts=[(step, list(lines_of(own, paths))) for step, own in by_step],
        removals=removals,
        tagged=Call("iam", "ListPolicyTags", first.parameters, query=f"Tags[?Key=='{TAG}'].Value"),
    )


def in_words(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} and {keys[-1]}"


# What is there, and how it came to be.


@dataclass
class Standing:
    """What exists after some runs: for each resource the calls that made it, in whichever runs.

    `begun` are the calls of runs that did not come to the end of the step, `there` is what a run found or made, `built`
    are the runs of provision since nothing existed. Updates are left out: in a new account nothing has drifted. But of
    what is `limited` an update set other limits than the calls that made it.
    """

    made: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    begun: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    adopted: set[str] = field(default_factory=set)
    limited: set[str] = field(default_factory=set)
    there: set[str] = field(default_factory=set)
    built: list[Recording] = field(default_factory=list)

    def add(self, run: Recording) -> None:
        outcomes = {one["key"]: one["outcome"] for done in run.of("done") for one in done["happened"]}
        own: dict[str, list[dict[str, Any]]] = {}
        if run.header["program"] == "provision":
            self.built.append(run)
            for call in run.calls:
                if call["key"] in PLACES and not call["read"] and (call["error"] is None or is_open(call)):
                    own.setdefault(call["key"], []).append(call)
        for key, calls in own.items():
            if key not in outcomes:
                self.begun[key] = [*self.begun.get(key, []), *calls]
        for key, how in outcomes.items():
            self.there.add(key)
            if how in ("created", "recovered") or key in self.begun:
                calls = [*self.begun.pop(key, []), *own.get(key, [])]
                # A call that was sent again, because its answer was lost, is in the script once.
                self.made[key] = [*{json.dumps([one["operation"], one["parameters"]]): one for one in calls}.values()]
                self.limited.discard(key)
            elif how == "adopted":
                self.adopted.add(key)
            elif any(limits(call) and not is_among(call, self.made.get(key, [])) for call in own.get(key, [])):
                self.limited.add(key)
        self.take_away({event["key"] for event in run.of("removed") if event["word"] in ("deleted", "gone", "left")})

    def take_away(self, keys: set[str]) -> None:
        self.there -= keys
        self.adopted -= keys
        self.limited -= keys
        for key in keys:
            self.made.pop(key, None)
            self.begun.pop(key, None)
        if not (self.made or self.begun or self.adopted):
            self.built = []


def limits(call: Mapping[str, Any]) -> bool:
    """Whether it sets who may call the URL, how often, or what a role may do at most."""
    operation, patches = call["operation"], json.dumps(call["parameters"].get("patchOperations"))
    return operation in LIMITS or any(operation == one and json.dumps(path) in patches for one, path in LIMITS_IN_PATCH)


def is_among(call: Mapping[str, Any], calls: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the calls is the same: then this one only put back what somebody had changed."""
    return any((one["operation"], one["parameters"]) == (call["operation"], call["parameters"]) for one in calls)


def is_open(call: Mapping[str, Any]) -> bool:
    """Whether it is unknown if AWS did it: there was no answer, or one with a 5xx status."""
    return call["error"] is not None and (call["error"]["status"] is None or call["error"]["status"] >= 500)


def refuse_what_is_missing(stands: Standing, settings: Settings) -> None:
    wanted = [key for key, place in PLACES.items() if not place.is_extra]
    wanted = [key for key in wanted if settings.has_dead_letter_queue or key != "dead-letter-queue"]
    missing = [key for key in wanted if not stands.made.get(key)]
    unbuilt = {PLACES[key].step for key in missing if key not in stands.there}
    if unbuilt:
        titles = [f"{step.number} ({step.title})" for step in STEPS if step.name in unbuilt]
        steps = "step" if len(titles) == 1 else "steps"
        raise refusal(f"after the last of them {steps} {in_words(titles)} had not been built in full", *BUILD_THE_REST)
    if missing:
        raise refusal(f"they do not show how {in_words(missing)} came to be")


def code_hashes(built: list[Recording], package: bytes) -> set[str]:
    """The hashes of all code that the function had. Raises CannotScript unless the last is the hash of this package."""
    hashes = []
    for call in (call for run in built for call in run.calls if not call["read"] and call["error"] is None):
        code = call["parameters"].get("Code", call["parameters"])
        if isinstance(code, dict) and is_file(code.get("ZipFile")):
            hashes.append(str(code["ZipFile"]["sha256"]))
    if not hashes or hashes[-1] != plain(package)["sha256"]:
        raise refusal("the function was made from another lambda_function.py than this one")
    return set(hashes)


def api_ids(runs: list[Recording]) -> set[str]:
    """The ids of all APIs that these runs made."""
    entries = [event["entry"] for run in runs for event in run.of("entry")]
    return {entry["outputs"]["id"] for entry in entries if entry["key"] == "api" and entry.get("outputs", {}).get("id")}


def resource_paths(runs: list[Recording]) -> dict[str, str]:
    """The path of each resource of their APIs, by the id that AWS invented."""
    paths: dict[str, str] = {}
    for call in (call for run in runs for call in run.calls):
        answer = call["answer"] or {}
        if call["operation"] == "CreateResource" and "id" in answer:
            paths[answer["id"]] = answer["path"]
        elif call["operation"] == "GetResources":
            paths |= {resource["id"]: resource["path"] for resource in answer.get("items", [])}
    return paths


def variable_of(path: str) -> str:
    """The variable for the id of an API's resource: /dynamodbmanager/queue is QUEUE_ID."""
    last = path.rstrip("/").rpartition("/")[2] or "root"
    return f"{re.sub('[^A-Z]', '_', last.upper())}_ID"


def checked(call: dict[str, Any], names: Mapping[str, str], home: Home) -> dict[str, Any]:
    """The call, if it makes what the walkthrough makes, of ids that other calls made. Raises CannotScript."""
    operation, parameters = call["operation"], call["parameters"]
    flaw = flaw_of_call(call)
    if flaw is not None:
        raise refusal(flaw, IS_IT_YOURS)
    if (call["service"], operation) not in MAKING:
        raise refusal(f"they made something with {call['service']} {operation}, which the walkthrough does not call")
    strange = foreign(call, home)
    if strange is not None:
        raise refusal(strange, IS_IT_YOURS)
    for name in ("restApiId", "resourceId", "parentId", "UUID"):
        if name in parameters and parameters[name] not in names:
            raise refusal(f"they do not show where the {name} {parameters[name]} of {operation} comes from")
    return call


# The calls with their waits.


def lines_of(calls: Iterable[dict[str, Any]], paths: Mapping[str, str]) -> Iterator[Line]:
    """The recorded calls, each followed by the waits that the next one needs."""
    method: dict[str, Any] = {}
    for call in calls:
        service, operation, parameters = call["service"], call["operation"], call["parameters"]
        if "QueueUrl" in parameters:  # a run that was interrupted had made the queue
            yield queue_look(parameters["QueueUrl"].rpartition("/")[2])
            parameters = {**parameters, "QueueUrl": "$QUEUE_URL"}
        if operation == "CreateRestApi":
            yield Call(service, operation, parameters, "API_ID", "id")
        elif operation == "CreateResource":
            parent = paths[parameters["parentId"]].rstrip("/")
            if not parent:
                look = {"restApiId": parameters["restApiId"]}
                yield Call(service, "GetResources", look, variable_of("/"), "items[?path=='/'].id")
            yield Call(service, operation, parameters, variable_of(f"{parent}/{parameters['pathPart']}"), "id")
        elif operation == "CreateEventSourceMapping":
            yield Call(service, operation, parameters, "TRIGGER_ID", "UUID")
            yield Until(TRIGGER, "Enabled")
        elif set(METHOD) <= set(parameters):
            here = {name: parameters[name] for name in METHOD}
            yield from [Method(here)] if here != method else []
            method, rest = here, {name: value for name, value in parameters.items() if name not in METHOD}
            yield Call(service, operation, rest, of_method=True)
        else:
            yield Call(service, operation, parameters)
        yield from waits_after(Call(service, operation, parameters))


def waits_after(call: Call) -> Iterator[Wait]:
    if call.operation in WAITERS:
        waiter, look, about = WAITERS[call.operation]
        yield Wait(waiter, Call(call.service, look, {about: call.parameters[about]}))


def queue_look(name: str) -> Call:
    return Call("sqs", "GetQueueUrl", {"QueueName": name}, "QUEUE_URL", "QueueUrl")


# How it is taken down.


def removals_of(calls: list[dict[str, Any]], *, partition: str, region: str, account: str) -> Iterator[Removal]:
    """In reverse. A permission goes with its function, and a stage with its API."""
    for call in reversed(calls):
        service, operation, parameters = call["service"], call["operation"], call["parameters"]
        if operation in TAKEN_DOWN:
            title, delete, looks, name = TAKEN_DOWN[operation]
            title += f" {parameters.get(name) or parameters['PolicyName']}"
            known = {name: parameters.get(name) or f"arn:{partition}:iam::{account}:policy/{parameters['PolicyName']}"}
            deletion = Call(service, delete, known)
            yield Removal(title, Call(service, looks, known), [deletion, *waits_after(deletion)])
        elif operation == "AttachRolePolicy":
            yield Removal("", None, [Call(service, "DetachRolePolicy", parameters)])
        elif operation == "CreateLogGroup":
            group = {"logGroupName": parameters["logGroupName"]}
            arn = f"arn:{partition}:logs:{region}:{account}:log-group:{parameters['logGroupName']}"
            look = Call(service, "ListTagsForResource", {"resourceArn": arn})
            yield Removal(f"log group {parameters['logGroupName']}", look, [Call(service, "DeleteLogGroup", group)])
        elif operation == "CreateQueue":
            each = queue_look(parameters["QueueName"])
            deletion = Call(service, "DeleteQueue", {"QueueUrl": "$QUEUE_URL"})
            yield Removal(f"queue {parameters['QueueName']}", replace(each, query=""), [deletion], each)
        elif operation == "CreateEventSourceMapping":
            # Listed by queue alone: AWS refuses to list by the name of a function that is gone.
            query = f"EventSourceMappings[?ends_with(FunctionArn, ':function:{parameters['FunctionName']}')].UUID"
            queue = {"EventSourceArn": parameters["EventSourceArn"]}
            each = Call(service, "ListEventSourceMappings", queue, "TRIGGER_ID", query)
            deletion = Call(service, "DeleteEventSourceMapping", {"UUID": "$TRIGGER_ID"})
            yield Removal("SQS trigger", None, [deletion, Until(TRIGGER, "")], each)
        elif operation == "CreateRestApi":
            query = f"items[?name=='{parameters['name']}'].id"
            look = Call(service, "GetRestApis", {"limit": 500}, "API_ID", query)
            each = replace(look, query=f"items[?tags.\"{TAG}\"=='$DEPLOYMENT'].id")
            deletion = Call(service, "DeleteRestApi", {"restApiId": "$API_ID"})
            yield Removal(f"REST API {parameters['name']}", look, [deletion], each)
