"""What is written beside what is shown: `--events`, `--debug`, and the files that a failure names."""

from __future__ import annotations

import json
import logging
import secrets
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.record import log
from provision.record.recording import NoTranscript, read, transcripts_in
from provision.record.transcript import VERSION
from provision.terminal import outcome
from provision.terminal.redaction import without_secrets
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, refuse
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"l{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


# Events.


def test_events_on_stdout_are_the_transcript_line_by_line_and_nothing_else(deployment: CommandLine) -> None:
    ended = deployment.provision("--yes", "--to", "1", "--events", "-")
    (path,) = transcripts_in(deployment.path.parent)
    assert ended.told == path.read_text(encoding="utf-8")
    assert "python -m teardown" in ended.said  # what would have been data is said


def test_events_in_a_file_are_the_transcript(deployment: CommandLine, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    deployment.provision("--yes", "--to", "1")
    ended = deployment.take_down("--events", str(events))
    assert ended.code == outcome.DONE
    assert events.read_text(encoding="utf-8") == transcripts_in(tmp_path)[-1].read_text(encoding="utf-8")


def test_of_a_run_that_only_reads_there_are_events_but_no_transcript(deployment: CommandLine) -> None:
    ended = deployment.provision("--dry-run", "--events", "-")
    events = [json.loads(line) for line in ended.told.splitlines()]
    assert events[0]["type"] == "transcript" and events[0]["version"] == VERSION
    assert [event["operation"] for event in events if event["type"] == "call"] == [
        call.operation for call in ended.calls
    ]
    assert events[-1] == {
        "at": events[-1]["at"],
        "type": "ended",
        "exit_code": 0,
        "calls": len(ended.calls),
        "writes": 0,
    }
    assert transcripts_in(deployment.path.parent) == []
    assert "Lambda-Write-DynamoDB" in ended.said


def test_a_run_that_ends_before_it_begins_has_its_end_among_the_events(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        ended = user.run("provision", "--yes", "--events", "events.jsonl")
    assert ended.returncode == outcome.ENVIRONMENT
    header, last = map(json.loads, (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines())
    assert header["type"] == "transcript" and header["version"] == VERSION
    assert last["exit_code"] == outcome.ENVIRONMENT
    assert last["stop"]["what"].startswith("There are no AWS credentials")
    with pytest.raises(NoTranscript, match="the run ended before it knew where it was"):
        read(tmp_path / "events.jsonl")


def test_events_and_a_document_cannot_both_be_on_stdout(deployment: CommandLine) -> None:
    ended = deployment.provision("--yes", "--events", "-", "--output", "json")
    assert ended.code == outcome.USAGE and ended.calls == []
    assert json.loads(ended.told)["error"]["what"] == "--events - and --output json both write to stdout."


def test_a_place_where_no_events_can_be_written_is_said_before_anything_is_done(deployment: CommandLine) -> None:
    ended = deployment.provision("--yes", "--events", "no/such/folder/events.jsonl")
    assert ended.code == outcome.ENVIRONMENT and ended.calls == []
    assert "no/such/folder/events.jsonl cannot be written: No such file or directory." in ended.said


@pytest.mark.sweep(2)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_whoever_reads_what_is_said_may_go_away(tmp_path: Path, stream: str) -> None:
    with Folder(tmp_path) as user:
        running = user.start("provision", "--sandbox", "--no-try")
        for name in ("stdout", "stderr"):
            if name == stream:
                getattr(running, name).close()
        said = (running.stderr if stream == "stdout" else running.stdout).read()  # type: ignore[union-attr]
        assert running.wait(60) == 0, said
        assert "Traceback" not in said and "Broken" not in said
        assert len(user.state()["resources"]) == 16
        assert user.run("teardown", "--sandbox").returncode == 0


def test_a_document_for_a_full_disk_is_one_message(tmp_path: Path) -> None:
    with Folder(tmp_path) as user, Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [user.python, "-m", "provision", "--sandbox", "--dry-run", "--output", "json"],
            cwd=user.path,
            env=user.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode != 0 and "Traceback" not in ended.stderr, ended.stderr
        user.run("sandbox", "stop")


def test_whoever_reads_the_events_may_go_away(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        running = user.start("provision", "--sandbox", "--no-try", "--events", "-")
        assert running.stdout is not None and running.stderr is not None
        first = json.loads(running.stdout.readline())
        assert first["type"] == "transcript"
        running.stdout.close()
        said = running.stderr.read()
        assert running.wait(60) == 0, said
        assert said.count("Warning: The events cannot be written any more (Broken pipe). The run goes on.") == 1
        assert "8/8 Stage" in said and "Traceback" not in said and "BrokenPipe" not in said
        assert user.run("teardown", "--sandbox").returncode == 0


# The log.


def the_log(folder: Path) -> Path:
    (path,) = (folder / log.FOLDER).glob("*.log")
    return path


def test_debug_logs_what_is_sent_and_answered_for_the_owner_only(deployment: CommandLine, tmp_path: Path) -> None:
    ended = deployment.provision("--yes", "--to", "1", "--debug")
    path = the_log(tmp_path)
    assert f"Log            {path}" in ended.said.splitlines()
    text = path.read_text(encoding="utf-8")
    assert "Action=CreatePolicy" in text or "CreatePolicy" in text
    assert "DEBUG botocore.endpoint" in text and "iam CreatePolicy ended: None" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert not [one for one in logging.getLogger().handlers if isinstance(one.formatter, log.WithoutSecrets)]


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY"
TOKEN = "IQoJb3JpZ2luX2VjEJr//////////" + "aB3+/" * 60 + "=="


def test_no_secret_is_in_the_log(deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    seen: list[str] = []
    deployment.on_connect = lambda aws: aws.iam.meta.events.register_last(
        "before-send.iam.*", lambda request, **event: seen.append(str(request.headers))
    )
    deployment.provision("--yes", "--to", "1", "--debug")
    assert any(TOKEN in headers for headers in seen), "it was sent, so that it could have been logged"
    text = the_log(tmp_path).read_text(encoding="utf-8")
    assert "X-Amz-Security-Token" in text and "AKIAIOSFODNN7EXAMPLE" in text
    assert SECRET not in text and TOKEN not in text and TOKEN[:120] not in text
    signatures = [line for line in text.splitlines() if "Signature=" in line]
    assert signatures and all("Signature=<left out>" in line for line in signatures)


@pytest.mark.parametrize(
    "text",
    [
        f"SecretAccessKey: {SECRET}",
        f'"SecretAccessKey":"{SECRET}"',
        f"<SessionToken>{TOKEN}</SessionToken>",
        "Bearer eyJraWQiOi" + "J9_-abc." * 30,
        "Signature:\n" + "0f" * 32,
    ],
)
def test_what_looks_like_a_secret_is_left_out_and_the_rest_is_not(text: str) -> None:
    clean = without_secrets(f"before {text} after")
    assert clean.startswith("before ") and clean.endswith(" after") and "<left out>" in clean
    assert not any(secret in clean for secret in (SECRET, TOKEN, "eyJraWQiOi", "0f0f0f"))


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::123456789012:policy/Lambda-Write-DynamoDB-alice",
        "https://sqs.us-east-1.amazonaws.com/123456789012/POC-Queue",
        "2f1f9c3e-7d0a-4d53-9d8e-0c9f6f3f5a11",  # a request id
        '  File "' + "/" + "a" * 120 + '.py", line 3',
    ],
)
def test_what_a_person_needs_stays(text: str) -> None:
    assert without_secrets(text) == text


SHORT_TOKEN = "FQoGZXIvYXdzEJr"


def test_a_token_and_a_functions_variables_are_left_out_however_short() -> None:
    said = without_secrets(f"'X-Amz-Security-Token': b'{SHORT_TOKEN}', x-amz-security-token:{SHORT_TOKEN}")
    assert SHORT_TOKEN not in said and said.count("<left out>") == 2
    body = without_secrets('{"Environment": {"Variables": {"DB_PASSWORD": "hunter2"}}, "Timeout": 3}')
    assert body == '{"Environment": {"Variables": {<left out>}}, "Timeout": 3}'


def test_what_somebody_keeps_in_a_functions_environment_is_shown_and_written_nowhere_but_to_be_put_back(
    deployment: CommandLine, tmp_path: Path
) -> None:
    deployment.provision("--yes", "--no-try")
    name = deployment.settings.function
    deployment.aws.lambda_.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"DB_PASSWORD": "hunter2"}}
    )
    planned = deployment.provision("--dry-run", "--output", "json")
    events = tmp_path / "events.jsonl"
    mended = deployment.provision("--yes", "--no-try", "--debug", "--events", str(events))
    assert "DB_PASSWORD" in planned.told and "DB_PASSWORD" in mended.said
    shown = [planned.told, planned.said, mended.said, mended.told]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert events in written and len(written) > 4
    assert not any("hunter2" in text for text in shown)
    assert not [path for path in written if b"hunter2" in path.read_bytes()]


# What a failure names.


def test_a_failure_names_its_transcript_and_its_log(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "CreateTable")
    ended = deployment.provision("--yes", "--debug")
    assert ended.code == outcome.SERVICE
    (transcript,) = transcripts_in(tmp_path)
    assert f"  Transcript:    {transcript}" in ended.said.splitlines()
    assert f"  Log:           {the_log(tmp_path)}" in ended.said.splitlines()
    assert "stopped by" in the_log(tmp_path).read_text(encoding="utf-8")


def test_a_success_and_a_no_name_none(deployment: CommandLine, tmp_path: Path) -> None:
    assert "Transcript" not in deployment.provision("--yes", "--to", "1").said
    declined = deployment.provision()  # nobody is there to be asked
    assert declined.code == outcome.USAGE


def test_two_runs_of_a_process_within_a_second_both_have_a_log(tmp_path: Path) -> None:
    for _ in range(3):  # two of them at least are in one second
        path = log.begin(tmp_path, "provision")
        log.end()
        assert path.exists()
