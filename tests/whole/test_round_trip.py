"""Build, build again, take down: what the whole does."""

from __future__ import annotations

import pytest

from provision.settings import Settings
from tests.rig.deployment import Deployment


def test_the_round_trip_leaves_the_account_as_it_was(deployment: Deployment) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    assert deployment.aws.inventory() != before
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before


def test_a_second_run_writes_nothing_and_leaves_state_file_and_account_as_they_were(deployment: Deployment) -> None:
    deployment.build()
    state, account = deployment.path.read_bytes(), deployment.aws.inventory()
    results = deployment.build()
    assert {event.outcome for event in results} == {"unchanged"}
    assert deployment.writes == []
    assert deployment.path.read_bytes() == state
    assert deployment.aws.inventory() == account


def test_every_trial_passes_and_takes_its_item_away_again(deployment: Deployment) -> None:
    deployment.build()
    assert len(deployment.smoke_tests()) == 5
    assert deployment.aws.inventory()["tables"]["name"]["items"] == []


@pytest.mark.slow
def test_provision_straight_after_teardown_builds_the_same(deployment: Deployment) -> None:
    deployment.build()
    account = deployment.aws.inventory()
    assert deployment.tear_down() == []
    deployment.build()
    assert deployment.aws.inventory() == account


@pytest.mark.slow
def test_two_learners_share_one_account(deployment: Deployment) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    alone = deployment.aws.inventory()
    other = Deployment(
        deployment.sandbox_id, deployment.url, deployment.path.with_name("alice.json"), Settings(learner="alice")
    )
    other.build()
    assert len(other.smoke_tests()) == 5
    assert other.tear_down() == []
    assert deployment.aws.inventory() == alone
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before
