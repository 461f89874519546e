"""HTTP/1.1 with keep-alive on loopback, for one WSGI application.

werkzeug's development server closes every connection, because http.server does not know how much of a body the
application left unread. Here the whole body is read before the application sees the request, so that the next
request begins where it should, and a client may keep its connection.
"""

from __future__ import annotations

import contextlib
import io
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from sandbox.protocol.scope import environ_of

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# CreateFunction may carry 50 MB of zip, a third more as base64 (Lambda quotas page); no other request comes near.
LARGEST_BODY = 72 * 1024 * 1024

# Seconds until an idle connection is closed; botocore's pool then opens a new one.
IDLE_CONNECTION = 60


class WireServer(socketserver.ThreadingTCPServer):
    """One thread per connection. ``stop`` also closes the connections that clients keep open."""

    # On Windows the option would let two programs listen on one port.
    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, application: Application, handler: type[WireHandler] | None = None
    ) -> None:
        self.application = application
        self._open: set[socket.socket] = set()
        self._open_guard = threading.Lock()
        super().__init__((host, port), handler or WireHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that leaves in the middle of an answer is not worth a traceback.
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._open_guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def server_close(self) -> None:
        # ThreadingMixIn would wait here for the handler threads, which are daemons with closed sockets.
        self.socket.close()


class WireHandler(BaseHTTPRequestHandler):
    server: WireServer
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = IDLE_CONNECTION
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Like the base class, but for every verb, and with the body read first."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
        except (TimeoutError, ConnectionError):
            self.close_connection = True
            return
        if not self.raw_requestline:
            self.close_connection = True
            return
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            self.close_connection = True
            return
        if not self.parse_request():
            return
        try:
            body = self._read_body()
        except ValueError:
            self.send_error(400, "Malformed body")
            self.close_connection = True
            return
        if body is None:
            self.send_error(413)
            self.close_connection = True
            return
        self._answer(body)

    def handle_expect_100(self) -> bool:
        """Ask for the body at once; curl waits a second before it sends one of a megabyte unasked."""
        asked = super().handle_expect_100()
        self.wfile.flush()
        return asked

    def _read_body(self) -> bytes | None:
        """The whole body; None if it is larger than LARGEST_BODY."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if length < 0:
            raise ValueError("negative Content-Length")
        if length > LARGEST_BODY:
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client left in the middle of its body")
        return body

    def _read_chunks(self) -> bytes | None:
        gathered = io.BytesIO()
        while True:
            size = int(self.rfile.readline(1024).split(b";")[0].strip(), 16)
            if size < 0:
                raise ValueError("negative chunk size")
            if gathered.tell() + size > LARGEST_BODY:
                return None
            if size == 0:
                while self.rfile.readline(65536).strip():
                    continue  # trailers, which nobody reads
                return gathered.getvalue()
            gathered.write(self.rfile.read(size))
            self.rfile.readline(8)

    def _answer(self, body: bytes) -> None:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers]
            return lambda data: None

        environ = environ_of(self.command, self.path, self.headers.items(), body)
        answered = b"".join(self.server.application(environ, start_response))
        status, headers = started
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        given = {name.lower() for name, _ in headers}
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if "date" not in given:
            self.send_header("Date", self.date_time_string())
        bodiless = int(code) in (204, 304) or int(code) < 200
        if not bodiless:
            self.send_header("Content-Length", str(len(answered)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if not bodiless and self.command != "HEAD":
            self.wfile.write(answered)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """No access log: the front logs a line for each call."""
