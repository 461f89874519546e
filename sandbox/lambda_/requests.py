"""What Lambda requires of a request, and its words when it refuses one."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from sandbox.protocol.operations import model, parse_json
from sandbox.protocol.refusals import NotSimulated, Refused

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LONGEST_NAME = 64
LONGEST_TIMEOUT = 900
LARGEST_ENVIRONMENT = 4096
ENVIRONMENT_NAME = re.compile(r"[a-zA-Z]([a-zA-Z0-9_])+")

# Lambda quotas page: 250 MB unpacked.
LARGEST_CODE = 262144000

# AWS has blocked these for years; the dates of later ones have moved more than once, so they are not listed.
BLOCKED_RUNTIMES = ("python2.7", "python3.6", "python3.7")

# Names a function may not set itself (Lambda guide, "Defined runtime environment variables").
RESERVED = frozenset({
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
})  # fmt: skip


# Settings that have no effect here: the ones are shown, the others refused.
SHOWN = ("DeadLetterConfig", "EphemeralStorage", "KMSKeyArn", "LoggingConfig", "TracingConfig")
NOT_HERE = ("CapacityProviderConfig", "DurableConfig", "FileSystemConfigs", "ImageConfig", "TenancyConfig")


class NoSuchFunction(Refused):
    """There is no function of this name in this Region."""

    def __init__(self, arn: str) -> None:
        super().__init__(404, "ResourceNotFoundException", f"Function not found: {arn}")


def invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValueException", message)


def conflict(message: str) -> Refused:
    return Refused(409, "ResourceConflictException", message)


def check_payload(payload: bytes) -> None:
    try:
        parse_json(payload or b"{}")
    except ValueError as error:
        said = f"Could not parse request body into json: {error}"
        raise Refused(400, "InvalidRequestContentException", said) from error


def decode_client_context(header: str | None) -> str | None:
    if not header:
        return None
    try:
        # It travels on in a header: one line, ASCII.
        return json.dumps(json.loads(base64.b64decode(header, validate=True).decode()))
    except (ValueError, binascii.Error) as error:
        said = "Client context must be a valid Base64-encoded JSON object."
        raise Refused(400, "InvalidRequestContentException", said) from error


def runtimes() -> tuple[str, ...]:
    """Every runtime that AWS ever had, from the API model that botocore ships."""
    return tuple(model("lambda")["shapes"]["Runtime"]["enum"])


def stored_principal(principal: Any) -> Any:
    """A principal as Lambda stores it; moto keeps an ARN or an account number as AddPermission gave it."""
    if not isinstance(principal, str) or principal == "*":
        return principal
    return {"AWS": f"arn:aws:iam::{principal}:root" if principal.isdigit() else principal}


def settings_kept(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a create or an update that moto forgets; None for one that is taken away."""
    given = {name: wanted[name] for name in SHOWN if wanted.get(name) is not None}
    return {name: None if value in ("", {}, {"TargetArn": ""}) else value for name, value in given.items()}


def check_revision(wanted: Mapping[str, Any]) -> None:
    """moto's functions show no RevisionId, so the one that a call gives is no function's latest."""
    if wanted.get("RevisionId"):
        raise Refused(
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id",
        )


def check_here(wanted: Mapping[str, Any]) -> None:
    for setting in NOT_HERE:
        if wanted.get(setting):
            raise NotSimulated(f"The sandbox has no {setting} of a function.")
    if ((wanted.get("SnapStart") or {}).get("ApplyOn") or "None") != "None":
        raise NotSimulated("The sandbox has no SnapStart.")


def check_configuration(wanted: Mapping[str, Any], *, creating: bool) -> None:
    check_here(wanted)
    runtime = wanted.get("Runtime")
    name = str(wanted.get("FunctionName") or "").rpartition(":")[2]
    if creating and len(name) > LONGEST_NAME:
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"have length less than or equal to {LONGEST_NAME}"
        )
    timeout = wanted.get("Timeout")
    if isinstance(timeout, int) and timeout > LONGEST_TIMEOUT:
        raise not_valid(f"Value '{timeout}' at 'timeout'", f"have value less than or equal to {LONGEST_TIMEOUT}")
    if creating and not (runtime and wanted.get("Handler")):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    if runtime is not None:
        if runtime in BLOCKED_RUNTIMES:
            raise invalid(
                f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
                "functions. We recommend you use a supported runtime while creating or updating functions."
            )
        if runtime not in runtimes():
            raise invalid(
                f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
                f"[{', '.join(runtimes())}] or be a valid ARN"
            )
    variables = (wanted.get("Environment") or {}).get("Variables") or {}
    if any(not ENVIRONMENT_NAME.fullmatch(name) for name in variables):
        raise not_valid(
            "Value at 'environment.variables'",
            f"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "
            f"{ENVIRONMENT_NAME.pattern}]",
        )
    measured = json.dumps(variables, separators=(",", ":"))
    if len(measured.encode()) > LARGEST_ENVIRONMENT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    reserved = [name for name in variables if name in RESERVED]
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
            f"in this request: {', '.join(reserved)}"
        )


def not_valid(what: str, constraint: str) -> Refused:
    """A limit that is narrower than the API model's, in the words of the model's constraints."""
    constraint = constraint if constraint.startswith("Map") else f"Member must {constraint}"
    said = f"1 validation error detected: {what} failed to satisfy constraint: {constraint}"
    return Refused(400, "ValidationException", said)


def read_archive(code: Mapping[str, Any]) -> zipfile.ZipFile:
    """The zip of a request, read to its last byte: a damaged one is refused before moto sees it."""
    if code.get("ImageUri") or code.get("S3Bucket"):
        raise NotSimulated("The sandbox takes a function's code as ZipFile only.")
    unreadable = "Could not unzip uploaded file. Please check your file, then try to upload again."
    try:
        archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(code.get("ZipFile") or "")))
        if not archive.infolist():
            raise invalid("Uploaded file must be a non-empty zip")
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_CODE:
            raise invalid(f"Unzipped size must be smaller than {LARGEST_CODE} bytes")
        if archive.testzip() is not None:
            raise invalid(unreadable)
    except (zipfile.BadZipFile, binascii.Error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise invalid(unreadable) from error
    return archive
