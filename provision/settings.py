"""Every name and value of the walkthrough. What it gets wrong stands in errata.py."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from provision.terminal import outcome

DEFAULT_REGION = "us-east-1"  # the walkthrough's own

DEFAULT_RUNTIME = "python3.13"

RUNTIME_AS_WRITTEN = "python3.9"


# When each Python runtime was or will be deprecated. The dates have moved before (AWS postponed python3.9's twice),
# so they are good for a warning only; whether a function may still be created is AWS's answer to give.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
DEPRECATED_ON = {
    "python2.7": datetime.date(2021, 7, 15),
    "python3.6": datetime.date(2022, 7, 18),
    "python3.7": datetime.date(2023, 12, 4),
    "python3.8": datetime.date(2024, 10, 14),
    "python3.9": datetime.date(2025, 12, 15),
    "python3.10": datetime.date(2026, 10, 31),
    "python3.11": datetime.date(2027, 6, 30),
    "python3.12": datetime.date(2028, 10, 31),
    "python3.13": datetime.date(2029, 6, 30),
    "python3.14": datetime.date(2029, 6, 30),
}


class BadSetting(outcome.UserError):
    """A value on the command line that cannot be right, refused before any call."""

    exit_code = outcome.USAGE


# The longest name a learner's suffix is put on is the function's role; a role name has 64 characters at most.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LONGEST_ROLE_NAME = 64

LEARNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")

REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")

RUNTIME = re.compile(r"python[0-9]\.[0-9]{1,2}")


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
POLICY_ARN = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[!-~]+")
ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[!-~]+")
ROLE_PATH = re.compile(r"/(?:[!-.0-~]+/)+")

# What all services that are used here allow in a tag. Neither AWS's own tags nor the suite's can be given.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html
TAG_KEY = re.compile(r"(?!aws:|poc-deployment$|poc-adopted$)[\w .:/=+@-]{1,128}", re.IGNORECASE)
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")
MOST_TAGS = 40  # AWS allows 50 on a resource; two are the suite's

NO_BOUNDARY = "none"  # the boundary that takes away one that an earlier run has set

# How many requests a second the stage lets through on each route. An account's own limit is 10,000.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
DEFAULT_THROTTLE = 10
THROTTLE = re.compile(r"[1-9][0-9]{0,3}")

EVERY_ADDRESS = "none"  # the --source-ip that takes away those that an earlier run has set
MOST_SOURCES = 40  # a resource policy has 8,192 characters at most


@dataclass(frozen=True)
class AccountRules:
    """What the rules of an account ask of everything that is built in it, and who may call the URL how often.

    Empty: nothing was asked.

    `permissions_boundary`: the ARN of the policy that limits both roles, or NO_BOUNDARY. `role_path`: where both roles
    are made, with "/" at both ends. `tags`: on everything that carries tags. `lambda_role_arn` and
    `apigateway_role_arn`: roles that somebody else made; they are used, and neither made, changed nor deleted.
    `throttle`: how many requests a second each route answers. `source_ips`: the networks that may call the URL, as
    CIDR, or EVERY_ADDRESS. `auth`: "iam" where a request must be signed, "api-key" where it must have the
    key, else "none".
    Raises BadSetting for a value that IAM would not take.
    """

    permissions_boundary: str = ""
    role_path: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    lambda_role_arn: str = ""
    apigateway_role_arn: str = ""
    throttle: str = ""
    source_ips: tuple[str, ...] = ()
    auth: str = ""

    def __post_init__(self) -> None:
        if self.permissions_boundary not in ("", NO_BOUNDARY):
            check_text("--permissions-boundary", self.permissions_boundary, POLICY_ARN, "the ARN of a policy in IAM")
        check_text("--role-path", self.role_path, ROLE_PATH, "a path such as /training/, with a slash at both ends")
        for option, arn in (
            ("--lambda-role-arn", self.lambda_role_arn),
            ("--apigateway-role-arn", self.apigateway_role_arn),
        ):
            check_text(option, arn, ROLE_ARN, "the ARN of a role in IAM")
        for key, value in self.tags:
            check_text("--tag", key, TAG_KEY, "a tag's key: letters, digits and _.:/=+-@, and none of AWS's or ours")
            check_text("--tag", value, TAG_VALUE, "a tag's value: letters, digits and _.:/=+-@")
        if len(dict(self.tags)) < len(self.tags) or len(self.tags) > MOST_TAGS:
            raise BadSetting(
                f"--tag was given {len(self.tags)} times: at most {MOST_TAGS} are allowed, each key once.",
                advice=("Leave out what is too much.",),
            )
        requests = "a number of requests a second, from 1 to 9999"
        check_text("--throttle", self.throttle, THROTTLE, requests, f"Leave it out for {DEFAULT_THROTTLE}.")
        who = "Give iam where a request must be signed, api-key where it must have a key, none where all may call."
        check_text("--auth", self.auth, re.compile("none|iam|api-key"), "none, iam or api-key", who)
        if self.source_ips != (EVERY_ADDRESS,):
            check_sources(self.source_ips)

    def over(self, kept: AccountRules) -> AccountRules:
        """These, and of those that are not given what an earlier run was given."""
        return AccountRules(**{one.name: getattr(self, one.name) or getattr(kept, one.name) for one in fields(self)})

    def in_file(self) -> dict[str, Any]:
        """What a later run needs of them, as JSON."""
        kept = {**vars(self), "tags": dict(self.tags), "source_ips": list(self.source_ips)}
        taken_away = {"permissions_boundary": NO_BOUNDARY, "source_ips": [EVERY_ADDRESS], "auth": "none"}
        kept |= {name: "" for name, nothing in taken_away.items() if kept[name] == nothing}
        return {name: value for name, value in kept.items() if value}

    @classmethod
    def from_file(cls, kept: Mapping[str, Any]) -> AccountRules:
        """What `in_file` gave. Raises BadSetting or TypeError for anything else."""
        lists = {"tags": tuple(dict(kept.get("tags", {})).items()), "source_ips": tuple(kept.get("source_ips", ()))}
        return cls(**{**kept, **lists})


def check_sources(networks: tuple[str, ...]) -> None:
    """Raise BadSetting for what is no network in CIDR notation, and for too many of them."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise BadSetting(
                f"--source-ip {network!r} is not a network: {error}.",
                advice=(
                    "Write 203.0.113.0/24, or one address, such as 203.0.113.7;",
                    f"or {EVERY_ADDRESS}, which lets every address call again.",
                ),
            ) from error
    if len(networks) > MOST_SOURCES:
        raise BadSetting(
            f"--source-ip was given {len(networks)} times, and at most {MOST_SOURCES} fit into the API's policy.",
            advice=("Name larger networks.",),
        )


