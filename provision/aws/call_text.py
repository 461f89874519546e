"""One call as `aws` command and as boto3: two of its three faces. The third, the console's, is in the step's page.

Both are made from the parameters of the recorded call and botocore's API model, by the AWS CLI's rules for names:
https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-types.html
"""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore import xform_name

from provision.terminal.shell import past_proxy
from provision.terminal.text import visible

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

NO_AWS = "The aws command is not installed here. To install it: pip install awscli"

WIDTH = 88  # of what is written on one line
CLIENTS = {"lambda": "lambda_"}  # lambda is a keyword of Python
NO_NAMES: Mapping[str, str] = {}


@functools.cache
def service_model(service: str) -> ServiceModel:
    import botocore.session  # it takes a fifth of a second to import

    model: ServiceModel = botocore.session.get_session().get_service_model(service)
    return model


@functools.cache
def operation_model(service: str, operation: str) -> OperationModel:
    """Raises botocore's OperationNotFoundError."""
    return service_model(service).operation_model(operation)


def is_file(value: Any) -> bool:
    """Whether a recorded value stands for bytes; see docs/transcript.md."""
    return isinstance(value, dict) and set(value) >= {"bytes", "sha256"}


def file_name(value: Mapping[str, Any], names: Mapping[str, str] = NO_NAMES) -> str:
    """The file that the bytes are read from, or their digest where `names` has a variable for it."""
    return str(value["sha256"] if value["sha256"] in names else value.get("file") or "file")


# As `aws` command.


def aws_command(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
) -> str:
    """The command line that makes the same call, for bash; an option a line where it is long.

    Bytes are read from the file that the transcript names. A blob of text is read from a file, too, as bash makes one
    of a command: version 2 of the CLI takes text as base64 and version 1 does not.
    """
    variables = [f"{name}={value}" for name, value in past_proxy(endpoint_url).items()]
    words = [*variables, "aws", service, xform_name(operation, "-")]
    options = [("--endpoint-url", endpoint_url), ("--region", region), ("--profile", profile)]
    lines = [f"{option} {shell_word(value)}" for option, value in options if value]
    lines += options_of(operation_model(service, operation), parameters)
    if (service, operation) == ("lambda", "Invoke"):
        lines.append("/dev/stdout")  # for the function's answer
    line = " ".join([*words, *lines])
    if len(line) <= WIDTH:
        return line
    return " \\\n    ".join([" ".join(words), *lines])


def options_of(
    model: OperationModel, parameters: Mapping[str, Any], names: Mapping[str, str] = NO_NAMES
) -> Iterator[str]:
    """Each parameter as an option, with each value of `names` as the variable of that name.

    {"s6djpopjlk": "API_ID"} has "$API_ID" wherever that value occurs. Bytes go by their SHA-256; their variable is the
    path of a file.
    """
    members = model.input_shape.members if model.input_shape is not None else {}
    for name, value in parameters.items():
        option = f"--{xform_name(name, '-')}"
        kind = members[name].type_name
        if name == "Code" and is_file(value.get("ZipFile")):  # lambda create-function has an option for it
            rest = {key: member for key, member in value.items() if key != "ZipFile"}
            if rest:
                yield f"{option} {shell_word(json.dumps(rest), names)}"
            yield f"--zip-file fileb://{shell_word(file_name(value['ZipFile'], names), names)}"
        elif is_file(value):
            yield f"{option} fileb://{shell_word(file_name(value, names), names)}"
        elif kind == "blob":
            yield f"{option} fileb://<(printf %s {shell_word(str(value), names)})"
        elif kind == "boolean":
            yield option if value else f"--no-{option.removeprefix('--')}"
        elif kind == "list" and value and all(is_plain_word(member) for member in value):
            yield " ".join([option, *(shell_word(member, names) for member in value)])
        elif kind in ("list", "map", "structure"):
            yield f"{option} {shell_word(json.dumps(value, ensure_ascii=False), names)}"
        else:
            word = shell_word(str(value), names)
            # A value that begins with a dash would look like an option.
            yield f"{option}={word}" if str(value).startswith("-") else f"{option} {word}"


def is_plain_word(value: Any) -> bool:
    return isinstance(value, str) and bool(re.match(r"[A-Za-z0-9_/.:]", value))


def shell_word(text: str, names: Mapping[str, str] = NO_NAMES) -> str:
    """The text as one word of a shell, with each value of `names` as the variable of that name."""
    parts = []
    for part, name in split(text, names):
        parts.append(f'"${name}"' if name else shlex.quote(part))
    return "".join(parts) or "''"


def split(text: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The text in parts: each value of `names` with its name, the rest with "". The longest value wins.

    A value counts only as a whole word: us-east-1 in an ARN is the Region, in a person's name it is not.
    """
    values = sorted((value for value in names if value), key=len, reverse=True)
    if not values:
        if text:
            yield text, ""
        return
    for part in re.split(rf"(?<![\w-])({'|'.join(map(re.escape, values))})(?![\w-])", text):
        if part:
            yield part, names.get(part, "")


# As boto3.


def boto3_lines(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """The call as a person writes it, a keyword argument a line."""
    method = f"{CLIENTS.get(service, service)}.{xform_name(operation)}"
    arguments = [f"{name}={literal(value, WIDTH - len(name) - 5)}" for name, value in parameters.items()]
    short = f"{method}({', '.join(arguments)})"
    if len(arguments) < 2 and "\n" not in short and len(short) <= WIDTH:
        return short
    return f"{method}(\n{''.join(map(on_its_own_line, arguments))})"


def literal(value: Any, room: float = math.inf) -> str:
    """A value as Python has it: on one line where that has no more than `room` columns."""
    if is_file(value):
        return f"Path({quoted(file_name(value))}).read_bytes()"
    if isinstance(value, str):
        document = json_document(value)
        return quoted(value) if document is None else f"json.dumps({literal(document, room)})"
    if not isinstance(value, (dict, list)):
        return repr(value)
    members = (
        [(f"{quoted(key)}: ", value[key]) for key in value] if isinstance(value, dict) else [("", one) for one in value]
    )
    begin, end = "{}" if isinstance(value, dict) else "[]"
    short = begin + ", ".join(name + literal(member) for name, member in members) + end
    if len(short) <= room:
        return short
    spread = [on_its_own_line(name + literal(member, WIDTH - 4 - len(name))) for name, member in members]
    return f"{begin}\n{''.join(spread)}{end}"


def on_its_own_line(code: str) -> str:
    """A member or an argument, four columns further in. No line of code stands inside a string here."""
    return "    " + code.replace("\n", "\n    ") + ",\n"


def json_document(value: str) -> dict[str, Any] | None:
    """The JSON object that a text is, where json.dumps would give the very same text again."""
    if not value.startswith("{"):
        return None
    try:
        document: dict[str, Any] = json.loads(value)
    except ValueError:
        return None
    return document if json.dumps(document) == value else None


def quoted(value: str) -> str:
    """In double quotes. JSON's escapes are Python's, too; what cannot be encoded is escaped in Python's way.

    So is what would let the code read otherwise than it runs.
    """
    return visible(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
