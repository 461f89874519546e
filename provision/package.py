"""The deployment package: lambda_function.py as the zip that Lambda takes, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from provision import BESIDE
from provision.settings import Settings

MODULE_IN_ZIP = "lambda_function.py"


def source(settings: Settings) -> bytes:
    """The handler's text."""
    return source_file(settings).read_bytes()


def source_file(settings: Settings) -> Path:
    """Where the handler is; with `--as-written` the one that behaves as the walkthrough's (errata 11 and 21)."""
    return BESIDE / ("provision/as_written_handler.py" if settings.as_written else "lambda_function.py")


def zipped(handler: bytes) -> bytes:
    """The zip with the handler in it: uncompressed and with a fixed date, so that equal sources give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        entry = zipfile.ZipInfo(MODULE_IN_ZIP, date_time=(1980, 1, 1, 0, 0, 0))
        entry.create_system = 3  # Unix, whatever this runs on: Lambda reads the file mode that goes with it
        entry.external_attr = 0o644 << 16
        package.writestr(entry, handler)
    return buffer.getvalue()


def code_sha256(package: bytes) -> str:
    """What Lambda calls CodeSha256: base64 of the SHA-256 of the zip.

    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html
    """
    return base64.b64encode(hashlib.sha256(package).digest()).decode()
