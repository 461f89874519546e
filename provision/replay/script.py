"""A deployment's runs as one script: of `aws` commands, or of boto3.

What the runs did is gathered from their transcripts, thing by thing, into a plan: the calls that made what is there
now, the waits, and how it is taken down. The plan is then written in one of the two languages (bash_script.py,
boto3_script.py).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from provision import STEPS, Step
from provision.aws.reasons import (
    ALREADY_THERE,
    DEAD_LETTER_QUEUE_NOT_YET_VISIBLE,
    JUST_MADE,
    QUEUE_NAME_BLOCKED,
    QUEUE_POLICY_NAMES_NEW_ROLE,
    ROLE_NOT_YET_ASSUMABLE,
    ROLE_NOT_YET_PERMITTED,
    SERVICES_SAY,
    STILL_ATTACHED,
    TOO_MANY_REQUESTS,
    TRIGGER_BUSY,
    VISIBILITY_TIMEOUT_NOT_YET_SEEN,
    Reason,
)
from provision.lesson.page import Page, names, read
from provision.package import source, zipped
from provision.record.recording import Recording
from provision.settings import Settings
from provision.state.entries import TAG
from provision.state.resources import PLACES
from provision.terminal import outcome
from provision.terminal.json_values import plain

# By these a script finds again, taking down, what AWS invented; they stand for themselves in a removal's calls.
FOUND_AGAIN = {f"${name}": name for name in ("API_ID", "TRIGGER_ID", "QUEUE_URL", "DEPLOYMENT")}

# What passes by itself: while things are being built only, and always.
WHILE_BUILDING = (
    JUST_MADE,
    ROLE_NOT_YET_ASSUMABLE,
    ROLE_NOT_YET_PERMITTED,
    QUEUE_POLICY_NAMES_NEW_ROLE,
    DEAD_LETTER_QUEUE_NOT_YET_VISIBLE,
    QUEUE_NAME_BLOCKED,
    VISIBILITY_TIMEOUT_NOT_YET_SEEN,
)
ALWAYS = (
    TOO_MANY_REQUESTS,
    STILL_ATTACHED,
    *(
        reason
        for reasons in SERVICES_SAY.values()
        for reason in reasons
        if reason != TRIGGER_BUSY  # its code alone means something else to DynamoDB
    ),
)


def pattern(*reasons: Reason, fragments: bool = True) -> str:
    """A regular expression that finds these refusals as botocore and the `aws` command word them.

    "An error occurred (Code) when calling the Operation operation: Message"
    """
    parts = []
    for reason in reasons:
        codes = "|".join(code.replace(".", "[.]") for code in reason.codes)
        words = "|".join(fragment.replace(".", "[.]") for fragment in reason.fragments)
        parts.append(f"[(]({codes})[)]{f'.*({words})' if words and fragments else ''}")
    return "|".join(parts)


def lines_of_pattern(whole: str) -> list[str]:
    """Parts that are the pattern when they stand one behind the other, for a line each."""
    return re.split(r"(?=\|\[\(\])", whole)


BUSY = f"{pattern(*ALWAYS)}|[(]ResourceInUseException[)] when calling the [A-Za-z]*EventSourceMapping"
NOT_YET = pattern(*WHILE_BUILDING)
GONE = pattern(JUST_MADE)
THERE = pattern(ALREADY_THERE, fragments=False)
# The words of botocore's exceptions where nothing was sent, and where it is open whether AWS has done it; for these
# also AWS's codes for errors of its own, whose common ones are at
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
NOT_SENT = "Could not connect|Failed to connect|Connect timeout on endpoint"
LOST = (
    "Connection was closed|Read timeout on endpoint|"
    "[(](50[0-9]|Internal[A-Za-z]*|Service(Unavailable|Failure)?(Exception)?)[)]"
)
# By the names of their places in the beginning of a script.
PATTERNS = {"busy": BUSY, "not_yet": NOT_YET, "gone": GONE, "there": THERE, "not_sent": NOT_SENT, "lost": LOST}

# https://docs.aws.amazon.com/general/latest/gr/rande.html
SUFFIXES = {"aws-cn": "amazonaws.com.cn"}


# What the first line of a transcript may put into a script as it stands: a file may come from anybody.
PLAIN = re.compile(r"[A-Za-z0-9_.:/=+@-]+")


class CannotScript(outcome.Stop):
    """What the transcripts say is not the whole deployment."""

    exit_code = outcome.USAGE


@dataclass(frozen=True)
class Do:
    """A call. `keep` is the variable for what `query`, a path into the answer, names.

    AWS would do some calls a second time without a word. `done` is the look that finds what such a call made, for when
    its answer was lost.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    keep: str = ""
    query: str = ""
    done: Do | None = None


