"""The real `aws` command without the half second of CPU that its start takes: what has read it forks for each call.

From the arguments on all is the command's own: its parser, its files, its exit code, its standard streams. What it
keeps of an earlier call is only what Python has imported, and the API models of its package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.rig.warm import Server

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    call = ["aws", sys.argv[1:], dict(os.environ), os.getcwd(), False]
    socket.send_fds(asked, [b"3"], [0, 1, 2])
    asked.sendall(json.dumps(call).encode() + b"\\n")
    _, code = asked.makefile()
    sys.exit(int(code) % 256)
"""


class WarmAws:
    """`folder` goes in front of PATH; `command` is the `aws` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = folder / "aws"
        address = folder / "calls"
        self.command.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        self.command.chmod(0o755)
        self.server = Server(address, "aws", os.environ)

    def paste(self, commands: Sequence[str], folder: Path, key: str = "any") -> None:
        """Run these lines of a shell one after the other, as somebody who pastes them. Raises when one fails."""
        environment = {
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": key,
        }
        script = "\n".join(["set -e", *commands])
        subprocess.run(["bash", "-c", script], env=environment, cwd=folder, stdout=subprocess.DEVNULL, check=True)

    def __enter__(self) -> WarmAws:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
