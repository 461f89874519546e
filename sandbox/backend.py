"""How our own layers call moto: through its WSGI application, inside this process.

moto is reached only through ``moto.server.DomainDispatcherApplication`` and ``moto.server.create_backend_app``,
which it exports; nothing in it is patched. Its dispatcher reads the service from the credential scope of the
Authorization header (access key/date/Region/service/aws4_request) and never checks the signature. So a header with
the right scope is all that a call needs.

moto's state belongs to the process, not to the application: two backends in one process share it.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import urllib.parse
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar
from xml.etree import ElementTree

from werkzeug.wrappers import Request, Response

from sandbox.protocol.operations import FORM, Operation, environ_again, operation_of
from sandbox.protocol.refusals import words_of
from sandbox.protocol.scope import DEFAULT_REGION, MODULES, Scope, environ_of, last, signed
from sandbox.sqs.messages import Messages
from sandbox.sqs.sqs import Sqs

T = TypeVar("T")

JSON_TARGETS = {
    "sqs": ("AmazonSQS", "application/x-amz-json-1.0"),
    "logs": ("Logs_20140328", "application/x-amz-json-1.1"),
    "dynamodb": ("DynamoDB_20120810", "application/x-amz-json-1.0"),
}

IDENTITY = re.compile(r"arn:[\w-]+:iam::\d{12}:(role|user)/.+")

ISSUED = re.compile(rb"<AccessKeyId>\s*(\w+)")
SECRET = re.compile(rb"<SecretAccessKey>\s*([^<\s]+)")

READS_IAM = re.compile(rb"(?:^|&)Action=(?:Get|List|Simulate)")

QUERY_VERSIONS = {"iam": "2010-05-08", "sts": "2011-06-15", "sqs": "2012-11-05"}


class Answer(NamedTuple):
    """What moto answered."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body) if self.body.strip() else {}


class Credentials(NamedTuple):
    """Access key, secret and session token, as STS issues them; moto knows the account by the access key."""

    access_key: str = "sandbox"
    secret_key: str = "sandbox"
    session_token: str | None = None


class BackendError(Exception):
    """moto refused a call that one of our layers made; ``code`` is AWS's, empty if it cannot be read."""

    def __init__(self, service: str, action: str, answer: Answer) -> None:
        super().__init__(f"{service}:{action} was answered {answer.status}: {answer.body[:500]!r}")
        said = words_of(answer.status, answer.body)
        self.code = said.code if said else ""
        self.status = answer.status


class MotoFailed(Exception):
    """moto broke on a request: it assumes some things that a client may leave out or get wrong."""


MANAGED_POLICIES = "MOTO_IAM_LOAD_MANAGED_POLICIES"


