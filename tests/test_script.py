"""A deployment as one script: it builds the same architecture, resource by resource, and takes it down again."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError

import provision.__main__
from provision.aws.call_text import shell_word
from provision.aws.clients import Clients
from provision.aws.reasons import SERVICES_SAY, TOO_MANY_REQUESTS
from provision.record.recording import Recording, read, transcripts_in
from provision.replay.bash_script import shell_script
from provision.replay.boto3_script import python_script as python_script_of
from provision.replay.script import BUSY, GONE, LOST, NOT_SENT, THERE, CannotScript, plan
from provision.state.entries import TAG
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, run
from tests.rig.deployment import ACCOUNT, Stranger
from tests.rig.programs import Folder
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.usefixtures("one_look")


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
    """Build, make the script, take down. The deployment, and what there was."""
    assert deployment.provision("--yes", "--no-try", *arguments).code == outcome.DONE
    inventory = deployment.aws.inventory()
    ended = export(deployment, out)
    assert ended.code == outcome.DONE, ended.said
    name = str(deployment.ledger["deployment"])
    assert deployment.take_down().code == outcome.DONE
    return name, inventory


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's waits in this process take next to no time."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))


def python_script(path: Path, url: str, deployment: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("DEPLOYMENT", deployment)
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")


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
    before = deployment.aws.inventory()
    name, wanted = built_and_scripted(deployment, script, *variant)
    assert wanted != before
    python_script(script, deployment.url, name, monkeypatch)
    assert deployment.aws.inventory() == wanted
    said = capsys.readouterr().out
    assert said.startswith(f"Region us-east-1, account {ACCOUNT}, caller arn:aws:") and f"deployment {name}\n" in said
    assert "Step 1 of 8" in said and "Step 8 of 8" in said
    url = said.split()[-1]
    assert post(url, {"operation": "echo", "payload": {"greeting": "hello"}}) == {"greeting": "hello"}
    with pytest.raises(SystemExit) as stopped:  # once more: what is there is its own, and it says how to go on
        python_script(script, deployment.url, name, monkeypatch)
    assert f"There already, by this script:\n    REST API {deployment.settings.api}" in str(stopped.value)
    line = f"AWS_ENDPOINT_URL={deployment.url} AWS_REGION=us-east-1 DEPLOYMENT={name} python"
    assert line in said and line in str(stopped.value) and str(stopped.value).endswith(f"{script} teardown")
    assert deployment.aws.inventory() == wanted
    python_script(script, deployment.url, name, monkeypatch, "teardown")
    assert deployment.aws.inventory() == before
    assert "Nothing of deployment" in capsys.readouterr().out
    python_script(script, deployment.url, name, monkeypatch, "teardown")  # once more: nothing to do, and it says so
    assert "deleted" not in capsys.readouterr().out


def post(url: str, event: dict[str, Any]) -> Any:
    answer = subprocess.run(["curl", "-sS", "-d", json.dumps(event), url], capture_output=True, check=True, timeout=60)
    return json.loads(answer.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)  # more than a hundred times the aws command
def test_the_shell_script_builds_the_same_in_any_weather(
    deployment: CommandLine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, warm_aws: WarmAws
) -> None:
    """By the real `aws` command, with answers that are late, refused, failed and lost."""
    script = tmp_path / "poc.sh"
    name, wanted = built_and_scripted(deployment, script)
    with Folder(tmp_path_factory.mktemp("weather")) as folder:
        weather = "aws,seed=3,scale=0.05,throttled=0.04,failed=0.04,lost=0.05"
        started = folder.run("sandbox", "start", "--weather", weather)
        url = started.stdout.strip()
        account = Stranger(url, attempts=10)
        before = account.inventory()
        quick = folder.path / "quick"  # the script's own pauses, as much shorter as the weather's
        quick.mkdir()
        (quick / "sleep").write_text(
            '#!/bin/sh\nexec /bin/sleep "$(echo "$1 * 0.05" | bc -l 2>/dev/null || echo 0.1)"\n'
        )
        (quick / "sleep").chmod(0o755)
        folder.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "DEPLOYMENT": name,
            "PATH": f"{quick}:{warm_aws.folder}:{folder.environ['PATH']}",
        }
        built = shell(folder, f"bash {script}")
        assert "waiting: " in built.stderr  # there was weather
        assert "reached max retries" not in built.stderr  # of botocore's own, of which there are none
        assert account.inventory() == wanted
        removed = shell(folder, f"bash {script} teardown")
        assert "Nothing of deployment" in removed.stdout
        assert account.inventory() == before
        assert folder.run("sandbox", "stop").returncode == 0
        account.close()


def shell(folder: Folder, line: str) -> subprocess.CompletedProcess[str]:
    """What takes longer than a line that a person pastes."""
    ended = subprocess.run(
        ["bash", "-c", line],
        cwd=folder.path,
        env=folder.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended


@pytest.mark.usefixtures("at_once")
def test_an_answer_that_is_lost_makes_nothing_twice(
    deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every write of the Python script is answered once only when it has been sent twice."""
    import botocore.httpsession

    script = tmp_path / "poc.py"
    name, wanted = built_and_scripted(deployment, script)
    send = botocore.httpsession.URLLib3Session.send
    lost: set[tuple[str, str, bytes]] = set()

    def lose_once(session: Any, request: Any) -> Any:
        answer = send(session, request)
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        call = (request.method, re.sub(r"/[a-z0-9]{10}\b", "/id", request.url), body)
        if request.method != "GET" and call not in lost:
            lost.add(call)
            raise ConnectionClosedError(endpoint_url=request.url)
        return answer

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", lose_once)
    python_script(script, deployment.url, name, monkeypatch)
    monkeypatch.undo()
    assert len(lost) > 30
    assert deployment.aws.inventory() == wanted
    deployments = deployment.aws.apigateway.get_deployments(restApiId=api_of(deployment))["items"]
    assert len(deployments) == 1
    capsys.readouterr()
    python_script(script, deployment.url, name, pytest.MonkeyPatch(), "teardown")


