"""The walkthrough's contradictions: each has a decision, and those with a variant are really built otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from provision import STEPS
from provision.aws.clients import Clients
from provision.documents import policy_document
from provision.errata import ERRATA, Erratum
from provision.package import source
from provision.settings import Settings

# What each is about: words that its account of the walkthrough or of the truth must have.
ABOUT = {
    1: ["four policies", "two"],
    2: ["two more roles", "one more"],
    3: ["Lambda-DynamoDB-Role", "SQS-Lambda-DynamoDB-Role"],
    4: ["list", "Scan"],
    5: ["DescribeTable"],
    6: ['Resource "*"', "public"],
    7: ["NONE"],
    8: ["APIGateway-SQS", "access policy"],
    9: ["logs", "account-wide"],
    10: ["decoupled", "no message"],
    11: ["trigger", "batch"],
    12: ["queue", "again and again"],
    13: ["Python 3.9", "2025-12-15"],
    14: ["POC-Lambda-Test-1", "test event"],
    15: ["dynamodb-update"],
    16: ["us-east-1", "Region"],
    17: ["DynamoDBManager", "/dynamodbmanager", "case-sensitive"],
    18: ["default settings", "on-demand"],
    19: ["called name", "reserved word"],
    20: ["200"],
    21: ["table name", "payload", "fraction"],
    22: ["print", "Python 2"],
    23: ["clean-up", "trigger", "roles", "policies", "log group"],
    24: ["ARN", "unique id"],
    25: ["VisualEditor0"],
    26: ["299 ms"],
    27: ["placeholder", "STS"],
    28: ["128 MB", "import", "timeout"],
    29: ["default settings", "10,000 requests a second"],
    30: ["access policy", "without TLS"],
}


def test_there_is_a_decision_on_each_of_the_30_contradictions_numbered_without_gaps() -> None:
    assert [erratum.number for erratum in ERRATA] == list(range(1, 31)) == list(ABOUT)


def missing_words(erratum: Erratum) -> list[str]:
    text = f"{erratum.says} {erratum.truth}".lower()
    return [word for word in ABOUT[erratum.number] if word.lower() not in text]


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: str(erratum.number))
def test_each_is_about_the_contradiction_of_its_number(erratum: Erratum) -> None:
    assert missing_words(erratum) == []


def test_an_erratum_about_something_else_would_be_noticed() -> None:
    other = Erratum(13, "function", ERRATA[13].says, ERRATA[13].truth, ERRATA[13].ignored, ERRATA[13].done)
    assert missing_words(other) == ["Python 3.9", "2025-12-15"]


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: str(erratum.number))
def test_each_says_what_is_written_what_is_true_and_what_is_done_in_whole_sentences(erratum: Erratum) -> None:
    for text in (erratum.says, erratum.truth, erratum.done, erratum.as_written or "."):
        assert text.endswith(".")
        assert text == text.strip()
        assert "  " not in text


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: str(erratum.number))
def test_each_is_shown_at_a_step_that_there_is(erratum: Erratum) -> None:
    assert erratum.step is None or erratum.step in {step.name for step in STEPS}


def test_every_step_has_something_to_correct() -> None:
    assert {erratum.step for erratum in ERRATA} - {None} == {step.name for step in STEPS}


def test_only_what_concerns_the_walkthrough_as_a_whole_has_no_step() -> None:
    assert [erratum.number for erratum in ERRATA if erratum.step is None] == [26]


# What is built in each variant, without building it.

HERE = cast(Clients, SimpleNamespace(partition="aws", region="us-east-1", account_id="123456789012"))


def statements(settings: Settings) -> list[dict[str, Any]]:
    names = ("Lambda-Write-DynamoDB", "Lambda-Read-SQS")
    return [one for name in names for one in policy_document(name, HERE, settings)["Statement"]]


def actions(settings: Settings) -> set[str]:
    return {action for statement in statements(settings) for action in statement["Action"]}


def code(settings: Settings) -> str:
    return source(settings).decode()


# By number: what a build of these settings has that the erratum decides. The builds themselves are compared in
# test_as_written.py.
OTHERWISE: dict[int, Callable[[Settings], Any]] = {
    4: lambda settings: "dynamodb:Scan" in actions(settings),
    6: lambda settings: ({statement["Resource"] for statement in statements(settings)}, settings.environment),
    8: lambda settings: settings.has_queue_route,
    10: lambda settings: settings.has_queue_route,
    11: lambda settings: ("batchItemFailures" in code(settings), settings.function_response_types),
    12: lambda settings: settings.has_dead_letter_queue,
    13: lambda settings: settings.runtime,
    21: lambda settings: "is missing" in code(settings),
    23: lambda settings: settings.log_retention,
    28: lambda settings: (settings.timeout, settings.visibility_timeout),
    29: lambda settings: (settings.throttle_rate, settings.throttle_burst, settings.scaling_config),
    30: lambda settings: "aws:SecureTransport" in json.dumps(policy_document("POC-Queue", HERE, settings)),
}

THE_SAME: dict[int, Callable[[Settings], Any]] = {
    3: lambda settings: settings.function_role,
    5: lambda settings: "dynamodb:DescribeTable" in actions(settings),
    14: lambda settings: settings.function,
    15: lambda settings: settings.handler,
    17: lambda settings: settings.path_part,
    19: lambda settings: settings.table,
    22: lambda settings: "print_function" in code(settings),
    24: lambda settings: policy_document("POC-Queue", HERE, settings)["Statement"][:3],
    25: lambda settings: [statement["Sid"] for statement in statements(settings)],
    27: lambda settings: re.findall("<[^>]*>", json.dumps(policy_document("POC-Queue", HERE, settings))),
}


def test_every_erratum_with_a_variant_is_looked_at_here() -> None:
    assert {erratum.number for erratum in ERRATA if erratum.as_written} == set(OTHERWISE)
    assert not set(THE_SAME) & set(OTHERWISE)


@pytest.mark.parametrize("number", OTHERWISE)
def test_an_erratum_with_a_variant_leads_to_another_build(number: int) -> None:
    assert OTHERWISE[number](Settings()) != OTHERWISE[number](Settings(as_written=True))


@pytest.mark.parametrize("number", THE_SAME)
def test_an_erratum_without_a_variant_leads_to_the_same_build(number: int) -> None:
    assert THE_SAME[number](Settings()) == THE_SAME[number](Settings(as_written=True))


def test_as_written_the_policies_apply_to_everything_and_otherwise_to_nothing_of_others() -> None:
    assert {statement["Resource"] for statement in statements(Settings(as_written=True))} == {"*"}
    assert {statement["Resource"] for statement in statements(Settings())} == {
        "arn:aws:dynamodb:us-east-1:123456789012:table/name",
        "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/POC-Lambda-1:*",
        "arn:aws:sqs:us-east-1:123456789012:POC-Queue",
    }


def test_the_documents_as_written_have_no_placeholder_that_nobody_fills() -> None:
    for settings in (Settings(), Settings(as_written=True)):
        for name in ("Lambda-Write-DynamoDB", "Lambda-Read-SQS", "POC-Queue", "trust-lambda", "trust-apigateway"):
            assert "<" not in json.dumps(policy_document(name, HERE, settings)), name
