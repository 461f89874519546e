"""python -m provision: build the walkthrough's architecture."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from provision import STEPS, Step, outcome, strangers
from provision.aws import SANDBOX_ACCOUNT, Clients, Target, connect, ledger_path
from provision.errors import explain
from provision.ledger import Happened, Ledger, LedgerRefused, NotOurs
from provision.recovery import TIMES, CannotRecover, ledgers_in, recover
from provision.runner import run_steps
from provision.screen import KINDS, Screen, name_of, program
from provision.settings import DEFAULT_REGION, Settings, check_region, runtime_warning
from provision.survey import ADOPTABLE, survey
from provision.tap import Tap
from provision.trial import try_all

FOLDER = Path(".provision")
ASK = "ask"  # the value of --adopt without a key


class Parser(argparse.ArgumentParser):
    """argparse, with the AWS CLI's exit code for a wrong command line, and without guessing at half an option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

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
    parser.add_argument(
        "--adopt",
        metavar="KEY",
        nargs="?",
        const=ASK,
        action="append",
        help="take over what is there and unmarked: that KEY; without KEY, ask",
    )
    parser.add_argument("--recover", action="store_true", help="the ledger was lost: write it anew from the account")
    parser.add_argument("--deployment", metavar="ID", help="with --recover: which one, where there are several")
    return parser


def check_adoption(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse keys that there are not, and what makes no sense together with --recover."""
    unknown = [key for key in options.adopt or [] if key not in (*ADOPTABLE, ASK)]
    if unknown:
        parser.error(f"--adopt {unknown[0]}: nothing has that key; there are {', '.join(ADOPTABLE)}")
    if options.deployment and not options.recover:
        parser.error("--deployment only goes with --recover")
    if options.recover:
        for option, given in (("--adopt", options.adopt), ("--try", options.trials)):
            if given:
                parser.error(f"--recover builds nothing, and does not go with {option}")


def check_target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and names that cannot be names."""
    if options.sandbox and (options.profile or options.endpoint_url):
        other = "--profile" if options.profile else "--endpoint-url"
        parser.error(f"--sandbox is a local AWS of its own and cannot be combined with {other}")
    if options.region is not None:
        check_region(options.region, "--region")


def target_arguments(options: argparse.Namespace, aws: Clients | None = None) -> list[str]:
    """The options that another command needs to mean the same deployment.

    With `aws`, what came from environment variables is among them: the next shell may not have those.
    """
    arguments = ["--sandbox"] if options.sandbox else []
    from_environment: dict[str, str | None] = {}
    if aws is not None and not options.sandbox:
        from_environment["endpoint_url"] = aws.base_url
        if aws.region_from.source in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            from_environment["region"] = aws.region
    for name in ("profile", "region", "endpoint_url", "learner", "state"):
        value = getattr(options, name) or from_environment.get(name)
        if value is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def main(arguments: list[str] | None = None) -> int:
    screen = Screen()
    tap = Tap()
    again = program("provision", sys.argv[1:] if arguments is None else arguments)
    return run_program(lambda: provision(arguments, screen, tap), screen, tap, again=again)


def run_program(body: Callable[[], int], screen: Screen, tap: Tap, *, again: str = "") -> int:
    """Run a program's body; turn every ending into words on the screen and an exit code.

    `again` is the command line that goes on after an interruption.
    """

    def stop_softly(number: int, frame: FrameType | None) -> None:
        if tap.stopping or screen.asking:
            raise KeyboardInterrupt
        tap.stopping = True
        screen.say_at_once("Stopping after the call in flight. Press Ctrl-C again to stop at once.")

    tap.waiting.tell = screen.wait
    tap.waiting.sleep = Sleep(tap)
    previous = {number: signal.signal(number, stop_softly) for number in (signal.SIGINT, signal.SIGTERM)}
    go_on = f"Go on with: {again}" if again else "Running the same command again goes on where this run stopped."
    try:
        return body()
    except KeyboardInterrupt:
        means = "If a call was in flight, whether it did its work is open: the ledger has it, and the next run looks."
        screen.stopped(outcome.Stop("Interrupted.", means=means, advice=(go_on,), exit_code=outcome.INTERRUPTED))
        return outcome.INTERRUPTED
    except outcome.Stop as stop:
        if stop.exit_code == outcome.INTERRUPTED and not stop.advice:
            stop.advice = (go_on,)
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
    text = without_secrets("".join(traceback.format_exception(error)))
    where = FOLDER / f"error-{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    try:
        where.parent.mkdir(exist_ok=True)
        where.touch(mode=0o600)
        where.write_text(text, encoding="utf-8")
        kept = f"The traceback is in {where}."
    except OSError:
        kept = text
    return outcome.Stop(
        without_secrets(f"{type(error).__name__}: {error}"),
        means="This is a defect of the suite. What was made until now is recorded in the ledger.",
        advice=(kept, "Running the same command again goes on where this run stopped."),
    )


# An access key's secret part has 40 characters, a session token hundreds; a signature stands behind its name.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
SECRETS = re.compile(
    r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])|[A-Za-z0-9/+=]{100,}|(?<=Signature=)[0-9a-f]{64}"
)


