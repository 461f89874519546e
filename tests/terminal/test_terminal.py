"""The programs in a real terminal: what is shown stays whole at every width, and a question is answered there."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from rich.text import Text

from provision.aws.waiting import Wait
from provision.record.views import WaitLines
from provision.state.file import checksum
from provision.terminal.differences import difference_lines
from provision.terminal.outcome import Error
from provision.terminal.prompts import in_parts
from provision.terminal.screen import PLAIN_TEXT, Console, Screen
from provision.terminal.text import folded, kept
from sandbox import Sandbox
from tests.rig.clock import eventually
from tests.rig.deployment import ACCOUNT, REGION, Stranger
from tests.rig.programs import Folder
from tests.rig.terminal import Terminal

WIDTHS = (60, 80, 200)
COLOURS = re.compile(r"\x1b\[[\d;]*m")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38;[\d;]+|4[0-7]|48;[\d;]+|9[0-7]|10[0-7])(?:;\d+)*m")


@pytest.fixture(scope="module")
def stranger(sandbox: Sandbox) -> Iterator[Stranger]:
    client = Stranger(sandbox.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with Folder(tmp_path_factory.mktemp("terminal")) as made:
        yield made


@pytest.mark.sweep(3)
@pytest.mark.once_more
@pytest.mark.parametrize("columns", WIDTHS)
def test_what_a_person_copies_is_never_divided(
    folder: Folder, sandbox: Sandbox, stranger: Stranger, columns: int
) -> None:
    learner = f"wide-{columns}"
    # In rich's markup the one would be an unopened tag and the other a key.
    state = f".provision/[bold][/aws] :key: {columns}.json"
    where = ("--endpoint-url", sandbox.url, "--learner", learner, "--state", state, "--yes", "--verbose")
    with Terminal(folder, columns, "provision", *where, "--no-try") as terminal:
        assert terminal.end() == 0, terminal.text
    url = f"{sandbox.url}/restapis/{api_id(stranger, learner)}/Staging/_user_request_/dynamodbmanager"
    event = {"operation": "create", "tableName": f"name-{learner}", "payload": {"Item": {"id": "1", "name": "Bob"}}}
    curl = f"curl -w '\\n' -d '{json.dumps(event)}' {url}"
    by_queue = curl.replace('"1"', '"2"').replace("Bob", "Rob")
    assert f"Invoke URL:   {url}" in terminal.lines
    assert curl in terminal.lines
    assert f"{by_queue}/queue" in terminal.lines
    assert f"State file     {state} (--state)" in terminal.lines
    last = terminal.lines[-1]
    assert last.startswith("python -m teardown ") and f"--state '{state}'" in last
    assert position(terminal, "Invoke URL:") < position(terminal, "curl -w") < position(terminal, "python -m teardown")
    # Prose, on the other hand, is folded between words before the window would fold it anywhere.
    prose = [line for line in terminal.lines if re.match(r" {15,}\S| *erratum|Anyone|while nobody", line)]
    assert prose
    for line in prose:
        assert len(line) < columns or " " not in line.strip().removeprefix("Done:").strip(), line

    # Behind its back: the difference names ARNs, and they stay whole, too.
    arn = f"arn:aws:iam::{ACCOUNT}:policy/Lambda-Read-SQS-{learner}"
    statement = {"Sid": "VisualEditor0", "Effect": "Allow", "Action": ["sqs:ReceiveMessage"], "Resource": "*"}
    stranger.iam.create_policy_version(
        PolicyArn=arn,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        SetAsDefault=True,
    )
    stranger.lambda_.update_function_configuration(
        FunctionName=f"POC-Lambda-1-{learner}", Environment={"Variables": {"TABLE_NAME": "[/aws] :key: [bold]"}}
    )
    with Terminal(folder, columns, "provision", *where, "--no-try") as terminal:
        assert terminal.end() == 0, terminal.text
    assert "updated    policy" in terminal.text
    assert f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC-Queue-{learner}" in terminal.text
    assert "was [/aws] :key: [bold]" in terminal.text


def api_id(stranger: Stranger, learner: str) -> str:
    (found,) = (
        api["id"] for api in stranger.apigateway.get_rest_apis()["items"] if api["name"] == f"POC-API-{learner}"
    )
    return str(found)


def position(terminal: Terminal, beginning: str) -> int:
    return next(number for number, line in enumerate(terminal.lines) if line.startswith(beginning))


@pytest.mark.once_more
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste the line for")
def test_the_lines_to_paste_work_as_they_stand_on_the_screen(
    folder: Folder, sandbox: Sandbox, stranger: Stranger
) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "paste", "--yes")
    with Terminal(folder, 60, "provision", *where, "--no-try") as terminal:
        assert terminal.end() == 0, terminal.text
    direct, by_queue, look = (line for line in terminal.lines if line.startswith("curl "))

    answer = folder.shell(direct)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["ResponseMetadata"]["HTTPStatusCode"] == 200
    answer = folder.shell(by_queue)
    assert "MessageId" in answer.stdout
    eventually(lambda: stranger.dynamodb.scan(TableName="name-paste")["Count"] == 2)
    seen = folder.shell(look)
    assert seen.returncode == 0, seen.stderr
    items = sorted(json.loads(seen.stdout)["Items"], key=lambda item: item["id"])
    assert items == [{"id": "1", "name": "Bob"}, {"id": "2", "name": "Rob"}]

    # The last line is a command, too: it shows what would go, and asks, as it should.
    asked = folder.shell(terminal.lines[-1])
    assert asked.returncode == 252
    assert "table      name-paste  (2 items)" in asked.stderr


# The question.


@pytest.mark.once_more
def test_y_builds(folder: Folder, sandbox: Sandbox, stranger: Stranger) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "willing", "--no-try")
    with Terminal(folder, 80, "provision", *where) as terminal:
        terminal.read_until("[y/N] ")
        assert f"{sandbox.url}, which is not AWS" in terminal.text
        assert "POC-Lambda-1-willing" not in stranger.inventory()["functions"]
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.text
    assert "POC-Lambda-1-willing" in stranger.inventory()["functions"]
    assert terminal.text.count("[y/N]") == 1
    with Terminal(folder, 80, "provision", *where) as terminal:
        assert terminal.end() == 0, terminal.text
    assert "[y/N]" not in terminal.text  # nothing is to be done, so nothing is asked


@pytest.mark.sweep(3)
@pytest.mark.once_more
@pytest.mark.parametrize("keys", ["n\n", "yet\n", "\x04"], ids=["n", "something else", "end of input"])
def test_anything_else_changes_nothing(folder: Folder, sandbox: Sandbox, stranger: Stranger, keys: str) -> None:
    before = stranger.inventory()
    files = sorted((folder.path / ".provision").glob("*.json"))
    with Terminal(folder, 80, "provision", "--endpoint-url", sandbox.url, "--learner", "unwilling") as terminal:
        terminal.read_until("[y/N] ")
        terminal.type(keys)
        assert terminal.end() == 1, terminal.text
    assert "Nothing was changed." in terminal.text
    assert "Error" not in terminal.text  # it was an answer, and no failure
    assert stranger.inventory() == before
    assert sorted((folder.path / ".provision").glob("*.json")) == files


@pytest.mark.once_more
def test_ctrl_c_at_the_question_changes_nothing(folder: Folder, sandbox: Sandbox, stranger: Stranger) -> None:
    before = stranger.inventory()
    with Terminal(folder, 80, "provision", "--endpoint-url", sandbox.url, "--learner", "undecided") as terminal:
        terminal.read_until("[y/N] ")
        terminal.interrupt()
        assert terminal.end() == 130, terminal.text
    assert "Traceback" not in terminal.text
    assert stranger.inventory() == before


@pytest.mark.once_more
def test_ctrl_c_in_the_terminal_spares_the_sandbox_and_the_next_run_goes_on(folder: Folder) -> None:
    with Terminal(folder, 80, "provision", "--sandbox", "--no-try", "--verbose") as terminal:
        terminal.read_until("3/8")
        terminal.interrupt()
        assert terminal.end() == 130, terminal.text
    record = folder.sandbox
    (resume,) = (line.partition("Go on with: ")[2] for line in terminal.lines if "Go on with: " in line)
    completed = folder.shell(resume)
    assert completed.returncode == 0, completed.stderr
    assert folder.sandbox == record
    assert "    unchanged  policy     Lambda-Write-DynamoDB" in completed.stderr
    assert len(folder.state()["resources"]) == 16


@pytest.mark.once_more
def test_teardown_shows_what_goes_before_it_asks(folder: Folder, sandbox: Sandbox, stranger: Stranger) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "hesitant")
    with Terminal(folder, 80, "provision", *where, "--yes", "--no-try") as terminal:
        assert terminal.end() == 0, terminal.text
    stranger.dynamodb.put_item(TableName="name-hesitant", Item={"id": {"S": "1"}})
    built = stranger.inventory()
    with Terminal(folder, 80, "teardown", *where) as terminal:
        terminal.read_until("[y/N] ")
        assert "name-hesitant  (1 item)" in terminal.text
        terminal.type("n\n")
        assert terminal.end() == 1
    assert stranger.inventory() == built


# Colour.


@pytest.mark.once_more
@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["colour", "NO_COLOR", "dumb"],
)
def test_colour_is_for_those_who_want_it(folder: Folder, environ: dict[str, str], coloured: bool) -> None:
    with Terminal(folder, 80, "provision", "--sandbox", "--learner", "[red]x[/red] :key:", **environ) as terminal:
        assert terminal.end() == 252
    assert bool(COLOUR.search(terminal.raw)) is coloured, terminal.raw
    assert "'[red]x[/red] :key:'" in terminal.text


# What can be seen without a program.


def test_a_wait_is_told_when_it_begins_and_every_fifteen_seconds(screen: Screen) -> None:
    refusal = "InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda."
    waits = WaitLines(screen)
    for elapsed in (0.0, 2.0, 14.0, 15.0, 17.0, 31.0):
        waits.show(Wait("role not yet assumable", "Lambda cannot see yet that it is trusted.", refusal, elapsed, 120))
    lines = said(screen).splitlines()
    assert [line.split("(")[1].split(")")[0] for line in lines if "waiting" in line] == [
        "at most 120 s",
        "15 s so far, at most 120 s",
        "31 s so far, at most 120 s",
    ]
    assert sum(refusal in line for line in lines) == 1  # AWS's words once


def test_a_wait_for_what_was_asked_for_says_for_what(screen: Screen) -> None:
    WaitLines(screen).show(Wait("the trigger to be enabled", "", "", 0.0, 300))
    assert said(screen) == "    waiting    for the trigger to be enabled (at most 300 s).\n"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (79, ["    created    attachment Logs-Policy to Some-Role  since 1 May"]),
        (50, ["    created    attachment Logs-Policy to Some-Role", f"{'':<26}since 1 May"]),
        (45, ["    created    attachment Logs-Policy to", f"{'':<26}Some-Role", f"{'':<26}since 1 May"]),
        (
            20,
            [
                "    created    attachment Logs-Policy",
                *(f"{'':<26}{word}" for word in ("to", "Some-Role", "since 1 May")),
            ],
        ),
    ],
)
def test_a_line_of_a_list_is_folded_between_words_that_do_not_belong_together(width: int, lines: list[str]) -> None:
    line = Text(f"    created    attachment Logs-Policy to Some-Role  {kept('since', '1', 'May')}")
    assert folded(line, width, 26).plain.replace("\N{NO-BREAK SPACE}", " ").split("\n") == lines


def said(screen: Screen) -> str:
    file = screen.talk.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


QUEUE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "owner", "Effect": "Allow", "Action": "SQS:*", "Resource": "arn:aws:sqs:us-east-1:1:POC-Queue"},
        {"Sid": "sender", "Effect": "Allow", "Action": ["SQS:SendMessage"], "Principal": {"AWS": "AROAEXAMPLE"}},
    ],
}


@pytest.mark.parametrize(
    ("found", "wanted", "lines"),
    [
        ("0", "30", ["it: was 0, now 30"]),
        (None, {"statusCode": "200"}, ['it: was nothing, now {"statusCode": "200"}']),
        (["EDGE"], ["REGIONAL"], ["it: was EDGE, now REGIONAL"]),
        (["a", "b"], ["b", "c"], ["it: removed a", "it: added c"]),
        ([], ["ReportBatchItemFailures"], ["it: was nothing, now ReportBatchItemFailures"]),
        (
            json.dumps(QUEUE_POLICY),
            {**QUEUE_POLICY, "Statement": QUEUE_POLICY["Statement"][:1]},
            ["it > sender", f"    was {json.dumps(QUEUE_POLICY['Statement'][1], sort_keys=True)}", "    now nothing"],
        ),
        (
            {"Environment": {"TABLE_NAME": "other", "MINE": "1"}},
            {"Environment": {"TABLE_NAME": "name"}},
            ["it > Environment > TABLE_NAME: was other, now name", "it > Environment > MINE: was 1, now nothing"],
        ),
        ("x" * 60, "y" * 60, ["it", f"    was {'x' * 60}", f"    now {'y' * 60}"]),
        ("SQS:A", "SQS:A", ["it", "    was SQS:A", "    now SQS:A"]),
        ({"Sid": "", "Effect": "Deny"}, {"Effect": "Allow"}, ["it > Effect: was Deny, now Allow"]),
        (
            {"Statement": [{"Effect": "Allow", "Action": "a"}, {"Effect": "Deny", "Action": "b"}]},
            {"Statement": [{"Effect": "Allow", "Action": "a"}]},
            ['it: was [{"Action": "b", "Effect": "Deny"}], now nothing'],
        ),
    ],
    ids=[
        *("scalars", "from nothing", "other list", "lists", "empty list", "as text", "below", "long", "equal", "empty"),
        "one statement more",
    ],
)
def test_of_a_difference_only_what_differs_is_shown(found: object, wanted: object, lines: list[str]) -> None:
    assert difference_lines("it", found, wanted, 90) == lines


def test_that_a_digest_differs_is_said_in_words() -> None:
    assert difference_lines("CodeSha256", "a=", "b=", 90, ("found", "wanted")) == ["the code differs"]
    assert difference_lines("CodeSha256", "a=", "b=", 90) == ["the code was another zip, and is replaced"]


def test_a_document_that_differs_everywhere_does_not_fill_the_screen() -> None:
    lines = difference_lines("it", {str(n): "a" for n in range(40)}, {str(n): "b" for n in range(40)}, 60)
    assert len(lines) == 9
    assert lines[-1] == "... and 32 lines more"


STEERING = "\x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x1b\\ \x1b[2J \x9b31m \u202egnp.exe\u2066 \r\x08\x7f"


class Pty(io.StringIO):
    """A file that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def steers(raw: str) -> list[str]:
    """What in a terminal's input would steer it, save colours and the newline."""
    return re.findall(
        "[^\\n\\x20-\\x7e\\xa0-\\u061b\\u0620-\\u200d\\u2010-\\u2027\\u202f-\\u2065\\u206a-\\U0010ffff]",
        COLOURS.sub("", raw),
    )


