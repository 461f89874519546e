"""The commands about a sandbox in the background: ``start``, ``stop``, ``status`` and ``logs``.

Data goes to stdout, talk to stderr. Each returns a SandboxResult, or raises outcome.UserError; KeyboardInterrupt is
for the caller.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.aws import sandbox_process
from provision.aws.sandbox_process import Running, Wish
from provision.terminal import outcome
from provision.terminal.command_line import state_folder
from provision.terminal.shell import cannot_write, past_proxy, program, silence, with_variables
from provision.terminal.text import visible

if TYPE_CHECKING:
    from provision.terminal.screen import Screen

# How often `logs --follow` looks for more, in seconds.
FOLLOW_SECONDS = 0.5

ANY_KEY = "sandbox"  # for a sandbox that is open to everybody

OPEN = (
    "--open: every user of this machine can call this sandbox, and run code as you, in your files. "
    "Use an account of this machine that has nothing else."
)


@dataclass(frozen=True)
class SandboxResult:
    """What a command did or found. What does not apply is None or empty.

    `new`: started by this command; `stopped`: the id of the one that it stopped; `stale_record`: there is the record of
    one that is gone; `stays`: no teardown ends it.
    """

    command: str
    program: str = "sandbox"
    schema: int = 4  # provision/cli/results.py has the same
    exit_code: int = outcome.DONE
    folder: str | None = None
    running: bool | None = None
    stale_record: bool = False
    new: bool | None = None
    stopped: str | None = None
    id: str | None = None
    url: str | None = None
    pid: int | None = None
    port: int | None = None
    started: str | None = None
    uptime_seconds: int | None = None
    weather: str | None = None
    enforced_users: Sequence[str] = ()
    state_dir: str | None = None
    open: bool | None = None
    stays: bool | None = None
    moto: str | None = None
    python: str | None = None
    log: str | None = None
    function: str | None = None
    region: str | None = None
    lines: tuple[str, ...] = ()
    error: outcome.Error | None = None


def say_how_to_use(url: str, key: str, screen: Screen) -> None:
    """The line to paste, with the sandbox's key; without one the sandbox is open, which is said first."""
    if not key:
        screen.warn(OPEN)
    screen.say("It takes calls with this key only:" if key else "Any credentials work:")
    credentials = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": key or ANY_KEY}
    variables = past_proxy(url) | credentials | {"AWS_DEFAULT_REGION": "us-east-1"}
    screen.keep(with_variables(variables, ["aws", "--endpoint-url", url, "dynamodb", "list-tables"]))


# What the folder or file of each option is for.
KEPT = {
    "--folder": "The sandbox's record and log are kept in {}.",
    "--record": "The sandbox's id and URL were to be written to {}.",
    "--state-dir": "The sandbox's journal is kept in {}.",
}


def cannot_use(place: Path, error: OSError, option: str = "--folder") -> outcome.UserError:
    """The error for a folder, or something in it, that cannot be made, read or written."""
    return outcome.UserError(
        f"{error.filename or place} cannot be used: {error.strerror or error}.",
        means=KEPT[option].format(place),
        advice=(f"Choose another place with {option}.",),
        exit_code=outcome.ENVIRONMENT,
    )


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Inside the block an OSError is about the folder."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_use(folder, error) from error


def start(folder: Path, wish: Wish, screen: Screen) -> SandboxResult:
    """Start the folder's sandbox unless it is running. Raises UserError if it does not run as asked."""
    with usable(folder):
        before = sandbox_process.find(folder)
        kept = sandbox_process.kept_in(folder)
        wish = as_it_was(wish, folder)
        if before is None and kept is not None and kept != wish.state_dir:
            screen.keep(f"This is not the sandbox that was here before: that one's journal is in {kept}.")
        elif before is None and kept is None and (folder / sandbox_process.RECORD).exists():
            screen.keep(f"The record {folder / sandbox_process.RECORD} is of a sandbox that is gone; it is replaced.")
        try:
            running = before or sandbox_process.start(folder, wish)
        except KeyboardInterrupt:
            raise outcome.UserError(
                "Interrupted.",
                means="The sandbox that was being started is ended again.",
                exit_code=outcome.INTERRUPTED,
            ) from None
    described = sandbox_process.describe(running) or {}
    if before is not None:
        refuse_other_wishes(before, described, wish, folder)
    screen.tell(running.url)
    if before is None:
        screen.keep(f"{running.id} is running, remembered in {running.record}.")
        if described.get("disabled_triggers"):
            screen.warn(f"{sandbox_process.FROM_ELSEWHERE} Look at the functions, then enable them.")
        say_how_to_use(running.url, running.key, screen)
    else:
        screen.say(f"{running.id} is running there already.")
    return result_of("start", folder, running, described, new=before is None)


