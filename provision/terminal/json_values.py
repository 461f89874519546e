"""Values that JSON can hold, at most so long."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

from provision.terminal.redaction import unsigned

LONGEST_STRING = 4_000
LONGEST_LIST = 100


def plain(value: Any) -> Any:
    """A value of botocore's as JSON can hold it. Of bytes only their number and SHA-256 are kept."""
    if isinstance(value, Mapping):
        return {
            str(name): plain(member)
            for name, member in value.items()
            if name not in ("ResponseMetadata", "HTTPHeaders")
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(member) for member in value]
    if isinstance(value, (bytes, bytearray)):
        digest = hashlib.sha256(value).hexdigest()
        return {"bytes": len(value), "sha256": digest, **({"file": "function.zip"} if value[:2] == b"PK" else {})}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, str):
        return unsigned(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "read"):
        return {"stream": True}
    return str(value)


def bounded(value: Any) -> Any:
    """A plain value with long texts and lists cut; their last words say how much is left out."""
    if isinstance(value, dict):
        return {name: bounded(member) for name, member in value.items()}
    if isinstance(value, list):
        more = len(value) - LONGEST_LIST
        cut = [bounded(member) for member in value[:LONGEST_LIST]]
        return [*cut, f"... and {more} more"] if more > 0 else cut
    if isinstance(value, str) and len(value) > LONGEST_STRING:
        return f"{value[:LONGEST_STRING]}... ({len(value)} characters)"
    return value


def as_list(value: Any) -> list[Any]:
    """What may stand alone or in a list, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
