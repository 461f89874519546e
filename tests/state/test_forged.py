"""A forged state file has the ids of what a stranger made: provision and teardown change nothing of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.account.conflicts import without_its_tag
from provision.account.inventory import take_inventory
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.file import now
from provision.state.ownership import TagLost
from provision.state.resources import step_of
from sandbox import Sandbox
from tests.rig.deployment import Deployment, Stranger
from tests.state import test_adoption as by_hand

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    settings = Settings(learner=f"f{secrets.token_hex(3)}")
    with Deployment(sandbox.id, sandbox.url, tmp_path / "state.json", settings) as made:
        yield made


def make_api(aws: Stranger, settings: Settings) -> None:
    aws.apigateway.create_rest_api(name=settings.api, tags=by_hand.THEIRS)


def forge(deployment: Deployment, origin: str, since: str) -> set[str]:
    """Write a state file that claims everything that is there under the deployment's names; the keys in it."""
    with deployment.connected() as aws:
        seen = take_inventory(aws, deployment.settings)
        state = deployment.open(aws)
        for found in seen.resources:
            outputs = dict(found.outputs)
            if found.key == "function":
                outputs["CodeSha256"] = aws.lambda_.get_function(FunctionName=deployment.settings.function)[
                    "Configuration"
                ]["CodeSha256"]
            if found.kind == "apigateway:rest-api":
                outputs["id"] = next(
                    api["id"]
                    for api in aws.apigateway.get_rest_apis()["items"]
                    if api["name"] == deployment.settings.api
                )
            key = found.key or "api"
            state.resources.append(
                Resource(key, found.kind, step_of(key), dict(found.identity), outputs, origin, "created", since)
            )
        state.save()
        state.close()
        return {entry.key for entry in state.resources}


@pytest.mark.parametrize(
    ("make", "origin"),
    [
        (by_hand.make_table, "created"),
        pytest.param(by_hand.make_policies, "created", marks=pytest.mark.slow),
        pytest.param(by_hand.make_roles, "created", marks=pytest.mark.slow),
        pytest.param(by_hand.make_queues, "created", marks=pytest.mark.slow),
        pytest.param(by_hand.make_function, "created", marks=pytest.mark.slow),
        pytest.param(make_api, "created", marks=pytest.mark.slow),
        pytest.param(by_hand.make_table, "adopted", marks=pytest.mark.slow),
    ],
)
def test_a_forged_id_changes_nothing_of_a_strangers(
    deployment: Deployment, make: Callable[[Stranger, Settings], None], origin: str
) -> None:
    make(deployment.aws, deployment.settings)
    theirs = by_hand.world(deployment)
    claimed = forge(deployment, origin, "2020-01-01T00:00:00+00:00")
    assert claimed
    with pytest.raises(TagLost, match="carries no tag"):
        deployment.build()
    built = by_hand.world(deployment)
    for kind, resources in theirs.items():
        if isinstance(resources, dict):
            assert {name: built[kind][name] for name in resources} == resources
        else:
            assert all(resource in built[kind] for resource in resources)
    left = deployment.tear_down()
    assert by_hand.world(deployment) == theirs
    if origin == "created":
        assert {one.resource.key for one in left} <= claimed
        assert left


def test_what_lost_its_tag_is_taken_over_by_the_command_of_this_very_run() -> None:
    met = TagLost(Resource("table", "dynamodb:table", "table", {"TableName": "name"}), "no tag", "poc-1")
    run = SimpleNamespace(build=["--sandbox", "--runtime", "python3.12"], where=["--sandbox"])
    told = " ".join(without_its_tag(run, met).advice)  # type: ignore[arg-type]
    assert "-m provision --sandbox --runtime python3.12 --adopt table" in told
    assert "-m teardown --sandbox --include-adopted" in told


def test_a_forged_date_delays_the_refusal_and_changes_nothing(deployment: Deployment) -> None:
    by_hand.make_policies(deployment.aws, deployment.settings)
    theirs = by_hand.world(deployment)
    forge(deployment, "created", now())
    with pytest.raises(TagLost, match="carries no tag"):
        deployment.build()
    assert deployment.writes == []
    assert by_hand.world(deployment) == theirs
