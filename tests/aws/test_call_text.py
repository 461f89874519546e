"""The faces of a call are the call: the `aws` line by the CLI's own parser, the boto3 lines by Python itself."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import awscli
import awscli.clidriver
import boto3
import pytest
from botocore import xform_name
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.aws.call_text import CLIENTS, aws_command, boto3_lines, shell_word
from provision.aws.console_links import CONSOLES, console_url, look, look_command
from provision.lesson.drawing import as_drawing
from provision.lesson.picture import as_text, boxes
from provision.package import source, zipped
from provision.record.transcript import Transcript
from provision.settings import Settings
from provision.state.resources import TYPES
from provision.state.state import State
from sandbox import Sandbox
from tests.rig.deployment import REGION, Deployment, Stranger

# What is text in the transcript, and bytes to the service.
BLOBS = {("lambda", "Invoke"): "Payload"}


class Recorded:
    """A deployment that was built, spoiled, updated, tried and removed: its calls, and its state file meanwhile."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.calls: list[dict[str, Any]] = []
        self.url = sandbox.url
        with Deployment(sandbox.id, sandbox.url, folder / "ledger.json", Settings()) as deployment:
            deployment.prepare = self.listen
            deployment.build()
            spoil(deployment.aws)
            deployment.build()
            deployment.smoke_tests()
            self.entries = deployment.state["resources"]
            self.looks = [self.look(entry, sandbox, folder) for entry in self.entries]
            deployment.tear_down()
        self.calls = [call for call in self.calls if call["type"] == "call"]

    def listen(self, aws: Any, state: State) -> None:
        transcript = Transcript(aws.waiting)
        aws.calls.listeners.append(transcript.call)
        transcript.begin("provision", state)
        transcript.events = self.calls

    def look(self, entry: dict[str, Any], sandbox: Sandbox, folder: Path) -> str:
        """What shows a resource: asked with boto3, and, of two, with the very command, as a person would."""
        known, kind = {**entry["identity"], **entry["outputs"]}, entry["kind"]
        if kind in ("sqs:queue", "apigateway:stage"):
            return run(look_command(TYPES[kind].shown_by, known, region=REGION, endpoint_url=sandbox.url), folder)
        service, operation, parameters = look(TYPES[kind].shown_by, known)
        stranger = Stranger(sandbox.url)
        with closing(stranger):
            client = getattr(stranger, "lambda_" if service == "lambda" else service)
            return json.dumps(getattr(client, xform_name(operation))(**parameters), default=str)


