"""The brakes of the public URL: how many requests it answers, from where, and from whom."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from provision.account.cost import ACCOUNT_LIMIT, cost_sentences, flood_sentence, prices
from provision.account.smoke_tests import SmokeTestFailed, not_answered
from provision.aws.web import send
from provision.cli.views.build import show_to_paste, signed_by, who_may_call
from provision.settings import AccountRules, BadSetting, Settings
from tests.rig.deployment import Deployment
from tests.rig.screens import memory_screen

HERE = AccountRules(source_ips=("127.0.0.0/8",))
ELSEWHERE = AccountRules(source_ips=("203.0.113.0/24", "198.51.100.7/32"))


def ask(deployment: Deployment, *, signed: bool = False) -> tuple[int, Any]:
    body = json.dumps({"operation": "ping"}).encode()
    with deployment.connected() as aws:
        status, answer = send(aws, "POST", deployment.outputs("stage")["url"], body, signed=signed)
    return status, json.loads(answer)


def changes(deployment: Deployment) -> dict[str, set[str]]:
    return {key: {one.attribute for one in event.differences} for key, event in deployment.changed.items()}


def test_the_url_answers_what_comes_from_there_and_each_change_is_deployed_once(deployment: Deployment) -> None:
    deployment.build(Settings(rules=HERE))
    assert [call.operation for call in deployment.calls].count("CreateDeployment") == 1
    assert ask(deployment) == (200, "pong")
    deployment.build(Settings(rules=ELSEWHERE))
    assert changes(deployment) == {"api": {"policy"}, "stage": {"endpoint or policy changed"}}
    status, answer = ask(deployment)
    assert status == 403 and answer["Message"].endswith("with an explicit deny")
    deployment.build(Settings(rules=ELSEWHERE))
    assert deployment.writes == []
    deployment.build(Settings(rules=AccountRules(source_ips=("none",))))
    assert ask(deployment) == (200, "pong")
    assert deployment.tear_down() == []


def test_only_who_signs_is_answered_and_the_tests_do(deployment: Deployment) -> None:
    settings = Settings(rules=AccountRules(auth="iam", throttle="7"))
    deployment.build(settings)
    assert ask(deployment) == (403, {"message": "Missing Authentication Token"})
    assert ask(deployment, signed=True) == (200, "pong")
    assert all(one.passed for one in deployment.smoke_tests(settings))
    stage = deployment.aws.apigateway.get_stage(restApiId=deployment.outputs("api")["id"], stageName="Staging")
    limits = stage["methodSettings"]["*/*"]
    assert (limits["throttlingRateLimit"], limits["throttlingBurstLimit"]) == (7, 14)
    deployment.build(Settings())
    assert set(changes(deployment)) == {"api", "stage"}
    assert ask(deployment) == (200, "pong")
    assert [ask(deployment)[0] for _ in range(45)].count(429) > 0


def test_a_machine_that_source_ip_leaves_out_is_told_so_after_some_looks(deployment: Deployment) -> None:
    deployment.build(Settings(rules=ELSEWHERE))
    began = deployment.waiting.clock()
    with pytest.raises(SmokeTestFailed, match="This machine is not in --source-ip"):
        deployment.smoke_tests(Settings(rules=ELSEWHERE))
    assert deployment.waiting.clock() - began < 50  # each of the two tests by the URL had taken its minute


@pytest.mark.parametrize(
    ("words", "is_the_apis"),
    [
        ("with an explicit deny", True),
        ("with an explicit deny in a resource-based policy", True),
        ("with an explicit deny in an identity-based policy", False),
        ("with an explicit deny in a service control policy", False),
        ("because no identity-based policy allows the execute-api:Invoke action", False),
    ],
)
def test_only_the_apis_own_denial_is_put_down_to_source_ip(words: str, is_the_apis: bool) -> None:
    said = json.dumps({"Message": f"User: anonymous is not authorized to perform: execute-api:Invoke {words}"})
    assert not_answered(said, ELSEWHERE.source_ips).what.startswith("This machine is not") == is_the_apis
    assert "execute-api:Invoke" in not_answered(said, ()).means


# What the options take.


def test_what_a_run_was_given_is_kept_and_what_takes_it_away_is_not() -> None:
    given = AccountRules(throttle="5", source_ips=("10.0.0.0/8",), auth="iam")
    assert AccountRules.from_file(json.loads(json.dumps(given.in_file()))) == given
    assert AccountRules().over(given) == given
    off = AccountRules(source_ips=("none",), auth="none").over(given)
    assert off.in_file() == {"throttle": "5"}
    assert Settings(rules=off).is_open and not Settings(rules=given).is_open


@pytest.mark.parametrize(
    "given",
    [
        {"source_ips": ("10.0.0.1/8",)},
        {"source_ips": ("here",)},
        {"source_ips": ("none", "10.0.0.0/8")},
        {"source_ips": tuple(f"10.0.{number}.0/24" for number in range(41))},
        {"throttle": "0"},
        {"throttle": "ten"},
        {"throttle": "10000"},
        {"auth": "everybody"},
    ],
)
def test_what_api_gateway_would_not_take_is_refused_before_any_call(given: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match=r"--(source-ip|throttle|auth)") as refused:
        AccountRules(**given)
    assert "as AWS shows it" not in str(refused.value.advice)


def test_as_written_has_no_brake_but_one_that_is_asked_for() -> None:
    assert Settings(as_written=True).throttle_rate is None and Settings(as_written=True).scaling_config == {}
    asked = Settings(as_written=True, rules=AccountRules(throttle="3"))
    assert (asked.throttle_rate, asked.throttle_burst) == (3, 6)


# What is said.


def test_the_cost_of_a_flood_follows_the_limit() -> None:
    found = prices()
    both = found.million_direct + found.million_by_queue
    assert found.flooded_hour(10, by_queue=True) == pytest.approx(0.036 * both)
    assert found.flooded_hour(None, by_queue=False) == pytest.approx(36 * found.million_direct)
    assert f"${found.flooded_hour(10, by_queue=True):.2f} an hour" in cost_sentences(Settings())
    assert f"{ACCOUNT_LIMIT:,} requests a second" in flood_sentence(None, by_queue=False)


def test_who_may_call_is_said_and_a_request_to_sign_is_signed_by_the_environments_keys(
    deployment: Deployment,
) -> None:
    assert who_may_call(Settings()).startswith("Anyone who knows")
    assert "198.51.100.7/32" in who_may_call(Settings(rules=ELSEWHERE))
    assert "signed" in who_may_call(Settings(rules=AccountRules(auth="iam")))
    with deployment.connected() as aws:
        assert signed_by(aws) == "--user sandbox:sandbox"


def test_credentials_that_are_not_in_the_environment_are_put_there_before_curl_signs_with_them(
    deployment: Deployment,
) -> None:
    settings = Settings(rules=AccountRules(auth="iam"))
    deployment.build(settings)
    for source, profile, line in (
        ("env", None, ""),
        ("sso", "team red", "eval \"$(aws configure export-credentials --format env --profile 'team red')\""),
        ("iam-role", None, 'eval "$(aws configure export-credentials --format env)"'),
        ("throw-away ones, for a local endpoint", None, ""),
    ):
        screen = memory_screen()
        with deployment.connected() as aws, closing(deployment.open(aws)) as state:
            away = replace(aws, endpoint=None, credentials_from=source, profile=profile)
            show_to_paste(screen, away, settings, state)
        data = screen.data.file.getvalue()  # type: ignore[attr-defined]
        assert re.findall("eval.*", data) == ([line] if line else [])
        assert ("--user testing:testing" in data) == source.startswith("throw-away")
