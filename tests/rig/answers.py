"""What comes back from AWS, or does not: a server that answers as told, and faults put into a run of the suite."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError

from provision.aws.answers import Call
from provision.aws.clients import Clients
from provision.state.state import State


@dataclass(frozen=True)
class Answer:
    """One answer on the wire. `cut` bytes are recorded in Content-Length and never sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


RESET = "the connection is reset after the request was read"
SILENCE = "the request was read and nothing is ever answered"


@dataclass(frozen=True)
class Asked:
    """One request that reached the server. `operation` is known for the protocols that name it in the request."""

    method: str
    path: str
    operation: str
    region: str
    body: bytes


class Server:
    """Answers on loopback what `respond` says: an Answer, RESET or SILENCE. `asked` is what reached it."""

    def __init__(self, respond: Callable[[Asked], Answer | str], port: int = 0) -> None:
        self.respond = respond
        self.asked: list[Asked] = []
        self._ended = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # the whole answer in one piece

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, self.path, operation_of(self.headers, body), region_of(self.headers), body)
                server.asked.append(asked)
                answer = server.respond(asked)
                if isinstance(answer, Answer):
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(len(answer.body) + answer.cut))
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body)
                    self.wfile.flush()
                    self.close_connection = bool(answer.cut)
                    return
                self.close_connection = True
                if answer == SILENCE:
                    server._ended.wait(10)
                else:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_any

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing on the screen."""

        return Handler


def operation_of(headers: Any, body: bytes) -> str:
    target = headers.get("X-Amz-Target", "")
    if target:
        return str(target).rpartition(".")[2]
    return parse_qs(body.decode("latin-1")).get("Action", [""])[0]


def region_of(headers: Any) -> str:
    """The Region of the credential scope: Credential=KEY/DATE/REGION/SERVICE/aws4_request."""
    scope = str(headers.get("Authorization", "")).partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 2 else ""


def in_turn(*answers: Answer | str) -> Callable[[Asked], Answer | str]:
    """The answers one after the other, the last one again and again."""
    queue: Iterator[Answer | str] = iter(answers)
    last = answers[-1]
    return lambda asked: next(queue, last)


def caller_identity(account: str = "123456789012", partition: str = "aws") -> Answer:
    """STS's answer to GetCallerIdentity."""
    return Answer(
        body=(
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>arn:{partition}:iam::{account}:user/bob</Arn><UserId>AIDAEXAMPLE</UserId>"
            f"<Account>{account}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        ).encode(),
        headers={"Content-Type": "text/xml"},
    )


def refusal(service: str, code: str, message: str, status: int = 400, **headers: str) -> Answer:
    """An error of AWS as it stands on the wire in the protocol of `service`."""
    if service in ("iam", "sts"):
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>req-1</RequestId></ErrorResponse>"
        )
        return Answer(status, body.encode(), {"Content-Type": "text/xml", **headers})
    if service == "sqs":  # the JSON protocol names the shape, and repeats the older code in a header
        shape = code.rpartition(".")[2]
        body = json.dumps({"__type": f"com.amazonaws.sqs#{shape}", "message": message})
        return Answer(status, body.encode(), {"x-amzn-query-error": f"{code};Sender", **headers})
    if service in ("dynamodb", "logs"):
        body = json.dumps({"__type": f"com.amazonaws.{service}#{code}", "message": message})
        return Answer(status, body.encode(), headers)
    body = json.dumps({"message": message})
    return Answer(status, body.encode(), {"x-amzn-ErrorType": code, **headers})


Decide = Callable[[Call], "Answer | str | None"]


class Faults:
    """Faults for the calls of one run, put on the clients by `deployment.prepare = faults.put_on`.

    Each `decide` is asked for each call as it is about to leave, until one has something to say: an Answer is given
    in AWS's place, LOSE lets AWS act and loses the answer, DROP loses the request; None lets the call pass.
    `served` are the calls that were troubled.
    """

    LOSE = "AWS acts, and its answer is lost"
    DROP = "the request is lost on its way"

    def __init__(self, *decide: Decide) -> None:
        self.decide = decide
        self.served: list[Call] = []

    def put_on(self, aws: Clients, state: State) -> None:
        for client in (aws.iam, aws.dynamodb, aws.sqs, aws.lambda_, aws.apigateway, aws.logs):
            client.meta.events.register_first("before-send.*.*", self._handler(aws, client))

    def _handler(self, aws: Clients, client: Any) -> Callable[..., AWSResponse | None]:
        def before_send(request: AWSPreparedRequest, **event: Any) -> AWSResponse | None:
            call = aws.calls.history[-1]
            decided = next((one for one in (decide(call) for decide in self.decide) if one is not None), None)
            if decided is None:
                return None
            self.served.append(call)
            if isinstance(decided, Answer):
                return AWSResponse(request.url, decided.status, decided.headers, Raw(decided.body))
            if decided == self.LOSE:
                client._endpoint.http_session.send(request)
            raise ConnectionClosedError(endpoint_url=request.url)

        return before_send


class Raw(io.BytesIO):
    """A body as urllib3 hands it to botocore."""

    def stream(self, **options: Any) -> Iterator[bytes]:
        while chunk := self.read(65536):
            yield chunk


def refuse(operation: str, *answers: Answer | None) -> Decide:
    """The first calls of one operation get these answers in turn, where None lets a call pass; later ones pass."""
    left = list(answers)
    return lambda call: left.pop(0) if call.operation == operation and left else None
