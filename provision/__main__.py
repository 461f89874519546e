"""python -m provision: build the walkthrough's architecture."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from provision import STEPS, Step, outcome
from provision.aws import Clients, Target, connect, ledger_path
from provision.errors import explain
from provision.ledger import Happened, Ledger
from provision.runner import run_steps
from provision.screen import Screen, program
from provision.settings import Settings, check_region, runtime_warning
from provision.tap import Tap
from provision.trial import try_all

FOLDER = Path(".provision")


class Parser(argparse.ArgumentParser):
    """argparse, with the AWS CLI's exit code for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(outcome.USAGE, f"{self.prog}: error: {message}\n")


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where: the same for every program of the suite."""
    where = parser.add_argument_group("where")
    where.add_argument("--sandbox", action="store_true", help="the suite's own local AWS; needs no account")
    where.add_argument("--profile", metavar="NAME", help="a profile of the AWS configuration")
    where.add_argument("--region", metavar="REGION", help="default: AWS_REGION, the profile's, or us-east-1")
    where.add_argument("--endpoint-url", metavar="URL", help="any other emulator of AWS")
    where.add_argument("--learner", metavar="NAME", help="suffix on every name, so that several can share an account")
    where.add_argument("--state", metavar="PATH", type=Path, help="the ledger; default: in the folder .provision")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask before the first change")


def parser() -> Parser:
    parser = Parser(prog="python -m provision", description=__doc__.partition(": ")[2].capitalize())
    parser.add_argument(
        "what",
        nargs="?",
        choices=("build", "errata"),
        default="build",
        help="build (default), or list the errata of the walkthrough",
    )
    add_target_options(parser)
    parser.add_argument("--runtime", metavar="RUNTIME", help="the function's runtime; default python3.13")
    parser.add_argument(
        "--as-written", action="store_true", help="what the walkthrough literally says, faults included"
    )
    parser.add_argument(
        "--try",
        dest="trials",
        action=argparse.BooleanOptionalAction,
        help="run the walkthrough's tests (default: after a run that built or mended something)",
    )
    return parser


def check_target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and names that cannot be names."""
    if options.sandbox and (options.profile or options.endpoint_url):
        other = "--profile" if options.profile else "--endpoint-url"
        parser.error(f"--sandbox is a local AWS of its own and cannot be combined with {other}")
    if options.region is not None:
        check_region(options.region, "--region")


def target_arguments(options: argparse.Namespace) -> list[str]:
    """The options that another command needs to mean the same deployment."""
    arguments = ["--sandbox"] if options.sandbox else []
    for name in ("profile", "region", "endpoint_url", "learner", "state"):
        value = getattr(options, name)
        if value is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def main(arguments: list[str] | None = None) -> int:
    screen = Screen()
    tap = Tap()
    return run_program(lambda: provision(arguments, screen, tap), screen, tap)


