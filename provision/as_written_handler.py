"""The walkthrough's own handler, defects included, for `--as-written`; deployed as lambda_function.py.

It answers direct events just as the code that the walkthrough has you paste: the same operations, the
same results, the same failures.  Compare it with lambda_function.py, which is deployed otherwise.
What it lacks:

- Any idea of SQS (erratum 11).  A batch from the queue has "Records" and no "operation", so the first
  line fails with KeyError: 'operation'.  Lambda then puts the whole batch back, and tries again and
  again until the messages expire or, where there is one, go to a dead-letter queue.
- Any check of what it was given (erratum 21).  A table operation without tableName is a NameError, one
  without payload a TypeError.  A number with a fraction is a TypeError from boto3, which takes no
  float.
- Any check of the table (part of erratum 6).  Whatever tableName says is used, as far as the role goes.

Erratum 22: the walkthrough begins with an import that made Python 2 print like Python 3.  Python 3
ignores it, so it is left out here; the line printed at a cold start remains.

Written for Python 3.9 as well, the runtime that the walkthrough chooses.
"""

from __future__ import annotations

from typing import Any

import boto3

print("Handler as written: cold start")


def lambda_handler(event: dict[str, Any], context: object) -> Any:
    """Carry out event["operation"] with event["payload"], on the table event["tableName"] if there is one."""
    operation = event["operation"]
    payload: Any = event.get("payload")
    if "tableName" in event:
        table = boto3.resource("dynamodb").Table(event["tableName"])

    def on_table() -> Any:
        # Without tableName nobody has set `table`; that is the NameError.
        if operation == "create":
            return table.put_item(**payload)
        if operation == "read":
            return table.get_item(**payload)
        if operation == "delete":
            return table.delete_item(**payload)
        return table.scan(**payload)

    if operation in ("create", "read", "delete", "list"):
        return on_table()
    if operation == "echo":
        return payload
    if operation == "ping":
        return "pong"
    raise ValueError(f"There is no operation {operation!r}")
