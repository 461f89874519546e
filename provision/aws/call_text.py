"""One call as `aws` command and as boto3: two of its three faces. The third, the console's, stands in the step's page.

Both are made from the parameters of the recorded call and botocore's API model, by the AWS CLI's own rules for names:
https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-types.html
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel

WIDTH = 88  # of what is written on one line
CLIENTS = {"lambda": "lambda_"}  # lambda is a word of Python's own

NO_NAMES: Mapping[str, str] = {}


@functools.cache
def operation_model(service: str, operation: str) -> OperationModel:
    session = botocore.session.get_session()
    return session.get_service_model(service).operation_model(operation)


def is_file(value: Any) -> bool:
    """Whether a recorded value stands for bytes; see docs/transcript.md."""
    return isinstance(value, dict) and set(value) >= {"bytes", "sha256"}


def file_name(value: Mapping[str, Any], names: Mapping[str, str] = NO_NAMES) -> str:
    """Where the bytes are read from; the digest itself where `names` has a variable for it."""
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
    names: Mapping[str, str] = NO_NAMES,
    query: str | None = None,
) -> str:
    """The command line that makes the same call, for bash; an option a line where it is long.

    `names` says which values are to be variables: {"s6djpopjlk": "API_ID"} has "$API_ID" wherever that value occurs.
    Bytes go by their SHA-256; the variable is the path of a file here, and the bytes themselves in boto3.
    `query` is a JMESPath into the answer, which is then printed as text.

    Bytes are read from the file that the transcript names. Version 2 of the CLI would take what is written for a blob
    as base64 and version 1 would not, so a blob of text goes through a file, too, in the way of bash.
    """
    words = ["aws", service, xform_name(operation, "-")]
    options = [("--endpoint-url", endpoint_url), ("--region", region), ("--profile", profile)]
    lines = [f"{option} {shell_word(value, names)}" for option, value in options if value]
    lines += options_of(operation_model(service, operation), parameters, names)
    if (service, operation) == ("lambda", "Invoke"):
        lines.append("/dev/stdout")  # where the function's answer goes
    if query is not None:
        lines.append(f"--query {query_word(query, names)} --output text")
    line = " ".join([*words, *lines])
    if len(line) <= WIDTH:
        return line
    return " \\\n    ".join([" ".join(words), *lines])


def options_of(model: OperationModel, parameters: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    members = model.input_shape.members if model.input_shape is not None else {}
    for name, value in parameters.items():
        option = f"--{xform_name(name, '-')}"
        kind = members[name].type_name
        if name == "Code" and is_file(value.get("ZipFile")):  # lambda create-function has an option of its own
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
            # A value that begins with a dash would be taken for an option.
            yield f"{option}={word}" if str(value).startswith("-") else f"{option} {word}"


def is_plain_word(value: Any) -> bool:
    return isinstance(value, str) and bool(re.match(r"[A-Za-z0-9_/.:]", value))


def shell_word(text: str, names: Mapping[str, str] = NO_NAMES) -> str:
    """The text as one word of a shell, with each value of `names` as the variable of that name."""
    parts = []
    for part, name in split(text, names):
        parts.append(f'"${name}"' if name else shlex.quote(part))
    return "".join(parts) or "''"


def query_word(query: str, names: Mapping[str, str] = NO_NAMES) -> str:
    """A JMESPath as one word of a shell. Its own quotes are single ones as a rule, so it stands in double ones."""
    if "'" not in query:
        return shell_word(query, names)
    parts = [f"${{{name}}}" if name else re.sub(r'([\\$`"])', r"\\\1", part) for part, name in split(query, names)]
    return f'"{"".join(parts)}"'


def split(text: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The text in parts: what stands as it is, with "", and each value of `names`, with its name. The longest first.

    A value counts only where it stands by itself: us-east-1 in an ARN is the Region, and in a person's name it is not.
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


def boto3_lines(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    client: str | None = None,
    names: Mapping[str, str] = NO_NAMES,
) -> str:
    """The call as a person writes it, a keyword argument a line; `names` as for `aws_command`, in lower case."""
    method = f"{client or CLIENTS.get(service, service)}.{xform_name(operation)}"
    if not parameters:
        return f"{method}()"
    arguments = [f"{name}={literal(value, names, len(name) + 5)}" for name, value in parameters.items()]
    if len(arguments) == 1 and "\n" not in arguments[0] and len(method) + len(arguments[0]) + 2 <= WIDTH:
        return f"{method}({arguments[0]})"
    lines = "".join(f"    {indented(argument)},\n" for argument in arguments)
    return f"{method}(\n{lines})"


def literal(value: Any, names: Mapping[str, str] = NO_NAMES, taken: int = 0) -> str:
    """A value as Python has it: on one line where it fits, `taken` columns being used already."""
    short = on_one_line(value, names)
    if len(short) + taken <= WIDTH:
        return short
    if isinstance(value, str):
        document = json_document(value)
        return short if document is None else f"json.dumps({literal(document, names, taken)})"
    if isinstance(value, dict) and not is_file(value):
        members = [f"{text(key, names)}: {literal(member, names, len(key) + 8)}" for key, member in value.items()]
        return "{\n" + "".join(f"    {indented(member)},\n" for member in members) + "}"
    if isinstance(value, list):
        members = [literal(member, names, 4) for member in value]
        return "[\n" + "".join(f"    {indented(member)},\n" for member in members) + "]"
    return short


def on_one_line(value: Any, names: Mapping[str, str]) -> str:
    if is_file(value):
        name = names.get(value["sha256"])
        return name.lower() if name else f'Path("{file_name(value)}").read_bytes()'
    if isinstance(value, str):
        document = json_document(value)
        return text(value, names) if document is None else f"json.dumps({on_one_line(document, names)})"
    if isinstance(value, dict):
        members = ", ".join(f"{text(key, names)}: {on_one_line(member, names)}" for key, member in value.items())
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{', '.join(on_one_line(member, names) for member in value)}]"
    return repr(value)


def indented(code: str) -> str:
    """Four columns further in, but for the first line. No line of code stands inside a string here."""
    return code.replace("\n", "\n    ")


def json_document(value: str) -> dict[str, Any] | None:
    """The JSON object that a text is, where json.dumps would give the very same text again."""
    if not value.startswith("{"):
        return None
    try:
        document: dict[str, Any] = json.loads(value)
    except ValueError:
        return None
    return document if json.dumps(document) == value else None


def text(value: str, names: Mapping[str, str]) -> str:
    """A string of Python, an f-string where a variable stands in it."""
    parts = list(split(value, names))
    if len(parts) == 1 and parts[0][1]:
        return parts[0][1].lower()
    if not any(name for part, name in parts):
        return quoted(value)
    inner = "".join(
        f"{{{name.lower()}}}" if name else quoted(part)[1:-1].replace("{", "{{").replace("}", "}}")
        for part, name in parts
    )
    return f'f"{inner}"'


def quoted(value: str) -> str:
    """In double quotes. JSON's escapes are Python's, too; what cannot be encoded is escaped in Python's way."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