def run_program(body: Callable[[], int], screen: Screen, tap: Tap) -> int:
    """Run a program's body; turn every ending into words on the screen and an exit code."""

    def stop_softly(number: int, frame: FrameType | None) -> None:
        if tap.stopping or screen.asking:
            raise KeyboardInterrupt
        tap.stopping = True
        screen.say("Stopping after the call in flight. Press Ctrl-C again to stop at once.", "yellow")

    tap.waiting.tell = screen.wait
    tap.waiting.sleep = Sleep(tap)
    previous = {number: signal.signal(number, stop_softly) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return body()
    except KeyboardInterrupt:
        screen.stopped(outcome.Stop("Interrupted.", means="The ledger is valid.", exit_code=outcome.INTERRUPTED))
        return outcome.INTERRUPTED
    except outcome.Stop as stop:
        screen.stopped(stop)
        return stop.exit_code
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a message
        ending = explain(error, step="outside the steps", profile=None) or unexpected(error)
        screen.stopped(ending)
        return ending.exit_code
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Sleep:
    """time.sleep in short pieces, so that Ctrl-C ends a wait at once."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    def __call__(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.tap.stopping:
                raise outcome.Interrupted
            time.sleep(min(left, 0.2))


def unexpected(error: Exception) -> outcome.Stop:
    """The message for an error that nobody foresaw; its traceback is kept in a file."""
    text = "".join(traceback.format_exception(error))
    where = FOLDER / f"error-{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    try:
        where.parent.mkdir(exist_ok=True)
        where.write_text(text, encoding="utf-8")
        kept = f"The traceback is in {where}."
    except OSError:
        kept = text
    return outcome.Stop(
        f"{type(error).__name__}: {error}",
        means="This is a defect of the suite. What was made until now is recorded in the ledger.",
        advice=(kept, "Running the same command again goes on where this run stopped."),
    )


def open_ledger(aws: Clients, options: argparse.Namespace, screen: Screen) -> Ledger:
    """The deployment's ledger, locked. One of a sandbox that is gone begins anew."""
    path = options.state or ledger_path(aws.account_id, aws.region, aws.endpoint, options.learner, FOLDER)
    ledger = Ledger.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    if ledger.endpoint != aws.endpoint:
        screen.warn(f"The sandbox {ledger.endpoint} is gone, and what was in it, too. Building anew in {aws.endpoint}.")
        ledger.forget_sandbox(str(aws.endpoint))
    aws.tap.permit = ledger.permit
    return ledger


def resolve_target(options: argparse.Namespace) -> Target:
    """What the options mean; starts the sandbox when it is asked for and not running."""
    sandbox = None
    if options.sandbox:
        sandbox = start_sandbox((options.state or FOLDER / "x").absolute().parent)
    return Target(
        profile=options.profile,
        region=options.region,
        endpoint_url=options.endpoint_url,
        sandbox=sandbox,
    )


def start_sandbox(folder: Path) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder, started if absent."""
    from sandbox import process

    try:
        running = process.start(folder)
    except process.SandboxFailed as error:
        raise outcome.Stop(
            "The sandbox did not start.",
            means=str(error),
            advice=("Is its extra installed? pip install -e '.[sandbox]'",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
    return running.id, running.url


def provision(arguments: list[str] | None, screen: Screen, tap: Tap) -> int:
    command_line = parser()
    options = command_line.parse_args(arguments)
    if options.what == "errata":
        screen.errata()
        return outcome.DONE
    check_target(command_line, options)
    settings = Settings(learner=options.learner, runtime_asked=options.runtime, as_written=options.as_written)

    began = time.monotonic()
    aws = connect(resolve_target(options), tap)
    ledger = open_ledger(aws, options, screen)
    try:
        screen.banner(aws, settings, ledger)
        warning = runtime_warning(settings.runtime, list(aws.runtimes), datetime.date.today())
        if warning:
            screen.warn(warning)
        ledger.consent = consent(screen, aws, ask=not (options.yes or options.sandbox))
        build(
            aws, settings, ledger, screen, resume=program("provision", sys.argv[1:] if arguments is None else arguments)
        )

        changed = [event for event in ledger.happened if event.outcome != "unchanged"]
        if options.trials or (options.trials is None and changed):
            ledger.step = "trials"
            screen.trials_started()
            with explained(aws, ledger):
                for trial in try_all(aws, settings, ledger):
                    screen.trial(trial)
        screen.counts(tap, time.monotonic() - began)
        if not changed:
            screen.say("Nothing to do: everything is as it should be.", "bold green")
        screen.built(aws, settings, ledger, target_arguments(options))
    finally:
        ledger.close()
    return outcome.DONE


def consent(screen: Screen, aws: Clients, *, ask: bool) -> Callable[[], None]:
    """Called before each write: asks once, before the first one."""
    given = not ask

    def before_write() -> None:
        nonlocal given
        if not given:
            where = f"account {aws.account_id}, Region {aws.region}"
            screen.ask(f"Build in {where}? Idle it costs about $0.26 a month outside the free tier.", flag="--yes")
            given = True

    return before_write


def build(aws: Clients, settings: Settings, ledger: Ledger, screen: Screen, *, resume: str) -> None:
    def started(step: Step) -> None:
        screen.step_started(step)
        screen.step_errata(step, settings)

    def ended(step: Step, happened: list[Happened]) -> None:
        for event in happened:
            screen.happened(event)

    try:
        with explained(aws, ledger):
            run_steps(aws, settings, ledger, started=started, ended=ended)
    except outcome.Interrupted as stop:
        stop.advice = (f"Go on with: {resume}",)
        raise


@contextmanager
def explained(aws: Clients, ledger: Ledger) -> Iterator[None]:
    """Errors of AWS and of the connection inside the block become a Stop that says what they mean at this step."""
    try:
        yield
    except Exception as error:
        step = next((f"{step.number} ({step.title})" for step in STEPS if step.name == ledger.step), ledger.step)
        stop = explain(error, step=step, profile=aws.profile)
        if stop is None or stop is error:
            raise
        raise stop from error


if __name__ == "__main__":
    sys.exit(main())