def is_beside(state_dir: Path | None, folder: Path) -> bool:
    """Whether that is the journal of a sandbox that a program started in this folder."""
    return state_dir == folder.absolute() / sandbox_process.KEPT


def as_it_was(wish: Wish, folder: Path) -> Wish:
    """The sandbox that a program started in this folder comes back as it was, but for what is asked for."""
    again = sandbox_process.wish_again(folder)
    if wish.state_dir is not None or not is_beside(again.state_dir, folder):
        return wish
    weather = again.weather if wish.weather == Wish.weather else wish.weather
    return replace(
        again,
        port=wish.port,
        weather=weather,
        enforced_users=wish.enforced_users or again.enforced_users,
        open=wish.open,
    )


def refuse_other_wishes(running: Running, described: dict[str, Any], wish: Wish, folder: Path) -> None:
    differences = differing(described, wish)
    if differences:
        raise outcome.UserError(
            f"{running.id} is running in {folder} already, and not as you asked: {'; '.join(differences)}.",
            means="A running sandbox is not changed: somebody may be at work in it.",
            advice=(
                f"Stop it first{'' if described.get('state_dir') else ', which empties it'}: {command('stop', folder)}",
                "or start another one beside it, with --folder DIR.",
            ),
            exit_code=outcome.ENVIRONMENT,
        )


def differing(described: dict[str, Any], wish: Wish) -> list[str]:
    """How a running sandbox differs from what was asked for; options that were not given do not matter."""
    found = []
    if wish.port and described.get("port") != wish.port:
        found.append(f"port {described.get('port')}, not {wish.port}")
    if wish.weather != Wish.weather and described.get("weather") != wish.weather:
        found.append(f"weather {described.get('weather')}, not {wish.weather}")
    if wish.state_dir is not None and described.get("state_dir") != str(wish.state_dir):
        found.append(f"state in {described.get('state_dir') or 'no folder'}, not in {wish.state_dir}")
    if wish.open and not described.get("open"):
        found.append("open to you only, not to every user of this machine")
    if wish.enforced_users and described.get("enforced_users") != list(wish.enforced_users):
        enforced = ", ".join(described.get("enforced_users", ())) or "nobody"
        found.append(f"{enforced} held to policies, not {', '.join(wish.enforced_users)}")
    return found


def stop(folder: Path, screen: Screen) -> SandboxResult:
    """Stop the folder's sandbox; it is no error if there is none."""
    with usable(folder):
        running = sandbox_process.find(folder)
        record = folder / sandbox_process.RECORD
        if running is None:
            stale = record.exists() and sandbox_process.kept_in(folder) is None
            if stale:
                record.unlink(missing_ok=True)
            removed = "; the record of one that is gone is removed" if stale else ""
            screen.keep(f"No sandbox is running in {folder}{removed}.")
            return SandboxResult("stop", folder=str(folder))
        kept = (sandbox_process.describe(running) or {}).get("state_dir")
        sandbox_process.stop(running)
    if kept:
        screen.keep(f"{running.id} is stopped. What is in it stays in its journal, {kept}.")
        screen.keep(f"To have it again: {command('start', folder, *as_before(folder))}")
    else:
        screen.say(f"{running.id} is stopped, and everything in it is gone.")
    return SandboxResult("stop", folder=str(folder), stopped=running.id, state_dir=kept)


