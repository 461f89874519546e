"""Every name and value of the walkthrough, and every erratum: what it says, what is true, what is done about it."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from provision import outcome

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


class BadSetting(outcome.Stop):
    """A value on the command line that cannot be right, refused before any call."""

    exit_code = outcome.USAGE


# The longest name a learner's suffix is put on is the function's role; a role name has 64 characters at most.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LONGEST_ROLE_NAME = 64
LEARNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
RUNTIME = re.compile(r"python[0-9]\.[0-9]{1,2}")


@dataclass(frozen=True)
class Settings:
    """The names and values of one deployment.

    `learner` is put behind every name that an account shares, so that several people can use one account.
    `as_written` builds what the walkthrough literally says wherever AWS accepts that.
    `runtime` None means the default of the chosen variant. Raises BadSetting for a value that no service would take.
    """

    learner: str | None = None
    runtime_asked: str | None = None
    as_written: bool = False

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

    @property
    def write_policy(self) -> str:
        return self.named("Lambda-Write-DynamoDB")

    @property
    def read_policy(self) -> str:
        return self.named("Lambda-Read-SQS")

    @property
    def function_role(self) -> str:
        return self.named("SQS-Lambda-DynamoDB-Role")

    @property
    def api_role(self) -> str:
        return self.named("APIGateway-SQS")

    @property
    def managed_policy(self) -> str:
        """AWS's own policy; attached and detached, never made or deleted. It stands under the path /service-role/."""
        return "service-role/AmazonAPIGatewayPushToCloudWatchLogs"

    # Table and queue.

    @property
    def table(self) -> str:
        return self.named("name")

    @property
    def partition_key(self) -> str:
        return "id"

    @property
    def queue(self) -> str:
        return self.named("POC-Queue")

    @property
    def dead_letter_queue(self) -> str:
        return self.named("POC-Queue-DLQ")

    @property
    def has_dead_letter_queue(self) -> bool:
        return not self.as_written  # erratum 12

    @property
    def max_receive_count(self) -> int:
        """Receives before a message moves to the dead-letter queue: 5 is the least AWS advises for a Lambda trigger.

        https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        """
        return 5

    @property
    def visibility_timeout(self) -> int:
        """Seconds; SQS's own default, and ten times the function's timeout (AWS advises six or more)."""
        return 30

    @property
    def dead_letter_retention(self) -> int:
        """Seconds: fourteen days, the most SQS keeps. A moved message keeps its age, so this exceeds the queue's."""
        return 14 * 24 * 3600

    # Function and trigger.

    @property
    def function(self) -> str:
        return self.named("POC-Lambda-1")

    @property
    def runtime(self) -> str:
        if self.runtime_asked:
            return self.runtime_asked
        return RUNTIME_AS_WRITTEN if self.as_written else DEFAULT_RUNTIME  # erratum 13

    @property
    def handler(self) -> str:
        return "lambda_function.lambda_handler"

    @property
    def timeout(self) -> int:
        """Seconds; the console's default. It must not exceed the queue's visibility timeout."""
        return 3

    @property
    def memory_size(self) -> int:
        """MB; the console's default."""
        return 128

    @property
    def environment(self) -> dict[str, str]:
        """What the handler needs to know of its deployment: which table is its own (erratum 6)."""
        return {} if self.as_written else {"TABLE_NAME": self.table}

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.function}"

    @property
    def log_retention(self) -> int | None:
        """Days; None keeps logs for ever, as Lambda does when it makes the group itself (erratum 23)."""
        return None if self.as_written else 14

    @property
    def batch_size(self) -> int:
        """Messages per invocation; the console's default."""
        return 10

    @property
    def function_response_types(self) -> list[str]:
        return [] if self.as_written else ["ReportBatchItemFailures"]  # erratum 11

    # API and stage.

    @property
    def api(self) -> str:
        return self.named("POC-API")

    @property
    def path_part(self) -> str:
        """The console derives it, in lower case, from the resource name DynamoDBManager (erratum 17)."""
        return "dynamodbmanager"

    @property
    def queue_path_part(self) -> str:
        return "queue"

    @property
    def has_queue_route(self) -> bool:
        return not self.as_written  # erratum 10

    @property
    def permission(self) -> str:
        """StatementId of the invoke permission; the console invents one, a fixed one can be found again."""
        return "POC-API-invoke"

    @property
    def stage(self) -> str:
        """A stage lives inside its API, so it needs no suffix."""
        return "Staging"


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


