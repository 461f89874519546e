# PYTHON_ARGCOMPLETE_OK
"""``python -m sandbox``: a local AWS, in the foreground or in the background.

Exit codes are those of provision.terminal.outcome. ``run`` ends with 0 when SIGTERM or somebody over its port stops it.
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C just ends it, until there is something to stop in order

if __name__ == "__main__":
    from provision.terminal import installed

    installed.check()

import argparse
import contextlib
import errno
import functools
import logging
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from provision.aws.sandbox_process import (
    FOREIGN,
    PLAIN_AWS,
    Running,
    Wish,
    clean_environment,
    forget,
    is_named,
    remember,
    who_is_at,
)
from provision.terminal import outcome
from provision.terminal.command_line import (
    Parser,
    WrongCommandLine,
    add_screen_options,
    asks_for_json,
    state_folder,
    unknown,
)
from provision.terminal.completion import complete
from provision.terminal.shell import write_any_text
from sandbox import commands
from sandbox.commands import SandboxResult
from sandbox.lifecycle import Sandbox
from sandbox.weather.forecast import parse as parse_weather

if TYPE_CHECKING:
    from provision.terminal.screen import Screen

PORT = 4566  # where programs that know of a local AWS look for it
LOOK_EVERY_SECONDS = 5.0  # whether the record still names this sandbox: without it nobody finds it
IDLE_SECONDS = 24 * 3600.0  # after that one ends that can come back, unless somebody started it by hand
BEGUN_AGAIN = "SANDBOX_BEGUN_AGAIN"  # once is enough, whatever the system adds
REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
COMMANDS = {
    "run": "in the foreground until Ctrl-C; also without a command",
    "start": "in the background, where python -m provision --sandbox finds it",
    "stop": "stop the one in the background",
    "status": "whether one is running, where, and in which weather",
    "logs": "its log, or that of a function in it",
}
EXAMPLES = {
    "run": "run --port 0 --weather aws",
    "start": "start",
    "stop": "stop",
    "status": "status",
    "logs": "logs POC-Lambda-1",
}
DESCRIPTIONS = {
    "run": "Run a local AWS in the foreground until Ctrl-C. Prints its URL on stdout.",
    "start": "Start a local AWS in the background, where provision finds it. Prints its URL on stdout.",
    "stop": "Stop the one in the background. What is in it is gone, unless it has a journal.",
    "status": "Say whether one is running in the background, where, and in which weather. Exits with 1 if none.",
    "logs": "Show its log, a line for each call; or what a function in it wrote, as in CloudWatch Logs.",
}


def port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports go from 0 (any free one) to 65535")
    return int(text)


def weather(text: str) -> str:
    try:
        parse_weather(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def region(text: str) -> str:
    if not REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the name of an AWS Region; Regions are called us-east-1, eu-central-1, ..."
        )
    return text


def regions() -> list[str]:
    """Those that a shell offers."""
    import botocore.session  # it takes a fifth of a second to import

    return list(botocore.session.Session().get_available_regions("lambda"))


def add_wishes(parser: argparse.ArgumentParser, command: str) -> None:
    """The options of a new sandbox."""
    port, what = (PORT, "0: a free one (default: %(default)s)") if command == "run" else (0, "default: a free one")
    parser.add_argument("--port", metavar="PORT", type=port_number, default=port, help=f"the port to listen on; {what}")
    parser.add_argument(
        "--weather",
        metavar="TEXT",
        type=weather,
        default="calm",
        help="AWS's slow side: aws, aws,seed=7,... (default: calm)",
    )
    parser.add_argument(
        "--enforce",
        metavar="USER",
        action="append",
        default=[],
        help='hold this IAM user to its policies; "*": all users',
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="no key: every user of this machine can run code as you",
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=Path, help="come back from the journal in this folder, and go on with it"
    )


def parser_of(command: str) -> Parser:
    usage = "%(prog)s [FUNCTION] [OPTION ...]" if command == "logs" else "%(prog)s [OPTION ...]"
    example = f"python -m sandbox {EXAMPLES[command]}"
    parser = Parser(
        prog=f"python -m sandbox {command}", usage=usage, description=DESCRIPTIONS[command], example=example
    )
    if command in ("run", "start"):
        add_wishes(parser, command)
    if command == "run":
        parser.add_argument("--verbose", action="store_true", help="a line on stderr for each call")
        parser.add_argument("--record", metavar="FILE", type=Path, help="a file for id, url and pid, once it listens")
        parser.add_argument("--stays", action="store_true", help=argparse.SUPPRESS)
    if command == "status":
        same = "the same as --output json"
        parser.add_argument("--json", dest="output", action="store_const", const="json", help=same)
    if command == "logs":
        parser.add_argument("function", metavar="FUNCTION", nargs="?", help="the name of a function")
        parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
        whose = "the function's Region (default: %(default)s)"
        parser.add_argument("--region", metavar="REGION", type=region, default="us-east-1", help=whose)
    if command != "run":
        where = "where it is remembered (default: %(default)s)"
        parser.add_argument("--folder", metavar="DIR", type=Path, default=state_folder(), help=where)
    add_screen_options(parser, presents=False, documents=command != "run")
    return parser


def command_parser() -> Parser:
    parser = Parser(
        prog="python -m sandbox",
        description="A local AWS on this machine, without account or Docker.",
        example="python -m sandbox start",
        commands=COMMANDS,
    )
    parser.add_version()
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command (`command`) and its options. Raises SystemExit for --help and for what is wrong."""
    command, first = "run", arguments[:1]
    if first and first[0] in COMMANDS:
        command, arguments = first[0], arguments[1:]
    elif first and first[0] in ("-h", "--help", "--version"):
        command_parser().parse_args(first)  # which ends it
    elif first and not first[0].startswith("-"):
        command_parser().error(unknown("command", first[0], COMMANDS))
    parser = parser_of(command)
    options: argparse.Namespace = parser.parse_args(arguments)
    options.command = command
    if command == "logs" and options.follow and options.output == "json":
        parser.error("--follow shows what comes, and --output json is one document at the end")
    return options