def api_of(deployment: CommandLine) -> str:
    apis = deployment.aws.apigateway.get_rest_apis(limit=500)["items"]
    (found,) = [api["id"] for api in apis if api["name"] == deployment.settings.api]
    return str(found)


@pytest.mark.usefixtures("at_once")
def test_what_is_anothers_is_left(
    deployment: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    warm_aws: WarmAws,
) -> None:
    in_python, in_shell = tmp_path / "poc.py", tmp_path / "poc.sh"
    name, _ = built_and_scripted(deployment, in_python)
    assert export(deployment, in_shell).code == outcome.DONE
    deployment.aws.iam.create_policy(
        PolicyName=deployment.settings.read_policy,
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}',
        Tags=[{"Key": TAG, "Value": "somebody"}],
    )
    deployment.aws.logs.create_log_group(logGroupName=deployment.settings.log_group)
    before = deployment.aws.inventory()
    capsys.readouterr()
    python_script(in_python, deployment.url, name, monkeypatch, "teardown")
    said = capsys.readouterr().out
    shell_said = with_the_aws_command(in_shell, deployment.url, name, warm_aws, "teardown").stdout
    for told in (said, shell_said):
        assert f"left     policy {deployment.settings.read_policy}: it is not of deployment {name}" in told
        assert f"left     log group {deployment.settings.log_group}" in told
        assert "deleted" not in told
    assert deployment.aws.inventory() == before
    monkeypatch.setattr(sys, "argv", ["poc.py"])
    with pytest.raises(SystemExit) as stopped:  # and building says what is in the way, before it makes anything
        python_script(in_python, deployment.url, name, monkeypatch)
    in_shell_stopped = with_the_aws_command(in_shell, deployment.url, name, warm_aws)
    assert in_shell_stopped.returncode == 1
    for told in (str(stopped.value), in_shell_stopped.stderr):
        assert f"policy {deployment.settings.read_policy} (" in told and "it has: somebody" in told
        assert f"log group {deployment.settings.log_group} (" in told and "it has: None" in told
        assert "To remove" not in told
    assert deployment.aws.inventory() == before
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{deployment.settings.read_policy}"
    deployment.aws.iam.delete_policy(PolicyArn=arn)
    deployment.aws.logs.delete_log_group(logGroupName=deployment.settings.log_group)


