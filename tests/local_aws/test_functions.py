"""Lambda really executed: what a handler sees, how it may end, and what Lambda refuses."""

from __future__ import annotations

import base64
import inspect
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox import Sandbox
from sandbox.lambda_ import worker
from sandbox.lambda_.functions import Functions
from sandbox.lambda_.requests import NoSuchFunction
from sandbox.protocol.scope import FunctionName
from tests.local_aws.sandbox_account import ACCOUNT, REGION, Account, Held, eventually, zipped
from tests.rig.programs import is_running

# What AWS's client does otherwise, and why that is as it should be.
DIFFERENT = {
    "test_no_open_file_of_the_sandbox_reaches_a_handler": "it keeps more than one connection to the Runtime API open",
    "test_an_exception_is_told_with_its_trace": "where no telemetry socket is, it ends lines inside an event with \\r",
    "test_memory_beyond_the_setting_is_not_to_be_had": "the limit is set by our client, on itself",
}
ECHO = "def lambda_handler(event, context):\n    return event\n"


CLIENT = Path(__file__).with_name("awslambdaric_client.py")
AWS_CLIENT = pytest.param(
    (str(CLIENT),),
    id="awslambdaric",
    marks=[
        pytest.mark.heavy,
        pytest.mark.skipif(find_spec("awslambdaric") is None, reason="awslambdaric is not installed (docs/testing.md)"),
    ],
)


@pytest.fixture(scope="module", params=[pytest.param(None, id="ours"), AWS_CLIENT])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With our client of the Lambda Runtime API, then with AWS's: handlers must not see which it is."""
    with Sandbox(runtime_client=request.param) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def workers_are_started() -> Iterator[None]:
    """They are forked elsewhere; here it is their start, too, that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "start_process", inspect.unwrap(worker.start_process))
        yield


@pytest.fixture(autouse=True)
def same_for_both(request: pytest.FixtureRequest) -> None:
    name = request.node.originalname
    if "awslambdaric" in request.node.name and name in DIFFERENT:
        pytest.skip(DIFFERENT[name])


@pytest.fixture(scope="module")
def echo(account: Account) -> str:
    return account.function(ECHO)


@pytest.fixture(scope="module")
def plane(sandbox: Sandbox) -> Functions:
    return sandbox.functions


def refused(call: Any, **parameters: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def tail(account: Account, function: str, event: Any = None) -> tuple[dict[str, Any], str]:
    answer = account.functions.invoke(FunctionName=function, Payload=json.dumps(event), LogType="Tail")
    return answer, base64.b64decode(answer["LogResult"]).decode()


# What a handler sees and gives


@pytest.mark.parametrize("event", [{"a": [1, 2.5, None, True]}, [], "text", 7, None, "ünïcode \U0001f600"])
def test_an_event_goes_in_and_a_result_comes_out(account: Account, echo: str, event: Any) -> None:
    answer = account.functions.invoke(FunctionName=echo, Payload=json.dumps(event))
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == event


def test_without_a_payload_the_event_is_empty(account: Account, echo: str) -> None:
    assert json.loads(account.functions.invoke(FunctionName=echo)["Payload"].read()) == {}


@pytest.mark.parametrize(
    "form",
    [
        "{name}",
        f"{ACCOUNT}:function:{{name}}",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
        "{name}:$LATEST",
    ],
)
def test_a_function_answers_to_every_form_of_its_name(account: Account, echo: str, form: str) -> None:
    assert account.invoke(form.format(name=echo), 5) == 5


def test_the_result_keeps_every_digit_of_a_decimal(account: Account) -> None:
    function = account.function(
        "from decimal import Decimal\n"
        "def lambda_handler(event, context):\n"
        "    return {'big': Decimal('12345678901234567890.123456789'), 'whole': Decimal(3), 'text': 'decimal-1'}\n"
    )
    payload = account.functions.invoke(FunctionName=function)["Payload"].read().decode()
    assert payload == '{"big": 12345678901234567890.123456789, "whole": 3, "text": "decimal-1"}'


def test_the_context_tells_what_aws_tells(account: Account) -> None:
    function = account.function(
        "def lambda_handler(event, context):\n"
        "    left = context.get_remaining_time_in_millis()\n"
        "    return {k: str(getattr(context, k)) for k in dir(context) if not k.startswith('_')} | {'left': left}\n",
        Timeout=7,
        MemorySize=256,
    )
    told = account.invoke(function)
    assert told["function_name"] == function
    assert told["function_version"] == "$LATEST"
    assert told["memory_limit_in_mb"] == "256"
    assert told["log_group_name"] == f"/aws/lambda/{function}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", told["log_stream_name"])
    assert told["invoked_function_arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    assert 5000 < told["left"] <= 7000


def test_the_client_context_arrives_as_objects(account: Account) -> None:
    code = """
