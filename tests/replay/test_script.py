"""A deployment as one script: it builds the same architecture, call by call, and takes it down again."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import runpy
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from hypothesis import given, settings
from hypothesis import strategies as st

import provision.__main__
from provision.aws import reasons
from provision.aws.call_text import shell_word
from provision.aws.clients import Clients
from provision.documents import resource_policy
from provision.record.recording import Recording, read, transcripts_in
from provision.replay.foreign import Home, foreign
from provision.replay.script import CannotScript, plan
from provision.replay.script_text import NOT_YET, pattern, python_line, script_text, shell_line
from provision.settings import AccountRules, Settings
from provision.state.entries import TAG
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, run
from tests.rig.deployment import ACCOUNT, Stranger
from tests.rig.programs import Folder
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.usefixtures("one_look")

ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"s{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def runs_of(deployment: CommandLine) -> list[Recording]:
    return [read(path) for path in transcripts_in(deployment.path.parent)]


def export(deployment: CommandLine, out: Path) -> Ended:
    """The command that makes the script, as a user has it."""
    return run(
        provision.__main__.provision, "provision", "replay", "--state", str(deployment.path), "--script", str(out)
    )


def built_and_scripted(deployment: CommandLine, out: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Build, make the script, take down. The script's tag, and what there was, with that tag."""
    assert deployment.provision("--yes", "--no-try", *arguments).code == outcome.DONE
    inventory = deployment.aws.inventory()
    ended = export(deployment, out)
    assert ended.code == outcome.DONE, ended.said
    name = str(deployment.state["deployment"])
    assert deployment.take_down().code == outcome.DONE
    return f"{name}-script-us-east-1", json.loads(
        json.dumps(inventory).replace(f'"{name}"', f'"{name}-script-us-east-1"')
    )


def inventory_of(account: Stranger) -> Any:
    return json.loads(json.dumps(account.inventory()))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's waits in this process take next to no time."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))