@dataclass(frozen=True)
class WaitFor:
    """One of the waiters that the `aws` command and boto3 share; `waiter` as boto3 calls it."""

    service: str
    waiter: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Until:
    """The same look again and again, until `query` finds this text."""

    look: Do
    text: str


@dataclass(frozen=True)
class Part:
    """A step of the walkthrough, with its calls and waits."""

    step: Step
    page: Page
    calls: list[Do | WaitFor | Until]


@dataclass(frozen=True)
class Removal:
    """How one thing is taken down. `find` looks for it, and finds nothing, or is refused, where it is gone.

    `tag` finds the value of the deployment's tag: where another value stands, the thing is somebody else's. `find`
    does so where `tag` is None. `calls` take it away.
    """

    title: str
    find: Do | None
    tag: Do | None
    calls: list[Do]

    @property
    def look(self) -> Do:
        """What finds nothing any more, or is refused, when the thing is gone."""
        look = self.find or self.tag
        assert look is not None
        return look


@dataclass(frozen=True)
class Plan:
    """What a script says, in neither language. `variables` are values by which the script knows what AWS invents."""

    account: str
    region: str
    partition: str
    deployment: str
    variables: dict[str, str]
    handler: bytes
    stage: str
    path_part: str
    parts: list[Part]
    removals: list[Removal]

    @property
    def title(self) -> str:
        return f"A decoupled serverless architecture, as {self.deployment} was built."

    @property
    def own_deployment(self) -> str:
        """How the tag on what the script makes begins: it is not the deployment's, which belongs to a ledger.

        It ends in the Region, since roles and policies are the same in all of them.
        """
        return f"{self.deployment}-script"

    @property
    def dns_suffix(self) -> str:
        return SUFFIXES.get(self.partition, "amazonaws.com")


def plan(runs: list[Recording]) -> Plan:
    """The plan of the deployment whose runs these are, the oldest first. Raises CannotScript."""
    made, built = what_stands(runs)
    if not built:
        raise refusal("after the last of them nothing stands", NAME_ANOTHER)
    header, settings = built[-1].header, built[-1].settings
    refuse_other_variants(built, settings)
    wanted = [key for key in PLACES if settings.has_dead_letter_queue or key != "dead-letter-queue"]
    missing = [key for key in wanted if key not in made]
    there = standing(runs)
    unbuilt = {PLACES[key].step for key in missing if key not in there}
    if unbuilt:
        titles = [f"{step.number} ({step.title})" for step in STEPS if step.name in unbuilt]
        steps = "step" if len(titles) == 1 else "steps"
        raise refusal(f"after the last of them {steps} {in_words(titles)} had not been built in full", *BUILD_THE_REST)
    if missing:
        raise refusal(f"they do not show how {in_words(missing)} came to be")
    calls = [call for key in PLACES for call in made.get(key, [])]
    handler = source(settings)
    package = zipped(handler)
    codes = refuse_other_code(built, package)
    paths = resource_paths(runs)
    variables = {
        str(header["account"]): "ACCOUNT_ID",
        str(header["region"]): "AWS_REGION",
        str(header["deployment"]): "DEPLOYMENT",
        **dict.fromkeys(codes, "FUNCTION_ZIP"),
        **dict.fromkeys(api_ids(runs), "API_ID"),
        **{resource_id: variable_of(path) for resource_id, path in paths.items()},
    }
    place = {
        "account": str(header["account"]),
        "region": str(header["region"]),
        "partition": header.get("partition") or "aws",
    }
    for what, value in {**place, "deployment": str(header["deployment"])}.items():
        if not PLAIN.fullmatch(value):
            raise refusal(f"their first line has a {what} that cannot be, {value!r}")
    words = names(settings, **place)
    parts = []
    for step in STEPS:
        own = [call for call in calls if call["step"] == step.name]
        parts.append(Part(step, read(step.name, words), list(with_waits(own, paths, variables, settings))))
    return Plan(
        **place,
        deployment=str(header["deployment"]),
        variables=variables,
        handler=handler,
        stage=settings.stage,
        path_part=settings.path_part,
        parts=parts,
        removals=list(removals_of(settings, **place)),
    )


