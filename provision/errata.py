"""Where the walkthrough contradicts itself or AWS: each erratum, by keyword, and what is done about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.settings import DEFAULT_RUNTIME, DEFAULT_THROTTLE, Settings


@dataclass(frozen=True)
class Erratum:
    """One place where the walkthrough contradicts itself or AWS.

    `step` is the key of the step at which it is shown, None for the walkthrough as a whole.
    `ignored` says what it costs whoever follows the walkthrough there.
    `as_written` says what `--as-written` does instead; empty: the same.
    """

    number: int
    step: str | None
    says: str
    truth: str
    ignored: str
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
        "You look for two more texts, or invent rights that nothing needs.",
        "The two policies it gives are created.",
    ),
    Erratum(
        2,
        "roles",
        "Two more roles follow after the first.",
        "It describes one more.",
        "You look for a third role. Nothing is missing without it.",
        "Two roles in all: the function's and the API's.",
    ),
    Erratum(
        3,
        "function",
        "The function uses the existing role Lambda-DynamoDB-Role.",
        "No such role is ever created; SQS-Lambda-DynamoDB-Role is.",
        "The console's list of roles does not offer it, and the function cannot be made so.",
        "The function gets SQS-Lambda-DynamoDB-Role.",
    ),
    Erratum(
        4,
        "policies",
        "The handler has an operation list.",
        "list calls Scan, which the policy does not allow; the caller gets AccessDenied inside an HTTP 200.",
        "list never works, while the test screen shows status 200.",
        "dynamodb:Scan is added to Lambda-Write-DynamoDB.",
        "Scan is left out, and list fails.",
    ),
    Erratum(
        5,
        "policies",
        "The policy allows dynamodb:DescribeTable.",
        "Nothing in the handler calls it.",
        "Nothing: a right that nobody uses.",
        "Kept: it harms nobody, and the policy stays recognisable.",
    ),
    Erratum(
        6,
        "policies",
        'Both policies apply to Resource "*".',
        "With a public API and a table name chosen by the caller, anyone who knows the URL could read and write any "
        "table of the account in that Region.",
        "A stranger with the URL can read, change and delete items of every table of the account in that Region.",
        "The policies are scoped to this table, this queue and this log group, and the handler refuses other tables. "
        "logs:CreateLogGroup is left out, as step 5 makes the group.",
        'Resource "*" as pasted, and no check in the handler.',
    ),
    Erratum(
        7,
        "api",
        "The API has public authentication.",
        "authorizationType NONE: anyone who knows the URL may call it.",
        "A stranger can write to your table, at your cost, as long as the API is there.",
        "Kept, as it is the point of the exercise; the summary says so, and teardown ends it. With --auth iam a "
        "request must be signed; with --source-ip it must come from there.",
    ),
    Erratum(
        8,
        "roles",
        "The role APIGateway-SQS permits sending to the queue.",
        "It has the logs policy only. The right to send comes from the queue's access policy, which names the role.",
        "A queue whose access policy does not name the role refuses what the API sends.",
        "The role is made as told; the queue's access policy completes it, and the queue route uses it.",
        "The role is made as told, and nothing uses it.",
    ),
    Erratum(
        9,
        "roles",
        "The logs policy lets API Gateway write logs for troubleshooting.",
        "That also needs an account-wide setting and logging on the stage; the walkthrough does neither.",
        "When a request fails, API Gateway writes no log of it, and you look for one in vain.",
        "The policy is attached and nothing more: the account-wide setting is shared by every API of the account "
        "and is never touched.",
    ),
    Erratum(
        10,
        "api",
        "The architecture is decoupled by a queue.",
        "The API calls the function directly; no message ever reaches the queue.",
        "The queue is never used: when the function is down, every request fails.",
        "The direct route stays, and a second one, POST /dynamodbmanager/queue, sends to the queue.",
        "Only the direct route is built.",
    ),
    Erratum(
        11,
        "trigger",
        "An SQS trigger invokes the handler.",
        "The handler does not understand a batch of messages: it fails, and every message returns for four days.",
        "Each message is tried again until it expires, each try is paid for, and nothing is written.",
        "The handler processes batches record by record and reports the records that failed.",
        "A handler that knows direct events only, and a trigger without failure reports.",
    ),
    Erratum(
        12,
        "queue",
        "The queue stands alone.",
        "A message that can never be processed is delivered again and again, and each time is paid for.",
        "A message that cannot be processed is tried for four days, then lost.",
        "A dead-letter queue POC-Queue-DLQ takes a message after five receives.",
        "No dead-letter queue.",
    ),
    Erratum(
        13,
        "function",
        "The runtime is Python 3.9.",
        "Deprecated since 2025-12-15: the console no longer offers it, and AWS will refuse it at a later date.",
        "The function gets no security updates, and cannot be made any more once AWS refuses the runtime.",
        f"The runtime is {DEFAULT_RUNTIME}. The option --runtime names another.",
        "python3.9, as long as Lambda accepts it.",
    ),
    Erratum(
        14,
        "api",
        "The integration takes the ARN of the function POC-Lambda-Test-1.",
        "That is the name of the test event; the function is POC-Lambda-1.",
        "The integration names a function that does not exist, and every request fails with status 500.",
        "POC-Lambda-1.",
    ),
    Erratum(
        15,
        "function",
        "The test event starts from the template dynamodb-update.",
        "The template is replaced by the pasted text at once and has no effect.",
        "Nothing, as long as the text is replaced.",
        "The echo event is sent as it is, and the answer is checked.",
    ),
    Erratum(
        16,
        "api",
        "The integration's Region is us-east-1.",
        "Everything else is made in the Region that the console happens to show; the two must be the same.",
        "In another Region the integration names a function that is not there, and every request fails.",
        "One Region for all, us-east-1 when nothing names another.",
    ),
    Erratum(
        17,
        "api",
        "The resource is called DynamoDBManager, and the Invoke URL ends in /dynamodbmanager.",
        "Paths are case-sensitive; the older console derived the lower-case one from the name.",
        "A client that spells the path as the resource is called gets status 403, Missing Authentication Token.",
        "The path part is dynamodbmanager.",
    ),
    Erratum(
        18,
        "table",
        "The table keeps the default settings.",
        "When that was written the default was provisioned capacity with auto scaling; the console's default is "
        "on-demand now, and the API's is provisioned without auto scaling.",
        "By the API the call is refused, as provisioned capacity has to be stated; with it, an idle table costs, too.",
        "BillingMode PAY_PER_REQUEST, said explicitly.",
    ),
    Erratum(
        19,
        "table",
        "The table is called name, like the attribute.",
        "A name that another table may well have, and a reserved word in DynamoDB expressions.",
        "Where there is such a table already, the call is refused; in an expression the name needs a placeholder.",
        "Kept. A table of that name that this deployment did not make is refused, never used.",
    ),
    Erratum(
        20,
        "api",
        "Status 200 on the test screen means success.",
        "The non-proxy integration answers 200 for a handler that failed, too.",
        "You take a failure for a success.",
        "The tests look at the body.",
    ),
    Erratum(
        21,
        "function",
        "The handler accepts any event.",
        "Without a table name, without a payload or with a fraction in it, the code fails with an error about itself.",
        "The caller gets an error of Python's, and does not learn what was wrong with the request.",
        "A faulty event gets an error that names what is missing. Numbers are kept exactly.",
        "A handler with those failures.",
    ),
    Erratum(
        22,
        "function",
        "The handler begins by making print a function.",
        "That was for Python 2.",
        "Nothing: in Python 3 the line has no effect.",
        "Left out.",
    ),
    Erratum(
        23,
        "stage",
        "The clean-up deletes table, functions, queue and API, in that order.",
        "It leaves the trigger, both roles, both policies and the log group behind, and a public URL that fails "
        "until its last action.",
        "They stay in the account: rights that somebody may use, and logs that are stored at your cost.",
        "Teardown removes everything that the state file records, in reverse order, and proves it. The suite creates "
        "the log group itself, with a retention, so teardown removes that, too.",
        "Teardown is the same; the log group keeps its logs for ever until then.",
    ),
    Erratum(
        24,
        "queue",
        "The access policy names the roles by ARN.",
        "SQS keeps the role's unique id: when a role is deleted and made again, the policy names a dead one.",
        "When a role was made again under its name, the queue refuses it.",
        "The access policy is written again when a role was.",
    ),
    Erratum(
        25,
        "policies",
        "Both policies use the statement id VisualEditor0.",
        "Legal: a statement id is unique within its document only.",
        "Nothing.",
        "Kept.",
    ),
    Erratum(
        26,
        None,
        "Sample answers show a latency of 299 ms and an API id.",
        "They are examples.",
        "Nothing: you see other figures.",
        "Nothing depends on them.",
    ),
    Erratum(
        27,
        "queue",
        "Role ARNs contain a placeholder for the account.",
        "The account is known to STS.",
        "SQS refuses an access policy with the placeholder in it.",
        "Account, partition and Region come from GetCallerIdentity and the connection.",
    ),
    Erratum(
        28,
        "function",
        "The function keeps the default settings of 3 seconds and 128 MB.",
        "With 128 MB it has a fourteenth of a processor: boto3's import takes 3 to 4 seconds. After one timeout the "
        "next start counts as part of the invocation, so the function may never come to its work.",
        "Requests fail with a timeout, the first ones most of all, and messages return to the queue.",
        "10 seconds, and a visibility timeout of the queue of 60, six times as much.",
        "3 seconds, and a visibility timeout of 30.",
    ),
    Erratum(
        29,
        "stage",
        "The stage is deployed with the default settings.",
        "Then it answers what the whole account may answer, 10,000 requests a second, and the trigger invokes the "
        "function as often as it likes.",
        "Who floods the URL spends your money, and takes all other functions of the account their room.",
        f"Each route answers {DEFAULT_THROTTLE} requests a second and {2 * DEFAULT_THROTTLE} at once, or what "
        "--throttle says, and 429 to more. The trigger has two invocations running at most.",
        "No limits, unless --throttle asks for one.",
    ),
    Erratum(
        30,
        "queue",
        "The console's Basic form is all of the access policy.",
        "A policy from that form takes requests without TLS, too.",
        "Somebody between a sender and the queue could read its messages.",
        "A fourth statement denies everything that comes without TLS.",
        "The three statements of the console.",
    ),
)