def without_secrets(text: str) -> str:
    """The text without the values of AWS's secret variables, and without whatever looks like one."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        value = os.environ.get(name)
        if value:
            text = text.replace(value, f"<{name}>")
    lines = text.splitlines(keepends=True)
    # A file's path can look like a secret, and there is none in it.
    return "".join(line if line.startswith('  File "') else SECRETS.sub("<left out>", line) for line in lines)


def path_of_ledger(options: argparse.Namespace, aws: Clients) -> Path:
    path: Path = options.state or ledger_path(aws.account_id, aws.region, aws.endpoint, options.learner, FOLDER)
    return path


def path_before_connecting(options: argparse.Namespace) -> Path | None:
    """Where the ledger is, as far as that is known without asking AWS for the account."""
    if options.state:
        return Path(options.state)
    if options.sandbox:
        return ledger_path(SANDBOX_ACCOUNT, options.region or DEFAULT_REGION, "sandbox:", options.learner, FOLDER)
    return None


def check_ledger(options: argparse.Namespace) -> None:
    """Refuse a damaged ledger before the first call, where its place is known by then. Raises LedgerRefused."""
    path = path_before_connecting(options)
    if path is not None:
        Ledger.check(path)


def open_ledger(aws: Clients, options: argparse.Namespace, screen: Screen) -> Ledger:
    """The deployment's ledger, locked. One of a sandbox that is gone begins anew."""
    path = path_of_ledger(options, aws)
    ledger = Ledger.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    if ledger.endpoint != aws.endpoint:
        screen.warn(f"The sandbox {ledger.endpoint} is gone, and what was in it, too. Building anew in {aws.endpoint}.")
        ledger.forget_sandbox(str(aws.endpoint))
    aws.tap.permit = ledger.permit
    return ledger


def resolve_target(options: argparse.Namespace, screen: Screen) -> Target:
    """What the options mean; starts the sandbox when it is asked for and not running."""
    sandbox = None
    if options.sandbox:
        folder = (options.state or FOLDER / "x").absolute().parent
        sandbox = find_sandbox(folder) if options.recover else start_sandbox(folder, screen)
    return Target(
        profile=options.profile,
        region=options.region,
        endpoint_url=options.endpoint_url,
        sandbox=sandbox,
    )