WAYS_TO_SAY: dict[str, Callable[[Screen, str], object]] = {
    "say": lambda screen, text: screen.say(text, "bold red"),
    "keep": lambda screen, text: screen.keep(text, "dim"),
    "tell": lambda screen, text: screen.tell(text),
    "line": lambda screen, text: screen.line("created", "table", text, "green"),
    "stopped": lambda screen, text: screen.stopped(Error("any", text, means=text, advice=(text, f"{text}."))),
    "stdout given away": lambda screen, text: screen.give_stdout_away()(text),
    "part of a page": lambda screen, text: in_parts(screen, [lambda: screen.say(text)], "", below=0),
}


@pytest.mark.parametrize("way", WAYS_TO_SAY)
def test_no_text_steers_the_terminal(way: str) -> None:
    talk, data = Pty(), Pty()
    screen = Screen(talk=Console(file=talk, width=79, **PLAIN_TEXT), data=Console(file=data, width=79, **PLAIN_TEXT))
    WAYS_TO_SAY[way](screen, f"before {STEERING} after")
    raw = talk.getvalue() + data.getvalue()
    assert steers(raw) == []
    shown = " ".join(raw.split())
    assert "before \\u001b]0;title" in shown and "\\u001b[2J \\u009b31m \\u202egnp.exe\\u2066" in shown
    assert "after" in shown
    assert set(steers("\x1b[2J\x9b\u202e\r")) == {"\x1b", "\x9b", "\u202e", "\r"}  # it would have been seen


