"""Lambda functions that really run.

moto keeps the functions: configuration, tags and resource policies. It cannot run them without Docker, so they run
here, in child processes of the sandbox's own interpreter, whatever Python runtime they name. The zip is kept from
CreateFunction and UpdateFunctionCode, since moto's GetFunction answers an invented Code.Location. Only $LATEST runs,
no published version.

Refusals are in AWS's words; a page or an API model that is their source is named beside them.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import os
import re
import secrets
import site
import stat
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from sandbox.backend import Answer, Backend, BackendError
from sandbox.door import LARGEST_EVENT, LARGEST_PAYLOAD
from sandbox.iam.permissions import Permissions
from sandbox.lambda_.log_writer import Journal
from sandbox.lambda_.requests import (
    NoSuchFunction,
    check_configuration,
    check_payload,
    check_revision,
    conflict,
    decode_client_context,
    invalid,
    read_archive,
    settings_kept,
    stored_principal,
)
from sandbox.lambda_.scratch import Scratch
from sandbox.lambda_.worker import Outcome, Task, Worker, WorkerGone
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused, answer_json
from sandbox.protocol.scope import DEFAULT_REGION, FunctionName, as_list

log = logging.getLogger(__name__)

# A new AWS account may run ten invocations at once (Lambda quotas page); a laptop needs no more.
CONCURRENCY = 10

# AWS keeps idle execution environments for some minutes and promises nothing.
IDLE_SECONDS = 300.0
NOT_ASSUMABLE = "The role defined for the function cannot be assumed by Lambda."

# Lambda quotas page: 6 MB for a synchronous call.
LARGEST_RESPONSE = 6291556

# The PATH of a function's process.
SYSTEM_FOLDERS = "/usr/local/bin:/usr/bin:/bin"

if sys.platform == "win32":
    SYSTEM_FOLDERS = os.path.expandvars(r"%SYSTEMROOT%\System32;%SYSTEMROOT%")

# X-Amz-Log-Result holds the last 4 KB (Invoke, API reference).
TAIL = 4096

# What moto's answer may lack is AWS's default (CreateFunction, API reference).
DEFAULT_TIMEOUT = 3
DEFAULT_MEMORY = 128
CODE = "/_sandbox/code/"

# The operations that describe a function.
SHOWING = (
    "CreateFunction", "GetFunction", "GetFunctionConfiguration", "ListFunctions", "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
)  # fmt: skip

# Principals of AddPermission that are not looked up.
PRINCIPAL = re.compile(r"\*|\d{12}|[\w.-]+\.amazonaws\.com(\.cn)?|arn:[\w-]+:iam::\d{12}:root")


@dataclass(frozen=True)
class Invocation:
    """An invocation as its caller sees it: ``function_error`` is None, or "Unhandled" with the error as payload.

    ``log`` is the whole log, not only its tail.
    """

    status: int
    payload: bytes
    function_error: str | None
    log: str
    request_id: str = ""


@dataclass
class _Function:
    """One function as it is now; each change of code or configuration increases ``generation``."""

    name: FunctionName
    configuration: dict[str, Any]
    code: Path
    generation: int = 0
    idle: list[tuple[int, Worker, str]] = field(default_factory=list)
    running: int = 0
    reserved: int | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False

    @property
    def role(self) -> str:
        return str(self.configuration.get("Role", ""))

    @property
    def timeout(self) -> float:
        return float(self.configuration.get("Timeout") or DEFAULT_TIMEOUT)

    @property
    def memory(self) -> int:
        return int(self.configuration.get("MemorySize") or DEFAULT_MEMORY)


class Functions:
    """Runs functions, and answers the calls that change what runs.

    ``runtime_client`` is the command of a worker, without the interpreter; by default our bootstrap.
    """

    def __init__(
        self, backend: Backend, endpoint: Callable[[], str], runtime_client: tuple[str, ...] | None = None
    ) -> None:
        self._backend = backend
        self._endpoint = endpoint
        self._client = runtime_client or (str(Path(__file__).with_name("bootstrap.py")),)
        self._scratch = Scratch()
        self._folder = self._scratch.folder
        self._guard = threading.Lock()
        self._shelf: dict[tuple[str, str, str], _Function] = {}
        self._stopping = threading.Event()
        self._events = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="lambda-event")
        self._reaper = threading.Thread(target=self._reap, name="lambda-reaper", daemon=True)
        self.permissions = Permissions(backend)
        self.journal = Journal(backend, self.permissions)

    def start(self) -> None:
        self._reaper.start()
        self.journal.start()

    def stop(self) -> None:
        """End every worker; what has been logged still reaches CloudWatch Logs."""
        self._stopping.set()
        self._events.shutdown(wait=False, cancel_futures=True)
        with self._guard:
            functions = list(self._shelf.values())
            self._shelf.clear()
        for function in functions:
            self._retire(function, deleted=True)
        self.journal.stop()
        if self._reaper.is_alive():
            self._reaper.join(timeout=5)
        self._scratch.remove()

    # For the other planes

    def find(self, name_or_arn: str, *, region: str = DEFAULT_REGION) -> dict[str, Any]:
        """A copy of the function's configuration, as Lambda answers it. Raises :class:`NoSuchFunction`."""
        return dict(self._find(FunctionName.parse(name_or_arn, region)).configuration)

    def invoke(
        self,
        name_or_arn: str,
        payload: bytes,
        *,
        region: str = DEFAULT_REGION,
        client_context: str | None = None,
        request_id: str | None = None,
    ) -> Invocation:
        """Run the function and wait for it. ``payload`` is JSON text.

        Raises :class:`NoSuchFunction`, NotSimulated, and Refused with 429 if too many run already.
        """
        function = self._find(FunctionName.parse(name_or_arn, region))
        task = Task(
            request_id=request_id or str(uuid.uuid4()),
            payload=payload or b"{}",
            function_arn=function.name.arn,
            timeout=function.timeout,
            client_context=client_context,
        )
        runtime = str(function.configuration.get("Runtime", ""))
        if not runtime.startswith("python"):
            raise NotSimulated(f"The sandbox runs Python only, not {runtime}.")
        with self._guard:
            most = CONCURRENCY if function.reserved is None else min(function.reserved, CONCURRENCY)
            if function.running >= most:
                raise throttled(function)
            function.running += 1
        try:
            return self._run(function, task)
        finally:
            with self._guard:
                function.running -= 1

    # The front's door

    def handle(self, operation: Operation) -> Response | None:
        """The answer to a call about functions that moto cannot answer alone; None for any other call."""
        acts: dict[str, Callable[[Operation], Response | None]] = {
            "CreateFunction": self._create,
            "GetFunction": self._get,
            "UpdateFunctionCode": self._update_code,
            "UpdateFunctionConfiguration": self._update_configuration,
            "DeleteFunction": self._delete,
            "PutFunctionConcurrency": self._reserve,
            "DeleteFunctionConcurrency": self._reserve,
            "GetFunctionConcurrency": self._reserved,
            "CreateFunctionUrlConfig": self._url,
            "Invoke": self._answer_invoke,
            "InvokeAsync": self._answer_invoke,
            "InvokeWithResponseStream": self._stream,
            "AddPermission": self._policy,
            "GetPolicy": self._policy,
            "RemovePermission": self._policy,
            "ListVersionsByFunction": self._versions,
        }
        act = acts.get(operation.name)
        response = None if act is None else act(operation)
        if operation.name not in SHOWING:
            return response
        return self._with_settings(response or self._backend.forward(operation), operation.region)

    def _with_settings(self, response: Response, region: str) -> Response:
        """An answer that describes functions, with the settings that moto forgets."""
        if response.status_code >= 300:
            return response
        body = json.loads(response.get_data())
        for described in body.get("Functions") or [body.get("Configuration") or body]:
            function = self._there(FunctionName.parse(str(described.get("FunctionName")), region))
            for name, value in (function.shown if function is not None else {}).items():
                described[name] = value
                if value is None:
                    del described[name]
        response.set_data(json.dumps(body))
        return response

    # Control plane: moto answers; we check the request and keep the code

    def _create(self, operation: Operation) -> Response:
        wanted = operation.parameters
        check_configuration(wanted, creating=True)
        given = wanted.get("Code") or {}
        if not any(given.get(one) for one in ("ZipFile", "ImageUri", "S3Bucket")):
            raise invalid("Please provide a source for function code.")
        archive = read_archive(given)
        self._check_role(operation)
        response = self._backend.forward(operation)
        if response.status_code < 300:
            self._shelve(json.loads(response.get_data()), archive, settings_kept(wanted))
        return response

    def _check_role(self, operation: Operation) -> None:
        """A role that is named must exist and trust Lambda, also one that the function has already."""
        role = operation.text("Role")
        if role and not self.permissions.trusts(role, "lambda.amazonaws.com"):
            raise invalid(NOT_ASSUMABLE)

    def _get(self, operation: Operation) -> Response:
        """GetFunction, with an address from which the zip can be fetched."""
        response = self._backend.forward(operation)
        function = self._there(named(operation))
        if response.status_code >= 300 or function is None:
            return response
        described = json.loads(response.get_data())
        if function.reserved is not None:  # moto leaves 0 out
            described["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        described.setdefault("Code", {})["Location"] = f"{self._endpoint()}{CODE}{function.code.name}.zip"
        return answer_json(200, described)

    def code(self, request: Request) -> Response | None:
        """A function's zip, at the address from GetFunction; as on AWS, it needs no signature."""
        if request.method != "GET" or not request.path.startswith(CODE):
            return None
        kept = self._folder / Path(request.path).name
        if not kept.is_file():
            return Response(b"", status=404)
        return Response(kept.read_bytes(), status=200, headers={"Content-Type": "application/zip"})

    def _versions(self, operation: Operation) -> None:
        self._find(named(operation))

    def _stream(self, operation: Operation) -> None:
        raise NotSimulated("The sandbox does not stream responses.")

    def _url(self, operation: Operation) -> None:
        raise NotSimulated("The sandbox has no function URLs.")

    def _reserve(self, operation: Operation) -> Response:
        function = self._find(named(operation))
        response = self._backend.forward(operation)
        if response.status_code < 300:
            given = operation.parameters.get("ReservedConcurrentExecutions")
            function.reserved = None if operation.name.startswith("Delete") or given is None else int(given)
        return response

    def _reserved(self, operation: Operation) -> Response:
        reserved = self._find(named(operation)).reserved
        return answer_json(200, {} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    def _update_code(self, operation: Operation) -> Response:
        function = self._find(named(operation))
        check_revision(operation.parameters)
        archive = read_archive(operation.parameters)
        response = self._backend.forward(operation)
        if response.status_code < 300 and not operation.parameters.get("DryRun"):
            self._replace(function, self._unpack(function.name, archive))
        return response

    def _update_configuration(self, operation: Operation) -> Response:
        function = self._find(named(operation))
        check_revision(operation.parameters)
        check_configuration(operation.parameters, creating=False)
        self._check_role(operation)
        response = self._backend.forward(operation)
        if response.status_code < 300:
            function.shown |= settings_kept(operation.parameters)
            self._replace(function, None)
        return response

    def _delete(self, operation: Operation) -> Response:
        name = named(operation)
        if name.qualifier == "$LATEST":
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        response = self._backend.forward(operation)
        if response.status_code < 300 and name.qualifier is None:
            with self._guard:
                function = self._shelf.pop((name.region, name.account, name.name), None)
            if function is not None:
                self._retire(function, deleted=True)
        return response

    def _policy(self, operation: Operation) -> Response:
        """AddPermission, GetPolicy, RemovePermission: with principals as Lambda stores them, each statement id once."""
        function = self._find(FunctionName.parse(operation.text("FunctionName"), operation.region))
        if operation.name == "AddPermission":
            identity = operation.parameters.get("StatementId")
            if identity in [one.get("Sid") for one in self.permissions.of_function(function.name)]:
                raise conflict(
                    f"The statement id ({identity}) provided already exists. Please provide a new statement id, or "
                    "remove the existing statement."
                )
            if not self._is_principal(str(operation.parameters.get("Principal") or "")):
                raise invalid("The provided principal was invalid. Please check the principal and try again.")
        response = self._backend.forward(operation)
        if response.status_code >= 300 or operation.name == "RemovePermission":
            return response
        answered = json.loads(response.get_data())
        for member in ("Policy", "Statement"):
            if member in answered:
                document = json.loads(answered[member])
                for statement in as_list(document["Statement"]) if member == "Policy" else [document]:
                    statement["Principal"] = stored_principal(statement["Principal"])
                answered[member] = json.dumps(document)
        return answer_json(response.status_code, answered)

    def _is_principal(self, principal: str) -> bool:
        """Whether AddPermission accepts it: a service, an account, or an identity that exists."""
        return PRINCIPAL.fullmatch(principal) is not None or self._backend.exists(principal)

    def _shelve(self, configuration: dict[str, Any], archive: zipfile.ZipFile, shown: dict[str, Any]) -> None:
        name = FunctionName.parse(configuration["FunctionArn"], DEFAULT_REGION)
        function = _Function(name, configuration, self._unpack(name, archive), shown=shown)
        with self._guard:
            self._shelf[(name.region, name.account, name.name)] = function

    def _replace(self, function: _Function, code: Path | None) -> None:
        """New code or configuration: a busy worker finishes with the old one, and then ends."""
        read = self._read(function.name)
        with self._guard:
            if read.ok:
                function.configuration = read.json()
            if code is not None:
                # The old folder stays until the sandbox stops: a worker may still import from it.
                function.code = code
        self._retire(function)

    def _retire(self, function: _Function, *, deleted: bool = False) -> None:
        with self._guard:
            function.generation += 1
            function.deleted = function.deleted or deleted
            retired, function.idle = function.idle, []
        for _, worker, _ in retired:
            worker.kill()

    def _unpack(self, name: FunctionName, archive: zipfile.ZipFile) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"{name.name}-", dir=self._folder))
        for entry in archive.infolist():
            # extract() removes drive letters, leading slashes and dots from names, so that nothing is written outside
            # the folder; links become plain files.
            written = Path(archive.extract(entry, folder))
            mode = stat.S_IMODE(entry.external_attr >> 16)
            if mode and not entry.is_dir():
                written.chmod((mode & 0o777) | stat.S_IRUSR | stat.S_IWUSR)
        assert archive.fp is not None
        archive.fp.seek(0)
        folder.with_name(f"{folder.name}.zip").write_bytes(archive.fp.read())
        return folder

    def _there(self, name: FunctionName) -> _Function | None:
        with self._guard:
            return self._shelf.get((name.region, name.account, name.name))

    def _find(self, name: FunctionName) -> _Function:
        function = self._there(name)
        if function is None:
            suffix = f":{name.qualifier}" if name.qualifier else ""
            raise NoSuchFunction(name.arn + suffix)
        if name.qualifier not in (None, "$LATEST"):
            if not self._read(name).ok:
                raise NoSuchFunction(f"{name.arn}:{name.qualifier}")
            raise NotSimulated("The sandbox executes $LATEST only, no versions or aliases.")
        return function

    def _read(self, name: FunctionName) -> Answer:
        """moto's GetFunctionConfiguration."""
        path = f"/2015-03-31/functions/{quote(name.name)}/configuration"
        query = f"Qualifier={quote(name.qualifier)}" if name.qualifier else ""
        return self._backend.call("lambda", "GET", path, query=query, region=name.region)

    # Data plane

    def _answer_invoke(self, operation: Operation) -> Response:
        asked, payload = operation.request.headers, operation.body
        function = self._find(named(operation))
        usual = "Event" if operation.name == "InvokeAsync" else "RequestResponse"
        kind = asked.get("X-Amz-Invocation-Type", usual)
        limit = LARGEST_EVENT if kind == "Event" else LARGEST_PAYLOAD
        if len(payload) > limit:
            said = f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            raise Refused(413, "RequestEntityTooLargeException", said)
        check_payload(payload)
        request_id = str(uuid.uuid4())
        headers = {"x-amzn-RequestId": request_id}
        client_context = decode_client_context(asked.get("X-Amz-Client-Context"))
        if kind == "DryRun":
            return answer_json(204, headers=headers)
        if kind == "Event":
            self._events.submit(self._run_event, function.name.arn, payload, client_context, request_id)
            return answer_json(202, headers=headers)
        done = self.invoke(function.name.arn, payload, client_context=client_context, request_id=request_id)
        headers["X-Amz-Executed-Version"] = "$LATEST"
        if done.function_error:
            headers["X-Amz-Function-Error"] = done.function_error
        if asked.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(done.log.encode()[-TAIL:]).decode()
        return Response(done.payload, done.status, {"Content-Type": "application/json", **headers})

    def _run_event(self, arn: str, payload: bytes, client_context: str | None, request_id: str) -> None:
        """An asynchronous invocation; it waits while throttled. AWS would run a failed one twice more, we do not."""
        while not self._stopping.is_set():
            try:
                done = self.invoke(arn, payload, client_context=client_context, request_id=request_id)
            except NotSimulated as lacking:
                log.warning("asynchronous invocation %s of %s failed: %s", request_id, arn, lacking)
                return
            except NoSuchFunction:
                return  # deleted meanwhile
            except Refused:
                function = self._there(FunctionName.parse(arn, DEFAULT_REGION))
                if function is not None and function.reserved == 0:
                    log.warning("asynchronous invocation %s of %s failed: reserved concurrency 0", request_id, arn)
                    return
                self._stopping.wait(0.2)
                continue
            if done.function_error:
                log.warning("asynchronous invocation %s of %s failed: %s", request_id, arn, done.payload[:500])
            return

    def _run(self, function: _Function, task: Task) -> Invocation:
        while True:
            generation, worker, stream = self._take(function)
            try:
                outcome = worker.run(task)
            except WorkerGone:
                worker.kill()
                continue
            break
        if outcome.kind in ("response", "error"):
            with self._guard:
                current = generation == function.generation and not function.deleted
                if current:
                    function.idle.append((generation, worker, stream))
            if not current:
                worker.kill()
        done = settle(task, outcome, function.memory)
        if not function.deleted:
            self.journal.add(function.name, function.role, stream, done.log)
        return done

    def _take(self, function: _Function) -> tuple[int, Worker, str]:
        with self._guard:
            while function.idle:
                # The one used last, so that the others grow old and end.
                generation, worker, stream = function.idle.pop()
                if worker.alive:
                    return generation, worker, stream
            generation = function.generation
            configuration, code = dict(function.configuration), function.code
        if self._stopping.is_set():
            raise NoSuchFunction(function.name.arn)
        stream = f"{datetime.datetime.now(datetime.timezone.utc):%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"
        environment = self._environment(function.name, configuration, code, stream)
        worker = Worker([sys.executable, "-u", "-s", *self._client], environment, code)
        return generation, worker, stream

    def _environment(
        self, name: FunctionName, configuration: Mapping[str, Any], code: Path, stream: str
    ) -> dict[str, str]:
        """The whole environment of the process; it gets no other variable of the user's."""
        given = (configuration.get("Environment") or {}).get("Variables") or {}
        environment = {
            key: str(value)
            for key, value in given.items()
            # These would lead the SDK out of the sandbox, or to the user's files.
            if not key.startswith("AWS_ENDPOINT_URL") and key not in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
        }
        scratch = Path(tempfile.mkdtemp(prefix="tmp-", dir=self._folder))
        environment.update(
            AWS_LAMBDA_FUNCTION_NAME=name.name,
            AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(configuration.get("MemorySize") or DEFAULT_MEMORY),
            AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
            AWS_LAMBDA_INITIALIZATION_TYPE="on-demand",
            AWS_LAMBDA_LOG_GROUP_NAME=f"/aws/lambda/{name.name}",
            AWS_LAMBDA_LOG_STREAM_NAME=stream,
            AWS_REGION=name.region,
            AWS_DEFAULT_REGION=name.region,
            AWS_EXECUTION_ENV=f"AWS_Lambda_{configuration.get('Runtime', 'python')}",
            AWS_ENDPOINT_URL=self._endpoint(),
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_EC2_METADATA_DISABLED="true",
            LAMBDA_TASK_ROOT=str(code),
            _HANDLER=str(configuration.get("Handler", "")),
            HOME=str(scratch),
            TMPDIR=str(scratch),
            PATH=SYSTEM_FOLDERS,
        )
        if sys.platform == "win32":
            environment["USERPROFILE"] = str(scratch)
        environment.setdefault("TZ", "UTC" if sys.platform == "win32" else ":UTC")
        environment.setdefault("LANG", "en_US.UTF-8")
        # For Python's own streams, whatever locales this system has.
        environment.setdefault("PYTHONIOENCODING", "utf-8")
        # An interpreter that was built elsewhere may need these to find its libraries.
        for inherited in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"):
            if inherited in os.environ:
                environment.setdefault(inherited, os.environ[inherited])
        if site.ENABLE_USER_SITE:
            # boto3 may be installed there (pip install --user), and HOME is another folder now.
            environment.setdefault("PYTHONPATH", site.getusersitepackages())
        try:
            session = self._backend.assume_role(str(configuration.get("Role", "")), name.name, region=name.region)
        except BackendError as error:
            # The function's role was deleted; its calls will be refused, as on AWS.
            log.warning("no credentials for %s: %s", name.arn, error)
        else:
            environment.update(
                AWS_ACCESS_KEY_ID=session.access_key,
                AWS_SECRET_ACCESS_KEY=session.secret_key,
                AWS_SESSION_TOKEN=session.session_token or "",
            )
        return environment

    def _reap(self) -> None:
        while not self._stopping.wait(5):
            oldest = time.monotonic() - IDLE_SECONDS
            with self._guard:
                expired = []
                for function in self._shelf.values():
                    expired += [entry[1] for entry in function.idle if entry[1].idle_since < oldest]
                    function.idle = [entry for entry in function.idle if entry[1].idle_since >= oldest]
            for worker in expired:
                worker.kill()


