"""``python -m sandbox``: a local AWS in the foreground, until Ctrl-C.

Exit codes: 130 after Ctrl-C, 0 after SIGTERM or a stop over its own port, 252 for a usage error, 253 where it
could not start.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from sandbox.process import FOREIGN, PLAIN_AWS, remember
from sandbox.server import Sandbox

USAGE_ERROR = 252
CANNOT_START = 253
INTERRUPTED = 130


class Arguments(argparse.ArgumentParser):
    """argparse's own exit code for a usage error, 2, means something else to the commands of this suite."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def port_number(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports go from 0 (any free one) to 65535")
    return number


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Arguments(prog="python -m sandbox", description="A local AWS on loopback, without account or Docker.")
    parser.add_argument(
        "--port",
        type=port_number,
        default=4566,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument("--record", type=Path, help="file to write id, url and pid to, once it listens")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    for name in [one for one in os.environ if one.upper().startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(PLAIN_AWS)
    sandbox = Sandbox(port=options.port)
    received: list[int] = []
    wake = threading.Event()

    def note(number: int, frame: object) -> None:
        # Only noted here: stopping takes locks that the interrupted code may hold.
        received.append(number)
        wake.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    try:
        sandbox.start()
    except ImportError as error:
        print(
            f"The sandbox is not installed ({error}). Install it with: pip install -e '.[sandbox]'",
            file=sys.stderr,
        )
        return CANNOT_START
    except OSError as error:
        print(
            f"The sandbox cannot listen on port {options.port} ({error.strerror}). Choose another with --port, or "
            "--port 0 for any free one. If something else is amiss: pip install -e '.[sandbox]'",
            file=sys.stderr,
        )
        return CANNOT_START
    try:
        if options.record is not None:
            described = sandbox.describe()
            remember(options.record.absolute(), {"id": sandbox.id, "url": sandbox.url, **described})
        announce(sandbox)
        while not sandbox.stopped and not wake.wait(0.2):
            continue
    finally:
        sandbox.stop()
    return INTERRUPTED if signal.SIGINT in received else 0


def announce(sandbox: Sandbox) -> None:
    print(sandbox.url)
    print(
        f"{sandbox.id} is running; Ctrl-C ends it, and everything in it. Any credentials work:\n"
        "  AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox AWS_DEFAULT_REGION=us-east-1 \\\n"
        f"    aws --endpoint-url {sandbox.url} dynamodb list-tables",
        file=sys.stderr,
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