def check_text(
    option: str, text: str, pattern: re.Pattern[str], what: str, advice: str = "Give it as AWS shows it."
) -> None:
    """Raise BadSetting where a text that is given is not what the option takes."""
    if (text or option == "--tag") and not pattern.fullmatch(text):
        raise BadSetting(f"{option} {text!r} is not {what}.", advice=(advice,))


@dataclass(frozen=True)
class Settings:
    """The names and values of one deployment.

    `learner` is put behind every name that an account shares, so that several people can use one account.
    `as_written` builds what the walkthrough literally says wherever AWS accepts that.
    `runtime_asked` None means the default of the chosen variant. `permission` is the StatementId of API Gateway's
    permission; the console invents another one each time. Raises BadSetting for a value that no service would take.
    """

    learner: str | None = None
    runtime_asked: str | None = None
    as_written: bool = False
    permission: str = "POC-API-invoke"
    rules: AccountRules = AccountRules()

    def __post_init__(self) -> None:
        if self.learner is not None:
            self._check_learner(self.learner)
        if self.runtime_asked is not None and not RUNTIME.fullmatch(self.runtime_asked):
            raise BadSetting(
                f"--runtime {self.runtime_asked!r} is not the name of a Python runtime of Lambda.",
                means="The handler is written in Python, and Lambda calls its runtimes python3.13, python3.12, ...",
                advice=(f"Leave --runtime out to get {DEFAULT_RUNTIME}.",),
            )

    @staticmethod
    def _check_learner(learner: str) -> None:
        longest = LONGEST_ROLE_NAME - len("SQS-Lambda-DynamoDB-Role-")
        if len(learner) > longest:
            raise BadSetting(
                f"--learner {learner!r} is too long: {len(learner)} characters, and {longest} is the most.",
                means=f"It becomes part of the role name SQS-Lambda-DynamoDB-Role-{learner}; "
                f"IAM allows {LONGEST_ROLE_NAME} characters.",
                advice=("Choose a shorter name.",),
            )
        if not LEARNER.fullmatch(learner):
            raise BadSetting(
                f"--learner {learner!r} would make names that AWS does not allow.",
                means="A queue's and a function's name take letters a-z, digits, hyphens and underscores only; "
                "the suffix begins and ends with a letter or digit.",
                advice=("Choose a name such as alice or team-7.",),
            )

    def named(self, name: str) -> str:
        """The walkthrough's name with the learner's suffix."""
        return f"{name}-{self.learner}" if self.learner else name

    # Policies and roles: the walkthrough's first two sections.

    # AWS's own policy, under the path /service-role/. It is attached and detached, never created or deleted.
    managed_policy: ClassVar[str] = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"

    @property
    def write_policy(self) -> str:
        return self.named("Lambda-Write-DynamoDB")

    @property
    def read_policy(self) -> str:
        return self.named("Lambda-Read-SQS")

    @property
    def function_role(self) -> str:
        return self.rules.lambda_role_arn.split("/")[-1] or self.named("SQS-Lambda-DynamoDB-Role")

    @property
    def api_role(self) -> str:
        return self.rules.apigateway_role_arn.split("/")[-1] or self.named("APIGateway-SQS")

    @property
    def function_role_in_arn(self) -> str:
        """The role with its path, as its ARN has it behind "role/"."""
        given = self.rules.lambda_role_arn.partition(":role/")[2]
        return given or f"{self.rules.role_path}{self.function_role}".lstrip("/")

    @property
    def api_role_in_arn(self) -> str:
        """The same of API Gateway's role."""
        given = self.rules.apigateway_role_arn.partition(":role/")[2]
        return given or f"{self.rules.role_path}{self.api_role}".lstrip("/")

    # Table and queue.

    partition_key: ClassVar[str] = "id"

    # Receives before a message moves to the dead-letter queue: AWS advises at least 5 for a Lambda trigger.
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    max_receive_count: ClassVar[int] = 5

    # Seconds; fourteen days, the most SQS keeps. A moved message keeps its age, so this is longer than the queue's.
    dead_letter_retention: ClassVar[int] = 14 * 24 * 3600

    @property
    def visibility_timeout(self) -> int:
        """Seconds; AWS advises six times the function's timeout or more. SQS's default is 30."""
        return 30 if self.as_written else 60

    @property
    def table(self) -> str:
        return self.named("name")

    @property
    def queue(self) -> str:
        return self.named("POC-Queue")

    @property
    def dead_letter_queue(self) -> str:
        return self.named("POC-Queue-DLQ")

    @property
    def has_dead_letter_queue(self) -> bool:
        return not self.as_written  # erratum 12

    # Function and trigger.

    handler: ClassVar[str] = "lambda_function.lambda_handler"
    memory_size: ClassVar[int] = 128  # MB; the console's default
    batch_size: ClassVar[int] = 10  # messages per invocation; the console's default

    @property
    def timeout(self) -> int:
        """Seconds; the console's default is 3 (erratum 28)."""
        return 3 if self.as_written else 10

    @property
    def function(self) -> str:
        return self.named("POC-Lambda-1")

    @property
    def runtime(self) -> str:
        if self.runtime_asked:
            return self.runtime_asked
        return RUNTIME_AS_WRITTEN if self.as_written else DEFAULT_RUNTIME  # erratum 13

    @property
    def environment(self) -> dict[str, str]:
        """The handler reads from it which table is its own (erratum 6)."""
        return {} if self.as_written else {"TABLE_NAME": self.table}

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.function}"

    @property
    def log_retention(self) -> int | None:
        """Days; None keeps logs for ever, as in a log group that Lambda creates (erratum 23)."""
        return None if self.as_written else 14

    @property
    def function_response_types(self) -> list[str]:
        return [] if self.as_written else ["ReportBatchItemFailures"]  # erratum 11

    # API and stage.

    path_part: ClassVar[str] = "dynamodbmanager"  # the console derives it from the name DynamoDBManager (erratum 17)
    queue_path_part: ClassVar[str] = "queue"
    stage: ClassVar[str] = "Staging"  # without a suffix, as it lives inside its API

    @property
    def api(self) -> str:
        return self.named("POC-API")

    @property
    def has_queue_route(self) -> bool:
        return not self.as_written  # erratum 10

    # The brakes of the public URL (erratum 29). As written there are none, save those that are asked for.

    @property
    def throttle_rate(self) -> int | None:
        """Requests a second that each route of the stage answers; None: only the account's limit holds."""
        if self.rules.throttle:
            return int(self.rules.throttle)
        return None if self.as_written else DEFAULT_THROTTLE

    @property
    def throttle_burst(self) -> int | None:
        """Requests that each route answers at once: twice what it answers in a second."""
        return None if self.throttle_rate is None else 2 * self.throttle_rate

    @property
    def maximum_concurrency(self) -> int | None:
        """Invocations that the trigger may have running at once; 2 is the fewest that Lambda allows.

        https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
        """
        return None if self.as_written else 2

    @property
    def scaling_config(self) -> dict[str, int]:
        """The same, as Lambda takes it."""
        return {} if self.maximum_concurrency is None else {"MaximumConcurrency": self.maximum_concurrency}

    @property
    def source_ips(self) -> tuple[str, ...]:
        """The networks that may call the URL; none: every address may."""
        return () if self.rules.source_ips == (EVERY_ADDRESS,) else self.rules.source_ips

    @property
    def is_open(self) -> bool:
        """Whether everybody who knows the URL gets an answer."""
        return self.authorization_type == "NONE" and not self.source_ips and not self.needs_api_key

    @property
    def authorization_type(self) -> str:
        """NONE lets everybody call; with AWS_IAM a request must be signed (erratum 7)."""
        return "AWS_IAM" if self.rules.auth == "iam" else "NONE"

    @property
    def needs_api_key(self) -> bool:
        """Whether a request must have the API key."""
        return self.rules.auth == "api-key"

    @property
    def api_key(self) -> str:
        return self.named("POC-API-Key")

    @property
    def usage_plan(self) -> str:
        return self.named("POC-API-Plan")

    @property
    def plan_rate(self) -> int:
        """Requests a second with the key, on all routes together. Who asks for a key has a limit as written, too."""
        return self.throttle_rate or DEFAULT_THROTTLE

    @property
    def plan_burst(self) -> int:
        """Requests with the key that are answered at once."""
        return 2 * self.plan_rate


def check_region(region: str, source: str) -> None:
    """Refuse a Region that cannot be one; whether a well-formed one exists is for botocore and AWS to say."""
    if not REGION.fullmatch(region):
        raise BadSetting(
            f"{region!r} ({source}) is not the name of an AWS Region.",
            means="Regions are called us-east-1, eu-central-1, ap-southeast-2, ...",
            advice=("Name one with --region.",),
        )


def runtime_warning(runtime: str, listed: list[str], today: datetime.date) -> str | None:
    """A sentence when AWS may refuse this runtime, or None. `listed` are the runtimes that botocore knows."""
    ended = DEPRECATED_ON.get(runtime)
    if ended and ended <= today:
        return (
            f"Runtime {runtime} is deprecated since {ended:%Y-%m-%d}; the console no longer offers it. "
            "Lambda decides whether it may still be used."
        )
    if runtime not in listed:
        return (
            f"Runtime {runtime} is not among those that the installed botocore knows. Lambda decides whether it exists."
        )
    return None


def queue_route_url(settings: Settings, invoke_url: str) -> str | None:
    """Where a request goes to the queue; None without that route."""
    return f"{invoke_url}/{settings.queue_path_part}" if settings.has_queue_route else None
