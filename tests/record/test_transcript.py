"""The transcript: every call of a run, valid whatever happens to the run, and no secret in it."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import secrets
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision import STEPS
from provision.aws.call_text import boto3_lines
from provision.aws.clients import Clients
from provision.package import source, zipped
from provision.record.recording import NoTranscript, Recording, masked, read, transcripts_in, up_to
from provision.record.transcript import Transcript, folder_of
from provision.replay.web_page import web_page
from provision.settings import Settings
from provision.terminal import outcome
from provision.terminal.json_values import bounded, plain
from provision.terminal.redaction import without_strangers_secrets
from sandbox import Sandbox
from tests.rig import answers
from tests.rig.command_line import CommandLine, refuse
from tests.rig.deployment import ACCOUNT
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"t{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def runs(deployment: CommandLine) -> list[Recording]:
    return [read(path) for path in transcripts_in(deployment.path.parent)]


def last(deployment: CommandLine) -> Recording:
    return runs(deployment)[-1]


def test_a_run_writes_down_every_call_with_its_step_and_what_it_was_for(deployment: CommandLine) -> None:
    ended = deployment.provision("--yes", "--no-try")
    recording = last(deployment)
    assert recording.path is not None and recording.path.parent == folder_of(deployment.path)
    assert [(call["service"], call["operation"], call["read"]) for call in recording.calls] == [
        (call.service, call.operation, call.is_read) for call in ended.calls
    ]
    for call in recording.calls:
        assert call["error"] is None or call["read"]
        assert call["seconds"] >= 0 and call["sent"] == 1
    writes = [call for call in recording.calls if not call["read"]]
    made = {entry["key"] for entry in deployment_entries(deployment)}
    assert {call["key"] for call in writes} == made  # each write belongs to an entry of the state file
    steps = {entry["key"]: entry["step"] for entry in deployment_entries(deployment)}
    assert all(call["step"] == steps[call["key"]] for call in writes)
    assert [event["step"] for event in recording.of("step")] == [step.name for step in STEPS]
    outcomes = [one["outcome"] for event in recording.of("done") for one in event["happened"]]
    assert outcomes == ["created"] * len(made)
    assert recording.ended is not None and recording.ended["exit_code"] == 0
    assert (recording.ended["calls"], recording.ended["writes"]) == (len(ended.calls), len(ended.writes))


def deployment_entries(deployment: CommandLine) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(deployment.path.read_bytes())["resources"]
    return entries


def test_the_last_entry_of_each_resource_is_the_state_files(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    told = {event["entry"]["key"]: event["entry"] for event in last(deployment).of("entry")}
    assert told == {entry["key"]: entry for entry in deployment_entries(deployment)}


def test_parameters_are_whole_but_for_the_zip_which_is_named_by_its_hash(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    (create,) = [call for call in last(deployment).calls if call["operation"] == "CreateFunction"]
    package = zipped(source(deployment.settings))
    assert create["parameters"]["Code"]["ZipFile"] == {
        "bytes": len(package),
        "sha256": hashlib.sha256(package).hexdigest(),
        "file": "function.zip",
    }
    (policy,) = [
        call for call in last(deployment).calls if call["operation"] == "CreateQueue" and call["key"] == "queue"
    ]
    assert json.loads(policy["parameters"]["Attributes"]["Policy"])["Statement"]
    assert policy["answer"]["QueueUrl"].endswith(deployment.settings.queue)


def test_trials_and_teardown_are_written_down_too(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--try")
    built = last(deployment)
    assert len(built.of("trial")) == 5
    deployment.take_down()
    gone = last(deployment)
    assert gone.header["program"] == "teardown"
    assert {event["word"] for event in gone.of("removed")} == {"deleted"}
    assert {event["key"] for event in gone.of("removed")} == {event["entry"]["key"] for event in built.of("entry")}
    deletions = [call for call in gone.calls if call["operation"] == "DeleteTable"]
    assert [(call["step"], call["key"]) for call in deletions] == [("table", "table")]
    assert [one.header["program"] for one in up_to(gone)] == ["provision", "teardown"]


def test_what_was_waited_for_and_sent_again_says_why(deployment: CommandLine) -> None:
    throttled = answers.refuse("CreateTable", answers.refusal("dynamodb", "ThrottlingException", "not now"))
    put_on = answers.Faults(throttled).put_on
    deployment.on_connect = lambda aws: put_on(aws, None)  # type: ignore[arg-type]
    assert deployment.provision("--yes", "--no-try").code == 0
    deployment.on_connect = lambda aws: None
    recording = last(deployment)
    (create,) = [call for call in recording.calls if call["operation"] == "CreateTable"]
    (wait,) = [event for event in recording.of("wait") if event["call"] == create["number"]]
    assert create["sent"] == 2
    assert wait["reason"] == "too many requests"
    assert wait["words"] == "ThrottlingException: not now"


def test_a_stopped_run_says_where_and_how(deployment: CommandLine) -> None:
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "CreateTable")
    assert deployment.provision("--yes", "--no-try").code == outcome.SERVICE
    recording = last(deployment)
    assert recording.ended is not None
    assert recording.ended["exit_code"] == outcome.SERVICE
    assert "AccessDeniedException" in recording.ended["stop"]["what"]
    (create,) = [call for call in recording.calls if call["operation"] == "CreateTable"]
    assert create["error"] == {"code": "AccessDeniedException", "message": "not now", "status": 403}
    assert create["answer"] is None
    assert [event["step"] for event in recording.of("step")] == ["policies", "roles", "table"]
    deployment.on_connect = lambda aws: None


def test_a_transcript_that_cannot_be_written_stops_nothing(deployment: CommandLine) -> None:
    (deployment.path.parent / "transcripts").write_text("in the way")
    ended = deployment.provision("--yes", "--no-try")
    assert ended.code == 0
    assert ended.flat.count("The transcript of this run cannot be written") == 1
    assert len(deployment_entries(deployment)) == 16


def test_it_is_its_owners_only_and_hidden_from_git(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try")
    path = last(deployment).path
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    seen = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "ledger.json" in seen  # git does see what is there
    assert "jsonl" not in seen


@pytest.mark.slow
def test_every_line_before_a_kill_is_whole(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        child = folder.start("provision", "--sandbox", "--no-try")
        found: list[Path] = []
        until = time.monotonic() + 60
        while time.monotonic() < until and not (found and found[0].read_bytes().count(b"\n") > 20):
            found = transcripts_in(tmp_path / ".provision")
        child.kill()
        child.communicate()
        (path,) = found
        killed = read(path)
        assert killed.ended is None
        assert len(killed.events) >= 20
        assert folder.run("provision", "--sandbox", "--no-try").returncode == 0
        first, second = (read(one) for one in transcripts_in(tmp_path / ".provision"))
        assert first == killed
        assert second.ended is not None and second.ended["exit_code"] == 0
        assert len(up_to(second)) == 2


# Reading.


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


FIRST = (
    '{"type": "transcript", "at": 0, "version": 1, "program": "provision", '
    '"account": "1", "region": "x", "endpoint": null, "deployment": "poc-1", '
    '"started": "2026-11-24T10:00:00.000+00:00", "partition": "aws"}'
)
STEP = '{"type": "step", "at": 0.5, "step": "table"}'
ENDED = '{"type": "ended", "at": 1.5, "exit_code": 0, "calls": 1, "writes": 1}'


def call_line(**fields: Any) -> str:
    """A call to DynamoDB, changed."""
    call: dict[str, Any] = {"type": "call", "at": 1, "number": 1, "step": "table", "service": "dynamodb"}
    call |= {"operation": "CreateTable", "read": False, "parameters": {"TableName": "name"}, "answer": None}
    return json.dumps({**call, "error": None, "seconds": 1, "sent": 1, **fields})


def code_line(**fields: str) -> str:
    code = {"ZipFile": {"bytes": 1, "sha256": "0" * 64, "file": "function.zip", **fields}}
    return call_line(service="lambda", operation="CreateFunction", parameters={"Code": code})


def test_calls_that_aws_knows_are_read(tmp_path: Path) -> None:
    assert len(read(written(tmp_path / "a.jsonl", FIRST, call_line(), code_line())).calls) == 2


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_line_is_refused_or_can_be_shown(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever stands in one field: one message, or a page and a script's line that can be made of it."""
    line = json.loads(data.draw(st.sampled_from([FIRST, STEP, call_line(), code_line(), ENDED])))
    line[data.draw(st.sampled_from(sorted(line)))] = data.draw(anything)
    lines = [json.dumps(line)] if line.get("type") == "transcript" else [FIRST, json.dumps(line)]
    try:
        run = read(written(tmp_path / "any.jsonl", *lines))
        page = web_page(run, unmasked=True)
    except outcome.UserError:
        return
    assert page.count("<script") == 1
    for call in run.calls:
        boto3 = boto3_lines(call["service"], call["operation"], call["parameters"])
        functions = {
            one.func.attr
            for one in ast.walk(ast.parse(boto3))
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
        }
        assert len(functions - {"read_bytes", "dumps"}) == 1


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    recording = read(written(tmp_path / "a.jsonl", FIRST, STEP, '{"type": "call", "at": 0.7, "num'))
    assert [event["type"] for event in recording.events] == ["step"]
    assert recording.ended is None


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((FIRST, '{"type": "ste', STEP), "line 2 is no JSON"),
        ((STEP,), "first line is not a transcript's"),
        ((FIRST.replace('"version": 1', '"version": 2'), STEP), "its version is 2"),
        ((FIRST, '{"step": "table"}', STEP), "line 2 has no type or time"),
        ((FIRST, '{"type": "wait", "at": 1.0, "call": null}', STEP), "a line of the type wait has no reason"),
        (
            (FIRST.replace('"account": "1"', '"account": 1'), STEP),
            "the account of a line of the type transcript is malformed",
        ),
        ((FIRST, '{"type": "ended", "at": 1, "exit_code": "<script>", "calls": 1, "writes": 1}'), "the exit_code of"),
        ((FIRST, '{"type": "ended", "at": 1, "exit_code": true, "calls": 1, "writes": 1}'), "the exit_code of"),
        ((FIRST, '{"type": "step", "at": NaN, "step": "table"}'), "line 2 has no type or time"),
        ((FIRST, '{"type": "step", "at": 1e999, "step": "table"}'), "line 2 has no type or time"),
        ((FIRST, "[" * 100_000, STEP), "line 2 is no JSON"),
        ((FIRST, call_line(service="../../etc")), "no service of the walkthrough"),
        ((FIRST, call_line(operation="X; false")), "AWS knows no call dynamodb 'X; false'"),
        ((FIRST, call_line(parameters={"x=1); evil(": 1})), "AWS knows no"),
        ((FIRST, call_line(parameters={"TableName": 1})), "the TableName of a call"),
        ((FIRST, call_line(parameters={"Tags": [{"Key": "a", "Evil": "b"}]})), "the Tags of a call"),
        ((FIRST, code_line(file='x").evil("')), "the Code of a call"),
        ((FIRST, code_line(file="../x")), "the Code of a call"),
        ((FIRST, code_line(sha256="x")), "the Code of a call"),
        (("",), "first line is not a transcript's"),
    ],
)
def test_what_is_no_transcript_is_refused_with_the_reason(tmp_path: Path, lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(NoTranscript, match=why):
        read(written(tmp_path / "a.jsonl", *lines))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoTranscript, match="cannot be read"):
        read(tmp_path / "none.jsonl")