def spoil(aws: Stranger) -> None:
    """Change much, so that updating takes the calls that a fresh build does not."""
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    aws.dynamodb.update_table(TableName="name", BillingMode="PROVISIONED", ProvisionedThroughput=throughput)
    aws.iam.update_assume_role_policy(
        RoleName="APIGateway-SQS",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                },
            }
        ),
    )
    url = aws.sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    aws.lambda_.update_function_configuration(FunctionName="POC-Lambda-1", Timeout=5)
    aws.logs.put_retention_policy(logGroupName="/aws/lambda/POC-Lambda-1", retentionInDays=1)
    (api,) = [api for api in aws.apigateway.get_rest_apis()["items"] if api["name"] == "POC-API"]
    aws.apigateway.update_rest_api(
        restApiId=api["id"],
        patchOperations=[{"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "true"}],
    )


def run(command: str, folder: Path) -> str:
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**environment(), "AWS_DEFAULT_OUTPUT": "json"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stderr}"
    return ended.stdout


def environment() -> dict[str, str]:
    return {
        "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
        "HOME": os.devnull,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_PAGER": "",
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with Sandbox() as sandbox:
        yield Recorded(sandbox, tmp_path_factory.mktemp("faces"))


def distinct(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each call once, by what it asks."""
    return list({(call["operation"], json.dumps(call["parameters"])): call for call in calls}.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "function.zip").write_bytes(zipped(source(Settings())))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DATA_PATH", str(Path(awscli.__file__).parent / "data"))  # awscli sets it when imported
    for name, value in environment().items():
        if name.startswith("AWS"):
            monkeypatch.setenv(name, value)
    return tmp_path


class Sent(Exception):
    """What the CLI or boto3 was about to send."""


class Cli:
    """The AWS CLI in this process. Nothing is sent: the parameters that it parsed are kept."""

    def __init__(self) -> None:
        self.driver = awscli.clidriver.create_clidriver()
        self.driver.session.register("before-parameter-build.*.*", self.keep)
        self.parsed: tuple[str, dict[str, Any]] | None = None

    def keep(self, params: dict[str, Any], model: Any, **event: Any) -> None:
        self.parsed = (model.name, {**params})
        raise Sent

    def parse(self, words: list[str]) -> tuple[str, dict[str, Any]]:
        self.parsed = None
        self.driver.main(words[1:])
        assert self.parsed is not None, f"the CLI refused {words}"
        return self.parsed


def words_of(command: str, **variables: str) -> list[str]:
    """The words that bash makes of a command line."""
    script = f'set -- {command}\nfor word in "$@"; do printf "%s\\0" "$word"; done'
    ended = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, check=True
    )
    return ended.stdout.decode().split("\0")[:-1]


def as_sent(call: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recorded parameters with the bytes that they stand for."""
    parameters = json.loads(json.dumps(call["parameters"]))
    package = (folder / "function.zip").read_bytes()
    if "Code" in parameters:
        parameters["Code"]["ZipFile"] = package
    if "ZipFile" in parameters:
        parameters["ZipFile"] = package
    return dict(parameters)


def test_every_aws_line_is_parsed_by_the_cli_into_the_same_parameters(
    recorded: Recorded, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli()
    calls = distinct(recorded.calls)
    assert len({call["operation"] for call in calls}) > 50
    # One bash for all of them: the words of a command end in an empty one.
    script = "".join(f'set -- {line_without_pipes(call)}\nprintf "%s\\0" "$@" ""\n' for call in calls)
    words = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode()
    for call, line in zip(calls, words.split("\0\0"), strict=False):
        operation, parsed = cli.parse(line.split("\0"))
        wanted = as_sent(call, folder)
        blob = BLOBS.get((call["service"], call["operation"]))
        if blob:
            assert parsed.pop(blob) == wanted.pop(blob).encode()
        assert (operation, parsed) == (call["operation"], wanted)
    capsys.readouterr()


def line_without_pipes(call: dict[str, Any]) -> str:
    """The command line, which reads a file in the place of a pipe of bash's: that is gone when the CLI parses it."""
    line = aws_command(call["service"], call["operation"], call["parameters"], region=REGION)
    if (call["service"], call["operation"]) in BLOBS:
        Path("blob").write_text(call["parameters"][BLOBS[call["service"], call["operation"]]], encoding="utf-8")
        before, _, rest = line.partition("fileb://<(")
        after = rest.partition(")")[2]
        return f"{before}fileb://blob{after}"
    return line


def test_a_wrong_line_is_noticed(folder: Path) -> None:
    """The comparison's other side: another value, and an option that there is not."""
    cli = Cli()
    line = aws_command("dynamodb", "DescribeTable", {"TableName": "name"}, region=REGION)
    assert cli.parse(words_of(line)) == ("DescribeTable", {"TableName": "name"})
    assert cli.parse(words_of(line.replace("name name", "name other")))[1] != {"TableName": "name"}
    with pytest.raises(SystemExit):  # the parser refused it
        cli.parse(words_of(line.replace("--table-name", "--tabel-name")))


def test_every_boto3_line_makes_the_same_call(recorded: Recorded, folder: Path) -> None:
    clients = {}
    sent: list[tuple[str, dict[str, Any]]] = []

    def keep(params: dict[str, Any], model: Any, **event: Any) -> None:
        sent.append((model.name, {**params}))
        raise Sent

    for call in distinct(recorded.calls):
        service = call["service"]
        if service not in clients:
            clients[service] = boto3.client(service, region_name=REGION)
            clients[service].meta.events.register_first("before-parameter-build.*.*", keep)
        code = boto3_lines(service, call["operation"], call["parameters"])
        with pytest.raises(Sent):
            exec(code, {CLIENTS.get(service, service): clients[service], "json": json, "Path": Path})
        assert sent[-1] == (call["operation"], as_sent(call, folder))


def test_the_lines_of_a_build_build_it_again(recorded: Recorded, folder: Path) -> None:
    """Executed in a sandbox with nothing in it."""
    table = [call for call in recorded.calls if call["step"] == "table" and call["operation"] == "CreateTable"][:1]
    policies = [call for call in recorded.calls if call["operation"] == "CreatePolicy"]
    roles = [call for call in recorded.calls if call["operation"] in ("CreateRole", "AttachRolePolicy")]
    stranger = Stranger(recorded.url)  # everything was removed
    for call in [*table, *policies, *roles]:
        code = boto3_lines(call["service"], call["operation"], call["parameters"])
        exec(code, {call["service"]: getattr(stranger, call["service"]), "json": json})
    attached = stranger.iam.list_attached_role_policies(RoleName="SQS-Lambda-DynamoDB-Role")["AttachedPolicies"]
    assert len(attached) == 2
    assert stranger.dynamodb.describe_table(TableName="name")["Table"]["TableStatus"] == "ACTIVE"
    stranger.close()


def test_every_resource_in_the_state_file_is_shown_by_its_command(recorded: Recorded) -> None:
    assert len(recorded.looks) == 16
    for entry, shown in zip(recorded.entries, recorded.looks, strict=True):
        name = next(reversed(entry["identity"].values())).rpartition("/")[2].rpartition(":")[2]
        assert name in shown, entry["key"]


def test_console_links_name_the_region_and_the_resource(recorded: Recorded) -> None:
    for entry in recorded.entries:
        urls = [
            console_url(
                TYPES[entry["kind"]].console,
                {**entry["outputs"], **entry["identity"]},
                region="eu-west-1",
                partition=partition,
            )
            for partition in CONSOLES
        ]
        for url, host in zip(urls, CONSOLES.values(), strict=True):
            assert url is not None and host in url and "eu-west-1" in url, entry["key"]
        page = TYPES[entry["kind"]].console
        assert console_url(page, entry["identity"], region="x", partition="aws-iso") is None


# Values of any kind.

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_any_text_is_one_word_of_the_shell(texts: list[str]) -> None:
    names = {"s6djpopjlk": "API_ID"}
    values = [f"{text}:s6djpopjlk:{text}" for text in texts]  # by itself, as in an ARN
    assert words_of(" ".join(shell_word(value, names) for value in values), API_ID="x9") == [
        value.replace("s6djpopjlk", "x9") for value in values
    ]


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.booleans(), st.none()), max_size=3))
def test_any_value_is_itself_in_python(text: str, document: dict[str, Any]) -> None:
    parameters = {"A": text, "B": json.dumps(document), "C": [text, document], "D": document}
    code = boto3_lines("sts", "GetCallerIdentity", parameters)
    got: dict[str, Any] = {}

    class Client:
        def get_caller_identity(self, **arguments: Any) -> None:
            got.update(arguments)

    exec(code, {"sts": Client(), "json": json})
    assert got == parameters


# The picture.


@pytest.mark.parametrize("learner", [None, "anna"])
@pytest.mark.parametrize("in_unicode", [True, False])
def test_the_drawing_tells_what_is_there_without_colour_and_fits_80_columns(
    learner: str | None, in_unicode: bool
) -> None:
    settings = Settings(learner=learner)
    drawn = {}
    for keys in (set(), KEYS - {"stage"}, KEYS):
        text = as_drawing(settings, keys, width=80, in_unicode=in_unicode)
        assert text is not None and text.plain.isascii() != in_unicode
        assert max(map(len, text.plain.splitlines())) < 80
        assert all(name in text.plain for one in boxes(settings) for name in one.names)
        drawn[len(keys)] = text.plain
    dotted = "┄┆▽△" if in_unicode else ":.."
    assert any(sign in drawn[0] for sign in dotted) and f"({settings.api_role})" in drawn[0]
    assert drawn[len(KEYS) - 1] != drawn[len(KEYS)], "only the stage is missing"
    if in_unicode:
        assert not set(dotted) & set(drawn[len(KEYS)]) and drawn[len(KEYS)].count("(") == 1, "in the legend only"
    assert as_drawing(settings, KEYS, width=50, in_unicode=in_unicode) is None


def test_the_picture_says_what_is_there_without_colour() -> None:
    nothing = as_text(Settings(), []).plain
    assert "[" not in nothing.replace("[there]", "")
    table = as_text(Settings(), ["table"]).plain
    assert "[table name]" in table and "(POC-Queue)" in table
    everything = as_text(Settings(), [*KEYS]).plain
    assert "(" not in everything.replace("(not yet)", "")
    assert "POC-Queue-DLQ" not in as_text(Settings(as_written=True), []).plain


KEYS = {
    "write-policy", "read-policy", "function-role", "function-role/write-policy", "function-role/read-policy",
    "api-role", "api-role/logs-policy", "table", "dead-letter-queue", "queue", "log-group", "function", "trigger",
    "api", "permission", "stage",
}  # fmt: skip


def test_the_picture_fits_narrow_terminals_with_long_names() -> None:
    learner = "a" * 39
    for width in (60, 80, 100):
        drawn = as_text(Settings(learner=learner), [], width=width).plain
        longest = max(len(f"SQS-Lambda-DynamoDB-Role-{learner}") + 8, width)
        assert max(map(len, drawn.splitlines())) <= longest
        assert drawn.isascii()