def screen_of(options: argparse.Namespace) -> Screen:
    from provision.terminal.screen import Screen  # late: a sandbox listens before it has anything to say

    screen = Screen()
    output = getattr(options, "output", "text")
    screen.use(plain=options.plain, presenting=False, color=options.color, output=output)
    return screen


def main(arguments: list[str] | None = None) -> int:
    parsers = {name: functools.partial(parser_of, name) for name in COMMANDS}
    complete(parser_of("run"), parsers, {"region": regions})
    write_any_text()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(given)
    except WrongCommandLine as wrong:
        if asks_for_json(given) or "--json" in given:
            command = given[0] if given[0] in COMMANDS else ""
            failed = SandboxResult(command, exit_code=outcome.USAGE, error=wrong.error())
            screen_of(argparse.Namespace(plain=False, color="auto", output="json")).write_json(asdict(failed))
        raise
    except outcome.UserError as stop:
        screen_of(argparse.Namespace(plain=False, color="auto")).stopped(stop.error())
        return stop.exit_code
    if options.command == "run":
        if arguments is None:
            begin_again_clean()
        return ended(lambda: run(options), lambda: screen_of(options), "run").exit_code
    screen = screen_of(options)
    with termination_like_ctrl_c():
        return ended(lambda: background(options, screen), lambda: screen, options.command).exit_code


def begin_again_clean() -> None:
    """Begin again without what the environment has of the user's: a handler can read what a process was started with,
    whatever the process removes later. Windows has neither that nor a way to begin again."""
    clean = clean_environment(os.environ)
    if os.environ.pop(BEGUN_AGAIN, None) is None and clean != os.environ and sys.platform != "win32":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**clean, BEGUN_AGAIN: "yes"})


def background(options: argparse.Namespace, screen: Screen) -> SandboxResult:
    if options.command == "start":
        state_dir = options.state_dir.absolute() if options.state_dir else None
        enforced = tuple(options.enforce)
        wish = Wish(options.port, options.weather, enforced, stays=True, state_dir=state_dir, open=options.open)
        return commands.start(options.folder, wish, screen)
    if options.command == "stop":
        return commands.stop(options.folder, screen)
    if options.command == "status":
        return commands.status(options.folder, screen)
    return commands.logs(options.folder, options.function, screen, region=options.region, follow=options.follow)


def ended(body: Callable[[], SandboxResult], screen: Callable[[], Screen], command: str) -> SandboxResult:
    """Run the body, and turn every ending into words on the screen and a result."""
    try:
        result = body()
        screen().write_json(asdict(result))
        return result
    except BrokenPipeError:
        return SandboxResult(command)  # whoever read the log has gone
    except outcome.UserError as error:
        stop = error
    except KeyboardInterrupt:
        stop = outcome.UserError("Interrupted.", exit_code=outcome.INTERRUPTED)
    try:
        screen().stopped(stop.error())
    except outcome.UserError as unheard:
        stop = unheard
    result = SandboxResult(command, exit_code=stop.exit_code, error=stop.error())
    try:
        screen().write_json(asdict(result))
    except outcome.UserError as unwritten:
        return replace(result, exit_code=unwritten.exit_code)
    return result


