"""A program in a real pseudo-terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType

from tests.rig.programs import Folder, is_warm, warm_server
from tests.rig.warm import Child

ESCAPE = re.compile(r"\x1b(?:\[[\d;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])")


class Terminal:
    """A program in a pseudo-terminal of a given width; what it wrote, as it wrote it."""

    def __init__(
        self,
        folder: Folder,
        columns: int,
        *command: str,
        rows: int = 40,
        program: Sequence[str] = (),
        fresh: bool = False,
        **environ: str,
    ) -> None:
        """`command` is a module with its arguments, unless another `program` is to run them.

        It is a fork of a process that has imported it already, unless it has to be `fresh`.
        """
        self.written = b""
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        variables = {**folder.environ, "TERM": "xterm-256color", **environ}
        self.child: subprocess.Popen[bytes] | Child
        if not program and not fresh and is_warm(command, variables, folder.python):
            self.child = Child(
                warm_server(), command, folder=folder.path, environ=variables, streams=[slave] * 3, session=True
            )
        else:
            self.child = subprocess.Popen(
                [*(program or [folder.python, "-m"]), *command],
                cwd=folder.path,
                env=variables,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self._master)

    def read_until(self, fragment: str | tuple[str, ...] | None, seconds: float = 60) -> None:
        """Read until the fragment, or one of several, has been written; without one, until the terminal is closed."""
        until = time.monotonic() + seconds
        fragments = (fragment,) if isinstance(fragment, str) else fragment or ()
        while not any(one in self.text for one in fragments):
            ready, _, _ = select.select([self._master], [], [], max(until - time.monotonic(), 0))
            assert ready, f"not written in {seconds} s: {fragment!r}\n{self.text}"
            try:
                arrived = os.read(self._master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:  # what Linux says when the other side has been closed
                    raise
                arrived = b""
            self.written += arrived
            if not arrived:
                assert fragment is None, f"never written: {fragment!r}\n{self.text}"
                return

    def read_until_quiet(self, seconds: float = 0.5) -> None:
        """Read what is still to come, until for so long nothing has: a program's last line may come in two pieces."""
        while select.select([self._master], [], [], seconds)[0]:
            self.written += os.read(self._master, 65536)

    def ask(self, keys: str, fragment: str | tuple[str, ...] | None, seconds: float = 60) -> str:
        """Type, and read until the fragment has been written since; what was written since, without escapes."""
        self.written = b""
        self.type(keys)
        self.read_until(fragment, seconds)
        return self.text

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """What a terminal does when its window is drawn larger or smaller; whoever works in it gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def interrupt(self) -> None:
        """What Ctrl-C does in a shell: the signal goes to every process of the foreground group."""
        os.killpg(self.child.pid, signal.SIGINT)

    def end(self) -> int:
        self.read_until(None)
        return self.child.wait(30)

    @property
    def raw(self) -> str:
        return self.written.decode(errors="ignore").replace("\r\n", "\n")

    @property
    def text(self) -> str:
        """Without the escapes for colour."""
        return ESCAPE.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        """As they were written: what a narrow window folds is one line still."""
        return self.text.splitlines()
