"""The log lines of a function, written to CloudWatch Logs."""

from __future__ import annotations

import logging
import queue
import threading
import time

from sandbox.backend import Backend, BackendError
from sandbox.iam.permissions import Permissions
from sandbox.protocol.scope import FunctionName

log = logging.getLogger(__name__)


class Journal:
    """Writes the functions' logs to CloudWatch Logs, from one thread and a little late, as on AWS.

    The role's permissions count: without logs:CreateLogGroup there is no group, without logs:PutLogEvents there are no
    events (Lambda guide, "Sending Lambda function logs to CloudWatch Logs").
    """

    def __init__(self, backend: Backend, permissions: Permissions) -> None:
        self._backend = backend
        self._permissions = permissions
        self._waiting: queue.Queue[tuple[FunctionName, str, str, str, int] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write_all, name="lambda-logs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def add(self, name: FunctionName, role: str, stream: str, text: str) -> None:
        self._waiting.put((name, role, stream, text, int(time.time() * 1000)))

    def _write_all(self) -> None:
        while (entry := self._waiting.get()) is not None:
            try:
                self._write(*entry)
            except Exception:
                log.exception("a log could not be written")

    def _write(self, name: FunctionName, role: str, stream: str, text: str, moment: int) -> None:
        group = f"/aws/lambda/{name.name}"
        arn = f"arn:aws:logs:{name.region}:{name.account}:log-group:{group}"
        stream_arn = f"{arn}:log-stream:{stream}"
        if not self._permissions.allows(role, "logs:PutLogEvents", stream_arn):
            return
        # CloudWatch refuses an empty message.
        events = [{"timestamp": moment, "message": line} for line in text.split("\n") if line.strip()]
        put = {"logGroupName": group, "logStreamName": stream, "logEvents": events}
        try:
            self._backend.json("logs", "PutLogEvents", put, region=name.region)
        except BackendError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not self._prepare(name, role, arn, stream_arn, group, stream):
                return
            self._backend.json("logs", "PutLogEvents", put, region=name.region)

    def _prepare(self, name: FunctionName, role: str, arn: str, stream_arn: str, group: str, stream: str) -> bool:
        """Create the stream, and the group if the role may. False: the role may not, and the log is dropped."""
        if not self._permissions.allows(role, "logs:CreateLogStream", stream_arn):
            return False
        wanted = {"logGroupName": group, "logStreamName": stream}
        try:
            self._backend.json("logs", "CreateLogStream", wanted, region=name.region)
        except BackendError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not self._permissions.allows(role, "logs:CreateLogGroup", f"{arn}:*"):
                return False
            self._backend.json("logs", "CreateLogGroup", {"logGroupName": group}, region=name.region)
            self._backend.json("logs", "CreateLogStream", wanted, region=name.region)
        return True
