"""--to and --back-to: a part of the steps, and the way back, so that a step can be taught twice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import teardown.__main__
from provision import STEPS
from provision.terminal import outcome
from sandbox import Sandbox
from teardown.backwards import Left
from tests.rig.command_line import CommandLine

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"s{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def standing(deployment: CommandLine) -> list[str]:
    """The steps whose resources the state file records, each once, in the order of the entries."""
    entries = json.loads(deployment.path.read_bytes())["resources"]
    return list(dict.fromkeys(entry["step"] for entry in entries if entry["status"] == "created"))


def names(first: int, last: int) -> list[str]:
    return [step.name for step in STEPS[first - 1 : last]]


def test_to_builds_up_to_a_step_and_no_further(deployment: CommandLine) -> None:
    ended = deployment.provision("--yes", "--to", "4")
    assert ended.code == outcome.DONE
    assert standing(deployment) == names(1, 4)
    assert "5/8" not in ended.said and "OK" not in ended.said  # no test of what is not whole
    assert "python -m teardown" in ended.told and "Invoke URL" not in ended.told
    assert deployment.provision("--yes", "--to", "table").writes == []  # what is there stays as it is
    assert deployment.provision("--yes", "--no-try").code == outcome.DONE
    assert standing(deployment) == names(1, 8)
    again = deployment.provision("--yes", "--to", "3", "--no-try")
    assert "To go on" not in again.said and "the steps after it were done before" in again.flat
    assert "python -m provision status" in again.told


def test_back_to_removes_the_last_steps_and_building_goes_on_from_there(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    whole = json.loads(deployment.path.read_bytes())["resources"]
    back = deployment.take_down("--back-to", "4")
    assert back.code == outcome.DONE
    assert "60 seconds" in back.flat and "one API in 30 seconds" in back.flat  # said before anything is deleted
    assert back.said.index("60 seconds") < back.said.index("Removing")
    assert "Back to step 4" in back.flat
    assert standing(deployment) == names(1, 3)
    assert deployment.aws.dynamodb.describe_table(TableName=deployment.settings.table)
    with pytest.raises(deployment.aws.sqs.exceptions.QueueDoesNotExist):
        deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)

    again = deployment.take_down("--back-to", "4")
    assert again.writes == [] and "step 4 comes next already" in again.flat

    assert deployment.provision("--yes", "--no-try").code == outcome.DONE
    rebuilt = json.loads(deployment.path.read_bytes())["resources"]
    assert [entry["key"] for entry in rebuilt] == [entry["key"] for entry in whole]  # each in its old place
    assert deployment.take_down().code == outcome.DONE
    assert json.loads(deployment.path.read_bytes())["resources"] == []


def test_what_an_interrupted_proof_did_not_read_back_is_read_back_when_the_command_is_run_again(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--to", "3")
    assert deployment.take_down("--back-to", "3").code == outcome.DONE
    monkeypatch.setattr(
        teardown.__main__,
        "prove",
        lambda aws, state: [Left(one, "It is there again.") for one in state.resources if one.key == "table"],
    )
    again = deployment.take_down("--back-to", "3")
    assert again.code == outcome.LEFT and "1 of the recorded resources is left" in again.flat


def test_back_to_waits_for_nothing_that_it_does_not_delete(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    back = deployment.take_down("--back-to", "stage")
    assert "60 seconds" not in back.flat and "30 seconds" not in back.flat
    assert standing(deployment) == names(1, 7)


def test_back_to_the_first_step_is_a_whole_teardown(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "2")
    assert "Nothing is left" in deployment.take_down("--back-to", "1").flat
    assert json.loads(deployment.path.read_bytes())["receipt"]


@pytest.mark.parametrize("number", ["0", "9", "lambda", "-1"])
def test_a_step_that_there_is_not_is_a_wrong_command_line(
    deployment: CommandLine, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for program, option in ((deployment.provision, "--to"), (deployment.take_down, "--back-to")):
        assert program(option, number).code == outcome.USAGE
    assert "policies" in capsys.readouterr().err


def test_tests_of_the_whole_do_not_go_with_a_part(deployment: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert deployment.provision("--to", "4", "--try").code == outcome.USAGE
    assert "--try" in capsys.readouterr().err
