"""`--debug`: a log of what botocore and the suite do, without secrets; and what a text is without them."""

from __future__ import annotations

import datetime
import logging
import os
import re
from pathlib import Path

from provision.transcript import hidden_folder

FOLDER = "logs"  # beside the ledger
ROOM = logging.getLogger("provision")

# An access key's secret part has 40 characters, a session's token hundreds, of the letters of base64 or of a web token;
# a request's signature has 64 of hexadecimal digits.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
SECRETS = re.compile(
    r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"
    r"|[A-Za-z0-9/+=%_.-]{100,}"
    r"|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"
)
# Of a function's environment the names only, and of a session's token nothing, however short it is.
ENVIRONMENT = re.compile(r"""(["']Variables["']\s*:\s*\{)[^{}]*(\})""")
TOKEN = re.compile(r"""(x-amz-security-token["']?\s*[:=]\s*b?["']?)[^\s"',]+""", re.IGNORECASE)

VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_BEARER_TOKEN")


def without_secrets(text: str) -> str:
    """The text without the values of AWS's secret variables, and without whatever looks like one."""
    for name in VARIABLES:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, f"<{name}>")
    text = TOKEN.sub(r"\1<left out>", ENVIRONMENT.sub(r"\1<left out>\2", text))
    lines = text.splitlines(keepends=True)
    # A file's path can look like a secret, and there is none in it.
    return "".join(line if line.startswith('  File "') else SECRETS.sub("<left out>", line) for line in lines)


class WithoutSecrets(logging.Formatter):
    """Each line is looked through when it is whole: a secret may come from an argument or from a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def begin(beside: Path, program: str) -> Path:
    """Log everything from here on into a new file of the folder `logs` beside a ledger. Raises OSError."""
    folder = hidden_folder(beside / FOLDER)
    path = folder / f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%d-%H%M%S}-{os.getpid()}-{program}.log"
    path.touch(mode=0o600)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(WithoutSecrets("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("botocore.hooks").setLevel(logging.INFO)  # half of all lines, and none of them about AWS
    return path


def end() -> None:
    """Close the log, if there is one."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, WithoutSecrets)]:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(logging.WARNING)