@dataclass(frozen=True)
class Erratum:
    """One place where the walkthrough contradicts itself or AWS.

    `step` is the key of the step at which it is shown, None for the walkthrough as a whole.
    `as_written` says what `--as-written` does instead; empty: the same.
    """

    number: int
    step: str | None
    says: str
    truth: str
    done: str
    as_written: str = ""

    def done_here(self, settings: Settings) -> str:
        """What is done about it in this deployment, with the deployment's own names and runtime."""
        if settings.as_written and self.as_written:
            return renamed(self.as_written, settings)
        return renamed(self.done, settings)


# What an erratum may name that is called otherwise in another deployment. The table's name is a word like any other.
OTHER_NAMES = (
    "write_policy",
    "read_policy",
    "function_role",
    "api_role",
    "queue",
    "dead_letter_queue",
    "function",
    "api",
    "runtime",
)


def renamed(text: str, settings: Settings) -> str:
    """The text with the names of this deployment in the place of the walkthrough's."""
    plain = Settings(as_written=settings.as_written)
    names = {str(getattr(plain, name)): str(getattr(settings, name)) for name in OTHER_NAMES}
    known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(rf"(?<![\w-])(?:{known})(?![\w-])", lambda match: names[match[0]], text)


ERRATA: tuple[Erratum, ...] = (
    Erratum(
        1,
        "policies",
        "Four policies are to be created.",
        "It gives the text of two; the lab it descends from had four, two of them for parts that were dropped.",
        "The two policies it gives are created.",
    ),
    Erratum(
        2,
        "roles",
        "Two more roles follow after the first.",
        "It describes one more.",
        "Two roles in all: the function's and the API's.",
    ),
    Erratum(
        3,
        "function",
        "The function uses the existing role Lambda-DynamoDB-Role.",
        "No such role is ever created; SQS-Lambda-DynamoDB-Role is.",
        "The function gets SQS-Lambda-DynamoDB-Role.",
    ),
    Erratum(
        4,
        "policies",
        "The handler has an operation list.",
        "list calls Scan, which the policy does not allow; the caller gets AccessDenied inside an HTTP 200.",
        "dynamodb:Scan is added to Lambda-Write-DynamoDB.",
        "Scan is left out, and list fails.",
    ),
    Erratum(
        5,
        "policies",
        "The policy allows dynamodb:DescribeTable.",
        "Nothing in the handler calls it.",
        "Kept: it harms nobody, and the policy stays recognisable.",
    ),
    Erratum(
        6,
        "policies",
        'Both policies apply to Resource "*".',
        "With a public API and a table name chosen by the caller, anyone who knows the URL could read and write any "
        "table of the account in that Region.",
        "The policies are scoped to this table, this queue and this log group, and the handler refuses other tables. "
        "logs:CreateLogGroup is left out, as step 5 makes the group.",
        'Resource "*" as pasted, and no check in the handler.',
    ),
    Erratum(
        7,
        "api",
        "The API has public authentication.",
        "authorizationType NONE: anyone who knows the URL may call it.",
        "Kept, as it is the point of the exercise; the summary says so, and teardown ends it.",
    ),
    Erratum(
        8,
        "roles",
        "The role APIGateway-SQS permits sending to the queue.",
        "It has the logs policy only. The right to send comes from the queue's access policy, which names the role.",
        "The role is made as told; the queue's access policy completes it, and the queue route uses it.",
        "The role is made as told, and nothing uses it.",
    ),
    Erratum(
        9,
        "roles",
        "The logs policy lets API Gateway write logs for troubleshooting.",
        "That also needs an account-wide setting and logging on the stage; the walkthrough does neither.",
        "The policy is attached and nothing more: the account-wide setting is shared by every API of the account "
        "and is never touched.",
    ),
    Erratum(
        10,
        "api",
        "The architecture is decoupled by a queue.",
        "The API calls the function directly; no message ever reaches the queue.",
        "The direct route stays, and a second one, POST /dynamodbmanager/queue, sends to the queue.",
        "Only the direct route is built.",
    ),
    Erratum(
        11,
        "trigger",
        "An SQS trigger invokes the handler.",
        "The handler does not understand a batch of messages: it fails, and every message returns for four days.",
        "The handler processes batches record by record and reports the records that failed.",
        "A handler that knows direct events only, and a trigger without failure reports.",
    ),
    Erratum(
        12,
        "queue",
        "The queue stands alone.",
        "A message that can never be processed is delivered again and again, and each time is paid for.",
        "A dead-letter queue POC-Queue-DLQ takes a message after five receives.",
        "No dead-letter queue.",
    ),
    Erratum(
        13,
        "function",
        "The runtime is Python 3.9.",
        "Deprecated since 2025-12-15: the console no longer offers it, and AWS will refuse it at a later date.",
        f"{DEFAULT_RUNTIME}; another with --runtime.",
        "python3.9, as long as Lambda accepts it.",
    ),
    Erratum(
        14,
        "api",
        "The integration takes the ARN of the function POC-Lambda-Test-1.",
        "That is the name of the test event; the function is POC-Lambda-1.",
        "POC-Lambda-1.",
    ),
    Erratum(
        15,
        "function",
        "The test event starts from the template dynamodb-update.",
        "The template is replaced by the pasted text at once and has no effect.",
        "The echo event is sent as it is, and the answer is checked.",
    ),
    Erratum(
        16,
        "api",
        "The integration's Region is us-east-1.",
        "Everything else is made in the Region that the console happens to show; the two must be the same.",
        "One Region for all, us-east-1 when nothing names another.",
    ),
    Erratum(
        17,
        "api",
        "The resource is called DynamoDBManager, and the Invoke URL ends in /dynamodbmanager.",
        "Paths are case-sensitive; the console derives the lower-case one from the name.",
        "The path part is dynamodbmanager.",
    ),
    Erratum(
        18,
        "table",
        "The table keeps the default settings.",
        "When that was written the default was provisioned capacity with auto scaling; the console's default is "
        "on-demand now, and the API's is provisioned without auto scaling.",
        "BillingMode PAY_PER_REQUEST, said explicitly.",
    ),
    Erratum(
        19,
        "table",
        "The table is called name, like the attribute.",
        "A name that another table may well have, and a reserved word in DynamoDB expressions.",
        "Kept. A table of that name that this deployment did not make is refused, never used.",
    ),
    Erratum(
        20,
        "api",
        "Status 200 on the test screen means success.",
        "The non-proxy integration answers 200 for a handler that failed, too.",
        "The tests look at the body.",
    ),
    Erratum(
        21,
        "function",
        "The handler accepts any event.",
        "Without a table name, without a payload or with a fraction in it, the code fails with an error about itself.",
        "Each gets an error that names what is missing; numbers are kept exactly.",
        "A handler with those failures.",
    ),
    Erratum(
        22,
        "function",
        "The handler begins by making print a function.",
        "That was for Python 2.",
        "Left out.",
    ),
    Erratum(
        23,
        "stage",
        "The clean-up deletes table, functions, queue and API, in that order.",
        "It leaves the trigger, both roles, both policies and the log group behind, and a public URL that fails "
        "until its last action.",
        "Teardown removes everything the ledger records, in reverse order, and proves it; the log group is made by "
        "the suite with a retention, so that it is the suite's to remove.",
        "Teardown is the same; the log group keeps its logs for ever until then.",
    ),
    Erratum(
        24,
        "queue",
        "The access policy names the roles by ARN.",
        "SQS keeps the role's unique id: when a role is deleted and made again, the policy names a dead one.",
        "The access policy is written again when a role was.",
    ),
    Erratum(
        25,
        "policies",
        "Both policies use the statement id VisualEditor0.",
        "Legal: a statement id is unique within its document only.",
        "Kept.",
    ),
    Erratum(
        26,
        None,
        "Sample answers show a latency of 299 ms and an API id.",
        "They are examples.",
        "Nothing depends on them.",
    ),
    Erratum(
        27,
        "queue",
        "Role ARNs contain a placeholder for the account.",
        "The account is known to STS.",
        "Account, partition and Region come from GetCallerIdentity and the connection.",
    ),
)