def test_types_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    recording = read(written(tmp_path / "a.jsonl", FIRST, '{"type": "weather", "at": 0.1}', STEP))
    assert [name for name, events in recording.steps()] == ["", "table"]


# What is in it, and what is not.


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    assert plain({"Payload": io.BytesIO(b"{}")}) == {"Payload": {"stream": True}}
    assert plain(b"abc") == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert bounded("x" * 5000) == "x" * 4000 + "... (5000 characters)"
    assert bounded(list(range(120)))[-1] == "... and 20 more"


def test_signed_addresses_and_strangers_variables_are_not_in_it() -> None:
    answer = {
        "Code": {"Location": "https://bucket/code?X-Amz-Date=1&X-Amz-Signature=abcdef&X-Amz-Security-Token=s3cr3t"},
        "Configuration": {"Environment": {"Variables": {"TABLE_NAME": "name", "PASSWORD": "s3cr3t"}}},
    }
    text = json.dumps(without_strangers_secrets(plain(answer)))
    assert "s3cr3t" not in text and "abcdef" not in text
    assert '"TABLE_NAME": "name"' in text and '"PASSWORD": "<PASSWORD>"' in text


def transcript_of(aws: Clients) -> Transcript:
    """That of the run whose clients these are: it listens to their calls."""
    (heard,) = [listener.__self__ for listener in aws.calls.listeners if hasattr(listener, "__self__")]
    assert isinstance(heard, Transcript)
    return heard