NAME_ANOTHER = "Name the transcript of a run before it was taken down: python -m provision replay --list has them."
BUILD_THE_REST = (
    "Build the rest: python -m provision, with the same options as before. Then make the script again;",
    "or name the transcript of a run after which it was whole: python -m provision replay --list has them.",
)
BUILD_ANEW = (
    "Build in a new folder, without deleting .provision/transcripts meanwhile, and make the script of that;",
    "python -m provision --sandbox needs no account for it.",
)


def refusal(why: str, *advice: str) -> CannotScript:
    return CannotScript(
        f"No script can be made of these transcripts: {why}.",
        means="A script says everything, or it is none. Nothing was written.",
        advice=advice or BUILD_ANEW,
    )


def in_words(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} and {keys[-1]}"


# What is there, and how it came to be.


def what_stands(runs: list[Recording]) -> tuple[dict[str, list[dict[str, Any]]], list[Recording]]:
    """For each thing that is there after the last run the calls that made it, whichever runs they were in.

    And the runs of provision since there was nothing. What was changed back after somebody had changed it is left out:
    in a new account there is nothing to change back. Raises CannotScript where something was there before.
    """
    made: dict[str, list[dict[str, Any]]] = {}
    begun: dict[str, list[dict[str, Any]]] = {}  # by runs that did not come to the end of the step
    adopted: set[str] = set()
    built: list[Recording] = []
    for run in runs:
        outcomes = {one["key"]: one["outcome"] for done in run.of("done") for one in done["happened"]}
        own: dict[str, list[dict[str, Any]]] = {}
        if run.header["program"] == "provision":
            built.append(run)
            for call in run.calls:
                if call["key"] in PLACES and not call["read"] and (call["error"] is None or is_open(call)):
                    own.setdefault(call["key"], []).append(call)
        for key, calls in own.items():
            if key not in outcomes:
                begun[key] = [*begun.get(key, []), *calls]
        for key, how in outcomes.items():
            if how in ("created", "recovered") or key in begun:
                made[key] = once_each([*begun.pop(key, []), *own.get(key, [])])
            elif how == "adopted":
                adopted.add(key)
        for event in run.of("removed"):
            if event["word"] in ("deleted", "gone", "left"):
                made.pop(event["key"], None)
                begun.pop(event["key"], None)
                adopted.discard(event["key"])
        if not (made or begun or adopted):
            built = []
    if adopted:
        raise refusal(f"{in_words(sorted(adopted))} was there before, and was adopted")
    return {key: calls for key, calls in made.items() if calls}, built


def standing(runs: list[Recording]) -> set[str]:
    """The keys of what a run found or made, and none has removed since."""
    keys: set[str] = set()
    for run in runs:
        for event in run.events:
            if event["type"] == "done":
                keys |= {one["key"] for one in event["happened"]}
            elif event["type"] == "removed" and event["word"] in ("deleted", "gone", "left"):
                keys.discard(event["key"])
    return keys


def is_open(call: Mapping[str, Any]) -> bool:
    """Whether nobody was told if AWS did it: no answer came, or one that speaks of AWS's own trouble."""
    return call["error"] is not None and (call["error"]["status"] is None or call["error"]["status"] >= 500)


