"""The walkthrough's names, and the values that are refused before the first call."""

from __future__ import annotations

import datetime
import re

import boto3
import pytest

from provision import STEPS
from provision.aws.waiting import Waiting
from provision.errata import ERRATA
from provision.settings import DEFAULT_RUNTIME, DEPRECATED_ON, BadSetting, Settings, check_region, runtime_warning
from provision.terminal import outcome
from tests.rig.deployment import Deployment

# What each service allows as a name, as its API reference has it.
LEGAL = {
    "write_policy": r"[\w+=,.@-]{1,128}",  # IAM CreatePolicy
    "read_policy": r"[\w+=,.@-]{1,128}",
    "function_role": r"[\w+=,.@-]{1,64}",  # IAM CreateRole
    "api_role": r"[\w+=,.@-]{1,64}",
    "table": r"[a-zA-Z0-9_.-]{3,255}",  # DynamoDB CreateTable
    "queue": r"[a-zA-Z0-9_-]{1,80}",  # SQS CreateQueue
    "dead_letter_queue": r"[a-zA-Z0-9_-]{1,80}",
    "function": r"[a-zA-Z0-9-_]{1,64}",  # Lambda CreateFunction
    "log_group": r"[.\-_/#A-Za-z0-9]{1,512}",  # CloudWatch Logs CreateLogGroup
    "permission": r"[a-zA-Z0-9-_]{1,100}",  # Lambda AddPermission
    "stage": r"[a-zA-Z0-9_-]{1,128}",  # API Gateway CreateDeployment
    "api_key": r".{1,1024}",  # the developer guide, "Usage plans and API keys"
    "usage_plan": r".{1,1024}",
}
LONGEST = "x" * 39


def test_the_names_are_the_walkthroughs() -> None:
    plain = Settings()
    assert (plain.write_policy, plain.read_policy) == ("Lambda-Write-DynamoDB", "Lambda-Read-SQS")
    assert (plain.function_role, plain.api_role) == ("SQS-Lambda-DynamoDB-Role", "APIGateway-SQS")
    assert (plain.table, plain.partition_key, plain.queue) == ("name", "id", "POC-Queue")
    assert (plain.function, plain.handler) == ("POC-Lambda-1", "lambda_function.lambda_handler")
    assert (plain.api, plain.path_part, plain.stage) == ("POC-API", "dynamodbmanager", "Staging")


@pytest.mark.parametrize("learner", ["alice", "a", "7", "team-7", "Team_7", "a" * 10, LONGEST])
def test_a_learners_names_are_legal_everywhere_and_nobody_elses(learner: str) -> None:
    hers, plain = Settings(learner=learner), Settings()
    for name, pattern in LEGAL.items():
        assert re.fullmatch(pattern, getattr(hers, name), re.ASCII), name
        if name not in ("permission", "stage"):  # these live inside what has the suffix
            assert getattr(hers, name).endswith(f"-{learner}")
            assert getattr(hers, name) != getattr(plain, name)


@pytest.mark.parametrize(
    "learner",
    [
        "",
        " ",
        "al ice",
        "alice ",
        "al.ice",
        "alice!",
        "a/b",
        "a+b",
        "a@b",
        "José",
        "-alice",
        "alice-",
        "_a",
        "a\n",
        "ä",
    ],
)
def test_a_learner_that_makes_an_illegal_name_is_refused(learner: str) -> None:
    with pytest.raises(BadSetting, match="would make names that AWS does not allow") as refused:
        Settings(learner=learner)
    assert refused.value.exit_code == outcome.USAGE
    assert repr(learner) in refused.value.what


def test_a_learner_that_makes_a_name_too_long_is_refused_with_both_lengths() -> None:
    assert len(Settings(learner=LONGEST).function_role) == 64
    with pytest.raises(BadSetting, match="40 characters, and 39 is the most") as refused:
        Settings(learner=LONGEST + "x")
    assert "64" in refused.value.means


@pytest.mark.slow
def test_the_longest_learner_builds_and_goes(deployment: Deployment) -> None:
    before = deployment.aws.inventory()
    deployment.settings = Settings(learner=LONGEST)
    deployment.waiting = Waiting(sleep=lambda seconds: None)
    deployment.build()
    assert f"name-{LONGEST}" in deployment.aws.inventory()["tables"]
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before


# Regions.


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-eusc"])
def test_every_region_that_botocore_knows_is_well_formed(partition: str) -> None:
    for region in boto3.Session().get_available_regions("lambda", partition):
        check_region(region, "--region")


@pytest.mark.parametrize("region", ["eu-mars-1", "us-east-9", "mx-central-1"])
def test_whether_a_well_formed_region_exists_is_not_for_us_to_say(region: str) -> None:
    check_region(region, "--region")


