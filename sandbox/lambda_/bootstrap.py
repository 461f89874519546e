"""The client end of the Lambda Runtime API, run as a script in the function's own process.

It asks for an invocation, calls the handler, posts the result, and asks again
(docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). It shares its interpreter with the handler, so it imports only
the standard library and nothing of the sandbox. Error types and messages are those of AWS's own Python runtime.
"""

from __future__ import annotations

import decimal
import http.client
import importlib
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import Any

API = "/2018-06-01/runtime"

# The limit is MemorySize and this much more: thread stacks and malloc's arenas count as soon as they are mapped,
# whereas AWS counts the pages that are used.
ALLOWANCE = 64 * 1024 * 1024

# From this Python version on, AWS's runtime does not escape characters beyond ASCII.
PLAIN_UNICODE_FROM = (3, 12)


# The files whose frames precede the handler's in every traceback.
MACHINERY = (__file__, importlib.__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Fault(Exception):
    """A failure that the runtime itself names, before or after the handler runs."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace or []


class Context:
    """The handler's second argument."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = client_context(json.loads(headers["Lambda-Runtime-Client-Context"] or "null"))
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message: object) -> None:
        print(message)


def client_context(told: Any) -> SimpleNamespace | None:
    """An object as AWS's runtime makes it (docs.aws.amazon.com/lambda/latest/dg/python-context.html)."""
    if not isinstance(told, dict):
        return None
    client = told.get("client")
    named = (
        "installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name",
    )  # fmt: skip
    return SimpleNamespace(
        custom=told.get("custom"),
        env=told.get("env"),
        client=SimpleNamespace(**{name: client.get(name) for name in named}) if isinstance(client, dict) else None,
    )


class RuntimeApi:
    """One connection to the sandbox. When it breaks, the sandbox is gone, and this process ends."""

    def __init__(self) -> None:
        # HOST:PORT, and behind a slash what only this process is told.
        host, slash, token = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
        self._connection = http.client.HTTPConnection(host)
        self._before = f"{slash}{token}"

    def next(self) -> tuple[http.client.HTTPMessage, bytes]:
        return self._request("GET", f"{API}/invocation/next", None)

    def respond(self, request_id: str, body: bytes) -> None:
        self._request("POST", f"{API}/invocation/{request_id}/response", body)

    def fail(self, request_id: str, error: dict[str, Any]) -> None:
        self._post_error(f"{API}/invocation/{request_id}/error", error)

    def fail_init(self, error: dict[str, Any]) -> None:
        self._post_error(f"{API}/init/error", error)

    def _post_error(self, path: str, error: dict[str, Any]) -> None:
        body = json.dumps(error).encode()
        self._request("POST", path, body, {"Lambda-Runtime-Function-Error-Type": error["errorType"]})

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPMessage, bytes]:
        try:
            self._connection.request(method, f"{self._before}{path}", body, headers or {})
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            os._exit(0)
        return response.headers, answer


class LogFormatter(logging.Formatter):
    """``[LEVEL]  time  request id  message``, the form of a handler's logging calls in CloudWatch."""

    converter = staticmethod(time.gmtime)
    request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        record.aws_request_id = self.request_id
        return super().format(record)


class Encoder(json.JSONEncoder):
    """Writes a Decimal with every digit, which json cannot: as a marked string, whose quotes are removed afterwards."""

    def __init__(self) -> None:
        super().__init__(ensure_ascii=sys.version_info < PLAIN_UNICODE_FROM)
        self._mark = f"decimal-{os.urandom(16).hex()}:"
        self._marked = re.compile(f'"{self._mark}([^"]*)"')

    def default(self, o: Any) -> Any:
        if isinstance(o, decimal.Decimal):
            return float("nan") if o.is_nan() else f"{self._mark}{o}"
        return super().default(o)

    def marshal(self, result: Any) -> bytes:
        if isinstance(result, bytes):
            return result
        try:
            return self._marked.sub(r"\1", self.encode(result)).encode()
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def limit_memory() -> None:
    """Set MemorySize as a limit of the operating system, if it has such a limit.

    RLIMIT_DATA counts private writable mappings (Linux 4.7 and later): 46 MB after ``import boto3``, which fits AWS's
    smallest function. RLIMIT_AS would also count shared libraries and what malloc reserves and never uses, three times
    as much.
    """
    if sys.platform == "win32":
        return
    import resource

    wanted = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) * 1024 * 1024 + ALLOWANCE
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    except (OSError, ValueError):
        return  # the system has no such limit, or a lower one is set


def die_with_the_sandbox() -> None:
    """End this process when the sandbox ends, even if the handler is in an endless loop.

    Standard input is a pipe to which the sandbox never writes: when it closes, the sandbox is gone. The kernel's signal
    (O_ASYNC, see fcntl(2)) comes also while the handler holds the interpreter; the thread serves other systems.
    """
    lifeline = os.dup(0)
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())  # and what the handler has started
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def find_handler(name: str) -> Callable[[Any, Context], Any]:
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise Fault(
            "Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", message) from error
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from error
    try:
        found: Callable[[Any, Context], Any] = getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", message) from error
    return found


def describe(error: BaseException, request_id: str) -> dict[str, Any]:
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    else:
        kind, trace = type(error).__name__, handler_frames(error.__traceback__)
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def handler_frames(trace: TracebackType | None) -> list[str]:
    """The traceback from the handler's first frame on, without our frames and importlib's."""
    frames = list(traceback.extract_tb(trace))
    while frames and frames[0].filename in MACHINERY:
        del frames[0]
    return traceback.format_list(frames)


def log_error(error: dict[str, Any]) -> None:
    print(f"[ERROR] {error['errorType']}: {error['errorMessage']}")
    print("Traceback (most recent call last):")
    for entry in error["stackTrace"]:
        print(entry.rstrip("\n"))


def flush() -> None:
    """Flush the output: the sandbox reads the log when the result arrives."""
    sys.stdout.flush()
    sys.stderr.flush()


def main() -> None:
    limit_memory()
    die_with_the_sandbox()
    task_root = os.environ["LAMBDA_TASK_ROOT"]
    # Instead of this script's folder, so that the handler does not find the modules in it.
    sys.path[0] = task_root
    formatter = LogFormatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    to_log = logging.StreamHandler(sys.stdout)
    to_log.setFormatter(formatter)
    logging.getLogger().addHandler(to_log)

    api = RuntimeApi()
    encoder = Encoder()
    try:
        handler = find_handler(os.environ["_HANDLER"])
    except Exception as error:
        described = describe(error, "")
        log_error(described)
        flush()
        api.fail_init(described)
        sys.exit(1)

    while True:
        headers, body = api.next()
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        formatter.request_id = request_id
        os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"] or ""
        try:
            result = encoder.marshal(handler(json.loads(body), Context(headers)))
        except MemoryError:
            # On AWS the kernel kills the process, which cannot report the error either.
            flush()
            if sys.platform == "win32":
                os._exit(137)
            os.kill(os.getpid(), signal.SIGKILL)
        except Exception as error:
            described = describe(error, request_id)
            log_error(described)
            flush()
            api.fail(request_id, described)
        else:
            flush()
            api.respond(request_id, result)


if __name__ == "__main__":
    # The handler's module may be called anything, `__main__` and `bootstrap` included.
    main()