def once_each(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls without those whose end is open and that were sent again: AWS has done one of them."""
    return [
        call
        for number, call in enumerate(calls)
        if not (is_open(call) and any(is_same(call, later) for later in calls[number + 1 :]))
    ]


def is_same(call: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(call["operation"] == other["operation"] and call["parameters"] == other["parameters"])


def refuse_other_variants(built: list[Recording], settings: Settings) -> None:
    for run in built:
        if (run.settings.as_written, run.settings.runtime_asked) != (settings.as_written, settings.runtime_asked):
            raise refusal("it was built with other options first, and changed later; teardown and build anew")


def refuse_other_code(built: list[Recording], package: bytes) -> set[str]:
    """The hashes of all code that the function had; raises CannotScript unless the last is the code that is here."""
    hashes = []
    for call in (call for run in built for call in run.calls if not call["read"] and call["error"] is None):
        code = call["parameters"].get("Code", call["parameters"])
        if isinstance(code, dict) and "ZipFile" in code:
            hashes.append(code["ZipFile"]["sha256"])
    if not hashes or hashes[-1] != plain(package)["sha256"]:
        raise refusal("the function was built from another lambda_function.py than the one that is here")
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
    """The variable for the id of an API's resource: /dynamodbmanager/queue is QUEUE_RESOURCE_ID."""
    last = path.rstrip("/").rpartition("/")[2] or "root"
    return f"{''.join(sign if sign.isalnum() else '_' for sign in last).upper()}_RESOURCE_ID"


# botocore's waiters that both languages have, by the call after which they wait, each with what it looks for.
# https://docs.aws.amazon.com/cli/latest/reference/lambda/wait/ and those of the other services
WAITERS = {
    "CreateRole": ("role_exists", "RoleName"),
    "CreateTable": ("table_exists", "TableName"),
    "CreateFunction": ("function_active_v2", "FunctionName"),
    "UpdateFunctionCode": ("function_updated_v2", "FunctionName"),
    "UpdateFunctionConfiguration": ("function_updated_v2", "FunctionName"),
}


def with_waits(
    calls: Iterable[dict[str, Any]], paths: Mapping[str, str], variables: Mapping[str, str], settings: Settings
) -> Iterator[Do | WaitFor | Until]:
    """The recorded calls, and after each what it takes until the next one can follow."""
    for call in calls:
        service, operation, parameters = call["service"], call["operation"], call["parameters"]
        for name in ("restApiId", "resourceId", "parentId", "UUID"):
            if name in parameters and parameters[name] not in variables:
                raise refusal(f"they do not show where the {name} {parameters[name]} of {operation} comes from")
        if "QueueUrl" in parameters:
            yield find_queue(parameters["QueueUrl"].rpartition("/")[2])
            parameters = {**parameters, "QueueUrl": "$QUEUE_URL"}
        if operation == "CreateRestApi":
            yield Do(service, operation, parameters, "API_ID", "id", done=find_api(settings))
        elif operation == "CreateResource":
            parent = paths[parameters["parentId"]].rstrip("/")
            if not parent:
                yield find_resource(parameters["restApiId"], "/")
            path = f"{parent}/{parameters['pathPart']}"
            done = find_resource(parameters["restApiId"], path)
            yield Do(service, operation, parameters, variable_of(path), "id", done=done)
        elif operation == "CreateDeployment":
            stage = {name: parameters[name] for name in ("restApiId", "stageName")}
            yield Do(service, operation, parameters, done=Do(service, "GetStage", stage, query="deploymentId"))
        else:
            yield Do(service, operation, parameters)
        if operation in WAITERS:
            waiter, about = WAITERS[operation]
            yield WaitFor(service, waiter, {about: parameters[about]})
        elif operation == "CreateEventSourceMapping":
            yield Until(mapping(settings, parameters["EventSourceArn"], "State"), "Enabled")


def find_api(settings: Settings) -> Do:
    """Our API among all: a name may be borne by several, the tag's value by one."""
    query = f"items[?name=='{settings.api}' && tags.\"{TAG}\"=='$DEPLOYMENT'].id"
    return Do("apigateway", "GetRestApis", {}, "API_ID", query)


def find_queue(name: str) -> Do:
    return Do("sqs", "GetQueueUrl", {"QueueName": name}, "QUEUE_URL", "QueueUrl")


def find_resource(api_id: str, path: str) -> Do:
    return Do("apigateway", "GetResources", {"restApiId": api_id}, variable_of(path), f"items[?path=='{path}'].id")


def mapping(settings: Settings, queue_arn: str, what: str) -> Do:
    """Asked for by queue alone: with the name of a function that is gone AWS refuses to list anything."""
    query = f"EventSourceMappings[?ends_with(FunctionArn, ':function:{settings.function}')].{what}"
    return Do("lambda", "ListEventSourceMappings", {"EventSourceArn": queue_arn}, query=query)


# How it is taken down, the last thing first.


def removals_of(settings: Settings, *, partition: str, region: str, account: str) -> Iterator[Removal]:
    """In teardown's order: nothing is deleted before what uses it. The permission goes with the function."""

    def arn(service: str, name: str, where: str = region) -> str:
        return f"arn:{partition}:{service}:{where}:{account}:{name}"

    def value_in(field: str) -> str:
        return f"{field}[?Key=='{TAG}'] | [0].Value"

    function = {"FunctionName": settings.function}
    function_arn = arn("lambda", f"function:{settings.function}")
    queue_arn = arn("sqs", settings.queue)
    yield Removal(
        f"REST API {settings.api}",
        find_api(settings),
        None,
        [Do("apigateway", "DeleteRestApi", {"restApiId": "$API_ID"})],
    )
    trigger = replace(mapping(settings, queue_arn, "UUID"), keep="TRIGGER_ID")
    trigger_arn = arn("lambda", "event-source-mapping:$TRIGGER_ID")
    tags = Do("lambda", "ListTags", {"Resource": trigger_arn}, query=f'Tags."{TAG}"')
    delete_trigger = Do("lambda", "DeleteEventSourceMapping", {"UUID": "$TRIGGER_ID"})
    yield Removal("SQS trigger", trigger, tags, [delete_trigger])
    tags = Do("lambda", "ListTags", {"Resource": function_arn}, query=f'Tags."{TAG}"')
    yield Removal(f"function {settings.function}", None, tags, [Do("lambda", "DeleteFunction", function)])
    group = {"logGroupName": settings.log_group}
    group_arn = arn("logs", f"log-group:{settings.log_group}")
    tags = Do("logs", "ListTagsForResource", {"resourceArn": group_arn}, query=f'tags."{TAG}"')
    yield Removal(f"log group {settings.log_group}", None, tags, [Do("logs", "DeleteLogGroup", group)])
    for queue in [settings.queue, *([settings.dead_letter_queue] if settings.has_dead_letter_queue else [])]:
        url = {"QueueUrl": "$QUEUE_URL"}
        yield Removal(
            f"queue {queue}",
            find_queue(queue),
            Do("sqs", "ListQueueTags", url, query=f'Tags."{TAG}"'),
            [Do("sqs", "DeleteQueue", url)],
        )
    table_arn = arn("dynamodb", f"table/{settings.table}")
    tags = Do("dynamodb", "ListTagsOfResource", {"ResourceArn": table_arn}, query=value_in("Tags"))
    delete_table = Do("dynamodb", "DeleteTable", {"TableName": settings.table})
    yield Removal(f"table {settings.table}", None, tags, [delete_table])
    own = [arn("iam", f"policy/{name}", "") for name in (settings.write_policy, settings.read_policy)]
    managed = f"arn:{partition}:iam::aws:policy/{settings.managed_policy}"
    for role, policies in ((settings.api_role, [managed]), (settings.function_role, own)):
        name = {"RoleName": role}
        yield Removal(
            f"role {role}",
            None,
            Do("iam", "ListRoleTags", name, query=value_in("Tags")),
            [
                *(Do("iam", "DetachRolePolicy", {**name, "PolicyArn": policy}) for policy in policies),
                Do("iam", "DeleteRole", name),
            ],
        )
    for policy in own:
        arn_of = {"PolicyArn": policy}
        yield Removal(
            f"policy {policy.rpartition('/')[2]}",
            None,
            Do("iam", "ListPolicyTags", arn_of, query=value_in("Tags")),
            [Do("iam", "DeletePolicy", arn_of)],
        )


def shown(file: str) -> str:
    """A script's own name as its comments can have it, which end at the end of a line, or at three quotes."""
    return file if file.isprintable() and not set(file) & set('\\"') else "THIS_FILE"


def indented(texts: Iterable[str]) -> list[str]:
    """Each line of the texts, a level deeper."""
    return [f"    {line}" if line else "" for text in texts for line in text.split("\n")]


def comment(text: str, width: int = 110) -> list[str]:
    """A page's Markdown as lines of comment."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        text = " ".join(paragraph.split())
        wrapped = textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        lines += ["#", *wrapped]
    return lines