def test_a_json_document_has_the_very_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.use(plain=False, presenting=False, output="json")
    screen.write_json({"name": STEERING})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": STEERING} and steers(printed) == []


def test_what_goes_into_a_pipe_as_a_file_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().give_stdout_away()(STEERING)
    assert capsys.readouterr().out == STEERING


def test_a_strangers_transcript_and_state_file_do_not_steer_the_terminal(folder: Folder, sandbox: Sandbox) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "steers", "--state", "steers/state.json")
    assert folder.run("provision", *where, "--yes", "--no-try").returncode == 0
    (transcript,) = (folder.path / "steers/transcripts").rglob("*.jsonl")
    lines = [json.loads(line) for line in transcript.read_text().splitlines()]
    lines[-1:-1] = [{"type": "trial", "at": lines[-1]["at"], "title": STEERING, "saw": STEERING}]
    transcript.write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = folder.path / "steers/state.json"
    content = json.loads(state.read_text())
    content["tests"] = {"at": "", "failed": {"direct": STEERING}}
    state.write_text(json.dumps({**content, "checksum": checksum(content)}))
    for command in (["replay", str(transcript), "--plain"], ["status", *where]):
        with Terminal(folder, 80, "provision", *command) as terminal:
            terminal.end()
            assert "\\u001b]0;title" in terminal.text, command
            assert steers(terminal.raw.replace("\r\n", "\n")) == [], command
