"""That what tests share is as good as one of their own: a process that has imported the programs, clients of AWS."""

from __future__ import annotations

import base64
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from provision.aws.calls import Calls, UnrecordedWrite
from provision.aws.clients import Target
from provision.aws.credentials import CannotConnect
from provision.aws.waiting import Waiting
from provision.settings import Settings
from sandbox import Sandbox
from sandbox.lambda_ import worker
from tests.local_aws.sandbox_account import Account
from tests.rig import programs
from tests.rig.clock import Clock, eventually
from tests.rig.deployment import CONNECTIONS, Deployment, Stranger
from tests.rig.programs import Folder, is_running, is_warm, warm_server
from tests.rig.terminal import Terminal
from tests.rig.warm import Child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here, so each program is started")

ABOUT = """
import json, os, resource, signal, sys, threading
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "name": __name__, "file": __file__, "argv": sys.argv, "orig": sys.orig_argv[1:], "path": sys.path,
    "main": sys.modules["__main__"].__file__, "folder": os.getcwd(), "environ": dict(os.environ),
    "streams": [[s.name, s.encoding, s.errors, s.line_buffering, s.isatty(), s.fileno()] for s in streams],
    "same": [sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr],
    "open": sorted(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else [],
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()], "session": os.getsid(0),
    "signals": [str(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE)],
    "threads": threading.active_count(), "frozen": [str(one) for one in sys.flags], "files": resource.getrlimit(7),
    "umask": os.umask(0), "zone": os.environ.get("TZ"),
}))
"""
ENDS = {
    "well": "print('out')",
    "a code": "import sys; print('out', end=''); sys.exit(7)",
    "words": "import sys; sys.exit('words')",
    "an exception": "raise ValueError('words')",
    "Ctrl-C": "raise KeyboardInterrupt",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "at its end": "import atexit; atexit.register(print, 'at last')",
    "a thread": "import threading, time; threading.Timer(0.1, print, ['late']).start()",
    "a child": "import subprocess, sys; sys.exit(subprocess.run(['sh', '-c', 'echo child; exit 3']).returncode)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        made.environ["TZ"] = "Asia/Tokyo"
        yield made


def both(folder: Folder, *command: str) -> list[subprocess.CompletedProcess[str]]:
    """What a true start of a module gives, and what a fork gives."""
    started = [sys.executable, "-m", *command]
    true = subprocess.run(
        started,
        cwd=folder.path,
        env=folder.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    with Child(warm_server(), command, folder=folder.path, environ=folder.environ) as child:
        out, talk = child.communicate(60)
    return [true, subprocess.CompletedProcess(started, child.returncode or 0, out, talk)]


def test_it_finds_everything_as_it_would_have_found_it(folder: Folder) -> None:
    (folder.path / "about.py").write_text(ABOUT, encoding="utf-8")
    true, warm = (json.loads(ended.stdout) for ended in both(folder, "about", "a", "-b"))
    assert warm == true
    assert warm["name"] == "__main__" and warm["argv"][1:] == ["a", "-b"]


@pytest.mark.parametrize("how", ENDS)
def test_it_ends_as_it_would_have_ended(folder: Folder, how: str) -> None:
    (folder.path / "ends.py").write_text(ENDS[how], encoding="utf-8")
    true, warm = both(folder, "ends")
    assert (warm.returncode, warm.stdout) == (true.returncode, true.stdout)
    last = [ended.stderr.splitlines()[-1:] for ended in (true, warm)]  # a trace goes by way of the server
    assert last[0] == last[1]


def test_a_module_that_is_not_there_is_told_and_not_run(folder: Folder) -> None:
    true, warm = both(folder, "nowhere")
    assert true.returncode == warm.returncode == 1 and "nowhere" in warm.stderr


@pytest.mark.once_more
def test_it_takes_signals_and_is_waited_for(folder: Folder) -> None:
    (folder.path / "waits.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)", encoding="utf-8")
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        with Child(warm_server(), ["waits"], folder=folder.path, environ=folder.environ) as child:
            assert child.stdout is not None and child.stdout.readline() == "here\n"
            assert child.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.01)
            with pytest.raises(subprocess.TimeoutExpired):
                child.communicate(0.01)
            child.send_signal(number)
            assert child.wait(30) == child.poll() == -number


def test_what_was_written_before_the_time_was_over_is_not_lost(folder: Folder) -> None:
    (folder.path / "waits.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)", encoding="utf-8")
    with Child(warm_server(), ["waits"], folder=folder.path, environ=folder.environ) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.communicate(1)
        child.kill()
        assert child.communicate(30) == ("here\n", "")


@pytest.mark.once_more
def test_in_a_terminal_it_leads_a_session_as_a_true_one_does(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", ("about",))
    (folder.path / "about.py").write_text(ABOUT, encoding="utf-8")
    said: list[Any] = []
    for program in ((sys.executable, "-m"), ()):
        with Terminal(folder, 20_000, "about", program=program) as terminal:
            assert isinstance(terminal.child, Child) == (not program)
            assert terminal.end() == 0
            said.append(json.loads(terminal.text))
            assert said[-1].pop("session") == terminal.child.pid
    assert said[0] == said[1]
    assert said[0]["leads"] == [True, True]
    assert all(tty for *_, tty, _ in said[0]["streams"])


@pytest.mark.parametrize("program", ["provision", "teardown", "sandbox"])
def test_each_program_says_the_same(folder: Folder, program: str) -> None:
    for arguments in (("--help",), ("--no-such-option",)):
        true, warm = folder.run(program, *arguments, fresh=True), folder.run(program, *arguments)
        assert (warm.returncode, warm.stdout, warm.stderr) == (true.returncode, true.stdout, true.stderr)


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONIOENCODING", "LC_ALL"])
def test_who_changes_what_is_read_at_the_start_gets_a_start(folder: Folder, variable: str) -> None:
    assert is_warm(["provision"], folder.environ)
    assert not is_warm(["provision"], {**folder.environ, variable: "x"})
    assert not is_warm(["http.server"], folder.environ)
    assert not is_warm(["provision"], folder.environ, "/usr/bin/python3")


def test_a_sandbox_that_a_program_starts_is_as_good_as_a_true_one(tmp_path: Path) -> None:
    """It answers the same and leads a session; what moto makes up differs from one to the next."""
    made = []
    for name, fresh in (("true", True), ("warm", False), ("another", False)):
        (tmp_path / name).mkdir()
        with Folder(tmp_path / name) as folder:
            assert folder.run("sandbox", "start", fresh=fresh).returncode == 0
            described = folder.sandbox
            assert os.getsid(described["pid"]) == described["pid"]
            stranger = Stranger(described["url"], key=described["key"])
            api = stranger.apigateway.create_rest_api(name="made")["id"]
            with pytest.raises(ClientError) as refused:
                stranger.sqs.get_queue_url(QueueName="nowhere")
            made.append((api, refused.value.response["Error"]))
            assert folder.run("sandbox", "stop").returncode == 0
            eventually(lambda pid=described["pid"]: not is_running(pid))
    ids, refusals = zip(*made, strict=True)
    assert len(set(ids)) == 3
    assert refusals[0] == refusals[1] == refusals[2]


HANDLER = """
import json, os, resource, signal, sys, threading
def lambda_handler(event, context):
    if event == "end":
        print("out")
        print("err", file=sys.stderr)
        os._exit(3)
    streams = [sys.stdin, sys.stdout, sys.stderr]
    numbers = (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE)
    own = ("AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_LOG_STREAM_NAME", "HOME", "TMPDIR", "_X_AMZN_TRACE_ID")
    return {
        "argv": sys.argv, "orig": sys.orig_argv, "path": sys.path, "main": sys.modules["__main__"].__file__,
        "folder": os.getcwd(), "flags": str(sys.flags),
        "environ": {key: value for key, value in os.environ.items()
                    if key not in own and not key.startswith(("AWS_ACCESS_", "AWS_SECRET_", "AWS_SESSION_"))},
        "streams": [[s.name, s.encoding, s.errors, s.line_buffering, s.write_through, s.fileno()] for s in streams],
        "open": sorted(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else [],
        "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
        "signals": [str(signal.getsignal(one)) for one in numbers],
        "threads": threading.active_count(), "data": resource.getrlimit(resource.RLIMIT_DATA), "umask": os.umask(0o22),
    }
"""


def test_a_functions_worker_finds_everything_and_ends_as_a_true_one(sandbox: Sandbox) -> None:
    account = Account(sandbox.url)
    function = account.function(HANDLER, MemorySize=256)
    forked = worker.start_process
    found = []
    for start in (inspect.unwrap(forked), forked):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "start_process", start)
            about = account.invoke(function)
            answer = account.functions.invoke(FunctionName=function, Payload='"end"', LogType="Tail")
            log = base64.b64decode(answer["LogResult"]).decode().splitlines()
            ended = json.loads(answer["Payload"].read())["errorMessage"].partition("Error: ")[2]
            found.append((about, ended, [line for line in log if line in ("out", "err")]))
    assert forked is not inspect.unwrap(forked)
    assert found[0] == found[1]
    assert found[1][1:] == ("Runtime exited with error: exit status 3", ["out", "err"])


# Clients that one run leaves to the next: tests/deployment.py.


def test_what_a_run_did_to_its_clients_is_gone_in_the_next(sandbox: Sandbox, tmp_path: Path) -> None:
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json", Settings(learner="lent")) as deployment:
        seen: list[str] = []
        with deployment.connected() as first:
            first.lambda_.meta.events.register_first("before-call.lambda.*", lambda **event: seen.append("handler"))
            first.lambda_.list_event_source_mappings()
            first.lambda_.list_event_source_mappings = lambda: seen.append("attribute")
            first.lambda_.list_event_source_mappings()
            assert seen == ["handler", "attribute"]
            assert [call.operation for call in first.calls.history] == ["GetCallerIdentity", "ListEventSourceMappings"]
        with deployment.connected() as second:
            assert second.sqs is first.sqs
            second.lambda_.list_event_source_mappings()
            assert seen == ["handler", "attribute"]
            assert [call.operation for call in first.calls.history] == ["GetCallerIdentity", "ListEventSourceMappings"]
            assert [call.operation for call in second.calls.history] == ["GetCallerIdentity", "ListEventSourceMappings"]
            with deployment.connected() as inner:  # a run in the midst of another one
                assert inner.sqs is not second.sqs
                inner.lambda_.list_event_source_mappings()
            assert len(second.calls.history) == len(inner.calls.history) == 2
        with deployment.connected() as third, pytest.raises(UnrecordedWrite):
            third.sqs.create_queue(QueueName="unpromised")
        assert third.sqs is second.sqs


def test_who_cannot_connect_is_told_so(sandbox: Sandbox, clock: Clock) -> None:
    target = Target(sandbox=(sandbox.id, "http://127.0.0.1:9"))
    for _ in range(2):
        calls = Calls(waiting=Waiting(clock=clock, sleep=clock.sleep))
        with pytest.raises(CannotConnect):
            CONNECTIONS.lend(target, calls)
        assert {call.operation for call in calls.history} == {"GetCallerIdentity"}