def with_the_aws_command(
    script: Path, url: str, deployment: str, aws: WarmAws, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *arguments],
        env={
            "PATH": f"{aws.folder}:{os.environ['PATH']}",
            "HOME": str(script.parent),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "DEPLOYMENT": deployment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


# What is in it.


def test_it_has_variables_for_what_aws_invents_and_no_account_number(deployment: CommandLine, tmp_path: Path) -> None:
    scripts = [tmp_path / "poc.sh", tmp_path / "poc.py"]
    name, _ = built_and_scripted(deployment, scripts[0])
    export(deployment, scripts[1])
    api_id = next(
        event["entry"]["outputs"]["id"]
        for event in runs_of(deployment)[0].of("entry")
        if event["entry"]["key"] == "api" and event["entry"]["outputs"].get("id")
    )
    for script in scripts:
        text = script.read_text()
        assert f":{ACCOUNT}:" not in text and f'"{ACCOUNT}"' not in text and f"/{ACCOUNT}/" not in text
        assert api_id not in text and deployment.url not in text
        assert f"{name}-script-" in text  # and the Region: roles and policies are the same in all of them
        assert "Step 3 of 8: Table" in text and "is where the architecture keeps its data" in text  # of the lesson
        assert deployment.settings.table in text
    assert "set -euo pipefail" in scripts[0].read_text()
    subprocess.run(["bash", "-n", str(scripts[0])], check=True)
    assert max(len(line) for line in scripts[1].read_text().splitlines() if "found(" in line) <= 120
    no_place_for_it = str(transcripts_in(deployment.path.parent)[0])
    ended = run(provision.__main__.provision, "provision", "replay", no_place_for_it, "--script", no_place_for_it)
    assert ended.code == outcome.USAGE and "would be overwritten" in ended.flat


def test_what_others_named_is_never_code(deployment: CommandLine) -> None:
    """Neither a file's name nor the first line of a transcript, which may come from anybody."""
    deployment.provision("--yes", "--to", "1", "--no-try")
    deployment.provision("--yes", "--no-try")
    runs = runs_of(deployment)
    for name in ("a\nfalse; b", 'a""" + 1 + """', "a\\N", "\udcff"):
        assert "THIS_FILE teardown" in shell_script(plan(runs), name)
        text = python_script_of(plan(runs), name)
        compile(text, "poc.py", "exec")
        assert "THIS_FILE teardown" in text
    assert "bash 'my poc.sh' teardown" in shell_script(plan(runs), "my poc.sh")
    for field in ("deployment", "region", "account", "partition"):
        foreign = [replace(one, header={**one.header, field: "$(false)"}) for one in runs]
        with pytest.raises(CannotScript, match=field):
            plan(foreign)
    # What its functions do is tested without the aws command, which takes half a second to start.
    text = shell_script(plan(runs), "poc.sh")
    what_passes_is_no_proof(text)
    ctrl_c_says_how_to_clean_up(text)


def functions_of(script: str, then: str) -> list[str]:
    return ["bash", "-c", f"{script.partition('caller=$(')[0]}\n{then}"]


def what_passes_is_no_proof(script: str) -> None:
    """After an answer that was lost: "is there already" proves that it was done, "is being changed" does not."""
    refusals = """
call() {
    echo x >>"$work/calls"
    case $(grep -c x "$work/calls") in
    1) echo "Read timeout on endpoint URL: x" >&2; return 255 ;;
    2) echo "An error occurred (ConflictException) when calling the PutMethod operation: concurrent modification" >&2
       return 254 ;;
    3) echo "An error occurred (ConflictException) when calling the PutMethod operation: $1" >&2; return 254 ;;
    esac
}
sleep() { :; }
again call "Method already exists"
grep -c x "$work/calls"
find_it() { echo "not allowed" >&2; return 1; }
lost() { echo "Read timeout on endpoint URL: x" >&2; return 255; }
once lost || echo "not sent again"
"""
    ended = subprocess.run(functions_of(script, refusals), capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "3\nnot sent again\n"
    assert ended.stderr.count("waiting") == 2 and "not allowed" in ended.stderr


def ctrl_c_says_how_to_clean_up(script: str) -> None:
    program = subprocess.Popen(
        functions_of(script, "call() { command sleep 60; }\nbegun=yes\necho begun\nagain call >/dev/null"),
        env={**os.environ, "AWS_PROFILE": "a b"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # bash cannot trap what it was started to ignore, and a job in the background is started so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with program:
        assert program.stdout is not None and program.stderr is not None
        assert program.stdout.readline() == "begun\n"
        time.sleep(0.2)  # until sleep has begun; where it has not, it is the same to the trap
        os.killpg(program.pid, signal.SIGINT)
        said = program.stderr.read()
    assert program.returncode == outcome.INTERRUPTED
    assert "Stopped. To remove what is there:\nAWS_PROFILE=a\\ b AWS_REGION=us-east-1 DEPLOYMENT=" in said
    assert said.rstrip().endswith("teardown")


def test_the_shell_script_says_what_is_its_own_already(deployment: CommandLine, tmp_path: Path) -> None:
    """Also where it is run with sh, which may be another shell than bash."""
    script, stub = tmp_path / "poc.sh", tmp_path / "aws"
    built_and_scripted(deployment, script)
    stub.write_text(
        f'#!/bin/sh\ncase "$*" in\n*sts*) printf "{ACCOUNT}\\tarn:aws:sts::{ACCOUNT}:user/me\\n" ;;\n'
        '*) echo "$DEPLOYMENT" ;;\nesac\n'
    )
    stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DEPLOYMENT": "mine", "AWS_DEFAULT_REGION": "eu-west-1"}
    for shell_name in ("bash", "sh"):
        ended = subprocess.run(
            [shell_name, str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 1, ended.stderr
        assert f"Region eu-west-1, account {ACCOUNT}, caller arn:aws:sts" in ended.stdout
        assert f"There already, by this script:\n    REST API {deployment.settings.api}\n" in ended.stderr
        assert f"AWS_REGION=eu-west-1 DEPLOYMENT=mine bash {script} teardown" in ended.stderr
        assert "In the way" not in ended.stderr and "Stopped" not in ended.stderr
    for wrong in ("it's", "None"):
        ended = subprocess.run(
            ["bash", str(script)], env={**environment, "DEPLOYMENT": wrong}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == outcome.USAGE and "letters, digits" in ended.stderr


def commands(deployment: CommandLine) -> str:
    """The script's lines, with the deployment's name and that of the person left out."""
    runs = runs_of(deployment)
    text = shell_script(plan(runs), "poc.sh")
    assert deployment.settings.learner
    text = re.sub(r"definition [0-9a-f]{12}", "definition", text)  # a digest, of the names among others
    return text.replace(str(runs[-1].header["deployment"]), "poc-0").replace(deployment.settings.learner, "learner")


def test_several_runs_make_the_script_of_one(
    deployment: CommandLine, empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in parts, taken down to a step, spoiled and mended, interrupted: the same script as of one run."""
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
    """The queue is made, and the run ends before it is noted; the next one writes its attributes once more."""
    stopped = []

    def stop_after_the_queue(aws: Any) -> None:
        def seen(parsed: Any, model: Any, **event: Any) -> None:
            if not stopped and aws.tap.calls[-1].parameters.get("QueueName") == deployment.settings.queue:
                stopped.append(model.name)
                aws.tap.stopping = True

        aws.sqs.meta.events.register_last("after-call.sqs.CreateQueue", seen)

    deployment.on_connect = stop_after_the_queue
    assert deployment.provision("--yes", "--no-try").code == outcome.INTERRUPTED
    deployment.on_connect = lambda aws: None
    assert deployment.provision("--yes", "--no-try").code == outcome.DONE
    text = shell_script(plan(runs_of(deployment)), "poc.sh")
    assert text.count("aws sqs create-queue") == 2
    # By then AWS has invented a URL for it.
    assert text.index("QUEUE_URL=$(again aws sqs get-queue-url") < text.index("set-queue-attributes")


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
    text = shell_script(plan(runs_of(deployment)), "poc.sh").partition("\nbuild() {")[2].partition("teardown() {")[0]
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


def test_a_deployment_that_was_taken_down_once_begins_anew(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--no-try", "--as-written")
    deployment.take_down()
    deployment.provision("--yes", "--no-try")
    assert export(deployment, tmp_path / "poc.sh").code == outcome.DONE


def test_the_ledger_that_is_named_is_the_one_that_counts(
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
        assert usage.returncode == outcome.USAGE and usage.stderr.startswith("usage: ")
        nobody = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert nobody.returncode != 0 and "credentials" in nobody.stderr
        assert "Traceback" not in nobody.stderr and "To remove" not in nobody.stderr


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
    assert "with other options first" in refused(deployment, tmp_path)


def test_another_handler_is_refused(deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.provision("--yes", "--no-try")
    monkeypatch.setattr(
        "provision.replay.script.source", lambda settings: b"def lambda_handler(event, context): pass\n"
    )
    assert "another lambda_function.py" in refused(deployment, tmp_path)


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
    ("pattern", "words", "found"),
    [
        (BUSY, "An error occurred (Throttling) when calling the CreateRole operation: Rate exceeded", True),
        (
            BUSY,
            "An error occurred (ResourceConflictException) when calling the X operation: an update is in progress",
            True,
        ),
        (BUSY, "An error occurred (ResourceConflictException) when calling the X operation: it exists already", False),
        (
            BUSY,
            "An error occurred (ResourceInUseException) when calling the CreateTable operation: exists already",
            False,
        ),
        (
            BUSY,
            "An error occurred (ResourceInUseException) when calling the DeleteEventSourceMapping operation: busy",
            True,
        ),
        (BUSY, "An error occurred (AccessDenied) when calling the CreateRole operation: no", False),
        (GONE, "An error occurred (NoSuchEntity) when calling the GetRole operation: none", True),
        (GONE, "An error occurred (AccessDenied) when calling the GetRole operation: NoSuchEntity", False),
        (THERE, "An error occurred (EntityAlreadyExists) when calling the CreateRole operation: there", True),
        (LOST, "An error occurred (500) when calling the GetRole operation: Internal Server Error", True),
        (LOST, "An error occurred (ServiceUnavailableException) when calling the X operation: later", True),
        (LOST, 'Could not connect to the endpoint URL: "http://127.0.0.1:1/"', False),
        (NOT_SENT, 'Could not connect to the endpoint URL: "http://127.0.0.1:1/"', True),
        (LOST, 'Read timeout on endpoint URL: "http://127.0.0.1:1/"', True),
        (LOST, "An error occurred (ValidationException) when calling the X operation: no", False),
    ],
)
def test_both_languages_know_a_refusal_by_its_words(pattern: str, words: str, found: bool) -> None:
    in_shell = subprocess.run(["grep", "-qE", pattern], input=words, text=True, check=False).returncode == 0
    assert (bool(re.search(pattern, words)), in_shell) == (found, found)


# Where the code alone means different things to different services.
OPERATIONS = {"ResourceInUseException": "UpdateEventSourceMapping"}


def test_every_reason_that_the_suite_waits_for_is_known_to_a_script() -> None:
    for reason in (TOO_MANY_REQUESTS, *(reason for reasons in SERVICES_SAY.values() for reason in reasons)):
        for code in reason.codes:
            words = f"An error occurred ({code}) when calling the {OPERATIONS.get(code, 'X')} operation: "
            words += (*reason.fragments, "")[0]
            assert re.search(BUSY, words), words


def test_each_call_is_made_once_in_each_language(deployment: CommandLine, tmp_path: Path) -> None:
    """As many writing calls in the scripts as the run made."""
    in_shell, in_python = tmp_path / "poc.sh", tmp_path / "poc.py"
    built_and_scripted(deployment, in_shell)
    export(deployment, in_python)
    writes = [call["operation"] for call in runs_of(deployment)[0].calls if not call["read"]]

    shell_build = in_shell.read_text().partition("build() {")[2].partition("teardown() {")[0]
    python_build = in_python.read_text().partition("def build")[2].partition("def teardown")[0]
    assert len(re.findall(r"(?:again|once) aws \S+ (?:create|put|attach|add)-", shell_build)) == len(writes)
    assert len(re.findall(r"\.(?:create|put|attach|add)_\w+\(", python_build)) == len(writes)