class Backend:
    """moto: ``call`` sends it our own requests, ``forward`` the client's.

    Calls to one service wait for one another: moto does not guard its state (a conditional put reads, then writes).
    Python's own lock would not let them overlap anyway.
    """

    def __init__(self, *, one_lock: bool = False) -> None:
        """``one_lock``: calls to all services wait for one another, as a sandbox with a journal needs."""
        self._common = threading.RLock() if one_lock else None
        self.random = random.Random()
        # When a session was issued (ISO 8601), by its access key; moto does not tell.
        self.issued: dict[str, str] = {}
        # The secret access keys that IAM and STS gave away, by their ids.
        self.secrets: dict[str, str] = {}
        self._number: int | None = None
        self._awake: set[tuple[str, str]] = set()
        self._dispatcher: Any = None
        self._create_app: Any = None
        self._apps: dict[str, Any] = {}
        self._apps_guard = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}
        self._locks_guard = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        # Counts the requests that may have changed a service: what was read from it is kept until the next one.
        self._writes: Counter[str] = Counter()
        self._kept: dict[tuple[str, ...], tuple[int, Any]] = {}
        self._sqs = Sqs(self._ask_sqs, self.lock("sqs"), self._announce, self.role_id)

    def open(self) -> None:
        """Import moto, which takes about a second, and remove what an earlier sandbox of this process left in it."""
        # Older versions read the API models through boto3 clients, which would look for credentials off this machine.
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        # Late: it takes most of a second, and the port is known to be free by then.
        from moto.server import (  # type: ignore[attr-defined]
            DomainDispatcherApplication,
            create_backend_app,
        )

        self._dispatcher = DomainDispatcherApplication(create_backend_app)
        self._create_app = create_backend_app
        answer = self.call("moto-api", "POST", "/moto-api/reset")
        if not answer.ok:
            raise BackendError("moto-api", "reset", answer)
        self._read_managed_policies()

    def _read_managed_policies(self) -> None:
        """AWS's managed policies, which moto reads if this variable is set when it first makes IAM.

        Making the application reads those of the partition `aws`. The variable is unset before the first request, which
        makes IAM for every other partition: to read all their policies would take a second.
        """
        before = os.environ.get(MANAGED_POLICIES)
        os.environ[MANAGED_POLICIES] = "true"
        try:
            self._apps["iam"] = self._create_app(MODULES["iam"])
        finally:
            if before is None:
                del os.environ[MANAGED_POLICIES]
            else:
                os.environ[MANAGED_POLICIES] = before

    # Calls

    def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        region: str = DEFAULT_REGION,
        credentials: Credentials | None = None,
    ) -> Answer:
        """One request to moto. ``path`` is unquoted; the credentials decide the account (default: ACCOUNT)."""
        signer = credentials or Credentials()
        sent = {
            "Host": f"{service}.{region}.amazonaws.com",
            "Authorization": signed(Scope(signer.access_key, region, service)),
            "X-Amz-Date": "20260101T000000Z",
        }
        if signer.session_token:
            sent["X-Amz-Security-Token"] = signer.session_token
        uri = urllib.parse.quote(path) + (f"?{query}" if query else "")
        environ = environ_of(method, uri, {**sent, **(headers or {})}.items(), body)
        if service == "sqs":
            operation = operation_of(Request(environ))
            assert operation is not None
            response = self._sqs.serve(operation)
        else:
            response = self._serve(environ, service, changes=method != "GET" and not READS_IAM.search(body))
        return Answer(response.status_code, response.get_data())

    def forward(self, operation: Operation) -> Response:
        """The client's request, unchanged, and moto's response, unchanged."""
        if operation.service == "sqs":
            return self._sqs.serve(operation)
        changes = operation.method != "GET" and not READS_IAM.search(operation.body)
        response = self._serve(environ_again(operation), operation.service, changes=changes)
        if operation.called == "iam DeleteAccessKey" and response.status_code < 300:
            self.secrets.pop(operation.text("AccessKeyId"), None)
        return response

    def kept(self, service: str, *key: str, read: Callable[[], T]) -> T:
        """What ``read`` returns; it is called again only after a write to the service."""
        place, writes = (service, *key), self._writes[service]
        known = self._kept.get(place)
        if known is None or known[0] != writes:
            known = self._kept[place] = (writes, read())
        found: T = known[1]
        return found

    def listen_for_messages(self, listener: Callable[[], None]) -> None:
        """Call the listener, in the sender's thread, after each SQS request that may have sent a message."""
        self._listeners.append(listener)

    # Shorthands for the protocols that our layers need

    def json(
        self,
        service: str,
        action: str,
        parameters: Mapping[str, Any],
        *,
        region: str = DEFAULT_REGION,
        credentials: Credentials | None = None,
    ) -> dict[str, Any]:
        """A call in the JSON protocol (SQS, Logs, DynamoDB). Raises BackendError, as those below do."""
        target, content_type = JSON_TARGETS[service]
        answer = self.call(
            service,
            "POST",
            "/",
            headers={"Content-Type": content_type, "X-Amz-Target": f"{target}.{action}"},
            body=json.dumps(parameters).encode(),
            region=region,
            credentials=credentials,
        )
        if not answer.ok:
            raise BackendError(service, action, answer)
        decoded: dict[str, Any] = answer.json()
        return decoded

    def of_queue(self, action: str, arn: str, **parameters: Any) -> dict[str, Any]:
        """A call about the queue with this ARN."""
        _, _, _, region, account, name = arn.split(":")
        # moto reads only the last parts of a queue's URL.
        url = f"http://sqs.{region}.amazonaws.com/{account}/{name}"
        return self.json("sqs", action, {"QueueUrl": url, **parameters}, region=region)

    def query(
        self,
        service: str,
        action: str,
        parameters: Mapping[str, str],
        *,
        region: str = DEFAULT_REGION,
        credentials: Credentials | None = None,
    ) -> bytes:
        """A call in the query protocol (IAM, STS); the answer is XML."""
        form = {"Action": action, "Version": QUERY_VERSIONS[service], **parameters}
        answer = self.call(
            service,
            "POST",
            "/",
            headers={"Content-Type": f"{FORM}; charset=utf-8"},
            body=urllib.parse.urlencode(form).encode(),
            region=region,
            credentials=credentials,
        )
        if not answer.ok:
            raise BackendError(service, action, answer)
        return answer.body

    def assume_role(self, role_arn: str, session_name: str, *, region: str = DEFAULT_REGION) -> Credentials:
        """Credentials for a role, as AWS gives them to a Lambda function."""
        asked = {"RoleArn": role_arn, "RoleSessionName": session_name}
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        tree = ElementTree.fromstring(self.query("sts", "AssumeRole", asked, region=region))
        return Credentials(*(next(iter(texts(tree, name)), "").strip() for name in names))

    def iam(self, action: str, element: str, parameters: Mapping[str, str]) -> list[str]:
        """The texts of an element in IAM's answer; none if IAM has no such entity."""
        try:
            return texts(ElementTree.fromstring(self.query("iam", action, parameters)), element)
        except BackendError as error:
            if error.status != 404:
                raise
            return []

    def exists(self, arn: str) -> bool:
        """Whether there is a role or user with this ARN; False for any other ARN."""
        found = IDENTITY.fullmatch(arn)
        if found is None:
            return False
        kind = found[1].title()
        return self.iam(f"Get{kind}", "Arn", {f"{kind}Name": last(arn, "/")}) == [arn]

    def role_id(self, arn: str) -> str | None:
        """The unique id (AROA...) of the role that has this ARN now, or None."""

        def read() -> str | None:
            ids = self.iam("GetRole", "RoleId", {"RoleName": last(arn, "/")}) if self.exists(arn) else ()
            return next(iter(ids), None)

        return self.kept("iam", "id", arn, read=read)

    # Serving

    def _serve(self, environ: dict[str, Any], service: str, *, changes: bool) -> Response:
        with self.lock(service):
            response = self._serve_once(environ, service)
        if service in ("iam", "sts"):
            body = response.get_data()
            self.secrets |= zip(words_in(ISSUED, body), words_in(SECRET, body), strict=False)
        if service == "sts":
            now = datetime.now(timezone.utc).isoformat()
            self.issued |= dict.fromkeys(words_in(ISSUED, body), now)
        if changes:
            self._writes[service] += 1
        return response

    def _ask_sqs(self, environ: dict[str, Any], changes: bool) -> Response:
        response = self._serve_once(environ, "sqs")
        self._writes["sqs"] += changes
        return response

    def _serve_once(self, environ: dict[str, Any], service: str) -> Response:
        if self._number is not None and service != "moto-api":
            self._seed(environ)
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers]
            return lambda data: None

        try:
            answered: Iterable[bytes] = self._app_of(service, environ)(environ, start_response)
            try:
                body = b"".join(answered)
            finally:
                close = getattr(answered, "close", None)
                if close is not None:
                    close()
        except NotImplementedError:
            raise
        except Exception as error:
            raise MotoFailed(type(error).__name__) from error
        status, headers = started
        return Response(body, status=int(status.split(None, 1)[0]), headers=headers)

    def _app_of(self, service: str, environ: Mapping[str, Any]) -> Any:
        """moto's application for the service, made at its first call."""
        module = MODULES.get(service)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if module is None or (service == "dynamodb" and not target.startswith("DynamoDB_20120810.")):
            return self._dispatcher
        with self._apps_guard:
            if service not in self._apps:
                self._apps[service] = self._create_app(module)
            return self._apps[service]

    @property
    def messages(self) -> Messages:
        return self._sqs.messages

    def one_lock(self) -> threading.RLock:
        assert self._common is not None
        return self._common

    @contextmanager
    def ids_from(self, number: int) -> Iterator[None]:
        """Inside the block, the ids that moto and our layers make follow from the number and from the calls; no other
        call comes in between."""
        with self.one_lock():
            self.random.seed(number)
            self._number = number
            try:
                yield
            finally:
                self._number = None
                self.random.seed()

    def wake(self, service: str, region: str) -> None:
        """Read once from the service. moto makes its store for a Region at the first call, and for IAM an id for every
        managed policy: these must not be among the ids of a write."""
        if (service, region) in self._awake:
            return
        self._awake.add((service, region))
        if service in JSON_TARGETS:
            reads = {"sqs": "ListQueues", "logs": "DescribeLogGroups", "dynamodb": "ListTables"}
            self.json(service, reads[service], {}, region=region)
        elif service in QUERY_VERSIONS:
            self.query(service, "ListRoles" if service == "iam" else "GetCallerIdentity", {}, region=region)
        else:
            path = "/2015-03-31/functions" if service == "lambda" else "/restapis"
            self.call(service, "GET", path, region=region)

    def _seed(self, environ: Mapping[str, Any]) -> None:
        """Seed moto for this call. How many reads come before a write depends on what is kept from earlier ones."""
        asked = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["wsgi.input"].getvalue())
        seed = zlib.crc32(repr((self._number, *asked)).encode())
        answer = self.call("moto-api", "POST", "/moto-api/seed", query=f"a={seed}")
        if not answer.ok:
            raise BackendError("moto-api", "seed", answer)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def lock(self, service: str) -> threading.RLock:
        """Held while one call to the service is answered; whoever holds it is alone there."""
        if self._common is not None:
            return self._common
        with self._locks_guard:
            return self._locks.setdefault(service, threading.RLock())

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


def words_in(pattern: re.Pattern[bytes], body: bytes) -> list[str]:
    return [found.decode() for found in pattern.findall(body)]


def texts(tree: ElementTree.Element, name: str) -> list[str]:
    """The texts of all elements of this name, in any namespace."""
    return [node.text or "" for node in tree.iter() if last(node.tag, "}") == name]
