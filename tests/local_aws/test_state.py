"""A sandbox that comes back: what was built is there again, with its ids, and the suite knows it for its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.state import JOURNAL, CannotComeBack, State
from tests.local_aws.sandbox_account import Account, eventually, key_in
from tests.rig.programs import end, plain_environ, start


def seen(account: Account) -> dict[str, Any]:
    """What each service tells of what there is, ids and dates included."""
    api = account.client("apigateway")
    apis = api.get_rest_apis()["items"]
    functions = account.functions.list_functions()["Functions"]
    queues = account.sqs.list_queues().get("QueueUrls", [])
    tables = account.dynamodb.list_tables()["TableNames"]
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return {
        "roles": account.iam.list_roles()["Roles"],
        "policies": account.iam.list_policies(Scope="Local")["Policies"],
        "tables": [account.dynamodb.describe_table(TableName=one)["Table"] for one in tables],
        "items": [account.dynamodb.scan(TableName=one)["Items"] for one in tables],
        "queues": {url.rpartition("/")[2]:
                   {name: value for name, value in account.sqs.get_queue_attributes(
                       QueueUrl=url, AttributeNames=["All"])["Attributes"].items() if name not in counts}
                   for url in queues},
        "functions": functions,
        "permissions": [account.functions.get_policy(FunctionName=one["FunctionName"])["Policy"] for one in functions],
        "mappings": [{**one, "LastProcessingResult": ""}
                     for one in account.functions.list_event_source_mappings()["EventSourceMappings"]],
        "groups": account.logs.describe_log_groups()["logGroups"],
        "apis": apis,
        "resources": [api.get_resources(restApiId=one["id"], embed=["methods"])["items"] for one in apis],
        "stages": [api.get_stages(restApiId=one["id"])["item"] for one in apis],
        "keys": api.get_api_keys(includeValues=True)["items"],
        "plans": [(plan, api.get_usage_plan_keys(usagePlanId=plan["id"])["items"])
                  for plan in api.get_usage_plans()["items"]],
    }  # fmt: skip


def without_sizes(found: dict[str, Any]) -> dict[str, Any]:
    """Events are not kept, so a group weighs nothing at first."""
    return {**found, "groups": [{**one, "storedBytes": 0} for one in found["groups"]]}


def provision(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return end(start(*words, folder=folder, environ=plain_environ()))


def sandbox(folder: Path, *words: str) -> str:
    ended = provision(folder, "sandbox", *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.slow
def test_a_deployment_comes_back_and_the_suite_knows_it(tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    url = sandbox(tmp_path, "start", "--state-dir", kept)
    built = provision(tmp_path, "provision", "--sandbox", "--yes", "--auth", "api-key")
    assert built.returncode == 0, built.stderr
    account = Account(url, key_in(tmp_path / ".provision"))
    assert seen(account)["plans"][0][1]
    trigger = account.functions.list_event_source_mappings()["EventSourceMappings"][0]["UUID"]
    account.functions.update_event_source_mapping(UUID=trigger, Enabled=False)
    eventually(lambda: account.functions.get_event_source_mapping(UUID=trigger)["State"] == "Disabled")
    waiting = account.sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    item = {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "waited", "name": "w"}}}
    sent = account.sqs.send_message(QueueUrl=waiting, MessageBody=json.dumps(item))
    before = without_sizes(seen(account))
    described = json.loads(sandbox(tmp_path, "status", "--json"))
    assert described["state_dir"] == kept

    stopped = int(time.time())
    sandbox(tmp_path, "stop")
    eventually(lambda: time.time() > stopped + 1)  # what is made anew has another date
    assert sandbox(tmp_path, "start", "--state-dir", kept) == url, "the port is free, so it is taken again"
    account = Account(url, key_in(tmp_path / ".provision"))  # each start draws a key
    assert json.loads(sandbox(tmp_path, "status", "--json"))["id"] == described["id"]
    assert without_sizes(seen(account)) == before
    received = account.sqs.receive_message(QueueUrl=waiting, VisibilityTimeout=0)["Messages"]
    assert [one["MessageId"] for one in received] == [sent["MessageId"]]

    # It works, not only looks so: the message that waited is taken by the trigger once that is mended.
    again = provision(tmp_path, "provision", "--sandbox", "--yes")
    assert again.returncode == 0, again.stderr
    assert "created" not in again.stderr + again.stdout
    key = {"id": {"S": "waited"}}
    assert eventually(lambda: account.dynamodb.get_item(TableName="name", Key=key).get("Item"))
    removed = provision(tmp_path, "teardown", "--sandbox", "--yes")
    assert removed.returncode == 0, removed.stderr
    sandbox(tmp_path, "stop")
    sandbox(tmp_path, "start", "--state-dir", kept)
    left = seen(Account(url, key_in(tmp_path / ".provision")))
    assert not any(value for name, value in left.items() if name != "groups"), left
    sandbox(tmp_path, "stop")


def build_little(account: Account) -> str:
    account.iam.create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)
    return str(account.sqs.create_queue(QueueName="queue")["QueueUrl"])


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def test_what_was_deleted_stays_deleted_and_what_is_made_then_is_new(tmp_path: Path) -> None:
    with Sandbox(state_dir=tmp_path) as first:
        account = Account(first.url)
        url = build_little(account)
        for body in "ab":
            account.sqs.send_message(QueueUrl=url, MessageBody=body)
        taken = account.sqs.receive_message(QueueUrl=url)["Messages"][0]
        account.sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
        old = account.iam.get_role(RoleName="role")["Role"]["RoleId"]
        account.iam.delete_role(RoleName="role")
    with Sandbox(state_dir=tmp_path) as second:
        account = Account(second.url)
        assert account.iam.list_roles()["Roles"] == []
        bodies = [one["Body"] for one in account.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]]
        assert bodies == ["b" if taken["Body"] == "a" else "a"]
        new = account.iam.create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["RoleId"]
        assert new != old
    with Sandbox(state_dir=tmp_path) as third:
        assert Account(third.url).iam.get_role(RoleName="role")["Role"]["RoleId"] == new


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    with Sandbox(state_dir=tmp_path) as first:
        build_little(Account(first.url))
    journal = tmp_path / JOURNAL
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text[: len(text) - 40], encoding="utf-8")
    with Sandbox(state_dir=tmp_path) as second:
        account = Account(second.url)
        assert len(account.iam.list_roles()["Roles"]) == 1
        assert "QueueUrls" not in account.sqs.list_queues()
        account.sqs.create_queue(QueueName="other")
    with Sandbox(state_dir=tmp_path) as third:
        assert len(Account(third.url).sqs.list_queues()["QueueUrls"]) == 1


def changed_answer(lines: list[str]) -> list[str]:
    line = json.loads(lines[1])
    return [lines[0], json.dumps({**line, "answer": "0" * 64}), *lines[2:]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (changed_answer, "CreateRole of .* has another answer now"),
        (lambda lines: [lines[0], "nonsense", *lines[2:]], "journal .* line 2 cannot be read"),
        (lambda lines: ['{"version": 99, "id": "x"}', *lines[1:]], "not one that this version of the sandbox wrote"),
        (lambda lines: [lines[0], "{}", *lines[2:]], "a line that the sandbox did not write"),
    ],
)
def test_what_does_not_come_back_as_it_was_does_not_come_back(tmp_path: Path, spoil: Any, words: str) -> None:
    with Sandbox(state_dir=tmp_path) as first:
        build_little(Account(first.url))
    journal = tmp_path / JOURNAL
    lines = spoil(journal.read_text(encoding="utf-8").splitlines())
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    kept = journal.read_bytes()
    with pytest.raises(CannotComeBack, match=words), Sandbox(state_dir=tmp_path):
        pass
    assert journal.read_bytes() == kept, "nothing is lost"


def test_a_start_that_cannot_come_back_says_so_and_the_next_can_do_without(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"version": 99, "id": "x"}\n', encoding="utf-8")
    ended = provision(tmp_path, "sandbox", "start", "--state-dir", str(tmp_path))
    assert ended.returncode == 253
    assert "is not one that this version of the sandbox wrote" in ended.stderr
    assert "Traceback" not in ended.stderr
    with pytest.raises(CannotComeBack), Sandbox(state_dir=tmp_path):
        pass
    with Sandbox() as another:
        assert Account(another.url).iam.list_roles()["Roles"] == []


def test_two_sandboxes_do_not_remember_in_one_folder(tmp_path: Path) -> None:
    with Sandbox(state_dir=tmp_path / "kept") as first:
        build_little(Account(first.url))
        ended = provision(tmp_path, "sandbox", "start", "--state-dir", str(tmp_path / "kept"))
        assert (ended.returncode, "Another sandbox uses the journal in" in ended.stderr) == (253, True)
    with Sandbox(state_dir=tmp_path / "kept") as again:
        assert len(Account(again.url).iam.list_roles()["Roles"]) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    ended = provision(Path.cwd(), "sandbox", "run", "--port", "0", "--state-dir", str(tmp_path / "kept"))
    assert (ended.returncode, "cannot be used" in ended.stderr) == (253, True)


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine", encoding="utf-8")
    ended = provision(tmp_path, "sandbox", "run", "--port", "0", "--state-dir", str(tmp_path / "kept"))
    assert (ended.returncode, "cannot be used" in ended.stderr) == (253, True)
    assert "Traceback" not in ended.stderr


def build_trigger(account: Account) -> tuple[str, str]:
    """The UUID of a trigger that is enabled, and its queue."""
    function = account.function("def lambda_handler(event, context):\n    return None\n")
    queue, arn = account.queue()
    made = account.functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=function)
    eventually(lambda: account.functions.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled")
    return str(made["UUID"]), queue


def test_a_trigger_of_a_copied_folder_is_off_until_it_is_asked_for(tmp_path: Path) -> None:
    mine, copied = tmp_path / "mine", tmp_path / "copied"
    with Sandbox(state_dir=mine) as first:
        account = Account(first.url)
        trigger, queue = build_trigger(account)
    with Sandbox(state_dir=mine) as again:
        assert Account(again.url).functions.get_event_source_mapping(UUID=trigger)["State"] == "Enabled"
    shutil.copytree(mine, copied)
    with Sandbox(state_dir=copied) as second:
        account = Account(second.url)
        assert second.describe()["disabled_triggers"] == 1
        assert account.functions.get_event_source_mapping(UUID=trigger)["State"] == "Disabled"
        account.sqs.send_message(QueueUrl=queue.replace(first.url, second.url), MessageBody="waits")
    with Sandbox(state_dir=copied) as third:
        account = Account(third.url)
        assert third.describe()["disabled_triggers"] == 0, "it was said before"
        assert account.functions.get_event_source_mapping(UUID=trigger)["State"] == "Disabled"
        account.functions.update_event_source_mapping(UUID=trigger, Enabled=True)
        eventually(lambda: account.functions.get_event_source_mapping(UUID=trigger)["State"] == "Enabled")
    with Sandbox(state_dir=copied) as fourth:
        assert Account(fourth.url).functions.get_event_source_mapping(UUID=trigger)["State"] == "Enabled"


@pytest.mark.slow
def test_in_a_moved_folder_it_is_said_that_triggers_are_off_and_the_build_named_enables_them(tmp_path: Path) -> None:
    mine, moved = tmp_path / "mine", tmp_path / "moved"
    mine.mkdir()
    build = ("provision", "--sandbox", "--yes", "--no-try", "--to", "6")
    assert provision(mine, *build).returncode == 0
    sandbox(mine, "stop")
    mine.rename(moved)
    status = ("provision", "status", "--sandbox")
    said = provision(moved, *status).stderr
    assert "its triggers are disabled. A build enables them:" in " ".join(said.split())
    assert any(line.startswith("    ") and line.endswith("python -m provision --sandbox") for line in said.splitlines())
    assert "disabled" not in provision(moved, *status).stderr
    built = provision(moved, *build)
    assert built.returncode == 0, built.stderr
    url = sandbox(moved, "start")
    account = Account(url, key_in(moved / ".provision"))
    (trigger,) = account.functions.list_event_source_mappings()["EventSourceMappings"]
    assert trigger["State"] == "Enabled"
    sandbox(moved, "stop")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_journal_is_its_owners_only_and_links_are_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    kept.chmod(0o755)
    State(kept).close()
    (kept / "journal.jsonl").touch(mode=0o644)
    state = State(kept)
    state.open("sb-1", 1)
    state.close()
    assert [stat.S_IMODE(one.stat().st_mode) for one in (kept, *kept.iterdir())] == [0o700, 0o600, 0o600]

    link, theirs = tmp_path / "link", tmp_path / "theirs"
    link.symlink_to(kept)
    with pytest.raises(CannotComeBack, match="is a link"):
        State(link)
    theirs.mkdir()
    (theirs / "other.txt").touch()
    theirs.chmod(0o777)
    with pytest.raises(CannotComeBack, match="Other users may write"):
        State(theirs)
    (kept / "journal.jsonl").rename(tmp_path / "elsewhere")
    (kept / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotComeBack, match="cannot be read"):
        State(kept)


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(CannotComeBack, match="belongs to another user"):
        State(tmp_path / "theirs")
