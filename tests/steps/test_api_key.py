"""A URL that asks for an API key: the key, its usage plan, and its place in that, from the build to the teardown."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS
from provision.account.inventory import take_inventory
from provision.account.recovery import recover
from provision.aws.answers import Call
from provision.aws.web import send
from provision.check.verdicts import FAIL, PASS, Seen, check, check_step
from provision.cli.runner import run_step
from provision.cli.views.build import read_key, show_to_paste, who_may_call, with_key
from provision.settings import AccountRules, Settings
from provision.state.comparison import COMPARED
from provision.state.entries import TAG, Entry
from provision.state.ownership import TagLost, TwoOfOurs
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.answers import Faults
from tests.rig.command_line import refuse
from tests.rig.deployment import Deployment
from tests.rig.screens import memory_screen

WITH_KEY = Settings(rules=AccountRules(auth="api-key"))
KEYS = ("api-key", "usage-plan", "usage-plan-key")


@pytest.fixture(scope="module")
def built(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests that leave it as it was."""
    path = tmp_path_factory.mktemp("built") / "state.json"
    with Deployment(sandbox.id, sandbox.url, path, WITH_KEY) as made:
        made.build_as_planned()
        yield made


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """Names of a learner of this test's own, with nothing under them yet."""
    settings = replace(WITH_KEY, learner=f"k{secrets.token_hex(3)}")
    with Deployment(sandbox.id, sandbox.url, tmp_path / "state.json", settings) as made:
        yield made


def ids(deployment: Deployment) -> dict[str, str]:
    return {key: deployment.outputs(key)["id"] for key in ("api", "api-key", "usage-plan")}


def value_of(deployment: Deployment) -> str:
    key = deployment.aws.apigateway.get_api_key(apiKey=ids(deployment)["api-key"], includeValue=True)
    return str(key["value"])


def ask(deployment: Deployment, key: str = "", route: str = "") -> int:
    body = json.dumps({"operation": "ping"}).encode()
    with deployment.connected() as aws:
        return send(aws, "POST", deployment.outputs("stage")["url"] + route, body, api_key=key)[0]


def in_account(deployment: Deployment) -> list[str]:
    """The names of the learner's API keys and usage plans that are there."""
    gateway, learner = deployment.aws.apigateway, str(deployment.settings.learner)
    there = [*gateway.get_api_keys()["items"], *gateway.get_usage_plans()["items"]]
    return [one["name"] for one in there if one["name"].endswith(learner)]


def test_only_who_has_the_key_is_answered_and_the_tests_have_it(built: Deployment) -> None:
    assert (ask(built), ask(built, "another"), ask(built, value_of(built))) == (403, 403, 200)
    assert (ask(built, route="/queue"), ask(built, value_of(built), route="/queue")) == (403, 200)
    assert all(one.passed for one in built.smoke_tests())
    built.build()
    assert built.writes == []


def test_a_build_without_the_option_makes_none_of_its_calls(deployment: Deployment) -> None:
    deployment.build(replace(deployment.settings, rules=AccountRules()))
    assert [call.operation for call in deployment.calls if re.search("ApiKey|UsagePlan", call.operation)] == []


@dataclass(frozen=True)
class Change:
    """What a stranger did, and which attributes the next build updates."""

    title: str
    make: Callable[[Any, dict[str, str]], Any]
    updated: dict[str, list[str]]


def patch(op: str, path: str, value: str) -> list[dict[str, str]]:
    return [{"op": op, "path": path, "value": value}]


def method_is_open(gateway: Any, own: dict[str, str]) -> None:
    resources = gateway.get_resources(restApiId=own["api"])["items"]
    (direct,) = (one["id"] for one in resources if one["path"] == "/dynamodbmanager")
    changes = patch("replace", "/apiKeyRequired", "false")
    gateway.update_method(restApiId=own["api"], resourceId=direct, httpMethod="POST", patchOperations=changes)
    gateway.create_deployment(restApiId=own["api"], stageName="Staging")