def named(operation: Operation) -> FunctionName:
    """The function of a call, with the qualifier from its name or from its own parameter."""
    name = FunctionName.parse(operation.text("FunctionName"), operation.region)
    qualifier = operation.text("Qualifier")
    if qualifier and name.qualifier not in (None, qualifier):
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return replace(name, qualifier=qualifier or name.qualifier)


def throttled(function: _Function) -> Refused:
    limit = "ConcurrentInvocationLimitExceeded"
    reason = limit if function.reserved is None else f"ReservedFunction{limit}"
    return Refused(429, "TooManyRequestsException", "Rate Exceeded.", Reason=reason)


# How an invocation ends


def settle(task: Task, outcome: Outcome, memory: int) -> Invocation:
    """The answer and the log of one invocation, as AWS writes them."""
    request_id = task.request_id
    lines = f"START RequestId: {request_id} Version: $LATEST\n{outcome.log}"
    error: str | None = "Unhandled"
    if outcome.kind == "response":
        error, payload = None, outcome.body
        if len(payload) > LARGEST_RESPONSE:
            error = "Unhandled"
            payload = describe(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({LARGEST_RESPONSE} bytes).",
            )
    elif outcome.kind == "error":
        payload = outcome.body
    elif outcome.kind == "init-error":
        # The bootstrap did not know which invocation would get this error.
        payload = json.dumps({**json.loads(outcome.body), "requestId": request_id}).encode()
    elif outcome.kind == "timeout":
        moment = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        said = f"Task timed out after {task.timeout:.2f} seconds"
        lines += f"{moment.replace('+00:00', 'Z')} {request_id} {said}\n\n"
        payload = describe("Sandbox.Timedout", f"RequestId: {request_id} Error: {said}")
    else:
        ended = outcome.body.decode()
        said = (
            "Runtime exited without providing a reason"
            if ended == "exit status 0"
            else f"Runtime exited with error: {ended}"
        )
        lines += f"RequestId: {request_id} Error: {said}\nRuntime.ExitError\n"
        payload = describe("Runtime.ExitError", f"RequestId: {request_id} Error: {said}")
    lines += f"END RequestId: {request_id}\n{report(request_id, outcome, memory)}\n"
    return Invocation(200, payload, error, lines, request_id)


def describe(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()


def report(request_id: str, outcome: Outcome, memory: int) -> str:
    duration = outcome.duration * 1000
    init = (outcome.init_duration or 0) * 1000
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration:.2f} ms",
        # Since August 2025 the first invocation also pays for the init phase (Lambda pricing).
        f"Billed Duration: {-int(-(duration + init) // 1)} ms",
        f"Memory Size: {memory} MB",
    ]
    if outcome.memory:
        fields.append(f"Max Memory Used: {outcome.memory} MB")
    if outcome.init_duration is not None:
        fields.append(f"Init Duration: {init:.2f} ms")
    if outcome.kind in ("timeout", "exit", "init-error"):
        fields.append(f"Status: {'timeout' if outcome.kind == 'timeout' else 'error'}")
    return "\t".join(fields) + "\t"
