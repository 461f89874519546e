"""What a line of a transcript must have to be shown, and what a call must be to become a command or a script.

A transcript may come from anybody. Numbers are numbers, texts are texts, and service, operation and parameters are
those of botocore's API model, so nothing of a file is ever code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from provision.aws.call_text import is_file, operation_model
from provision.aws.operations import READS
from provision.state.resources import TYPES

LARGEST = 1e15  # of a number: beyond it a format or a clock gives up
FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def is_count(value: Any) -> bool:
    return is_number(value) and isinstance(value, int)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def nothing_or(check: Check) -> Check:
    return lambda value: value is None or check(value)


def has(**checks: Check) -> Check:
    """An object that has at least these fields."""
    return lambda value: isinstance(value, dict) and all(n in value and check(value[n]) for n, check in checks.items())


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def is_identity(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


def is_resource(value: Any) -> bool:
    """Whether it names a resource, as its type wants it. A newer version may know more types."""
    if not has(key=is_text, kind=is_text, identity=is_identity)(value):
        return False
    return value["kind"] not in TYPES or set(value["identity"]) == set(TYPES[value["kind"]].identity)


def is_entry(value: Any) -> bool:
    outputs = value.get("outputs", {}) if isinstance(value, dict) else None
    return is_resource(value) and is_identity(outputs)


def is_result(value: Any) -> bool:
    return is_resource(value) and has(outcome=is_text)(value)


FIELDS: dict[str, dict[str, Check]] = {
    "transcript": dict.fromkeys(("program", "started", "account", "region", "partition", "deployment"), is_text),
    "step": {"step": is_text},
    "call": {
        "number": is_count,
        "step": is_text,
        "service": is_text,
        "operation": is_text,
        "read": is_flag,
        "parameters": is_object,
        "answer": nothing_or(is_object),
        "error": nothing_or(has(code=is_text, message=is_text, status=nothing_or(is_count))),
        "seconds": is_number,
        "sent": is_count,
    },
    "wait": {
        "call": nothing_or(is_count),
        **dict.fromkeys(("reason", "means", "words"), is_text),
        **dict.fromkeys(("elapsed", "budget"), is_number),
    },
    "entry": {"entry": is_entry},
    "done": {"step": is_text, "happened": list_of(is_result)},
    "trial": {"title": is_text, "saw": is_text},
    "removed": {**dict.fromkeys(("word", "key", "kind", "remark"), is_text), "identity": is_identity},
    "hop": {
        **dict.fromkeys(("route", "place", "saw"), is_text),
        **dict.fromkeys(("after", "took"), nothing_or(is_number)),
        "source": nothing_or(is_text),
    },
    "ended": dict.fromkeys(("exit_code", "calls", "writes"), is_count),
}
# What a line may have besides; a file of an earlier version lacks it.
OPTIONAL: dict[str, dict[str, Check]] = {
    "transcript": {
        "endpoint": nothing_or(is_text),
        "learner": nothing_or(is_text),
        "runtime": nothing_or(is_text),
        "as_written": nothing_or(is_flag),
    },
    "call": {"key": nothing_or(is_text)},
    "wait": {"step": is_text},
    "ended": {"stop": nothing_or(has(what=is_text, means=is_text, advice=list_of(is_text)))},
}


def flaw_of_line(event: Mapping[str, Any]) -> str | None:
    """What is wrong with a line of a known type, in words; None when nothing is."""
    kind = event["type"]
    for name, check in FIELDS.get(kind, {}).items():
        if name not in event:
            return f"a line of the type {kind} has no {name}"
        if not check(event[name]):
            return f"the {name} of a line of the type {kind} is malformed"
    for name, check in OPTIONAL.get(kind, {}).items():
        if name in event and not check(event[name]):
            return f"the {name} of a line of the type {kind} is malformed"
    if kind == "removed" and not is_resource(event):
        return "the identity of a line of the type removed is malformed"
    return flaw_of_call(event) if kind == "call" else None


def flaw_of_call(call: Mapping[str, Any]) -> str | None:
    """Why it is no call that botocore knows, with parameters of these names and types; None when it is one."""
    from botocore.model import OperationNotFoundError  # it takes a tenth of a second to import

    service, operation, parameters = call["service"], call["operation"], call["parameters"]
    if service not in READS:
        return f"it has a call to {service!r}, which is no service of the walkthrough"
    try:
        shape = operation_model(service, operation).input_shape
    except OperationNotFoundError:
        return f"AWS knows no call {service} {operation!r}"
    members = shape.members if shape is not None else {}
    for name, value in parameters.items():
        if name not in members:
            return f"AWS knows no {name!r} of {service} {operation}"
        if not fits(members[name], value):
            return f"the {name} of a call {service} {operation} is malformed"
    return None


def fits(shape: Any, value: Any) -> bool:
    """Whether a recorded value is one of botocore's shape: the same names at every depth, and values of these types."""
    if shape.type_name == "structure":
        members = shape.members
        return isinstance(value, dict) and all(n in members and fits(members[n], one) for n, one in value.items())
    if shape.type_name == "map":
        return isinstance(value, dict) and all(fits(shape.value, one) for one in value.values())
    if shape.type_name == "list":
        return isinstance(value, list) and all(fits(shape.member, one) for one in value)
    if shape.type_name == "blob":
        return is_text(value) or is_bytes(value)
    if shape.type_name == "boolean":
        return is_flag(value)
    if shape.type_name in ("integer", "long", "float", "double"):
        return is_number(value) and math.isfinite(value)
    return is_text(value)


def is_bytes(value: Any) -> bool:
    """Whether it stands for bytes, and names a plain file or none."""
    if not is_file(value) or not set(value) <= {"bytes", "sha256", "file"} or not is_count(value["bytes"]):
        return False
    texts = value["sha256"], value.get("file", "file")
    return all(map(is_text, texts)) and bool(SHA256.fullmatch(texts[0]) and FILE.fullmatch(texts[1]))