def lambda_handler(event, context):
    told = context.client_context
    return [told.custom, told.env, told.client.app_title, told.client.installation_id]
"""
    sent = {"custom": {"who": "me"}, "client": {"app_title": "lesson"}}
    answer = account.functions.invoke(
        FunctionName=account.function(code), ClientContext=base64.b64encode(json.dumps(sent).encode()).decode()
    )
    assert json.loads(answer["Payload"].read()) == [{"who": "me"}, None, "lesson", None]


ENVIRONMENT = "import os\ndef lambda_handler(event, context):\n    return dict(os.environ)\n"


def test_nothing_of_the_users_environment_reaches_a_handler(
    account: Account, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = account.function(
        ENVIRONMENT,
        Environment={"Variables": {"TABLE": "name", "AWS_ENDPOINT_URL_DYNAMODB": "http://example.com"}},
    )
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_SQS", "HTTP_PROXY", "SECRET_OF_MINE", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "of the user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the user")
    seen = account.invoke(function)
    assert "of the user" not in seen.values()
    assert seen["TABLE"] == "name"
    assert seen["AWS_ENDPOINT_URL"] == sandbox.url
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == REGION
    assert seen["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert seen["AWS_SESSION_TOKEN"]
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == function
    assert seen["_HANDLER"] == "lambda_function.lambda_handler"
    assert seen["HOME"] != str(Path.home())
    allowed = re.compile(
        r"AWS_(LAMBDA_.*|REGION|DEFAULT_REGION|EXECUTION_ENV|ENDPOINT_URL|CONFIG_FILE|SHARED_CREDENTIALS_FILE"
        r"|EC2_METADATA_DISABLED|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)"
        r"|LAMBDA_TASK_ROOT|_HANDLER|_X_AMZN_TRACE_ID|HOME|TMPDIR|PATH|TZ|LANG|LC_CTYPE|PYTHONIOENCODING|TABLE"
        r"|(DY)?LD_LIBRARY_PATH"
    )
    assert [name for name in seen if not allowed.fullmatch(name)] == []


def test_no_open_file_of_the_sandbox_reaches_a_handler(account: Account) -> None:
    code = (
        "import os\n"
        "def lambda_handler(event, context):\n"
        "    return [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if fd.isdigit()\n"
        "            and os.path.islink(f'/proc/self/fd/{fd}')]\n"
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system has no /proc")
    files = [
        one for one in account.invoke(account.function(code)) if not one.startswith(("pipe:", "/proc/", "/dev/null"))
    ]
    assert len(files) == 1, files  # the connection to the Runtime API
    assert files[0].startswith("socket:")


def test_the_handler_acts_as_its_role(account: Account) -> None:
    function = account.function(
        "import boto3\n"
        "def lambda_handler(event, context):\n"
        "    return boto3.client('sts').get_caller_identity()['Arn']\n",
        Timeout=20,
    )
    role = account.functions.get_function_configuration(FunctionName=function)["Role"].rpartition("/")[2]
    assert account.invoke(function) == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{function}"


def test_the_handler_reaches_the_tables(account: Account) -> None:
    table = account.table()
    function = account.function(
        "import boto3\n"
        "table = boto3.resource('dynamodb').Table('" + table + "')\n"
        "def lambda_handler(event, context):\n"
        "    table.put_item(Item=event)\n",
        Timeout=20,
    )
    assert account.invoke(function, {"id": "Bob"}) is None
    assert account.dynamodb.get_item(TableName=table, Key={"id": {"S": "Bob"}})["Item"] == {"id": {"S": "Bob"}}


def test_the_sandboxs_own_modules_are_not_the_handlers(account: Account) -> None:
    function = account.function(
        "import sys\ndef lambda_handler(event, context):\n    import process\n    return sys.path[0]\n"
    )
    assert account.invoke(function)["errorType"] == "ModuleNotFoundError"


def test_a_zip_with_folders_and_several_modules_works(account: Account) -> None:
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("deep/__init__.py", "")
        archive.writestr("deep/entry.py", "from deep.words import WORD\ndef go(event, context):\n    return WORD\n")
        archive.writestr("deep/words.py", "WORD = 'hello'\n")
        archive.writestr("../../escaped.py", "")
    function = account.function("", Code={"ZipFile": packed.getvalue()}, Handler="deep/entry.go")
    assert account.invoke(function) == "hello"


# How an invocation may end


def test_an_exception_is_told_with_its_trace(account: Account) -> None:
    function = account.function(
        "def deeper():\n    raise KeyError('operation')\ndef lambda_handler(event, context):\n    deeper()\n"
    )
    answer, log = tail(account, function)
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    error = json.loads(answer["Payload"].read())
    assert error["errorMessage"] == "'operation'"
    assert error["errorType"] == "KeyError"
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert [re.sub(r'"[^"]*/', '"', frame) for frame in error["stackTrace"]] == [
        '  File "lambda_function.py", line 4, in lambda_handler\n    deeper()\n',
        "  File \"lambda_function.py\", line 2, in deeper\n    raise KeyError('operation')\n",
    ]
    assert "[ERROR] KeyError: 'operation'\nTraceback (most recent call last):\n" in log


@pytest.mark.parametrize(
    ("code", "handler", "kind", "message"),
    [
        (
            ECHO,
            "lambda_function.main",
            "Runtime.HandlerNotFound",
            "Handler 'main' missing on module 'lambda_function'",
        ),
        (
            ECHO,
            "nowhere.main",
            "Runtime.ImportModuleError",
            "Unable to import module 'nowhere': No module named 'nowhere'",
        ),
        (
            "import nothing_of_this_name\n",
            "lambda_function.lambda_handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'lambda_function': No module named 'nothing_of_this_name'",
        ),
        (
            ECHO,
            "lambda_handler",
            "Runtime.MalformedHandlerName",
            "Bad handler 'lambda_handler': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "def broken(:\n",
            "lambda_function.lambda_handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'lambda_function': invalid syntax (lambda_function.py, line 1)",
        ),
        ("1 / 0\n", "lambda_function.lambda_handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_awss_words(
    account: Account, code: str, handler: str, kind: str, message: str
) -> None:
    function = account.function(code, Handler=handler)
    for _ in range(2):  # the second one is told the same
        answer = account.functions.invoke(FunctionName=function)
        error = json.loads(answer["Payload"].read())
        assert (answer["FunctionError"], error["errorType"], error["errorMessage"]) == (
            "Unhandled",
            kind,
            message,
        )
        assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("statement", "ended"),
    [
        ("sys.exit(1)", "Runtime exited with error: exit status 1"),
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_handler_that_exits_hurts_nobody_else(account: Account, echo: str, statement: str, ended: str) -> None:
    function = account.function(
        f"import os, sys\ndef lambda_handler(event, context):\n    if event:\n        {statement}\n    return 'alive'\n"
    )
    assert account.invoke(function) == "alive"
    answer = account.functions.invoke(FunctionName=function, Payload="1")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert json.loads(answer["Payload"].read()) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {ended}",
    }
    assert answer["FunctionError"] == "Unhandled"
    assert account.invoke(function) == "alive"
    assert account.invoke(echo, 1) == 1


def test_a_result_that_is_no_json_is_a_marshal_error(account: Account) -> None:
    function = account.function("def lambda_handler(event, context):\n    return {1, 2}\n")
    error = account.invoke(function)
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


def test_the_timeout_is_kept(account: Account) -> None:
    function = account.function(
        "import time\n"
        "def lambda_handler(event, context):\n"
        "    print('going to sleep')\n"
        "    time.sleep(event)\n"
        "    return 1\n",
        Timeout=1,
    )
    started = time.monotonic()
    answer, log = tail(account, function, 30)
    assert 1 <= time.monotonic() - started < 10
    assert answer["FunctionError"] == "Unhandled"
    error = json.loads(answer["Payload"].read())
    assert error["errorType"] == "Sandbox.Timedout"
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert error["errorMessage"] == f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"
    assert "going to sleep" in log
    assert f"{request_id} Task timed out after 1.00 seconds" in log
    assert account.invoke(function, 0) == 1


def test_what_a_timed_out_handler_started_dies_with_it(account: Account, tmp_path: Path) -> None:
    started = tmp_path / "started"
    function = account.function(
        "import pathlib, subprocess\n"
        "def lambda_handler(event, context):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        f"    pathlib.Path({str(started)!r}).write_text(str(child.pid))\n"
        "    child.wait()\n",
        Timeout=1,
    )
    account.invoke(function)
    eventually(lambda: not is_running(int(started.read_text(encoding="utf-8"))), seconds=10)


def test_memory_beyond_the_setting_is_not_to_be_had(account: Account) -> None:
    pytest.importorskip("resource")
    function = account.function(
        "def lambda_handler(event, context):\n    return len(bytearray(event * 1024 * 1024))\n",
        MemorySize=128,
        Timeout=10,
    )
    assert account.invoke(function, 50) == 50 * 1024 * 1024
    assert "signal: killed" in account.invoke(function, 400)["errorMessage"]
    assert account.invoke(function, 1) == 1024 * 1024


def test_boto3_and_some_threads_fit_the_smallest_function(account: Account) -> None:
    function = account.function(
        "import boto3\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "clients = [boto3.client(one) for one in ('dynamodb', 'sqs', 'sts', 's3', 'lambda')]\n"
        "def lambda_handler(event, context):\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        ask = lambda n: boto3.Session().client('sts').get_caller_identity()['Account']\n"
        "        return list(pool.map(ask, range(4)))\n",
        MemorySize=128,
        Timeout=25,
    )
    assert account.invoke(function) == [ACCOUNT] * 4


def test_a_response_beyond_the_limit_is_an_error(account: Account) -> None:
    function = account.function("def lambda_handler(event, context):\n    return 'x' * 7_000_000\n", Timeout=10)
    assert account.invoke(function)["errorType"] == "Function.ResponseSizeTooLarge"


# Logs


def test_the_tail_of_the_log_comes_with_the_answer(account: Account) -> None:
    function = account.function(
        "import logging, os\n"
        "logging.getLogger().setLevel('INFO')\n"
        "def lambda_handler(event, context):\n"
        "    print('printed')\n"
        "    logging.info('logged')\n"
        "    os.write(2, b'written\\n')\n",
        MemorySize=192,
    )
    answer, log = tail(account, function)
    request_id = answer["ResponseMetadata"]["RequestId"]
    lines = log.splitlines()
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert {"printed", "written"} <= set(lines)
    assert any(re.fullmatch(rf"\[INFO\]\t\S+Z\t{request_id}\tlogged", line) for line in lines)
    assert lines[-2] == f"END RequestId: {request_id}"
    assert re.match(
        rf"REPORT RequestId: {request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 192 MB\t",
        lines[-1],
    )
    assert "Init Duration" in lines[-1]
    assert "Init Duration" not in tail(account, function)[1]


def test_the_tail_is_four_kilobytes(account: Account) -> None:
    function = account.function("def lambda_handler(event, context):\n    print('é' * 10_000)\n")
    answer = account.functions.invoke(FunctionName=function, LogType="Tail")
    assert len(base64.b64decode(answer["LogResult"])) == 4096


def test_without_tail_no_log_comes(account: Account, echo: str) -> None:
    assert "LogResult" not in account.functions.invoke(FunctionName=echo)


def test_the_log_reaches_cloudwatch(account: Account) -> None:
    function = account.function("def lambda_handler(event, context):\n    print('for the record')\n")
    account.invoke(function)

    def logged() -> list[str]:
        group = f"/aws/lambda/{function}"
        if not account.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        return [event["message"] for event in account.logs.filter_log_events(logGroupName=group)["events"]]

    lines = eventually(logged)
    assert "for the record" in lines
    assert lines[0].startswith("START") and lines[-1].startswith("REPORT")


def test_a_role_that_may_not_make_a_group_leaves_none(account: Account) -> None:
    role = account.role(["logs:CreateLogStream", "logs:PutLogEvents"])
    code = "def lambda_handler(event, context):\n    print(event)\n"
    without, given = account.function(code, Role=role), account.function(code, Role=role)
    account.logs.create_log_group(logGroupName=f"/aws/lambda/{given}")
    account.invoke(without, "nowhere")
    account.invoke(given, "somewhere")
    eventually(lambda: account.logs.describe_log_streams(logGroupName=f"/aws/lambda/{given}")["logStreams"])
    assert account.logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{without}")["logGroups"] == []


# Workers


PROCESS = "import os\ndef lambda_handler(event, context):\n    return os.getpid()\n"


def test_an_idle_worker_is_used_again(account: Account) -> None:
    function = account.function(PROCESS)
    assert account.invoke(function) == account.invoke(function)


def test_invocations_at_once_run_at_once_and_the_eleventh_is_throttled(account: Account, tmp_path: Path) -> None:
    held = Held(account, tmp_path)
    with ThreadPoolExecutor(10) as pool:
        try:
            running = [pool.submit(held.invoke, account.client("lambda")) for _ in range(10)]
            eventually(lambda: len(held.begun()) == 10)
            status, code, _ = refused(account.functions.invoke, FunctionName=held.function)
        finally:
            held.let_go()
        processes = {one.result() for one in running}
    assert (status, code) == (429, "TooManyRequestsException")
    assert len(processes) == 10
    assert account.invoke(held.function) in processes


def test_new_code_runs_in_a_new_worker(account: Account) -> None:
    function = account.function(PROCESS)
    first = account.invoke(function)
    account.functions.update_function_code(
        FunctionName=function, ZipFile=zipped(PROCESS.replace("os.getpid()", "'new'"))
    )
    assert first != account.invoke(function) == "new"


def test_a_dry_run_of_an_update_changes_nothing(account: Account) -> None:
    function = account.function(PROCESS)
    first = account.invoke(function)
    account.functions.update_function_code(
        FunctionName=function, ZipFile=zipped(PROCESS.replace("os.getpid()", "'new'")), DryRun=True
    )
    assert account.invoke(function) == first


def test_new_configuration_is_seen_at_once(account: Account) -> None:
    function = account.function(ENVIRONMENT, Environment={"Variables": {"COLOUR": "red"}})
    assert account.invoke(function)["COLOUR"] == "red"
    account.functions.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"COLOUR": "blue"}}, MemorySize=512
    )
    seen = account.invoke(function)
    assert (seen["COLOUR"], seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("blue", "512")


def test_an_update_lets_the_running_invocation_finish(account: Account, tmp_path: Path) -> None:
    held = Held(account, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        try:
            running = pool.submit(held.invoke, account.client("lambda"))
            eventually(held.begun)
            account.functions.update_function_code(
                FunctionName=held.function, ZipFile=zipped(PROCESS.replace("os.getpid()", "'new'"))
            )
            assert account.invoke(held.function) == "new"
        finally:
            held.let_go()
        assert isinstance(running.result(), int)


def test_an_event_invocation_is_taken_and_runs_later(account: Account) -> None:
    table = account.table()
    function = account.function(
        "import boto3\n"
        "def lambda_handler(event, context):\n"
        f"    boto3.resource('dynamodb').Table('{table}').put_item(Item=event)\n",
        Timeout=20,
    )
    answer = account.functions.invoke(FunctionName=function, InvocationType="Event", Payload='{"id": "later"}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert eventually(lambda: account.dynamodb.scan(TableName=table)["Items"]) == [{"id": {"S": "later"}}]


def test_a_dry_run_runs_nothing(account: Account) -> None:
    function = account.function("raise SystemExit\n")
    answer = account.functions.invoke(FunctionName=function, InvocationType="DryRun")
    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")


# Refusals


def test_an_unknown_function_is_not_found(account: Account, plane: Functions) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:nobody"
    assert refused(account.functions.invoke, FunctionName="nobody") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn}",
    )
    with pytest.raises(NoSuchFunction, match=re.escape(arn)):
        plane.invoke("nobody", b"{}", region=REGION)


def test_a_deleted_function_is_not_found(account: Account) -> None:
    function = account.function(ECHO)
    assert account.invoke(function, 1) == 1
    account.functions.delete_function(FunctionName=function)
    assert refused(account.functions.invoke, FunctionName=function)[0] == 404


def test_a_function_is_not_found_in_another_region(account: Account, echo: str) -> None:
    elsewhere = account.client("lambda", region_name="eu-west-1")
    assert refused(elsewhere.invoke, FunctionName=echo)[0] == 404


def test_an_unknown_qualifier_is_not_found(account: Account, echo: str) -> None:
    status, code, message = refused(account.functions.invoke, FunctionName=echo, Qualifier="7")
    assert (status, code) == (404, "ResourceNotFoundException")
    assert message.endswith(f":function:{echo}:7")


def test_a_published_version_is_told_to_be_beyond_the_sandbox(account: Account) -> None:
    function = account.function(ECHO)
    version = account.functions.publish_version(FunctionName=function)["Version"]
    assert refused(account.functions.invoke, FunctionName=function, Qualifier=version)[0] == 501


@pytest.mark.parametrize("payload", [b"{", b"nonsense", b"NaN", b"\xff\xfe", b"[" * 100_000])
def test_a_payload_that_is_no_json_is_refused(account: Account, echo: str, payload: bytes) -> None:
    status, code, message = refused(account.functions.invoke, FunctionName=echo, Payload=payload)
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: ")


@pytest.mark.parametrize(("kind", "size"), [("RequestResponse", 6 * 1024 * 1024 + 1), ("Event", 1024 * 1024 + 1)])
def test_a_payload_beyond_the_limit_is_refused(account: Account, echo: str, kind: str, size: int) -> None:
    payload = json.dumps("x" * (size - 2))
    answered = refused(account.functions.invoke, FunctionName=echo, InvocationType=kind, Payload=payload)
    assert answered[:2] == (413, "RequestEntityTooLargeException")


def test_an_unknown_invocation_type_is_refused(account: Account, echo: str) -> None:
    answered = refused(account.functions.invoke, FunctionName=echo, InvocationType="Sometime")
    assert answered[:2] == (400, "ValidationException")


def test_settings_without_effect_are_shown(account: Account) -> None:
    function = account.function("raise SystemExit\n", EphemeralStorage={"Size": 1024})
    named = {"FunctionName": function}
    target = {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"}
    account.functions.update_function_configuration(**named, DeadLetterConfig=target, TracingConfig={"Mode": "Active"})
    listed = next(one for one in account.functions.list_functions()["Functions"] if one["FunctionName"] == function)
    for shown in (account.functions.get_function_configuration(**named),
                  account.functions.get_function(**named)["Configuration"], listed):  # fmt: skip
        assert (shown["EphemeralStorage"], shown["TracingConfig"]) == ({"Size": 1024}, {"Mode": "Active"})
        assert shown["DeadLetterConfig"] == target
    without = account.functions.update_function_configuration(**named, DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in without
    assert "DeadLetterConfig" not in account.functions.get_function_configuration(**named)


def test_reserved_concurrency_bounds_invocations_and_0_throttles_all(account: Account, tmp_path: Path) -> None:
    held = Held(account, tmp_path)
    named = {"FunctionName": held.function}
    assert "ReservedConcurrentExecutions" not in account.functions.get_function_concurrency(**named)
    account.functions.put_function_concurrency(**named, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(held.invoke, account.client("lambda"))
        eventually(held.begun)
        with pytest.raises(ClientError) as throttled:
            account.functions.invoke(**named)
        held.let_go()
        running.result()
    assert throttled.value.response["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    account.functions.put_function_concurrency(**named, ReservedConcurrentExecutions=0)
    assert refused(account.functions.invoke, **named)[:2] == (429, "TooManyRequestsException")
    assert account.functions.get_function_concurrency(**named)["ReservedConcurrentExecutions"] == 0
    assert account.functions.get_function(**named)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    account.functions.update_function_configuration(**named, Timeout=30)
    assert refused(account.functions.invoke, **named)[0] == 429
    account.functions.delete_function_concurrency(**named)
    assert isinstance(held.invoke(account.functions), int)


def test_a_client_context_that_is_no_json_is_refused(account: Account, echo: str) -> None:
    answered = refused(account.functions.invoke, FunctionName=echo, ClientContext="%%%")
    assert answered[:2] == (400, "InvalidRequestContentException")


UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."


def damaged() -> bytes:
    """A zip whose directory is whole and whose content is not."""
    whole = zipped(ECHO)
    spot = whole.index(b"return")
    return whole[:spot] + b"RETURN" + whole[spot + 6 :]


@pytest.mark.parametrize("archive", [b"this is no zip", zipped(ECHO)[:-10], damaged()], ids=["text", "cut", "damaged"])
def test_a_corrupt_zip_is_refused_and_changes_nothing(account: Account, archive: bytes) -> None:
    expected = (400, "InvalidParameterValueException", UNREADABLE)
    name = account.name("function")
    assert expected == refused(
        account.functions.create_function,
        FunctionName=name,
        Runtime="python3.13",
        Role=account.role(),
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": archive},
    )
    assert refused(account.functions.get_function, FunctionName=name)[0] == 404
    function = account.function(ECHO)
    assert expected == refused(account.functions.update_function_code, FunctionName=function, ZipFile=archive)
    assert account.invoke(function, 1) == 1


def test_an_unknown_runtime_is_refused(account: Account) -> None:
    with pytest.raises(ClientError, match=r"Value python2\.1 at 'runtime' failed to satisfy constraint.*python3\.13"):
        account.function(ECHO, Runtime="python2.1")
    function = account.function(ECHO)
    status, code, _ = refused(
        account.functions.update_function_configuration, FunctionName=function, Runtime="python2.1"
    )
    assert (status, code) == (400, "InvalidParameterValueException")


@pytest.mark.parametrize("runtime", ["python3.7", "python3.6", "python2.7"])
def test_a_blocked_runtime_is_refused(account: Account, runtime: str) -> None:
    with pytest.raises(ClientError, match=f"{runtime} is no longer supported for creating or updating"):
        account.function(ECHO, Runtime=runtime)


def test_a_reserved_variable_is_refused(account: Account) -> None:
    with pytest.raises(ClientError, match="Reserved keys used in this request: AWS_REGION"):
        account.function(ECHO, Environment={"Variables": {"AWS_REGION": "eu-west-1"}})


def test_code_from_elsewhere_is_told_to_be_beyond_the_sandbox(account: Account) -> None:
    with pytest.raises(ClientError) as error:
        account.function("", Code={"S3Bucket": "bucket", "S3Key": "key"})
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_another_language_is_told_to_be_beyond_the_sandbox(account: Account) -> None:
    function = account.function("", Runtime="nodejs22.x", Handler="index.handler")
    assert refused(account.functions.invoke, FunctionName=function)[0] == 501


# Who may invoke


def may_invoke(plane: Functions, function: str, source_arn: str, principal: str = "apigateway.amazonaws.com") -> bool:
    return plane.permissions.invokes(principal, FunctionName.parse(function, REGION), source_arn)


def test_the_resource_policy_decides_for_api_gateway(account: Account, plane: Functions) -> None:
    function = account.function(ECHO)
    api = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:abc123"
    called = f"{api}/Staging/POST/dynamodbmanager"
    assert not may_invoke(plane, function, called)
    account.functions.add_permission(
        FunctionName=function,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"{api}/*/POST/dynamodbmanager",
    )
    assert may_invoke(plane, function, called)
    assert not may_invoke(plane, function, f"{api}/Staging/GET/dynamodbmanager")
    assert not may_invoke(plane, function, called.replace("abc123", "xyz789"))
    assert not may_invoke(plane, function, called, principal="events.amazonaws.com")
    account.functions.remove_permission(FunctionName=function, StatementId="api")
    assert not may_invoke(plane, function, called)


def test_nobody_may_invoke_a_function_that_is_not_there(plane: Functions) -> None:
    assert not may_invoke(plane, "nobody", f"arn:aws:execute-api:{REGION}:{ACCOUNT}:abc/Staging/POST/x")
