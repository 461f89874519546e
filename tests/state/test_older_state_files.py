"""State files that an older version wrote are read, and what they record is torn down.

The files of tests/state_files were written by version 0.1 in a sandbox: a build, and one that took over what a person
had made. Ids and tags are put in their places, as this sandbox invents others; everything else is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.settings import Settings
from provision.state.file import checksum
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.deployment import Deployment
from tests.state.test_adoption import KEYS, build_by_hand, consent, world

FILES = CHECKOUT / "tests" / "state_files"

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def learners(empty_sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """Under the names of the file with the adopted ones."""
    settings = Settings(learner="old")
    with Deployment(empty_sandbox.id, empty_sandbox.url, tmp_path / "state.json", settings) as made:
        yield made


def put_in_place(deployment: Deployment, name: str) -> dict[str, Any]:
    """The older file in the place of the one just written, with the ids of what there is; its content."""
    content: dict[str, Any] = json.loads((FILES / name).read_bytes())
    now = deployment.state
    ids = {entry["key"]: entry["outputs"] for entry in now["resources"]}
    for entry in content["resources"]:
        entry["outputs"] |= {field: ids[entry["key"]][field] for field in ("id", "url") if field in entry["outputs"]}
        if "restApiId" in entry["identity"]:
            entry["identity"]["restApiId"] = ids["api"]["id"]
    content |= {field: now[field] for field in ("deployment", "account", "endpoint")}
    assert checksum(json.loads((FILES / name).read_bytes())) != content["checksum"], "its endpoint was made plain"
    content["checksum"] = checksum(content)
    deployment.path.write_text(json.dumps(content))
    return content


def test_what_an_older_version_built_is_unchanged_and_torn_down(deployment: Deployment) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    content = put_in_place(deployment, "0.1-built.json")
    assert len(content["resources"]) == 16
    deployment.build()
    assert set(deployment.changed) <= {"queue", "function", "stage"}  # the ids of roles, the code, and its digest
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before


def test_what_an_older_version_took_over_is_put_back(learners: Deployment) -> None:
    build_by_hand(learners)
    before = world(learners)
    consent(learners, *KEYS)
    learners.build()
    content = put_in_place(learners, "0.1-adopted.json")
    uuid = learners.outputs("trigger")["id"]
    learners.aws.lambda_.update_event_source_mapping(UUID=uuid, ScalingConfig={})  # an older version set none
    kept = {name for entry in content["resources"] for name in entry.get("before", {})}
    assert {"throughput", "default version", "versions", "Policy"} <= kept and "description" not in kept
    assert learners.tear_down() == []
    assert world(learners) == before
