"""Texts and values without secrets.

Anything may be in a log or a traceback, so whatever looks like a secret is left out of them. A transcript has requests
and answers of AWS, whose shape is known: there secrets are left out by their place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

# An access key's secret part has 40 characters, a session's token hundreds, of the letters of base64 or of a web token;
# a request's signature has 64 of hexadecimal digits.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
SECRETS = re.compile(
    r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"
    r"|(?<==)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    r"|[A-Za-z0-9/+=%_.-]{100,}"
    r"|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"
)
# The values of a function's environment are left out however short they are, and so is what has a secret's name.
ENVIRONMENT = re.compile(r"""\\*["']Variables\\*["']\s*:\s*\{""")
NAMED = re.compile(
    r"""((?:secret|passw(?:or)?d|token|api[-_]?key)[\w-]*\\*["']?(?:\s*[:=]{1,2}>?\s*|>)b?\\*["']?)"""
    r"""(?!<left out>)[^\s"',&<>}\\]+""",
    re.IGNORECASE,
)
SCHEME = re.compile(r"\b((?:Basic|Bearer)\s+)[A-Za-z0-9/+=_.~-]+")
IN_ADDRESS = re.compile(r"(?<=://)[^\s/@\"']+@")  # of a proxy, for example
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_BEARER_TOKEN")
# Whoever has a signed address may fetch what it names, for as long as it is valid.
# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
SIGNED = re.compile(r"\?\S*X-Amz-(?:Signature|Security-Token)=\S*")
# The variables of a function's environment that may be shown; every other one may be a secret.
OPEN_VARIABLES = frozenset({"TABLE_NAME"})


def without_secrets(text: str) -> str:
    """The text without the values of AWS's secret variables, and without whatever looks like one."""
    for name in VARIABLES:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, f"<{name}>")
    text = IN_ADDRESS.sub("<left out>@", SCHEME.sub(r"\1<left out>", without_variables(text)))
    text = NAMED.sub(r"\1<left out>", text)
    lines = text.splitlines(keepends=True)
    # A file's path can look like a secret, and is none.
    return "".join(line if line.startswith('  File "') else SECRETS.sub("<left out>", line) for line in lines)


def without_variables(text: str) -> str:
    """The text without the values of a function's environment, which may have braces and quotes in them.

    Where the end of an environment cannot be told, the rest of the text is left out.
    """
    kept, at = [], 0
    while found := ENVIRONMENT.search(text, at):
        kept.append(text[at : found.end()] + "<left out>")
        at = len(text) if "\\" in found[0] else end_of_object(text, found.end())
    return "".join([*kept, text[at:]])


def end_of_object(text: str, at: int) -> int:
    """Where the brace is that closes an object which is open at `at`; the end of the text where there is none."""
    depth, quote = 1, ""
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += {"{": 1, "}": -1}.get(letter, 0)
        if not depth:
            return at
        at += 1
    return at


def without_bodies(value: Any) -> Any:
    """An argument of a log's line without the body of a request or answer, whose shape a log does not know.

    A body has what people put into items, messages and functions. The transcript has calls and answers as values.
    """
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if not isinstance(value, dict):
        return value
    return {
        name: f"<{len(member or '')} long>"
        if name == "body" and isinstance(member, str | bytes | dict)
        else without_bodies(member)
        for name, member in value.items()
    }


def unsigned(text: str) -> str:
    """The text with the signature of each signed address left out."""
    return SIGNED.sub("?<signature>", text)


def without_strangers_secrets(value: Any) -> Any:
    """A plain value without the values of a function's environment: an adopted function may have secrets there."""
    if isinstance(value, list):
        return [without_strangers_secrets(member) for member in value]
    if not isinstance(value, dict):
        return value
    clean = {name: without_strangers_secrets(member) for name, member in value.items()}
    environment = clean.get("Environment")
    if isinstance(environment, dict) and isinstance(environment.get("Variables"), dict):
        environment["Variables"] = named_only(environment["Variables"])
    return clean


def without_key_values(value: Any) -> Any:
    """A plain answer of API Gateway about API keys, without their values."""
    if isinstance(value, list):
        return [without_key_values(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {name: "<left out>" if name == "value" else without_key_values(member) for name, member in value.items()}


def named_only(variables: Mapping[str, Any]) -> dict[str, Any]:
    """A function's environment variables; only the suite's own have their value."""
    return {name: text if name in OPEN_VARIABLES else f"<{name}>" for name, text in variables.items()}