def status(folder: Path, screen: Screen) -> SandboxResult:
    """Show what the folder's sandbox says about itself; exit code 1 if none is running."""
    with usable(folder):
        running = sandbox_process.find(folder)
        described = sandbox_process.describe(running) if running is not None else None
        kept = sandbox_process.kept_in(folder)
        stale = described is None and kept is None and (folder / sandbox_process.RECORD).exists()
    if running is None or described is None:
        screen.keep(f"No sandbox is running in {folder}.")
        if stale:
            screen.keep(f"The record {folder / sandbox_process.RECORD} is of one that is gone.")
        if kept is not None:
            screen.keep(f"To have the last one again: {command('start', folder, *as_before(folder))}")
        else:
            screen.keep(f"To start one: {command('start', folder)}")
        return SandboxResult("status", folder=str(folder), running=False, stale_record=stale, exit_code=outcome.LEFT)
    ends = f"by {command('stop', folder)}"
    rows = {
        "running": f"{running.id} at {running.url}",
        "process": f"{described['pid']}, for {minutes(seconds_since(described['started']))}",
        "weather": described["weather"],
        "open to": "every user of this machine" if described.get("open") else "you, with its key",
        "held to policies": ", ".join(described["enforced_users"]) or "roles only",
        "ends": ends if running.stays else f"with the last teardown, or {ends}",
        "log": str(folder / sandbox_process.LOG),
        "comes back from": described.get("state_dir") or "nowhere",
        "made of": f"moto {described['moto']}, Python {described['python']}",
    }
    for name, value in rows.items():
        screen.tell(f"{name:<17} {value}")
    return result_of("status", folder, running, described)


DESCRIBED = ("pid", "port", "started", "weather", "enforced_users", "state_dir", "open", "moto", "python")


def result_of(
    name: str, folder: Path, running: Running, described: dict[str, Any], *, new: bool | None = None
) -> SandboxResult:
    """Of a running sandbox, by what it says of itself; one of a later version may say more."""
    known = {member: described[member] for member in DESCRIBED if member in described}
    up = seconds_since(described["started"]) if "started" in described else 0
    return SandboxResult(
        name,
        folder=str(folder),
        running=True,
        new=new,
        id=running.id,
        url=running.url,
        uptime_seconds=up,
        stays=running.stays,
        **known,
    )


def logs(folder: Path, function: str | None, screen: Screen, *, region: str, follow: bool) -> SandboxResult:
    """The sandbox's own log, or a function's events in CloudWatch Logs, oldest first."""
    with usable(folder):
        running = sandbox_process.find(folder)
        if function is None:
            return own_log(folder, running, screen, follow=follow)
    if running is None:
        raise outcome.UserError(
            f"No sandbox is running in {folder}.",
            means="No journal keeps what functions wrote: it went with the sandbox.",
            advice=(f"Start one: {command('start', folder)}",),
        )
    code, lines = show(function_events(running, function, region), running, screen, follow=follow)
    return SandboxResult("logs", folder=str(folder), function=function, region=region, exit_code=code, lines=lines)


def own_log(folder: Path, running: Running | None, screen: Screen, *, follow: bool) -> SandboxResult:
    log = folder / sandbox_process.LOG
    if not log.exists():
        raise outcome.UserError(
            f"There is no log in {folder}.",
            means="No sandbox was started in the background there.",
            advice=(f"Start one: {command('start', folder)}",),
        )
    if running is None:
        screen.keep(f"No sandbox is running in {folder}: this is the log of the last one.")
    code, lines = show(new_text(log), running, screen, follow=follow and running is not None)
    return SandboxResult("logs", folder=str(folder), log=str(log), exit_code=code, lines=lines)