CHANGES = [
    Change(
        "the key is disabled",
        lambda gateway, own: gateway.update_api_key(
            apiKey=own["api-key"], patchOperations=patch("replace", "/enabled", "false")
        ),
        {"api-key": ["enabled"]},
    ),
    Change(
        "the key has another name",
        lambda gateway, own: gateway.update_api_key(
            apiKey=own["api-key"], patchOperations=patch("replace", "/name", "x")
        ),
        {"api-key": ["name"]},
    ),
    Change(
        "the stage is not in the plan",
        lambda gateway, own: gateway.update_usage_plan(
            usagePlanId=own["usage-plan"], patchOperations=patch("remove", "/apiStages", f"{own['api']}:Staging")
        ),
        {"usage-plan": ["apiStages"]},
    ),
    Change(
        "the plan has another limit",
        lambda gateway, own: gateway.update_usage_plan(
            usagePlanId=own["usage-plan"], patchOperations=patch("replace", "/throttle/rateLimit", "999")
        ),
        {"usage-plan": ["throttle > rateLimit"]},
    ),
    Change(
        "the plan has no limits",
        lambda gateway, own: gateway.update_usage_plan(
            usagePlanId=own["usage-plan"], patchOperations=[{"op": "remove", "path": "/throttle"}]
        ),
        {"usage-plan": ["throttle > rateLimit", "throttle > burstLimit"]},
    ),
    Change(
        "the key is not in the plan",
        lambda gateway, own: gateway.delete_usage_plan_key(usagePlanId=own["usage-plan"], keyId=own["api-key"]),
        {"usage-plan-key": []},
    ),
    Change(
        "the stage is gone",
        lambda gateway, own: gateway.delete_stage(restApiId=own["api"], stageName="Staging"),
        {"stage": [], "usage-plan": ["apiStages"]},
    ),
    Change(
        "a method asks for no key",
        method_is_open,
        {"api": ["POST /dynamodbmanager apiKeyRequired"], "stage": ["what it serves"]},
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.title)
def test_what_was_changed_is_updated_as_the_plan_said_and_the_key_opens_the_url_again(
    built: Deployment, change: Change
) -> None:
    change.make(built.aws.apigateway, ids(built))
    built.build_as_planned()
    found = {key: [one.attribute for one in event.differences if not one.left] for key, event in built.changed.items()}
    assert found == change.updated
    assert (ask(built), ask(built, value_of(built))) == (403, 200)
    built.build()
    assert built.writes == []


def test_each_row_names_what_the_step_compares(built: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}
    before = Entry.compare_with_defaults

    def noting(entry: Entry) -> None:
        seen[entry.resource.kind] = {name.replace(f"tag {TAG}", "tag") for name in entry.compared}
        before(entry)

    monkeypatch.setattr(Entry, "compare_with_defaults", noting)
    built.build()
    for kind in ("apigateway:api-key", "apigateway:usage-plan", "apigateway:usage-plan-key"):
        assert seen[kind] == set(COMPARED[kind].updated)


def test_check_has_a_verdict_for_each_attribute_whoever_made_it(built: Deployment) -> None:
    def verdicts() -> dict[tuple[str, str], str]:
        with built.connected() as aws:
            return {(one.key, one.attribute): one.outcome for one in check(aws, WITH_KEY) if one.key in KEYS}

    good = verdicts()
    wanted = {("api-key", "exists"), ("api-key", "enabled"), ("usage-plan", "exists"), ("usage-plan", "apiStages"),
              ("usage-plan", "throttle > rateLimit"), ("usage-plan", "throttle > burstLimit"),
              ("usage-plan", "other settings"), ("usage-plan-key", "exists")}  # fmt: skip
    assert good == dict.fromkeys(wanted, PASS)
    gateway, own = built.aws.apigateway, ids(built)
    gateway.update_api_key(apiKey=own["api-key"], patchOperations=patch("replace", "/enabled", "false"))
    gateway.delete_usage_plan_key(usagePlanId=own["usage-plan"], keyId=own["api-key"])
    bad = verdicts()
    assert {one for one in wanted if bad[one] == FAIL} == {("api-key", "enabled"), ("usage-plan-key", "exists")}
    built.build()
    assert verdicts() == good


def test_the_lines_to_paste_read_the_key_and_send_it_and_do_not_show_it(built: Deployment, tmp_path: Path) -> None:
    screen = memory_screen()
    with built.connected() as aws, closing(built.open(aws)) as state:
        show_to_paste(screen, aws, WITH_KEY, state)
        on_windows = read_key(aws, "abc", windows=True)
    data, talk = (one.file.getvalue() for one in (screen.data, screen.talk))  # type: ignore[attr-defined]
    assert value_of(built) not in data + talk
    commands = [line for line in data.splitlines() if line.startswith(("KEY=", "curl"))]
    assert len(commands) == 4 and all('-H "x-api-key: $KEY"' in line for line in commands[1:])
    ended = subprocess.run(
        ["bash", "-euc", "\n".join(commands[:2])],
        env={"PATH": f"{CHECKOUT}/.venv/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(ended.stdout)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert on_windows.startswith("for /f %i in ('aws apigateway get-api-key") and "%KEY%" in with_key(windows=True)
    assert who_may_call(WITH_KEY).startswith("Only requests with the API key") and not WITH_KEY.is_open


def test_the_inventory_finds_them_and_a_lost_state_file_is_written_anew(built: Deployment) -> None:
    with built.connected() as aws:
        plain = take_inventory(aws, Settings())  # whoever recovers may not know that there was a key
        found = {one.key: one for one in plain.resources}
        assert [key for key in found if key in KEYS] == list(KEYS)
        known = {one["key"]: one for one in built.state["resources"]}
        again = recover(aws, Settings(), plain, None, {})
        for entry in again.resources:
            if entry.key in KEYS:
                assert entry.identity == known[entry.key]["identity"]
                assert entry.outputs.get("id") == known[entry.key]["outputs"].get("id")
                assert (entry.origin, entry.parent) == ("created", known[entry.key]["parent"])
        refuse(aws, "apigateway", "GetApiKeys")
        refused = take_inventory(aws, Settings())
        assert refused.unanswered == () and [one.key for one in refused.not_listed] == ["api-key"]
        second = built.aws.apigateway.create_api_key(name="POC-API-Key", tags={TAG: built.state["deployment"]})["id"]
    try:
        with built.connected() as aws, pytest.raises(TwoOfOurs, match="api-key"):
            recover(aws, Settings(), take_inventory(aws, Settings()), None, {})
        with pytest.raises(TwoOfOurs):
            built.build()
    finally:
        built.aws.apigateway.delete_api_key(apiKey=second)


def test_a_key_without_its_tag_is_not_taken_for_ours_and_a_strangers_of_that_name_is_left(built: Deployment) -> None:
    gateway, own = built.aws.apigateway, ids(built)
    theirs = gateway.create_api_key(name="POC-API-Key", enabled=True)["id"]
    built.build()
    assert built.writes == []
    arn = f"arn:aws:apigateway:us-east-1::/apikeys/{own['api-key']}"
    gateway.untag_resource(resourceArn=arn, tagKeys=[TAG])
    built.rewrite(lambda entries: entries["api-key"].update(since="2026-01-01T00:00:00+00:00"))
    with pytest.raises(TagLost):
        built.build()
    gateway.tag_resource(resourceArn=arn, tags={TAG: built.state["deployment"]})
    built.build()
    assert built.writes == []
    gateway.delete_api_key(apiKey=theirs)


def test_without_the_option_the_url_opens_and_the_key_stays_for_the_next_time_and_for_teardown(
    deployment: Deployment,
) -> None:
    without = replace(deployment.settings, rules=AccountRules(auth="none"))
    deployment.build()
    key = value_of(deployment)
    deployment.build_as_planned(without)
    assert set(deployment.changed) == {"api", "stage"} and ask(deployment) == 200
    deployment.build_as_planned()
    assert set(deployment.changed) == {"api", "stage"} and (ask(deployment), ask(deployment, key)) == (403, 200)
    deployment.build(without)
    assert deployment.tear_down() == []
    assert in_account(deployment) == []


def test_what_a_learner_made_by_hand_is_found_by_its_name_taken_over_and_torn_down(deployment: Deployment) -> None:
    deployment.build(replace(deployment.settings, rules=AccountRules()))
    gateway, settings = deployment.aws.apigateway, deployment.settings
    key = gateway.create_api_key(name=settings.api_key, enabled=True)["id"]
    stages = [{"apiId": deployment.outputs("api")["id"], "stage": "Staging"}]
    plan = gateway.create_usage_plan(name=settings.usage_plan, apiStages=stages)["id"]
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    seen = Seen(deployment.outputs("api")["id"])
    with deployment.connected() as aws, closing(deployment.open(aws)) as state:
        findings = {(one.key, one.attribute): one.outcome for one in check_step(aws, settings, STEPS[-1], seen)}
        assert seen.ids == {"api-key": key, "usage-plan": plan}
        assert findings["usage-plan-key", "exists"] == PASS
        assert findings["usage-plan", "throttle > rateLimit"] == FAIL
        with state.taking_over({"api": str(seen.api_id), **seen.ids}):
            for step in STEPS[-2:]:
                run_step(step, aws, settings, state)
    assert (ids(deployment)["api-key"], ids(deployment)["usage-plan"]) == (key, plan)
    assert (ask(deployment), ask(deployment, value_of(deployment))) == (403, 200)
    deployment.build()
    assert deployment.writes == [] and deployment.tear_down() == []
    assert in_account(deployment) == []


@pytest.mark.parametrize("trouble", [Faults.LOSE, Faults.DROP])
def test_a_lost_answer_makes_nothing_twice(deployment: Deployment, trouble: str) -> None:
    left = ["CreateApiKey", "CreateUsagePlan", "CreateUsagePlanKey"]

    def once(call: Call) -> str | None:
        return trouble if left and call.operation == left[0] and left.pop(0) else None

    deployment.prepare = Faults(once).put_on
    deployment.build()
    assert left == []
    deployment.prepare = lambda aws, state: None
    assert in_account(deployment) == [deployment.settings.api_key, deployment.settings.usage_plan]
    deployment.build()
    assert deployment.writes == [] and ask(deployment, value_of(deployment)) == 200
    assert deployment.tear_down() == []
    assert in_account(deployment) == []


def test_what_others_have_in_the_plan_or_do_with_the_key_keeps_them_and_nothing_else(deployment: Deployment) -> None:
    deployment.build()
    gateway, own = deployment.aws.apigateway, ids(deployment)
    theirs = gateway.create_api_key(name="theirs", enabled=True)["id"]
    gateway.create_usage_plan_key(usagePlanId=own["usage-plan"], keyId=theirs, keyType="API_KEY")
    their_plan = gateway.create_usage_plan(name="their plan")["id"]
    gateway.create_usage_plan_key(usagePlanId=their_plan, keyId=own["api-key"], keyType="API_KEY")
    left = {one.resource.key: one.why for one in deployment.tear_down()}
    assert left == {
        "usage-plan": f"others depend on it: API key {theirs}",
        "api-key": f"others depend on it: usage plan {their_plan}",
    }
    assert gateway.get_usage_plan(usagePlanId=own["usage-plan"])["apiStages"] == [], "its stage went with the API"
    gateway.delete_api_key(apiKey=theirs)
    gateway.delete_usage_plan(usagePlanId=their_plan)
    assert deployment.tear_down() == []
    assert in_account(deployment) == []


def test_a_state_file_that_claims_a_strangers_key_changes_nothing_of_it(deployment: Deployment) -> None:
    deployment.build()
    gateway, own = deployment.aws.apigateway, ids(deployment)
    theirs = gateway.create_api_key(name="theirs", enabled=True)["id"]
    gateway.create_usage_plan_key(usagePlanId=own["usage-plan"], keyId=theirs, keyType="API_KEY")

    def claim(entries: dict[str, dict[str, Any]]) -> None:
        entries["api-key"]["outputs"]["id"] = theirs
        entries["usage-plan-key"]["identity"]["keyId"] = theirs

    deployment.rewrite(claim)
    left = {one.resource.key for one in deployment.tear_down()}
    assert {"api-key", "usage-plan"} <= left
    assert gateway.get_api_key(apiKey=theirs)["enabled"]
    assert [one["id"] for one in gateway.get_usage_plans(keyId=theirs)["items"]] == [own["usage-plan"]]


def test_as_written_a_key_has_a_limit_although_the_stage_has_none() -> None:
    as_written = replace(WITH_KEY, as_written=True)
    assert as_written.throttle_rate is None and (as_written.plan_rate, as_written.plan_burst) == (10, 20)
    asked = replace(WITH_KEY, rules=AccountRules(auth="api-key", throttle="3"))
    assert (asked.plan_rate, asked.plan_burst) == (3, 6)
