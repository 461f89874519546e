"""The real `aws` command without the half second of CPU that its start takes: what has read it forks for each call.

From the arguments on all is the command's own: its parser, its files, its exit code, its standard streams. What it
keeps of an earlier call is only what Python has imported, and the API models of its package.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

SERVICES = ("iam", "dynamodb", "sqs", "lambda", "apigateway", "sts", "logs")
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    call = [sys.argv[1:], dict(os.environ), os.getcwd()]
    socket.send_fds(asked, [b"3"], [0, 1, 2])
    asked.sendall(json.dumps(call).encode())
    asked.shutdown(socket.SHUT_WR)
    sys.exit(int(asked.recv(8) or 255))
"""


class WarmAws:
    """`folder` goes in front of PATH; `command` is the `aws` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = folder / "aws"
        address = folder / "calls"
        self.command.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        self.command.chmod(0o755)
        self.server = subprocess.Popen(
            [sys.executable, __file__, str(address)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> WarmAws:
        assert self.server.stdout is not None and self.server.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.kill()
        self.server.communicate()


def serve(address: str) -> None:
    import awscli.clidriver  # type: ignore[import-untyped]

    data = os.environ["AWS_DATA_PATH"]  # awscli has written it, as it was imported
    session = awscli.clidriver.create_clidriver().session
    reader = session.get_component("data_loader").file_loader
    type(reader).load_file = staticmethod(functools.cache(reader.load_file))
    for service in SERVICES:
        session.create_client(service, region_name="us-east-1")  # and all that making one imports and reads
    gc.freeze()  # a fork need not go through all that, which would copy it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what the forks end with
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(8)
        print("ready", flush=True)
        while True:
            asked, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                answer(asked, awscli.clidriver.main, AWS_DATA_PATH=data)
            asked.close()


def answer(asked: socket.socket, main: Callable[[], int], **own: str) -> None:
    code = 255
    try:
        _, streams, _, _ = socket.recv_fds(asked, 1, 3)
        with asked.makefile("rb") as call:
            arguments, environment, folder = json.loads(call.read())
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update({**environment, **own})
        os.chdir(folder)
        sys.argv = ["aws", *arguments]
        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 255
    except BaseException:  # noqa: BLE001  # a fork that went on would serve, too
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.sendall(str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
