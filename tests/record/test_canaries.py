"""A secret in every place that one can come from, and every file and screen searched for it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import provision.__main__
from provision.aws.clients import Clients
from provision.terminal import outcome
from provision.terminal.redaction import without_bodies, without_secrets
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, run
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")

WORD = "canary"  # in each of them, so that a part is found, too
SECRET_KEY = "wJalrXUtnFEM" + WORD * 4 + "/KEY"  # 40 letters


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    with CommandLine(empty_sandbox, tmp_path / "state.json", f"c{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def leaks(folder: Path, *shown: str, word: str = WORD) -> list[str]:
    """Where the word is found: names of files, and what was around it."""
    texts = {str(path): path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file()}
    texts |= {f"screen {number}": text for number, text in enumerate(shown)}
    return [f"{name}: {text[max(text.find(word) - 60, 0) :][:160]}" for name, text in texts.items() if word in text]


ENVIRONMENT = {
    "PLAIN": WORD,
    "AS_JSON": json.dumps({"password": WORD, "nested": {"Variables": {"key": WORD}}}),
    "A_BRACE": f"}} {WORD}",
    "A_QUOTE": f"'\"}} {WORD}",
    "A_URL": f"postgres://admin:{WORD}@db.example/x",
    "BEHIND": f"user=me;password={WORD}",
}


def test_no_secret_of_an_adopted_deployment_reaches_a_file_or_the_screen(
    deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"short-{WORD}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{WORD}@127.0.0.1:9")
    first = deployment.provision("--yes", "--no-try", "--debug")
    settings, aws = deployment.settings, deployment.aws
    aws.lambda_.update_function_configuration(FunctionName=settings.function, Environment={"Variables": ENVIRONMENT})
    aws.dynamodb.put_item(TableName=settings.table, Item={"id": {"S": WORD}, "payload": {"S": WORD}})
    aws.sqs.send_message(QueueUrl=deployment.outputs("dead-letter-queue")["url"], MessageBody=WORD)
    sent: list[str] = []
    deployment.on_connect = lambda clients: clients.lambda_.meta.events.register_last(
        "before-send.lambda.*", lambda request, **event: sent.append(str(request.headers))
    )
    status = deployment.provision("status", "--debug", "--verbose")
    planned = deployment.provision("--dry-run", "--debug", "--output", "json")
    updated = deployment.provision("--yes", "--debug", "--verbose", "--events", str(tmp_path / "events.jsonl"))
    removed = deployment.take_down("--debug")
    assert removed.code == outcome.DONE
    assert any(f"short-{WORD}" in headers for headers in sent), "it was sent, so that it could have been logged"
    runs = (first, status, planned, updated, removed)
    assert "PLAIN" in planned.told, "the variables were seen, by their names"
    assert leaks(tmp_path, *(run.said + run.told for run in runs)) == []


def test_the_value_of_an_api_key_reaches_no_file_and_no_screen(deployment: CommandLine, tmp_path: Path) -> None:
    everything = ["--debug", "--verbose", "--events", str(tmp_path / "events.jsonl")]
    built = deployment.provision("--yes", "--auth", "api-key", *everything)
    assert built.code == outcome.DONE
    key_id = deployment.outputs("api-key")["id"]
    sent: list[bool] = []
    value = str(deployment.aws.apigateway.get_api_key(apiKey=key_id, includeValue=True)["value"])

    def note(aws: Clients) -> None:
        answers = ("GetApiKey", "GetUsagePlanKeys", "UpdateApiKey")
        for name in answers:
            aws.apigateway.meta.events.register(
                f"after-call.apigateway.{name}", lambda parsed, **event: sent.append(value in str(parsed))
            )

    deployment.on_connect = note
    disabled = {"op": "replace", "path": "/enabled", "value": "false"}
    deployment.aws.apigateway.update_api_key(apiKey=key_id, patchOperations=[disabled])
    updated = deployment.provision("--yes", *everything[:-1], str(tmp_path / "more.jsonl"))
    runs = [built, updated]
    for command in (["status"], ["check"], ["trace"], ["--dry-run", "--output", "json"]):
        runs.append(deployment.provision(*command, "--debug"))
        assert runs[-1].code == outcome.DONE, runs[-1].said
    page = tmp_path / "page.html"
    recorded = sorted((tmp_path / "transcripts").rglob("*.jsonl"))[0]
    replayed = run(provision.__main__.provision, "provision", "replay", str(recorded), "--html", str(page))
    assert replayed.code == outcome.DONE and "CreateApiKey" in page.read_text()
    runs += [replayed, deployment.take_down("--debug")]
    assert runs[-1].code == outcome.DONE and any(sent), "the value was answered, so that it could have been written"
    assert leaks(tmp_path, *(ended.said + ended.told for ended in runs), word=value) == []
    assert "<left out>" in recorded.read_text()


CREDENTIAL_PROCESSES = {
    "good": "echo '"
    + json.dumps({"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": WORD, "SessionToken": WORD})
    + "'",
    "fails": f"echo 'password={WORD}' >&2; exit 1",
    "no JSON": f'echo \'{{"SecretAccessKey": "{WORD}"\'',
}


@pytest.mark.parametrize("how", CREDENTIAL_PROCESSES)
def test_what_a_credential_process_says_is_written_and_shown_nowhere(
    sandbox: Sandbox, tmp_path: Path, how: str
) -> None:
    (tmp_path / "aside").mkdir()
    program, config = tmp_path / "aside" / "program", tmp_path / "aside" / "config"
    program.write_text(f"#!/bin/sh\n{CREDENTIAL_PROCESSES[how]}\n")
    program.chmod(0o755)
    config.write_text(f"[default]\ncredential_process = {program} --password {WORD}\n")
    (tmp_path / "here").mkdir()
    with Folder(tmp_path / "here") as folder:
        ended = folder.run(
            "provision", "--endpoint-url", sandbox.url, "--dry-run", "--debug", AWS_CONFIG_FILE=str(config)
        )
    assert (ended.returncode == outcome.DONE) == (how == "good"), ended.stderr
    assert (tmp_path / "here" / ".provision" / "logs").is_dir()
    assert leaks(tmp_path / "here", ended.stdout, ended.stderr) == []


@pytest.mark.parametrize(
    "text",
    [
        *(json.dumps({"Environment": {"Variables": {name: value}}}) for name, value in ENVIRONMENT.items()),
        *(repr({"Variables": {name: value}}) for name, value in ENVIRONMENT.items()),
        json.dumps(json.dumps({"Variables": ENVIRONMENT})),
        f"AWS_SECRET_ACCESS_KEY={SECRET_KEY}",
        f"?x={SECRET_KEY}&y=1",
        f"password={WORD}",
        f"{{'x-api-key': '{WORD}', 'a': 1}}",
        f'"clientSecret": "{WORD}"',
        f"X-aws-ec2-metadata-token: {WORD}",
        f"Authorization: Bearer {WORD}",
        f"Proxy-Authorization: Basic {WORD}==",
        f"via http://me:{WORD}@proxy.example:3128",
        f"The Canonical String should have been 'POST\n/\nx-amz-security-token:{WORD}\n'",
        f"<SessionToken>{WORD}</SessionToken>",
    ],
)
def test_a_text_loses_its_secrets(text: str) -> None:
    assert WORD in text
    assert WORD not in without_secrets(text)


def test_what_follows_an_environment_stays() -> None:
    text = json.dumps({"Environment": {"Variables": ENVIRONMENT}, "Timeout": 3})
    assert without_secrets(text) == '{"Environment": {"Variables": {<left out>}}, "Timeout": 3}'
    assert without_secrets('"Variables": {"A": "not closed') == '"Variables": {<left out>'


def test_a_body_is_left_out_of_an_argument_and_the_rest_is_not() -> None:
    assert without_bodies(WORD.encode()) == "<6 bytes>"
    assert without_bodies({"body": WORD, "method": "POST"}) == {"body": "<6 long>", "method": "POST"}
    assert without_bodies({"context": {"body": {"Item": WORD}}}) == {"context": {"body": "<1 long>"}}
    assert without_bodies("text") == "text"


def test_the_search_finds_what_leaks(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"before {WORD} after")
    assert len(leaks(tmp_path, "clean", WORD)) == 2