def show(
    read: Callable[[], str], running: Running | None, screen: Screen, *, follow: bool
) -> tuple[int, tuple[str, ...]]:
    """Show what `read` returns, and with `follow` what it returns from then on, until the sandbox has ended.

    The exit code, and the lines that were there at first.
    """
    try:
        text = read()
        if not text:
            screen.say("Nothing yet.")
        elif not screen.writes_json:
            show_text(text)
        if follow and running is not None:
            while sandbox_process.answers(running):
                time.sleep(FOLLOW_SECONDS)
                show_text(read())
            screen.say(f"{running.id} has ended.")
    except KeyboardInterrupt:
        if not follow:
            raise
        return outcome.INTERRUPTED, ()  # the way to end it: nothing to be told
    return outcome.DONE, tuple(text.splitlines())


def show_text(text: str) -> None:
    if sys.stdout is None:  # it is closed
        return
    try:
        sys.stdout.write(visible(text))
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        raise
    except OSError as error:
        raise cannot_write(sys.stdout, error) from error


def new_text(path: Path) -> Callable[[], str]:
    """A function that reads what the file has got since its last call; a new start's log from its beginning."""
    at = 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read() -> str:
        nonlocal at
        with path.open("rb") as file:
            if path.stat().st_size < at:
                at = 0
                decoder.reset()
            file.seek(at)
            data = file.read()
        at += len(data)
        return decoder.decode(data)

    return read


def function_events(running: Running, function: str, region: str) -> Callable[[], str]:
    """A function that reads the new events of a log group. Raises UserError if there is no such function."""
    from botocore.exceptions import BotoCoreError, ClientError  # late: only a function's log needs botocore

    client = client_of("logs", running, region)
    seen: set[str] = set()

    def read() -> str:
        lines = []
        try:
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}"):
                for event in page["events"]:
                    if event["eventId"] not in seen:
                        seen.add(event["eventId"])
                        lines.append(line_of(event))
        except ClientError as error:  # no such group, or nothing that could be the name of one
            refuse_unless_it_exists(running, function, region, error)
        except BotoCoreError:
            pass  # the sandbox is gone, which show_all notices
        return "".join(lines)

    return read


def refuse_unless_it_exists(running: Running, function: str, region: str, error: Exception) -> None:
    """Raise UserError unless the function exists; then it has just not run yet."""
    from botocore.exceptions import BotoCoreError, ClientError  # late, see above

    try:
        pages = client_of("lambda", running, region).get_paginator("list_functions").paginate()
        names = [one["FunctionName"] for page in pages for one in page["Functions"]]
    except (BotoCoreError, ClientError) as refusal:
        raise outcome.UserError(
            str(refusal),
            means="The sandbox did not say which functions it has. In some weather that passes.",
            advice=("Try again.",),
            exit_code=outcome.SERVICE,
        ) from refusal
    if function not in names:
        raise outcome.UserError(
            f"There is no function {function} in {region}.",
            means=f"There are: {', '.join(names)}." if names else f"There is none at all in {region}.",
            advice=("Name one of them, or another Region with --region.",) if names else ("Build something first.",),
        ) from error


def client_of(service: str, running: Running, region: str) -> Any:
    import boto3  # late, see above
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        endpoint_url=running.url,
        region_name=region,
        aws_access_key_id="sandbox",
        aws_secret_access_key=running.key or ANY_KEY,
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


def line_of(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc).strftime("%H:%M:%S.%f")[:-3]
    return f"{at}  {event['message'].rstrip()}\n"


def seconds_since(started: str) -> int:
    return max(0, round((datetime.now(timezone.utc) - datetime.fromisoformat(started)).total_seconds()))


def minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} minutes"


def as_before(folder: Path) -> list[str]:
    """The options with which the last sandbox of the folder comes back as it was."""
    wish = sandbox_process.wish_again(folder)
    if is_beside(wish.state_dir, folder):
        return []
    weather = ["--weather", wish.weather] if wish.weather != Wish.weather else []
    enforced = [part for user in wish.enforced_users for part in ("--enforce", user)]
    opened = ["--open"] if wish.open else []
    return ["--state-dir", str(wish.state_dir), *weather, *enforced, *opened]


def command(name: str, folder: Path, *more: str) -> str:
    """A command line for the same folder."""
    return program("sandbox", [name, *more, *([] if folder == state_folder() else ["--folder", str(folder)])])