def python_script(path: Path, url: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str | int | None:
    """Run it in this process. What it ends with: nothing, or a message."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return None


def shell_script(
    script: Path, url: str, aws: Path, *arguments: str, quick: bool = False, key: str = "any"
) -> subprocess.CompletedProcess[str]:
    """Run it with the `aws` of a folder. `quick`: its own pauses are short."""
    if quick:
        (script.parent / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.1\n")
        (script.parent / "sleep").chmod(0o755)
    return subprocess.run(
        ["bash", str(script), *arguments],
        env={
            "PATH": f"{script.parent}:{aws}:{os.environ['PATH']}",
            "HOME": str(script.parent),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": key,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def post(url: str, event: dict[str, Any]) -> Any:
    answer = subprocess.run(["curl", "-sS", "-d", json.dumps(event), url], capture_output=True, check=True, timeout=60)
    return json.loads(answer.stdout)


@pytest.mark.sweep(2)
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("variant", [(), ("--as-written",)])
def test_the_python_script_builds_the_same_and_takes_it_down(
    deployment: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variant: tuple[str, ...],
) -> None:
    script = tmp_path / "poc.py"
    before = inventory_of(deployment.aws)
    tag, wanted = built_and_scripted(deployment, script, *variant)
    assert wanted != before and tag in json.dumps(wanted)
    assert python_script(script, deployment.url, monkeypatch) is None
    assert inventory_of(deployment.aws) == wanted
    said = capsys.readouterr().out
    assert said.startswith(f"Region us-east-1, account {ACCOUNT}\n")
    assert "Step 1 of 8" in said and "Step 8 of 8" in said
    assert f"AWS_REGION=us-east-1 python {script} teardown\n" in said
    assert post(said.split()[-1], {"operation": "echo", "payload": {"greeting": "hello"}}) == {"greeting": "hello"}
    refused = python_script(script, deployment.url, monkeypatch)
    assert str(refused).startswith(f"Nothing was made: REST API {deployment.settings.api} is there already.")
    assert len(str(refused).splitlines()) == 1
    assert inventory_of(deployment.aws) == wanted
    assert python_script(script, deployment.url, monkeypatch, "teardown") is None
    assert inventory_of(deployment.aws) == before
    capsys.readouterr()
    assert python_script(script, deployment.url, monkeypatch, "teardown") is None  # once more: nothing to do
    assert f"There is nothing that bears the tag {tag}." in capsys.readouterr().out


# Without what the aws command's own waiters would wait 20 seconds for, and with a role that lags for long enough.
WEATHER = "aws,seed=3,scale=0.1,table_creating=0-0,table_deleting=0-0,role_assumable=150-150,failed=0,lost=0"


@pytest.mark.slow
@pytest.mark.timeout(400)  # a hundred times the aws command
def test_the_shell_script_builds_the_same_where_aws_lags_behind(
    deployment: CommandLine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, warm_aws: WarmAws
) -> None:
    """By the real `aws` command, with what was just made being seen later."""
    script = tmp_path / "poc.sh"
    _, wanted = built_and_scripted(deployment, script)
    with Folder(tmp_path_factory.mktemp("weather")) as folder:
        url = folder.run("sandbox", "start", "--weather", WEATHER).stdout.strip()
        key = folder.sandbox["key"]
        account = Stranger(url, attempts=10, key=key)
        before = inventory_of(account)
        built = shell_script(script, url, warm_aws.folder, quick=True, key=key)
        assert built.returncode == 0, built.stderr
        assert built.stdout == "" and "    waiting: An error occurred (" in built.stderr  # there was weather
        assert inventory_of(account) == wanted
        again = shell_script(script, url, warm_aws.folder, key=key)
        assert again.returncode == 1 and again.stderr.count("\n") == 2
        assert f"Nothing was made: REST API {deployment.settings.api} is there already." in again.stderr
        assert inventory_of(account) == wanted
        removed = shell_script(script, url, warm_aws.folder, "teardown", quick=True, key=key)
        assert removed.returncode == 0, removed.stderr
        assert inventory_of(account) == before
        nothing = shell_script(script, url, warm_aws.folder, "teardown", key=key)
        assert nothing.returncode == 0 and "There is nothing that bears the tag" in nothing.stderr
        assert folder.run("sandbox", "stop").returncode == 0
        account.close()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", ["poc.py", pytest.param("poc.sh", marks=pytest.mark.slow)])
def test_what_was_half_built_is_taken_down_and_what_is_anothers_is_left(
    deployment: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    script = tmp_path / name
    built_and_scripted(deployment, script)

    def ran(script: Path, *arguments: str) -> str:
        if script.suffix == ".sh":
            folder = request.getfixturevalue("warm_aws").folder
            return shell_script(script, deployment.url, folder, *arguments, quick=True).stderr
        return str(python_script(script, deployment.url, monkeypatch, *arguments))

    # Another's policy has the name of what is made first.
    deployment.aws.iam.create_policy(
        PolicyName=deployment.settings.write_policy,
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}',
        Tags=[{"Key": TAG, "Value": "somebody"}],
    )
    deployment.aws.dynamodb.create_table(
        TableName=deployment.settings.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    before = inventory_of(deployment.aws)
    assert f"Nothing was made: table {deployment.settings.table} is there already" in ran(script)
    ran(script, "teardown")
    assert inventory_of(deployment.aws) == before
    deployment.aws.dynamodb.delete_table(TableName=deployment.settings.table)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{deployment.settings.write_policy}"
    deployment.aws.iam.delete_policy(PolicyArn=arn)
    nothing = inventory_of(deployment.aws)
    # A call that AWS refuses ends the script at once, which says how to take down what there is.
    broken = script.with_name(f"broken{script.suffix}")
    text = script.read_text().replace("in-days 14", "in-days 13").replace("InDays=14", "InDays=13")
    broken.write_text(text)
    said = ran(broken)
    assert "InvalidParameterException" in said and said.rstrip().endswith(f"{broken} teardown")
    assert "Stopped. To delete what was made: AWS_REGION=us-east-1 " in said
    assert inventory_of(deployment.aws) != nothing
    ran(broken, "teardown")
    assert inventory_of(deployment.aws) == nothing


# What is in it.


def test_it_is_short_has_variables_for_what_aws_invents_and_no_account_number(
    deployment: CommandLine, tmp_path: Path
) -> None:
    scripts = [tmp_path / "poc.sh", tmp_path / "poc.py"]
    tag, _ = built_and_scripted(deployment, scripts[0])
    export(deployment, scripts[1])
    built, _ = runs_of(deployment)
    api_id = next(one["entry"]["outputs"]["id"] for one in built.of("entry") if one["entry"]["outputs"].get("id"))
    writes = [call for call in built.calls if not call["read"]]
    made = {
        ".sh": r"(?:create|put|attach|add|update)-[a-z-]+ ",
        ".py": r"\w+\.(?:create|put|attach|add|update)_[a-z_]+[(,]",
    }
    for script in scripts:
        text = script.read_text()
        assert f":{ACCOUNT}:" not in text and f'"{ACCOUNT}"' not in text and f"/{ACCOUNT}/" not in text
        assert api_id not in text and deployment.url not in text
        assert tag.removesuffix("us-east-1") in text  # and the Region: roles and policies are the same in all of them
        assert deployment.settings.table in text
        calls = re.findall(made[script.suffix], text)
        assert len(calls) == len(writes) > 30
        assert text.partition(calls[0])[0].count("\n") < 30
        exported = json.dumps([built.header, *built.events]).replace(f"-{deployment.settings.learner}", "")
        header, *events = json.loads(exported)
        as_walked = script_text(plan([Recording({**header, "learner": None}, events)]), script.name)
        assert as_walked.count("\n") <= 200
    subprocess.run(["bash", "-n", str(scripts[0])], check=True)
    no_place_for_it = str(transcripts_in(deployment.path.parent)[0])
    ended = run(provision.__main__.provision, "provision", "replay", no_place_for_it, "--script", no_place_for_it)
    assert ended.code == outcome.USAGE and "would be overwritten" in ended.flat


def test_what_is_not_the_walkthroughs_does_not_pass_into_a_script(deployment: CommandLine) -> None:
    """A stranger's transcript must not open the account of whoever runs the script."""
    deployment.provision("--yes", "--no-try")
    (run,) = runs_of(deployment)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
    trust["Statement"][0]["Principal"] = {"AWS": "arn:aws:iam::111122223333:root"}  # type: ignore[index]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    for operation, change in (
        ("CreateRole", {"AssumeRolePolicyDocument": json.dumps(trust)}),
        ("CreatePolicy", {"PolicyDocument": json.dumps(everything)}),
        ("CreateQueue", {"Attributes": {"Policy": json.dumps(everything)}}),
        ("AttachRolePolicy", {"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ("AddPermission", {"Principal": "111122223333"}),
        ("CreateTable", {"TableName": "name\u202e"}),
        ("PutIntegration", {"uri": "https://evil.example/"}),
    ):
        events = [
            {**one, "parameters": {**one["parameters"], **change}} if one.get("operation") == operation else one
            for one in run.events
        ]
        with pytest.raises(CannotScript, match=f"{operation} has"):
            plan([replace(run, events=events)])
    events = [
        {**one, "operation": "CreateUser", "parameters": {"UserName": "x"}}
        if one.get("operation") == "CreateRole"
        else one
        for one in run.events
    ]
    with pytest.raises(CannotScript, match="which the walkthrough does not call"):
        plan([replace(run, events=events)])
    plan([run])


def test_what_others_named_is_never_code(deployment: CommandLine, tmp_path: Path) -> None:
    """Neither a file's name nor what stands in a transcript, which may come from anybody."""
    deployment.provision("--yes", "--to", "1", "--no-try")
    deployment.provision("--yes", "--no-try")
    runs = runs_of(deployment)
    for name in ("a\nfalse; b", 'a""" + 1 + """', "a\\N", "\udcff", "it's"):
        assert "THIS_FILE teardown" in script_text(plan(runs), f"{name}.sh")
        text = script_text(plan(runs), f"{name}.py")
        compile(text, "poc.py", "exec")
        assert "THIS_FILE teardown" in text
    assert "bash 'my poc.sh' teardown" in script_text(plan(runs), "my poc.sh")
    for field in ("deployment", "region", "account", "partition"):
        foreign = [replace(one, header={**one.header, field: "$(false)"}) for one in runs]
        with pytest.raises(CannotScript, match=field):
            plan(foreign)
    for change in ({"operation": "X; false"}, {"service": "s3"}, {"parameters": {"x=1); evil(": 1}}):
        events = [
            {**one, **change} if one["type"] == "call" and one["key"] == "table" else one for one in runs[1].events
        ]
        with pytest.raises(CannotScript, match=r"AWS knows no|no service of"):
            plan([runs[0], replace(runs[1], events=events)])
    ctrl_c_says_how_to_clean_up(tmp_path, script_text(plan(runs), "poc.sh"))


anything = st.text() | st.sampled_from(
    ["$(false)", "`false`", "'", '"', "\\", "\n", "{account_id}", "-x", "file://x", ";"]
)
values = st.recursive(
    anything | st.booleans() | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(anything.filter(lambda one: "\x00" not in one and one.isprintable()), values, anything)
def test_any_value_stays_a_value(name: str, value: Any, text: str) -> None:
    """In Python by its syntax tree, in bash by what a command gets."""
    import ast

    from provision.replay.script import Call

    call = Call("dynamodb", "CreateTable", {"TableName": name, "Tags": value, "BillingMode": text})
    tree = ast.parse(python_line(call, "build", names={}))
    names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    assert names <= {"dynamodb", "json"} and "evil" not in names
    (called,) = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)][:1]
    written = {one.arg: one.value for one in called.keywords}
    assert set(written) == {"TableName", "Tags", "BillingMode"}
    with_json = Call("dynamodb", "CreateTable", {"TableName": name, "Tags": [{"Key": name, "Value": name}]})
    line = shell_line(with_json, "build", names={})
    said = subprocess.run(
        ["bash", "-c", f"aws() {{ printf '%s\\0' \"$@\"; }}\n{line}"], capture_output=True, check=True, timeout=60
    ).stdout.decode(errors="surrogateescape")
    words = said.split("\0")[:-1]
    assert name in words or f"--table-name={name}" in words
    assert words[-1] == f"Key={name},Value={name}" or json.loads(words[-1]) == [{"Key": name, "Value": name}]


def ctrl_c_says_how_to_clean_up(folder: Path, script: str) -> None:
    (folder / "aws").write_text(
        '#!/bin/sh\ncase "$*" in *sts*) echo 1;; *create-policy*) echo begun >&2; exec sleep 60;; esac\n'
    )
    (folder / "aws").chmod(0o755)
    (folder / "it's.sh").write_text(script)
    program = subprocess.Popen(
        ["bash", str(folder / "it's.sh")],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # bash cannot trap what it was started to ignore, and a job in the background is started so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with program:
        assert program.stderr is not None
        while "begun" not in program.stderr.readline():
            pass
        os.killpg(program.pid, signal.SIGINT)
        said = program.stderr.read()
    assert program.returncode == outcome.INTERRUPTED
    assert "Stopped. To delete what was made: AWS_REGION=us-east-1 bash " in said
    assert said.rstrip().endswith("it\\'s.sh teardown")


def commands(deployment: CommandLine) -> str:
    """The script's lines, with the deployment's name and that of the person left out."""
    runs = runs_of(deployment)
    text = script_text(plan(runs), "poc.sh")
    assert deployment.settings.learner
    text = re.sub(r"definition [0-9a-f]{12}", "definition", text)  # a digest, of the names among others
    return text.replace(str(runs[-1].header["deployment"]), "poc-0").replace(deployment.settings.learner, "learner")


@pytest.mark.slow
def test_several_runs_make_the_script_of_one(
    deployment: CommandLine, empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in parts, taken down to a step, spoiled and updated, interrupted: the same script as of one run."""
    other = tmp_path / "other" / "ledger.json"
    other.parent.mkdir()
    with CommandLine(empty_sandbox, other, f"o{secrets.token_hex(3)}", monkeypatch) as at_once:
        at_once.provision("--yes", "--no-try")
        wanted = commands(at_once)
        at_once.take_down()
    deployment.provision("--yes", "--to", "5")
    deployment.take_down("--back-to", "4")
    deployment.provision("--yes", "--no-try")
    deployment.aws.iam.detach_role_policy(
        RoleName=deployment.settings.function_role,
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{deployment.settings.read_policy}",
    )
    deployment.aws.lambda_.update_function_configuration(FunctionName=deployment.settings.function, Timeout=9)
    deployment.provision("--yes", "--no-try")
    assert commands(deployment) == wanted


def test_an_interrupted_run_is_gone_on_with_in_the_script_too(deployment: CommandLine, tmp_path: Path) -> None:
    """The queue is made, and the run ends before it is noted; the next one updates what was changed meanwhile."""
    stopped = []

    def stop_after_the_queue(aws: Any) -> None:
        def seen(parsed: Any, model: Any, **event: Any) -> None:
            if not stopped and aws.calls.history[-1].parameters.get("QueueName") == deployment.settings.queue:
                stopped.append(model.name)
                aws.calls.stopping = True

        aws.sqs.meta.events.register_last("after-call.sqs.CreateQueue", seen)

    deployment.on_connect = stop_after_the_queue
    assert deployment.provision("--yes", "--no-try").code == outcome.INTERRUPTED
    deployment.on_connect = lambda aws: None
    url = deployment.aws.sqs.get_queue_url(QueueName=deployment.settings.queue)["QueueUrl"]
    deployment.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    assert deployment.provision("--yes", "--no-try").code == outcome.DONE
    text = script_text(plan(runs_of(deployment)), "poc.sh")
    assert text.count("aws sqs create-queue") == 2
    # By then AWS has invented a URL for it.
    assert text.index("QUEUE_URL=$(aws sqs get-queue-url") < text.index("set-queue-attributes")


@pytest.mark.slow
def test_calls_whose_answers_were_lost_are_in_it_once(deployment: CommandLine) -> None:
    """Whether AWS had carried them out, or not, or said 500 after it had."""
    fates = itertools.cycle(("lost before", "lost after", "failed after", "", ""))

    def lose(request: Any, **event: Any) -> Any:
        fate = "" if is_look(request) else next(fates)
        if not fate:
            return None
        if fate != "lost before":
            again = urllib.request.Request(
                request.url, data=request.body, headers=dict(request.headers), method=request.method
            )
            urllib.request.urlopen(again, timeout=30).close()
        if fate == "failed after":
            return AWSResponse(request.url, 500, {}, Raw(b"{}"))
        raise ConnectionClosedError(endpoint_url=request.url)

    def trouble(aws: Clients) -> None:
        for client in aws.clients:
            client.meta.events.register_first("before-send.*.*", lose)

    deployment.on_connect = trouble
    for _ in range(8):
        if deployment.provision("--yes", "--no-try").code == outcome.DONE:
            break
    deployment.on_connect = lambda aws: None
    assert deployment.provision("--yes", "--no-try").code == outcome.DONE
    lost = [call for run in runs_of(deployment) for call in run.calls if not call["read"] and call["error"]]
    assert len(lost) > 8
    text = script_text(plan(runs_of(deployment)), "poc.sh").partition("\nbuild() {")[2].partition("teardown() {")[0]
    for command, times in (
        ("create-role", 2),
        ("create-policy", 2),
        ("create-function", 1),
        ("create-rest-api", 1),
        ("create-resource", 2),
        ("put-method", 2),
    ):
        assert len(re.findall(rf" {command} ", text)) == times, command


class Raw(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, *args: object, **keywords: object) -> Iterator[bytes]:
        yield self.read()


def is_look(request: Any) -> bool:
    target = request.headers.get("X-Amz-Target", b"")
    name = (target.decode() if isinstance(target, bytes) else str(target)).rpartition(".")[2]
    body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
    reads = (b"Action=List", b"Action=Get")
    return request.method == "GET" or name.startswith(("Get", "List", "Describe")) or any(one in body for one in reads)


@pytest.mark.slow
def test_a_deployment_that_was_taken_down_once_begins_anew(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try", "--as-written")
    deployment.take_down()
    deployment.provision("--yes", "--no-try")
    assert export(deployment, tmp_path / "poc.sh").code == outcome.DONE


@pytest.mark.slow
def test_the_state_file_that_is_named_is_the_one_that_counts(
    deployment: CommandLine, empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")
    with CommandLine(empty_sandbox, tmp_path / "other.json", f"u{secrets.token_hex(3)}", monkeypatch) as other:
        other.provision("--yes", "--no-try")  # later, and in the same folder
        assert export(deployment, tmp_path / "poc.sh").code == outcome.DONE
        text = (tmp_path / "poc.sh").read_text()
        assert deployment.settings.table in text and other.settings.table not in text
        other.take_down()


def test_a_name_that_looks_like_a_region_stays_a_name() -> None:
    names = {"us-east-1": "AWS_REGION", "123456789012": "ACCOUNT_ID"}
    assert shell_word("name-us-east-1", names) == "name-us-east-1"
    arn = "arn:aws:sqs:us-east-1:123456789012:POC-Queue-us-east-1"
    assert shell_word(arn, names) == 'arn:aws:sqs:"$AWS_REGION":"$ACCOUNT_ID":POC-Queue-us-east-1'


def test_without_credentials_or_with_a_wrong_word_it_says_so_and_nothing_else(
    deployment: CommandLine, tmp_path: Path
) -> None:
    in_shell, in_python = tmp_path / "poc.sh", tmp_path / "poc.py"
    built_and_scripted(deployment, in_shell)
    export(deployment, in_python)
    scripts = Path(sys.executable).parent
    environ = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": deployment.url,
    }
    for command in (["bash", str(in_shell)], [sys.executable, str(in_python)]):
        usage = subprocess.run([*command, "--help"], env=environ, capture_output=True, text=True, check=False)
        assert usage.returncode != 0 and usage.stderr.startswith("usage: ")
        nobody = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert nobody.returncode != 0 and "credentials" in nobody.stderr
        assert "Traceback" not in nobody.stderr and "Stopped" not in nobody.stderr


# What cannot be a script.


def refused(deployment: CommandLine, tmp_path: Path) -> str:
    out = tmp_path / "none.sh"
    ended = export(deployment, out)
    assert ended.code == outcome.USAGE and not out.exists()
    return ended.flat


def test_a_part_of_a_deployment_is_refused_with_what_is_missing(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--to", "7")
    said = refused(deployment, tmp_path)
    assert "after the last of them step 8 (Stage) had not been built in full" in said and "Build the rest" in said
    deployment.provision("--yes", "--no-try")
    assert export(deployment, tmp_path / "whole.sh").code == outcome.DONE
    first, *_ = transcripts_in(deployment.path.parent)
    first.unlink()
    said = refused(deployment, tmp_path)
    assert "they do not show how write-policy" in said and "in a new folder" in said


@pytest.mark.slow
def test_what_a_person_made_is_refused(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.aws.dynamodb.create_table(
        TableName=deployment.settings.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    deployment.provision("--yes", "--no-try", "--adopt", "table")
    assert "table was there before, and was adopted" in refused(deployment, tmp_path)
    deployment.take_down("--include-adopted")


def test_another_variant_in_between_is_refused(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try", "--as-written")
    deployment.provision("--yes", "--no-try")
    assert "made with different options" in refused(deployment, tmp_path)


@pytest.mark.parametrize(
    ("later", "what"),
    [
        (("--source-ip", "10.0.0.0/8", "--auth", "iam", "--throttle", "3"), "(api and stage)"),
        (("--permissions-boundary", f"arn:aws:iam::{ACCOUNT}:policy/limit"), "(api-role and function-role)"),
    ],
)
def test_limits_that_a_later_run_set_are_never_left_out(
    deployment: CommandLine, tmp_path: Path, later: tuple[str, ...], what: str
) -> None:
    with suppress(deployment.aws.iam.exceptions.EntityAlreadyExistsException):
        deployment.aws.iam.create_policy(PolicyName="limit", PolicyDocument=json.dumps(ANYTHING))
    deployment.provision("--yes", "--no-try")
    assert deployment.provision("--yes", "--no-try", *later).code == outcome.DONE
    said = refused(deployment, tmp_path)
    assert what in said and "Build in a new folder" in said
    deployment.take_down()
    deployment.provision("--yes", "--no-try", *later)
    assert export(deployment, tmp_path / "limited.sh").code == outcome.DONE


def test_a_limit_that_was_put_back_is_in_the_script(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try")
    opened = [{"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "5000"}]
    api = deployment.outputs("api")["id"]
    deployment.aws.apigateway.update_stage(restApiId=api, stageName="Staging", patchOperations=opened)
    deployment.provision("--yes", "--no-try")
    assert export(deployment, tmp_path / "poc.sh").code == outcome.DONE


def test_another_handler_is_refused(deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.provision("--yes", "--no-try")
    monkeypatch.setattr(
        "provision.replay.script.source", lambda settings: b"def lambda_handler(event, context): pass\n"
    )
    assert "another lambda_function.py" in refused(deployment, tmp_path)


@pytest.mark.slow
def test_a_run_after_which_nothing_stands_is_refused(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try")
    deployment.take_down()
    assert export(deployment, tmp_path / "before.sh").code == outcome.DONE  # of the run that built it
    taken_down = str(transcripts_in(deployment.path.parent)[-1])
    ended = run(provision.__main__.provision, "provision", "replay", taken_down, "--script", str(tmp_path / "after.sh"))
    assert ended.code == outcome.USAGE
    assert "after the last of them nothing stands" in ended.flat and "before it was taken down" in ended.flat


# What it waits for.


@pytest.mark.parametrize(
    ("known", "words", "found"),
    [
        (NOT_YET, "An error occurred (QueueDeletedRecently) when calling the CreateQueue operation: wait", True),
        (NOT_YET, "An error occurred (ResourceInUseException) when calling the X operation: busy", True),
        (
            NOT_YET,
            "An error occurred (ResourceConflictException) when calling the X operation: it exists already",
            False,
        ),
        (NOT_YET, "An error occurred (AccessDenied) when calling the CreateRole operation: no", False),
        ([reasons.JUST_MADE], "An error occurred (NoSuchEntity) when calling the GetRole operation: none", True),
        ([reasons.JUST_MADE], "An error occurred (AccessDenied) when calling the X operation: NoSuchEntity", False),
    ],
)
def test_both_languages_know_a_refusal_by_its_words(known: Any, words: str, found: bool) -> None:
    expression = "".join(pattern(*known))
    asked = ["bash", "-c", "[[ $1 =~ $2 ]]", "bash", words, expression]
    in_shell = subprocess.run(asked, check=False).returncode == 0
    assert (bool(re.search(expression, words)), in_shell) == (found, found)


def test_every_refusal_that_a_script_waits_for_is_known_to_it() -> None:
    expression = "".join(pattern(*NOT_YET, reasons.JUST_MADE))
    for reason in (*NOT_YET, reasons.ROLE_NOT_YET_ASSUMABLE, reasons.JUST_MADE):
        for code in reason.codes:
            for fragment in reason.fragments or ("",):
                words = f"An error occurred ({code}) when calling the X operation: {fragment}"
                assert re.search(expression, words), words


def test_of_an_apis_policy_only_that_which_source_ip_gives_is_carried_into_a_script() -> None:
    home = Home("aws", "us-east-1", ACCOUNT, Settings())
    rules = AccountRules(source_ips=("10.0.0.0/8",))
    own = json.dumps(resource_policy(home, Settings(rules=rules)))
    for text, is_own in (
        (own, True),
        (own.replace("10.0.0.0/8", "192.0.2.1/32"), True),
        (own.replace("10.0.0.0/8", "everywhere"), False),
        (own.replace('"Deny"', '"Allow"'), False),
        (own.replace("NotIpAddress", "IpAddress"), False),
        ("{}", False),
    ):
        said = foreign({"operation": "CreateRestApi", "parameters": {"name": "POC-API", "policy": text}}, home)
        assert (said is None) == is_own, text
