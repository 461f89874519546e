"""HTTP/1.1 with keep-alive on loopback, for one WSGI application.

werkzeug's development server closes every connection, because http.server does not know how much of a body the
application left unread. Here the whole body is read before the application sees the request, so that the next
request begins where it should, and a client may keep its connection. Before that ``admit`` sees the head: what it
refuses is not read, but passed over, and the connection closed.
"""

from __future__ import annotations

import contextlib
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from sandbox.protocol.scope import environ_of, with_body

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# From the head of a request and the length it gives (or empty): how many bytes of a body are read, and what answers a
# longer one. -1: that answers in any case.
Admit = Callable[[dict[str, Any], str], tuple[int, Callable[[], Application]]]

OWN = "/_sandbox"  # the paths of requests about the sandbox itself, also in provision.aws.sandbox_process

# Seconds until an idle connection is closed; botocore's pool then opens a new one.
IDLE_CONNECTION = 60

# Each connection has a thread. Beyond so many the one that is idle for longest is closed, which a client's pool notices
# before it uses it again.
MOST_CONNECTIONS = 200

# How long a body that is not read is passed over, so that its sender gets to the answer.
PASS_OVER_SECONDS = 2.0


class WireServer(socketserver.ThreadingTCPServer):
    """One thread per connection. ``stop`` also closes the connections that clients keep open."""

    # On Windows the option would let two programs listen on one port.
    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, application: Application, admit: Admit, handler: type[WireHandler] | None = None
    ) -> None:
        self.application = application
        self.admit = admit
        # The connections, and since when each has waited for a request; None while one is answered.
        self._open: dict[socket.socket, float | None] = {}
        self._open_guard = threading.Lock()
        super().__init__((host, port), handler or WireHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_guard:
            full = len(self._open) >= MOST_CONNECTIONS and not self._close_longest_idle()
            if not full:
                self._open[request] = time.monotonic()
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def _close_longest_idle(self) -> bool:
        """Whether there was one; its thread ends by itself."""
        idle = {connection: since for connection, since in self._open.items() if since is not None}
        if not idle:
            return False
        longest = min(idle, key=lambda connection: idle[connection])
        del self._open[longest]
        with contextlib.suppress(OSError):
            longest.shutdown(socket.SHUT_RDWR)
        return True

    def note(self, request: socket.socket, *, busy: bool) -> None:
        """Note that the connection waits for a request from now on, or that one is answered."""
        with self._open_guard:
            if request in self._open:
                self._open[request] = None if busy else time.monotonic()

    def shutdown_request(self, request: Any) -> None:
        with self._open_guard:
            self._open.pop(request, None)
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
        environ = environ_of(self.command, self.path, self.headers.items(), b"")
        most, beyond = self.server.admit(environ, self.headers.get("Content-Length", ""))
        try:
            body = self._read_body(most) if most >= 0 else None
        except ValueError:
            self.send_error(400, "Malformed body")
            self.close_connection = True
            return
        if body is None:
            unread = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
            self.close_connection = self.close_connection or unread
            self._answer(beyond(), environ)
            if unread:
                self._pass_over()
            return
        self.server.note(self.connection, busy=True)
        try:
            self._answer(self.server.application, with_body(environ, body))
        finally:
            self.server.note(self.connection, busy=False)

    def _pass_over(self) -> None:
        """Take what the sender still sends, and forget it: to close at once would tear the answer from its hands."""
        deadline = time.monotonic() + PASS_OVER_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(PASS_OVER_SECONDS)
            while self.connection.recv(65536) and time.monotonic() < deadline:
                continue

    def handle_expect_100(self) -> bool:
        """Not yet: the head has not been looked at."""
        return True

    def _ask_for_body(self) -> None:
        """At once, where the client waits for that; curl does for a second before it sends a megabyte unasked."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            super().handle_expect_100()
            self.wfile.flush()

    def _read_body(self, most: int) -> bytes | None:
        """The whole body; None if it is larger than ``most``."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            self._ask_for_body()
            return self._read_chunks(most)
        length = int(self.headers.get("Content-Length") or 0)
        if length < 0:
            raise ValueError("negative Content-Length")
        if length > most:
            return None
        self._ask_for_body()
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client left in the middle of its body")
        return body

    def _read_chunks(self, most: int) -> bytes | None:
        gathered = io.BytesIO()
        while True:
            size = int(self.rfile.readline(1024).split(b";")[0].strip(), 16)
            if size < 0:
                raise ValueError("negative chunk size")
            if gathered.tell() + size > most:
                return None
            if size == 0:
                while self.rfile.readline(65536).strip():
                    continue  # trailers, which nobody reads
                return gathered.getvalue()
            gathered.write(self.rfile.read(size))
            self.rfile.readline(8)

    def _answer(self, application: Application, environ: dict[str, Any]) -> None:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers]
            return lambda data: None

        answered = b"".join(application(environ, start_response))
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
