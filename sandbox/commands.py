"""The commands about a sandbox in the background: ``start``, ``stop``, ``status`` and ``logs``.

Data goes to stdout, talk to stderr. Each returns the exit code; KeyboardInterrupt is for the caller.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sandbox import process
from sandbox.process import Running, SandboxFailed, Wish

DONE, NONE_RUNNING, FAILED = 0, 1, 253

# How often `logs --follow` looks for more, in seconds.
FOLLOW_SECONDS = 0.5


def say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)


def credentials_line(url: str) -> str:
    return (
        "Any credentials work:\n"
        "  AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox AWS_DEFAULT_REGION=us-east-1 \\\n"
        f"    aws --endpoint-url {url} dynamodb list-tables"
    )


def start(folder: Path, wish: Wish) -> int:
    """Start one unless the folder's is running. 253 where that one is not as wished: it would be somebody's lesson."""
    try:
        before = process.find(folder)
        if before is None and (folder / process.RECORD).exists():
            say(f"The record {folder / process.RECORD} is of a sandbox that is gone; it is replaced.")
        running = before or process.start(folder, wish)
    except (OSError, SandboxFailed) as error:
        say(f"The sandbox did not start in {folder}: {error}")
        return FAILED
    print(running.url)
    if before is None:
        say(f"{running.id} is running, remembered in {running.record}. {credentials_line(running.url)}")
        return DONE
    differences = differing(running, wish)
    if differences:
        say(
            f"{running.id} is running there already, and not as you asked: {'; '.join(differences)}.",
            f"Stop it first, which empties it: python -m sandbox stop{other_folder(folder)}",
        )
        return FAILED
    say(f"{running.id} is running there already.")
    return DONE


def differing(running: Running, wish: Wish) -> list[str]:
    """What it is and what was asked for, where these differ; what was not asked for does not count."""
    described = process.describe(running) or {}
    found = []
    if wish.port and described.get("port") != wish.port:
        found.append(f"port {described.get('port')}, not {wish.port}")
    if wish.weather != Wish.weather and described.get("weather") != wish.weather:
        found.append(f"weather {described.get('weather')}, not {wish.weather}")
    if wish.state_dir is not None and described.get("state_dir") != str(wish.state_dir):
        found.append(f"state in {described.get('state_dir') or 'no folder'}, not in {wish.state_dir}")
    if wish.enforced_users and described.get("enforced_users") != list(wish.enforced_users):
        enforced = ", ".join(described.get("enforced_users", ())) or "nobody"
        found.append(f"{enforced} held to policies, not {', '.join(wish.enforced_users)}")
    return found


def stop(folder: Path) -> int:
    """Stop the folder's sandbox; success where there is none."""
    running = process.find(folder)
    record = folder / process.RECORD
    if running is None:
        try:
            if record.exists():
                record.unlink()
                say(f"No sandbox is running in {folder}; the record of one that is gone is removed.")
            else:
                say(f"No sandbox is running in {folder}.")
        except OSError as error:
            say(f"The record {record} cannot be removed: {error.strerror}.")
            return FAILED
        return DONE
    described = process.describe(running)
    try:
        process.stop(running)
    except (OSError, SandboxFailed) as error:
        say(f"{running.id} did not stop: {error}")
        return FAILED
    kept = (described or {}).get("state_dir")
    say(
        f"{running.id} is stopped. To have it again: python -m sandbox start --state-dir {kept}{other_folder(folder)}"
        if kept
        else f"{running.id} is stopped, and everything in it is gone."
    )
    return DONE


def status(folder: Path, *, as_json: bool) -> int:
    """What the folder's sandbox says of itself; 1 where none is running."""
    running = process.find(folder)
    described = process.describe(running) if running is not None else None
    if running is None or described is None:
        record = folder / process.RECORD
        if as_json:
            print(json.dumps({"running": False, "folder": str(folder), "stale_record": record.exists()}, indent=2))
        stale = f" The record {record} is of one that is gone." if record.exists() else ""
        say(f"No sandbox is running in {folder}.{stale} To start one: python -m sandbox start{other_folder(folder)}")
        return NONE_RUNNING
    up = seconds_since(described["started"])
    if as_json:
        shown = {"running": True, "folder": str(folder), "url": running.url, **described, "uptime_seconds": up}
        print(json.dumps({**shown, "stays": running.stays}, indent=2))
        return DONE
    rows = {
        "running": f"{running.id} at {running.url}",
        "process": f"{described['pid']}, for {minutes(up)}",
        "weather": described["weather"],
        "held to policies": ", ".join(described["enforced_users"]) or "roles only",
        "ends": "by python -m sandbox stop"
        if running.stays
        else "with the last teardown, or by python -m sandbox stop",
        "log": str(folder / process.LOG),
        "comes back from": described.get("state_dir") or "nowhere",
        "made of": f"moto {described['moto']}, Python {described['python']}",
    }
    for name, value in rows.items():
        print(f"{name:<17} {value}")
    return DONE


def logs(folder: Path, function: str | None, *, region: str, follow: bool) -> int:
    """The sandbox's own log, or a function's events in CloudWatch Logs, oldest first."""
    running = process.find(folder)
    if function is not None:
        if running is None:
            say(f"No sandbox is running in {folder}, so no function has a log there.")
            return NONE_RUNNING
        read = function_events(running.url, function, region)
    else:
        read = new_text(folder / process.LOG)
    try:
        shown = read()
    except FileNotFoundError as missing:
        say(str(missing.args[0]) if function else f"There is no log in {folder}: no sandbox was started there.")
        return NONE_RUNNING
    except OSError as error:
        say(f"The log {folder / process.LOG} cannot be read: {error.strerror}.")
        return FAILED
    while True:
        sys.stdout.write(shown)
        sys.stdout.flush()
        if not follow:
            return DONE
        if running is not None and not process.answers(running):
            say(f"{running.id} has ended.")
            return DONE
        time.sleep(FOLLOW_SECONDS)
        shown = read()


def new_text(path: Path) -> Callable[[], str]:
    """A reader of what the file got since it was asked last."""
    at = 0

    def read() -> str:
        nonlocal at
        with path.open("rb") as file:
            file.seek(at)
            data = file.read()
        at += len(data)
        return data.decode("utf-8", "replace")

    return read


def function_events(url: str, function: str, region: str) -> Callable[[], str]:
    """A reader of what the function's log group got since it was asked last. Raises FileNotFoundError without one."""
    import boto3
    from botocore.config import Config

    client = boto3.session.Session().client(
        "logs",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    group = f"/aws/lambda/{function}"
    seen: set[str] = set()

    def read() -> str:
        lines = []
        try:
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=group):
                for event in page["events"]:
                    if event["eventId"] not in seen:
                        seen.add(event["eventId"])
                        lines.append(line_of(event))
        except client.exceptions.ResourceNotFoundException as error:
            raise FileNotFoundError(
                f"There is no log group {group} in {region}: no such function, or it never ran."
            ) from error
        return "".join(lines)

    return read


def line_of(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc).strftime("%H:%M:%S.%f")[:-3]
    return f"{at}  {event['message'].rstrip()}\n"


def seconds_since(started: str) -> int:
    return max(0, round((datetime.now(timezone.utc) - datetime.fromisoformat(started)).total_seconds()))


def minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} minutes"


def other_folder(folder: Path) -> str:
    """What a suggested command needs to mean the same folder."""
    return "" if folder == Path(".provision") else f" --folder {folder}"
