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
    r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"
    r"|[A-Za-z0-9/+=%_.-]{100,}"
    r"|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"
)
# The values of a function's environment and a session's token are left out however short they are.
ENVIRONMENT = re.compile(r"""(["']Variables["']\s*:\s*\{)[^{}]*(\})""")
TOKEN = re.compile(r"""(x-amz-security-token["']?\s*[:=]\s*b?["']?)[^\s"',]+""", re.IGNORECASE)
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
    text = TOKEN.sub(r"\1<left out>", ENVIRONMENT.sub(r"\1<left out>\2", text))
    lines = text.splitlines(keepends=True)
    # A file's path can look like a secret, and is none.
    return "".join(line if line.startswith('  File "') else SECRETS.sub("<left out>", line) for line in lines)


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


def named_only(variables: Mapping[str, Any]) -> dict[str, Any]:
    """A function's environment variables; only the suite's own have their value."""
    return {name: text if name in OPEN_VARIABLES else f"<{name}>" for name, text in variables.items()}
