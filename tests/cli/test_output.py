"""`--output json`: one document on stdout, whatever happens, of the form that docs/output.schema.json publishes."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import provision.__main__
import teardown.__main__
from provision.account import smoke_tests
from provision.terminal import outcome
from provision.terminal.json_values import plain
from sandbox import Sandbox
from teardown.backwards import Left
from tests.rig import CHECKOUT
from tests.rig.command_line import CommandLine, Ended, refuse, run
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")

DOCS = CHECKOUT / "docs"
SCHEMA = json.loads((DOCS / "output.schema.json").read_text())


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"j{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def document(ended: Ended, code: int = outcome.DONE) -> dict[str, Any]:
    """The one document that stdout is, checked; it is the result that a caller in Python gets."""
    assert ended.code == code, ended.said
    found: dict[str, Any] = json.loads(ended.told)
    jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert set(found) == set(SCHEMA["$defs"]["deployment"]["properties"])
    assert found["exit_code"] == code and (found["error"] is None) == (code in (outcome.DONE, outcome.CHANGES))
    assert found == plain(dataclasses.asdict(ended.result))
    return found


def outcomes(found: dict[str, Any]) -> list[str]:
    return [resource["outcome"] for resource in found["resources"]]


def test_a_life_of_a_deployment_in_documents(deployment: CommandLine) -> None:
    as_json = ("--output", "json")
    planned = document(deployment.provision("--dry-run", *as_json))
    assert outcomes(planned) == ["create"] * 16
    assert planned["resources"][0]["calls"] == ["iam:CreatePolicy"] and planned["command"] == "plan"
    assert (planned["resources"][0]["noun"], planned["resources"][0]["type"]) == ("policy", "iam:policy")
    built = document(deployment.provision("--yes", *as_json))
    assert outcomes(built) == ["created"] * 16
    assert len(built["tests"]) == 5 and all(test["passed"] for test in built["tests"])
    assert built["queue_route_url"] == f"{built['invoke_url']}/queue"
    assert built["invoke_url"].endswith("/dynamodbmanager") and built["calls"] > built["writing_calls"] > 30
    assert built["deployment"] == deployment.state["deployment"] and built["state_file"] == str(deployment.path)
    there = document(run(provision.__main__.provision, "provision", "status", *deployment.where, *as_json))
    assert outcomes(there) == ["unchanged"] * 16
    counted = {one["key"]: one["messages"] for one in there["resources"] if one["messages"] is not None}
    assert counted == {"queue": 0, "dead-letter-queue": 0}
    url = deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)["QueueUrl"]
    deployment.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    mended = document(deployment.provision("--no-try", "--yes", *as_json))
    (queue,) = [resource for resource in mended["resources"] if resource["outcome"] == "updated"]
    assert queue["changes"] == [{"attribute": "VisibilityTimeout", "found": "77", "wanted": "60", "left": False}]
    traced = document(run(provision.__main__.provision, "provision", "trace", *deployment.where, *as_json))
    assert [hop["place"] for hop in traced["hops"]][:2] == ["client", "API Gateway"]
    drawn = document(run(provision.__main__.provision, "provision", "diagram", *deployment.where, *as_json))
    assert deployment.settings.queue in drawn["picture"]
    gone = document(deployment.take_down(*as_json))
    assert gone["program"] == "teardown" and outcomes(gone) == ["deleted"] * 16


def test_a_failure_is_a_document_too(deployment: CommandLine) -> None:
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "CreateTable")
    failed = document(deployment.provision("--yes", "--output", "json"), outcome.SERVICE)
    assert "AccessDeniedException" in failed["error"]["what"] and failed["error"]["advice"]
    assert failed["error"]["code"] == "access-denied" and failed["error"]["transcript"]
    assert outcomes(failed) == ["created"] * 7 and failed["calls"] > 7  # what was made until then


def test_what_is_in_the_way_is_in_the_document(deployment: CommandLine) -> None:
    deployment.aws.sqs.create_queue(QueueName=deployment.settings.queue)
    met = document(deployment.provision("--yes", "--output", "json"), outcome.LEFT)
    assert met["error"]["code"] == "not-ours"
    assert deployment.settings.queue in [resource["name"] for resource in met["error"]["resources"]]
    deployment.aws.sqs.delete_queue(
        QueueUrl=deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)["QueueUrl"]
    )


def test_errata_are_a_document() -> None:
    found = document(run(provision.__main__.provision, "provision", "errata", "--output", "json"))
    assert [erratum["number"] for erratum in found["errata"]] == list(range(1, 31))


def test_talk_stays_on_stderr_and_stdout_is_the_document_alone(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        ended = folder.run("provision", "--sandbox", "--to", "1", "--output", "json")
        assert ended.returncode == outcome.DONE
        assert len(json.loads(ended.stdout)["resources"]) == 2
        assert "Lambda-Write-DynamoDB" in ended.stderr
        refused = folder.run("provision", "--output", "json")  # no credentials, and no sandbox
        assert refused.returncode == outcome.ENVIRONMENT
        assert json.loads(refused.stdout)["error"]["code"] == "no-credentials"


@pytest.mark.parametrize("arguments", [("--step",), ("replay",), ("--no-such-option",)])
def test_a_wrong_command_line_is_a_document_too(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no run is recorded there
    ended = run(provision.__main__.provision, "provision", *arguments, "--output", "json")
    error = document(ended, outcome.USAGE)["error"]
    assert error["code"] == "usage" and f"error: {error['what']}" in " ".join(capsys.readouterr().err.split())
    silent = run(provision.__main__.provision, "provision", *arguments)
    assert silent.code == outcome.USAGE or arguments == ("replay",)
    assert silent.told == ""


def test_a_test_that_fails_is_in_the_document(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_tests, "try_test_invoke", lambda *arguments: smoke_tests.expect(False, "200", 500))
    failed = document(deployment.provision("--yes", "--output", "json"), outcome.LEFT)
    assert failed["error"]["code"] == "test-failed"
    assert [test["passed"] for test in failed["tests"]] == [True, False, True, True, True]
    assert "expected 200, saw 500" in failed["tests"][1]["saw"]


def test_what_is_left_of_a_teardown_is_in_the_document(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "3")
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "DeleteTable")
    left = document(deployment.take_down("--output", "json"), outcome.LEFT)
    assert left["error"]["code"] == "left" and outcomes(left).count("failed") == 1
    assert "DeleteTable" in next(one["remark"] for one in left["resources"] if one["outcome"] == "failed")


def test_what_is_there_again_is_not_told_as_deleted(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.provision("--yes", "--to", "3")
    monkeypatch.setattr(
        teardown.__main__,
        "prove",
        lambda aws, state, acknowledged: [
            Left(one, "It is there again.") for one in state.resources if one.key == "table"
        ],
    )
    left = document(deployment.take_down("--output", "json"), outcome.LEFT)
    told = [(one["outcome"], one["remark"]) for one in left["resources"] if one["key"] == "table"]
    assert told == [("failed", "It is there again.")]


def test_a_recovery_and_a_plan_with_work_are_documents(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "2")
    deployment.path.unlink()
    recovered = document(deployment.recover("--yes", "--output", "json"))
    assert outcomes(recovered) == ["recorded"] * len(deployment.state["resources"])
    planned = document(deployment.provision("--dry-run", "--detailed-exitcode", "--output", "json"), outcome.CHANGES)
    assert "create" in outcomes(planned)
    planned = document(deployment.take_down("--dry-run", "--output", "json"))
    assert set(outcomes(planned)) == {"delete"}


def test_the_example_of_the_page_on_automation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "how-to" / "automation.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert 5 <= len(example.splitlines()) <= 10
    with Folder(tmp_path) as folder:
        (tmp_path / "example.py").write_text(example, encoding="utf-8")
        ended = subprocess.run(
            [folder.python, "example.py"], cwd=tmp_path, env=folder.environ, capture_output=True, text=True, timeout=90
        )
        assert ended.returncode == 0, ended.stderr
        assert "queue POC-Queue is created" in ended.stdout and "16 of 16 deleted" in ended.stdout


def test_each_code_of_an_error_is_published_and_described() -> None:
    published = set(SCHEMA["$defs"]["error"]["properties"]["code"]["enum"])
    said = set(outcome.CODES.values())
    for path in (path for room in ("provision", "teardown") for path in (DOCS.parent / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            of_class = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"
            if (of_class or (isinstance(node, ast.keyword) and node.arg == "code")) and isinstance(
                node.value, ast.Constant
            ):
                said.add(node.value.value)
    assert said - {""} == published - {"access-denied"}  # which is chosen in cli/errors.py
    page = (DOCS / "reference" / "json-output.md").read_text(encoding="utf-8").partition("## Errors")[2]
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)} == published


def test_a_document_of_another_form_would_be_refused(deployment: CommandLine) -> None:
    found = document(run(provision.__main__.provision, "provision", "errata", "--output", "json"))
    jsonschema.validate(found, SCHEMA)
    for wrong in ({"schema": 2}, {"exit_code": 7}, {"seconds": "1.5"}, {"error": {"what": "no code"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**found, **wrong}, SCHEMA)
