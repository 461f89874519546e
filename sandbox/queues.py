"""SQS: what moto's queues forget.

SetQueueAttributes changes the attributes that it names and leaves the others
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html); moto drops the
access policy whenever a call does not name it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sandbox.backend import Backend, BackendError
from sandbox.scope import region_of

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

SET_ATTRIBUTES = "AmazonSQS.SetQueueAttributes"


class Queues:
    """In front of moto's SQS; `handle` returns None for all that moto does right by itself."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handle(self, request: Request) -> Response | None:
        if request.headers.get("X-Amz-Target") != SET_ATTRIBUTES:
            return None
        try:
            asked = json.loads(request.get_data(cache=True))
            url, attributes = asked["QueueUrl"], dict(asked["Attributes"])
        except (ValueError, KeyError, TypeError):
            return None  # moto refuses it in SQS's words
        if "Policy" in attributes:
            return None
        policy = self._policy(url, region_of(request))
        if policy is None:
            return None
        return self._set(request, {**asked, "Attributes": {**attributes, "Policy": policy}})

    def _policy(self, url: str, region: str) -> str | None:
        try:
            answer = self._backend.sqs(
                "GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["Policy"]}, region=region
            )
        except BackendError:
            return None  # a queue that is not there; moto says so
        policy = (answer.get("Attributes") or {}).get("Policy")
        return str(policy) if policy else None

    def _set(self, request: Request, asked: dict[str, object]) -> Response:
        from werkzeug.wrappers import Response

        answer = self._backend.call(
            "sqs",
            "POST",
            "/",
            headers={"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": SET_ATTRIBUTES},
            body=json.dumps(asked).encode(),
            region=region_of(request),
        )
        return Response(answer.body, status=answer.status, headers=dict(answer.headers))
