"""Which code a function runs: the suite's handler, the walkthrough's, Lambda's own example, or somebody's.

Two zips of one file are never the same bytes, so the code is fetched, once for each hash, and read. It is never run.
"""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Mapping
from typing import Any

from provision.aws.clients import Clients
from provision.aws.web import fetch_code
from provision.package import source
from provision.settings import Settings

EXPECTED = "the walkthrough's handler"
EXAMPLE = "Lambda's own example, Hello from Lambda!"
NO_BATCHES = "the walkthrough's own code, which knows no messages"
UNREADABLE = "no Python that can be read"

OPERATIONS = frozenset({"create", "read", "delete", "list", "echo", "ping"})

LONGEST_BYTES = 1_000_000  # of a handler that is read


def look_at_code(aws: Clients, settings: Settings, function: Mapping[str, Any]) -> str:
    """What the function runs, in words: EXPECTED where it is as good as the suite's handler.

    That holds for the same code, laid out and commented in any way, and for other code that knows the six operations
    and, where there is a trigger for it, messages. Raises UserError where it cannot be fetched.
    """
    name = function["FunctionName"]
    code = aws.lambda_.get_function(FunctionName=name)["Code"]
    package = fetch_code(aws, name, code.get("Location", ""), function["CodeSha256"])
    file = f"{settings.handler.rpartition('.')[0]}.py"
    text = file_in(package, file)
    if text is None:
        return f"a zip without {file} at its top"
    return judge(text, source(settings), knows_messages=not settings.as_written)


def file_in(package: bytes, name: str) -> bytes | None:
    """A file of a zip; None where it is not there, or too long to be a handler."""
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as opened:
            if opened.getinfo(name).file_size > LONGEST_BYTES:
                return None
            return opened.read(name)
    except (KeyError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return None


def judge(text: bytes, ours: bytes, *, knows_messages: bool) -> str:
    """What the handler's text is, in words."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return UNREADABLE
    if ast.dump(tree) == ast.dump(ast.parse(ours)):
        return EXPECTED
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    missing = OPERATIONS - texts
    if not missing:
        return EXPECTED if "Records" in texts or not knows_messages else NO_BATCHES
    if any("Hello from Lambda" in one for one in texts):
        return EXAMPLE
    return f"other code, which does not know {', '.join(sorted(missing))}"
