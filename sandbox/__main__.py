"""``python -m sandbox``: a local AWS, in the foreground or in the background.

Exit codes: 0 done, or stopped by SIGTERM or over its own port; 1 ``status`` and ``logs`` where none is running;
130 after Ctrl-C; 252 for a usage error; 253 where it could not start, stop or be found out.
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

from sandbox import commands
from sandbox.process import FOREIGN, PLAIN_AWS, Wish, remember
from sandbox.server import Sandbox
from sandbox.state import CannotComeBack
from sandbox.weather import parse as parse_weather

USAGE_ERROR = 252
CANNOT_START = 253
INTERRUPTED = 130

# The folder of the ledgers: a sandbox that is started here is the one that `python -m provision --sandbox` finds.
FOLDER = Path(".provision")


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


def weather(text: str) -> str:
    try:
        parse_weather(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def how_to_run(port: int, what_port: str) -> Arguments:
    """The options of a sandbox that is to be, shared by `run` and `start`."""
    options = Arguments(add_help=False)
    options.add_argument("--port", type=port_number, default=port, help=f"port to listen on; {what_port}")
    options.add_argument(
        "--weather",
        type=weather,
        default="calm",
        metavar="TEXT",
        help="AWS's slow side: calm (default), aws, or aws,seed=7,scale=0.1,... (docs/sandbox.md)",
    )
    options.add_argument(
        "--enforce",
        action="append",
        default=[],
        metavar="USER",
        help='hold this IAM user to its policies, as roles always are; "*": all users',
    )
    options.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="come back from this folder, and remember in it (docs/sandbox.md says what comes back)",
    )
    return options


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Arguments(
        prog="python -m sandbox",
        description="A local AWS on loopback, without account or Docker.",
        epilog="Without a command it runs in the foreground. python -m sandbox COMMAND --help has the options.",
    )
    known = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = known.add_parser(
        "run", help="run in the foreground until Ctrl-C", parents=[how_to_run(4566, "0: a free one (default: 4566)")]
    )
    run.add_argument("--verbose", action="store_true", help="a line on stderr for each call")
    run.add_argument("--record", type=Path, help="file to write id, url and pid to, once it listens")
    run.add_argument("--stays", action="store_true", help=argparse.SUPPRESS)
    start = known.add_parser(
        "start", help="start one in the background", parents=[how_to_run(0, "default: a free one")]
    )
    stop = known.add_parser("stop", help="stop the one in the background")
    status = known.add_parser("status", help="say whether one is running, where, and in which weather")
    status.add_argument("--json", action="store_true", help="as one JSON document on stdout")
    logs = known.add_parser("logs", help="show its log, or that of a function in it")
    logs.add_argument("function", nargs="?", help="a function: its events in CloudWatch Logs")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    logs.add_argument("--region", default="us-east-1", help="the function's Region (default: %(default)s)")
    for command in (start, stop, status, logs):
        command.add_argument(
            "--folder", type=Path, default=FOLDER, help="where it is remembered (default: %(default)s)"
        )
    names = (*known.choices, "-h", "--help")
    if not arguments or (arguments[0] not in names and arguments[0].startswith("-")):
        arguments = ["run", *arguments]
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.command == "run":
        return run(options)
    try:
        if options.command == "start":
            state_dir = options.state_dir.absolute() if options.state_dir else None
            wish = Wish(options.port, options.weather, tuple(options.enforce), stays=True, state_dir=state_dir)
            return commands.start(options.folder, wish)
        if options.command == "stop":
            return commands.stop(options.folder)
        if options.command == "status":
            return commands.status(options.folder, as_json=options.json)
        return commands.logs(options.folder, options.function, region=options.region, follow=options.follow)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read it has seen enough. Python would say so once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run(options: argparse.Namespace) -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    if options.verbose:
        logging.getLogger("sandbox").setLevel(logging.INFO)
    for name in [one for one in os.environ if one.upper().startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(PLAIN_AWS)
    sandbox = Sandbox(
        port=options.port, weather=options.weather, enforced_users=options.enforce, state_dir=options.state_dir
    )
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
    except CannotComeBack as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    except ImportError as error:
        print(
            f"The sandbox is not installed ({error}). Install it with: pip install -e '.[sandbox]'",
            file=sys.stderr,
        )
        return CANNOT_START
    except OSError as error:
        if error.filename is not None:
            print(f"The folder {options.state_dir} cannot be written to: {error.strerror}.", file=sys.stderr)
            return CANNOT_START
        print(
            f"The sandbox cannot listen on port {options.port} ({error.strerror}). Choose another with --port, or "
            "--port 0 for any free one. If something else is amiss: pip install -e '.[sandbox]'",
            file=sys.stderr,
        )
        return CANNOT_START
    try:
        if options.record is not None:
            described = {**sandbox.describe(), "stays": options.stays}
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
        f"{sandbox.id} is running; Ctrl-C ends it, and everything in it. {commands.credentials_line(sandbox.url)}",
        file=sys.stderr,
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
