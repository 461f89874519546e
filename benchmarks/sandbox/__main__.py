"""How fast the sandbox is: `python benchmarks/sandbox`, about a minute.

Builds the architecture by `python -m provision --sandbox` in a folder of its own and asks it as clients would. Each
figure is a median; the machine and the versions stand above them. Needs the extra `bench`. Exits with 1 where a
figure misses its target.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import boto3
import psutil
from clients import post, posts
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
STARTS, WARM, COLD, MESSAGES, CLIENTS = 5, 300, 10, 1000, 8

TARGETS: dict[str, tuple[float | None, str]] = {
    "ready after `start`": (1.5, "s"),
    "memory, idle": (120.0, "MiB"),
    "memory, architecture built": (None, "MiB"),
    "POST, warm": (25.0, "ms"),
    "POST, cold": (400.0, "ms"),
    "1,000 messages drained": (10.0, "s"),
}


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def sandbox(folder: Path) -> Iterator[dict[str, Any]]:
    command(folder, "sandbox", "start")
    try:
        yield json.loads((folder / ".provision" / "sandbox.json").read_text())
    finally:
        command(folder, "sandbox", "stop")


def ready(folder: Path) -> float:
    """Seconds that `python -m sandbox start` takes, which returns when the sandbox answers."""
    began = time.perf_counter()
    command(folder, "sandbox", "start")
    took = time.perf_counter() - began
    command(folder, "sandbox", "stop")
    return took


def memory(pid: int) -> float:
    """MiB of the sandbox's process and of the handlers it runs: what would be free without them, where the system
    tells that, else what is resident."""
    process = psutil.Process(pid)
    everyone = [process, *process.children(recursive=True)]
    return sum(getattr(one.memory_full_info(), "uss", one.memory_info().rss) for one in everyone) / 2**20


def throughput(url: str, clients: int, number: int) -> float:
    """POSTs a second by so many client processes, each with a connection of its own."""
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        pool.starmap(posts, [(url, 0, 3)] * clients)  # warm
        began = time.perf_counter()
        pool.starmap(posts, [(url, 10_000 * one, number // clients) for one in range(clients)], chunksize=1)
        return number // clients * clients / (time.perf_counter() - began)


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not claim():
        if time.monotonic() > deadline:
            raise SystemExit("not within two minutes")
        time.sleep(0.02)


def drain(client: Callable[[str], Any]) -> float:
    """Seconds until the trigger has taken the messages, all of them waiting when it is enabled."""
    sqs, functions, items = client("sqs"), client("lambda"), client("dynamodb")
    url = sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    trigger = functions.list_event_source_mappings(FunctionName="POC-Lambda-1")["EventSourceMappings"][0]["UUID"]
    functions.update_event_source_mapping(UUID=trigger, Enabled=False)
    until(lambda: functions.get_event_source_mapping(UUID=trigger)["State"] == "Disabled")
    for first in range(0, MESSAGES, 10):
        entries = []
        for number in range(first, first + 10):
            item = {"id": f"m{number}", "name": f"m{number}"}
            message = {"operation": "create", "tableName": "name", "payload": {"Item": item}}
            entries.append({"Id": str(number), "MessageBody": json.dumps(message)})
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty() -> bool:
        counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return set(counted.values()) == {"0"}

    began = time.perf_counter()
    functions.update_event_source_mapping(UUID=trigger, Enabled=True)
    until(empty)
    took = time.perf_counter() - began
    written = items.scan(TableName="name", Select="COUNT", FilterExpression="begins_with(id, :m)",
                         ExpressionAttributeValues={":m": {"S": "m"}})  # fmt: skip
    if written["Count"] != MESSAGES:
        raise SystemExit(f"{written['Count']} of {MESSAGES} messages became items")
    return took


def colds(url: str, functions: Any) -> list[float]:
    """A changed configuration retires the execution environments, so the next POST starts one."""
    taken = []
    for number in range(COLD):
        functions.update_function_configuration(FunctionName="POC-Lambda-1", Description=f"cold {number}")
        taken.append(post(url, number))
    return taken


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found["ready after `start`"] = [ready(folder) for _ in range(STARTS)]
        with sandbox(folder) as running:
            time.sleep(2)
            found["memory, idle"] = [memory(running["pid"])]
            command(folder, "provision", "--sandbox", "--yes")
            found["memory, architecture built"] = [memory(running["pid"])]
            endpoint = f"http://127.0.0.1:{running['port']}"

            def client(service: str) -> Any:
                return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1",
                                    aws_access_key_id="bench", aws_secret_access_key=running["key"])  # fmt: skip

            api = client("apigateway").get_rest_apis()["items"][0]["id"]
            url = f"{endpoint}/restapis/{api}/Staging/_user_request_/dynamodbmanager"
            found["POST, cold"] = colds(url, client("lambda"))
            posts(url, 0, 20)
            found["POST, warm"] = posts(url, 0, WARM)
            found["1,000 messages drained"] = [drain(client)]
            one, many = throughput(url, 1, WARM), throughput(url, CLIENTS, 2 * WARM)
            found["clients"] = (one, many)
            command(folder, "teardown", "--sandbox", "--yes")
    return found


def main() -> int:
    found = measure()
    screen = Console()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("moto", "boto3"))
    screen.print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB; Python {platform.python_version()}, {versions}"
    )
    table = Table("what", "median", "least", "most", "target", "")
    missed = False
    for what, (target, unit) in TARGETS.items():
        taken = found[what]
        median = statistics.median(taken)
        row = (what, f"{median:.1f} {unit}", f"{min(taken):.1f}", f"{max(taken):.1f}")
        if target is None:
            table.add_row(*row)
            continue
        missed |= median > target
        table.add_row(*row, f"{target:g} {unit}", "met" if median <= target else "missed")
    one, many = found["clients"]
    missed |= many <= one
    table.add_row(f"{CLIENTS} clients at once", f"{many:.0f} a second", "", "", f"above one's {one:.0f}",
                  "met" if many > one else "missed")  # fmt: skip
    screen.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