def find_sandbox(folder: Path) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder. Raises Stop: a new one has nothing in it that could be recovered."""
    from sandbox import process

    running = process.find(folder)
    if running is None:
        raise outcome.Stop(
            f"No sandbox is running in {folder}.",
            means="A sandbox that is gone took everything along: there is nothing to recover.",
            advice=(f"Build anew: {program('provision', ['--sandbox'])}",),
        )
    return running.id, running.url


def start_sandbox(folder: Path, screen: Screen) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder, started if absent."""
    from sandbox import process

    try:
        running = process.find(folder)
        if running is None:
            screen.say("Starting a local AWS ...")
            running = process.start(folder)
    except OSError as error:
        raise outcome.Stop(
            f"The folder {folder} cannot be written: {error.strerror}.",
            means="The ledger and the sandbox's own records are kept there.",
            advice=("Work in a folder of your own, or choose another place with --state PATH.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
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
    check_adoption(command_line, options)
    settings = Settings(learner=options.learner, runtime_asked=options.runtime, as_written=options.as_written)
    if options.recover:
        return write_anew(options, settings, screen, tap)

    began = time.monotonic()
    check_ledger(options)
    aws = connect(resolve_target(options, screen), tap)
    ledger = open_ledger(aws, options, screen)
    try:
        screen.banner(aws, settings, ledger)
        warning = runtime_warning(settings.runtime, list(aws.runtimes), datetime.date.today())
        if warning:
            screen.warn(warning)
        ledger.consent = consent(screen, aws, ask=not (options.yes or options.sandbox))
        ledger.adopt = adoption(screen, options)
        build(run_of(options, aws, settings, ledger), screen, asking=asks_for_adoption(options))

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
        screen.built(aws, settings, ledger, target_arguments(options, aws))
    finally:
        ledger.close()
    return outcome.DONE


def consent(screen: Screen, aws: Clients, *, ask: bool) -> Callable[[], None]:
    """Called before each write: asks once, before the first one."""
    given = not ask

    def before_write() -> None:
        nonlocal given
        if not given:
            if aws.endpoint:
                question = f"Build at {aws.endpoint}, which is not AWS?"
            else:
                question = (
                    f"Build in account {aws.account_id}, Region {aws.region}? "
                    "Idle it costs about $0.26 a month outside the free tier."
                )
            screen.ask(question, flag="--yes")
            given = True

    return before_write


def asks_for_adoption(options: argparse.Namespace) -> bool:
    return ASK in (options.adopt or []) and sys.stdin.isatty()


def adoption(screen: Screen, options: argparse.Namespace) -> Callable[[str, str, Mapping[str, str], str], bool]:
    """Asked by the ledger whether to take over an unmarked thing: --adopt KEY says yes, or a person who is asked."""

    def consents(key: str, kind: str, identity: Mapping[str, str], theirs: str) -> bool:
        if key in (options.adopt or []):
            return True
        if not asks_for_adoption(options):
            return False
        name = f"{KINDS[kind].capitalize()} {name_of(kind, dict(identity))}"
        return screen.agrees(f"{name} exists already ({theirs}). Take it over?")

    return consents


def run_of(options: argparse.Namespace, aws: Clients, settings: Settings, ledger: Ledger) -> strangers.Run:
    where = target_arguments(options, aws)
    variant = [*(["--runtime", options.runtime] if options.runtime else []), *(["--as-written"] * options.as_written)]
    beside = argparse.Namespace(**{**vars(options), "learner": None, "state": None})
    others = {path: content for path, content in ledgers_in(ledger.path.parent).items() if path != ledger.path}
    return strangers.Run(
        aws=aws,
        settings=settings,
        ledger=ledger,
        build=[*where, *variant],
        beside=[*target_arguments(beside, aws), *variant],
        where=where,
        adopt=[key for key in options.adopt or [] if key != ASK],
        others=others,
    )


def build(run: strangers.Run, screen: Screen, *, asking: bool) -> None:
    """Run the eight steps. What is somebody else's is told in one message, and before the first write where it can."""

    def ended(step: Step, happened: list[Happened]) -> None:
        screen.step_ended(step, happened, run.settings)

    with explained(run.aws, run.ledger):
        if not run.ledger.standing:
            run.ledger.step = STEPS[0].name
            strangers.refuse_before_the_first_write(run, asking=asking)
        try:
            run_steps(run.aws, run.settings, run.ledger, started=screen.step_started, ended=ended)
        except NotOurs as met:
            raise strangers.in_the_way(run, met) from met


def write_anew(options: argparse.Namespace, settings: Settings, screen: Screen, tap: Tap) -> int:
    """`--recover`: look up what there is, show it, and write the lost ledger anew. Nothing in the account changes."""
    refuse_where_there_is_a_ledger(path_before_connecting(options))
    aws = connect(resolve_target(options, screen), tap)
    path = path_of_ledger(options, aws)
    refuse_where_there_is_a_ledger(path)
    ledger = Ledger.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    try:
        screen.place(aws)
        screen.keep(f"Ledger         {ledger.path} (lost)")
        for warning in aws.warnings:
            screen.warn(warning)
        screen.say()
        screen.say("Looking in the account ...")
        with explained(aws, step="looking in the account"):
            seen = survey(aws, settings, times=TIMES)
            others = {content["deployment"]: other for other, content in ledgers_in(path.parent).items()}
            try:
                recovered = recover(aws, settings, seen, options.deployment, others)
            except CannotRecover as stop:
                stop.things = tuple((thing.kind, thing.identity, thing.described) for thing in seen.things)
                raise
        ledger.deployment = recovered.deployment
        ledger.resources = recovered.resources
        screen.recovered(recovered)
        if not (options.yes or options.sandbox):
            screen.ask(f"Write the ledger {path} with these {len(ledger.resources)} things?", flag="--yes")
        ledger.save()
    finally:
        ledger.close()
    arguments = target_arguments(options, aws)
    screen.say()
    screen.say(
        f"The ledger of deployment {ledger.deployment} is written; nothing in the account was changed.", "bold green"
    )
    screen.say("To complete and mend what it records", "bold")
    screen.tell(program("provision", arguments))
    screen.say("To take everything down", "bold")
    screen.tell(program("teardown", arguments))
    return outcome.DONE


def refuse_where_there_is_a_ledger(path: Path | None) -> None:
    if path is None or not os.path.lexists(path):
        return
    backup = path.with_name(path.name + ".backup")
    damaged = [f"If it is damaged, look at the state before the last run: {backup}"] if backup.exists() else []
    raise LedgerRefused(
        f"There is a ledger at {path}.",
        means="To recover is for one that was lost. Nothing was overwritten.",
        advice=(
            "If it is the right one, leave --recover out.",
            *damaged,
            "If it is of no use, move it away, and run the same command again.",
        ),
    )


@contextmanager
def explained(aws: Clients, ledger: Ledger | None = None, *, step: str = "") -> Iterator[None]:
    """Errors of AWS and of the connection inside the block become a Stop that says what they mean at this step."""
    try:
        yield
    except Exception as error:
        if ledger is not None:
            step = next((f"{one.number} ({one.title})" for one in STEPS if one.name == ledger.step), ledger.step)
        stop = explain(error, step=step, profile=aws.profile)
        if stop is None or stop is error:
            raise
        raise stop from error


if __name__ == "__main__":
    sys.exit(main())