def test_what_cannot_be_encoded_is_written_all_the_same(deployment: CommandLine) -> None:
    deployment.on_connect = lambda aws: transcript_of(aws).smoke_test("a lone surrogate \udc80", "ü")
    deployment.provision("--yes", "--no-try")
    (smoke_test,) = last(deployment).of("trial")
    assert smoke_test["title"].startswith("a lone surrogate") and smoke_test["saw"] == "ü"
    deployment.on_connect = lambda aws: None


def test_exports_have_no_account_caller_or_body(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--try")
    recording = last(deployment)
    text = json.dumps(recording.events) + json.dumps(recording.header)
    assert ACCOUNT in text and "somevalue1" in text and "Bob" in text  # the transcript itself has them
    clean = masked(recording)
    text = json.dumps(clean.events) + json.dumps(clean.header)
    assert ACCOUNT not in text
    assert "somevalue1" not in text and "Bob" not in text and "AKIA" not in text
    assert f"arn:aws:sqs:us-east-1:<account>:{deployment.settings.queue}" in text
    assert str(deployment.path) not in text


def test_another_accounts_number_is_masked_too() -> None:
    answer = {"Arn": "arn:aws:iam::111122223333:role/x"}
    event = {"type": "call", "at": 0, "operation": "X", "parameters": {}, "answer": answer}
    clean = masked(Recording({"account": ACCOUNT}, [event]))
    assert clean.events[0]["answer"]["Arn"] == "arn:aws:iam::<another account>:role/x"


@pytest.mark.parametrize("change", [lambda header: None, lambda header: header.update(learner="anna")])
def test_a_recording_knows_the_names_it_was_for(change: Callable[[dict[str, Any]], None]) -> None:
    header = {"learner": None, "runtime": "python3.13", "as_written": False}
    change(header)
    assert Recording(header, []).settings == Settings(learner=header["learner"], runtime_asked="python3.13")