@contextlib.contextmanager
def termination_like_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C, and Ctrl-C does even if the parent process had it ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending_signals() -> list[signal.Signals]:
    """Ctrl-C and SIGTERM; on Windows also Ctrl-Break, which is sent when the window is closed, too."""
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    return [signal.SIGINT, signal.SIGTERM]


def run(options: argparse.Namespace) -> SandboxResult:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    if options.verbose:
        logging.getLogger("sandbox").setLevel(logging.INFO)
    for name in [one for one in os.environ if one.upper().startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(PLAIN_AWS)
    key = None if options.open else secrets.token_urlsafe(24)
    sandbox = Sandbox(
        port=options.port,
        weather=options.weather,
        enforced_users=options.enforce,
        state_dir=options.state_dir,
        key=key,
    )
    received: list[int] = []
    wake = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        # Only noted: stopping needs locks that the interrupted code may hold. A second signal ends it at once.
        received.append(number)
        wake.set()
        signal.signal(number, signal.SIG_DFL)

    for number in ending_signals():
        signal.signal(number, note)
    try:
        sandbox.start()
    except (ImportError, OSError) as error:
        raise refusal(error, options) from error
    record = options.record.absolute() if options.record is not None else None
    try:
        named = {"id": sandbox.id, "url": sandbox.url, "key": key}
        described = {**named, **sandbox.describe(), "stays": options.stays}
        if record is not None:
            written_to(record, described)
        announce(sandbox, key, screen_of(options), in_background=options.record is not None)
        running = Running(sandbox.id, sandbox.url, os.getpid(), record) if record is not None else None
        looked, unseen = time.monotonic(), 0
        while not sandbox.stopped and not wake.wait(0.2):
            if running is not None and time.monotonic() - looked > LOOK_EVERY_SECONDS:
                looked, unseen = time.monotonic(), 0 if is_named(running) else unseen + 1
                if unseen == 2:  # its folder was removed, or another sandbox was started there
                    logging.getLogger("sandbox").warning("%s no longer names this sandbox, which ends", record)
                    break
            if running is not None and is_forgotten(sandbox, options):
                logging.getLogger("sandbox").warning("nobody called for a day: the sandbox ends, its journal stays")
                break
    finally:
        sandbox.stop()
        if record is not None:
            forget(Running(sandbox.id, sandbox.url, os.getpid(), record))
    return SandboxResult("run", exit_code=outcome.INTERRUPTED if signal.SIGINT in received else outcome.DONE)


def is_forgotten(sandbox: Sandbox, options: argparse.Namespace) -> bool:
    return options.state_dir is not None and not options.stays and sandbox.idle_seconds > IDLE_SECONDS


def written_to(record: Path, described: dict[str, Any]) -> None:
    try:
        remember(record, described)
    except OSError as error:
        error.filename = str(record)  # not the temporary file's
        raise commands.cannot_use(record, error, "--record") from error


def announce(sandbox: Sandbox, key: str | None, screen: Screen, *, in_background: bool) -> None:
    screen.tell(sandbox.url)
    if in_background:  # what it says is its log
        screen.say(f"{sandbox.id} is running.")
        return
    screen.say(f"{sandbox.id} is running; Ctrl-C ends it, and everything in it.")
    commands.say_how_to_use(sandbox.url, key or "", screen)


def refusal(error: ImportError | OSError, options: argparse.Namespace) -> outcome.UserError:
    """What it means for a person that the sandbox did not start."""
    if isinstance(error, ImportError):
        return outcome.UserError(
            f"The sandbox is not installed ({error}).",
            means="What it is made of comes with an extra of this suite.",
            advice=("Install it with: pip install -e '.[sandbox]'",),
            exit_code=outcome.ENVIRONMENT,
        )
    if error.filename is not None:
        return commands.cannot_use(options.state_dir, error, "--state-dir")
    return cannot_listen(options.port, error)


def cannot_listen(port: int, error: OSError) -> outcome.UserError:
    means = f"The system says: {error.strerror}."
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
        there = who_is_at(port)
        means = f"{f'The sandbox {there}' if there else 'Another program'} listens there already."
    elif isinstance(error, PermissionError):
        means = "The system keeps this port for itself, or for an administrator."
    return outcome.UserError(
        f"The sandbox cannot listen on port {port}.",
        means=means,
        advice=("Choose another with --port, or --port 0 for any free one.",),
        exit_code=outcome.ENVIRONMENT,
    )


if __name__ == "__main__":
    sys.exit(main())