@pytest.mark.parametrize(
    "region",
    [
        *("", "-", "1", "eu-1", "nonsense", "us-east", "us-east-one", "us-east-1a", "US-EAST-1", "us_east_1"),
        *(" us-east-1", "us-east-1\n", "us-east-1.evil.example", "http://127.0.0.1"),
    ],
)
def test_nonsense_for_a_region_is_refused_with_where_it_came_from(region: str) -> None:
    with pytest.raises(BadSetting) as refused:
        check_region(region, "AWS_REGION")
    assert refused.value.what.startswith(f"{region!r} (AWS_REGION)")
    assert refused.value.exit_code == outcome.USAGE


# Runtimes.


def test_the_default_runtime_is_one_that_lambda_supports() -> None:
    assert Settings().runtime == DEFAULT_RUNTIME
    assert runtime_warning(DEFAULT_RUNTIME, [DEFAULT_RUNTIME], datetime.date.today()) is None
    assert Settings(as_written=True).runtime == "python3.9"
    assert Settings(as_written=True, runtime_asked="python3.12").runtime == "python3.12"


@pytest.mark.parametrize(
    "runtime", ["", "python", "python3", "3.13", "nodejs22.x", "Python3.13", "python3.13 ", "java21"]
)
def test_what_cannot_run_the_handler_is_refused(runtime: str) -> None:
    with pytest.raises(BadSetting, match="is not the name of a Python runtime") as refused:
        Settings(runtime_asked=runtime)
    assert DEFAULT_RUNTIME in refused.value.advice[0]


def test_a_deprecated_runtime_gets_a_warning_from_its_day_on() -> None:
    day = DEPRECATED_ON["python3.11"]
    assert runtime_warning("python3.11", ["python3.11"], day - datetime.timedelta(days=1)) is None
    warning = runtime_warning("python3.11", ["python3.11"], day)
    assert warning is not None
    assert str(day) in warning
    assert "Lambda decides" in warning


def test_a_runtime_that_botocore_does_not_list_gets_a_warning_too() -> None:
    warning = runtime_warning("python3.99", ["python3.13"], datetime.date(2026, 1, 1))
    assert warning is not None
    assert "python3.99" in warning


# The errata.


def test_every_contradiction_of_the_walkthrough_has_a_decision() -> None:
    assert [erratum.number for erratum in ERRATA] == list(range(1, len(ERRATA) + 1))
    steps = {step.name for step in STEPS}
    for erratum in ERRATA:
        assert erratum.step in steps or erratum.step is None
        assert all((erratum.says, erratum.truth, erratum.done))


def test_what_is_done_about_an_erratum_bears_the_names_of_the_deployment() -> None:
    done = {erratum.number: erratum.done_here(Settings(learner="anna")) for erratum in ERRATA}
    assert done[3] == "The function gets SQS-Lambda-DynamoDB-Role-anna."
    assert done[4] == "dynamodb:Scan is added to Lambda-Write-DynamoDB-anna."
    assert "POC-Queue-DLQ-anna takes a message" in done[12]
    assert done[14] == "POC-Lambda-1-anna."
    assert ERRATA[12].done_here(Settings(runtime_asked="python3.12")).startswith("The runtime is python3.12. ")
    assert ERRATA[11].done_here(Settings(as_written=True)) == "No dead-letter queue."
    assert all(erratum.done_here(Settings()) == erratum.done for erratum in ERRATA)
    bare = r"(POC-Queue|POC-Lambda-1|POC-API|DynamoDB-Role|APIGateway-SQS|Lambda-Write-DynamoDB)(?!-anna|-DLQ-anna)\b"
    assert not re.search(bare, " ".join(done.values()))


def test_as_written_differs_from_the_default_where_an_erratum_says_so() -> None:
    plain, written = Settings(), Settings(as_written=True)
    names = [name for name in vars(Settings) if isinstance(vars(Settings)[name], property)]
    differing = {name for name in names if getattr(plain, name) != getattr(written, name)}
    assert differing == {
        "has_dead_letter_queue",  # 12
        "runtime",  # 13
        "environment",  # 6
        "log_retention",  # 23
        "function_response_types",  # 11
        "has_queue_route",  # 10
        "timeout",  # 28
        "visibility_timeout",  # 28
        *("throttle_rate", "throttle_burst", "maximum_concurrency", "scaling_config"),  # 29
    }


def test_the_functions_timeout_fits_the_queues_visibility_timeout() -> None:
    """Lambda refuses a trigger where it does not, and AWS advises six times as much."""
    assert Settings().visibility_timeout >= 6 * Settings().timeout
