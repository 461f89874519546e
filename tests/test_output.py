"""`--output json`: one document on stdout, whatever happens, of the form that docs/output.schema.json publishes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import provision.__main__
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, refuse, run
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")

SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "output.schema.json").read_text())


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"j{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def document(ended: Ended, code: int = outcome.DONE) -> dict[str, Any]:
    """The one document that stdout is, checked."""
    assert ended.code == code, ended.said
    found: dict[str, Any] = json.loads(ended.told)
    jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
    members = set(SCHEMA["properties"])
    assert set(found) <= members
    assert found["exit_code"] == code
    return found


def outcomes(found: dict[str, Any]) -> list[str]:
    return [resource["outcome"] for resource in found["things"]]


def test_a_life_of_a_deployment_in_documents(deployment: CommandLine) -> None:
    as_json = ("--output", "json")
    planned = document(deployment.provision("--dry-run", *as_json))
    assert outcomes(planned).count("create") == 11 and outcomes(planned).count("later") == 5
    assert planned["things"][0]["calls"] == ["iam:CreatePolicy"]
    built = document(deployment.provision("--yes", *as_json))
    assert outcomes(built) == ["created"] * 16 and len(built["tests"]) == 5
    assert built["invoke_url"].endswith("/dynamodbmanager") and built["writing_calls"] > 30
    assert built["deployment"] == deployment.state["deployment"] and built["ledger"] == str(deployment.path)
    healthy = document(run(provision.__main__.provision, "provision", "status", *deployment.where, *as_json))
    assert outcomes(healthy) == ["healthy"] * 16
    assert {resource["messages"] for resource in healthy["things"] if "messages" in resource} == {"no messages"}
    url = deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)["QueueUrl"]
    deployment.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    mended = document(deployment.provision("--no-try", "--yes", *as_json))
    (queue,) = [resource for resource in mended["things"] if resource["outcome"] == "updated"]
    assert queue["differences"] == [{"attribute": "VisibilityTimeout", "found": "77", "wanted": "30"}]
    traced = document(run(provision.__main__.provision, "provision", "trace", *deployment.where, *as_json))
    assert [hop["place"] for hop in traced["hops"]][:2] == ["client", "API Gateway"]
    gone = document(deployment.take_down(*as_json))
    assert gone["program"] == "teardown" and outcomes(gone) == ["deleted"] * 16


def test_a_failure_is_a_document_too(deployment: CommandLine) -> None:
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "CreateTable")
    failed = document(deployment.provision("--yes", "--output", "json"), outcome.SERVICE)
    assert "AccessDeniedException" in failed["error"]["what"] and failed["error"]["advice"]
    assert outcomes(failed) == ["created"] * 7  # what was made until then


def test_what_is_in_the_way_is_in_the_document(deployment: CommandLine) -> None:
    deployment.aws.sqs.create_queue(QueueName=deployment.settings.queue)
    met = document(deployment.provision("--yes", "--output", "json"), outcome.LEFT)
    assert {"QueueName": deployment.settings.queue} in [resource["identity"] for resource in met["error"]["things"]]
    deployment.aws.sqs.delete_queue(
        QueueUrl=deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)["QueueUrl"]
    )


def test_errata_are_a_document() -> None:
    found = document(run(provision.__main__.provision, "provision", "errata", "--output", "json"))
    assert [erratum["number"] for erratum in found["errata"]] == list(range(1, 28))


def test_talk_stays_on_stderr_and_stdout_is_the_document_alone(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        ended = folder.run("provision", "--sandbox", "--to", "1", "--output", "json")
        assert ended.returncode == outcome.DONE
        assert len(json.loads(ended.stdout)["things"]) == 2
        assert "Lambda-Write-DynamoDB" in ended.stderr
        refused = folder.run("provision", "--output", "json")  # no credentials, and no sandbox
        assert refused.returncode == outcome.ENVIRONMENT
        assert "credentials" in json.loads(refused.stdout)["error"]["what"]


@pytest.mark.parametrize(
    "arguments", [("--step",), ("replay",), ("diagram",)], ids=["a lesson", "a replay", "a picture"]
)
def test_what_is_for_people_only_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(provision.__main__.provision, "provision", *arguments, "--output", "json")
    assert ended.value.code == outcome.USAGE and "error: " in capsys.readouterr().err


def test_a_document_of_another_form_would_be_refused() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 2, "program": "provision", "exit_code": 7}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "program": "provision", "exit_code": 0}, SCHEMA)
