"""The engine: one clean run, and at each of its requests and file operations a fork for each kind of fault.

The child goes on exactly where the program was, with the fault; afterwards both recoveries are tried, and what the
account and the folder hold is judged. The parent goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from provision.state.entries import TAG
from tests.faults import account as accounts
from tests.faults import disk, strangers, weather
from tests.faults.disk import FOLDER
from tests.faults.world import SECRET, TOKEN, Ended, Sent, World, copy_folder, lay_out

LEDGER = Path(FOLDER) / "sandbox-us-east-1.json"
MEMORY = Path("/dev/shm")  # a disk that costs nothing; what it would lose without power is reckoned, not tried
MOST_STATES = 8  # in which a disk can come back from one power failure; half of them have been seen
CHILDREN = max(2, os.cpu_count() or 2)
# Ids as AWS and the suite invent them: of deployments, mappings, APIs and their resources, IAM's, and times.
INVENTED = re.compile(
    r"poc-[0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b(?=[a-z]*\d)[a-z0-9]{10}\b"
    r"|\bA[A-Z0-9]{20}\b|\b1[0-9]{9}(?:[0-9]{3})?\b|20\d\d-\d\d-\d\d[T ][0-9:.+]+"
)
SPOIL = False  # whether a stranger's resource is changed before each judgement, to see the sweep fail
EXIT_CODES = {0, 1, 252, 253, 254}


@dataclasses.dataclass
class Result:
    """What became of one point: `failures` are what an oracle saw; none: it passed."""

    point: str
    call: str
    kind: str
    ended: str = ""
    failures: list[str] = dataclasses.field(default_factory=list)
    known: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # verdicts on states, for the parent
    faults: int = 1
    kills: int = 0


class Sweep:
    """A world with strangers in it, the inventory before the first run, and the shape of a clean build."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.world = World(seed)
        self.root = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY if MEMORY.is_dir() else None))
        self.before: dict[str, Any] = {}
        self.clean: dict[str, Any] = {}
        self.verdicts: dict[str, list[str]] = {}
        self.results: list[Result] = []
        self.running: dict[int, tuple[int, Path, Result]] = {}
        self.folders = 0
        self.select: Callable[[str], bool] = lambda point: True
        self.memo = True
        self.loud = False
        self.calls: tuple[str, ...] = ()  # only these operations; none: all
        self.afterwards = self.recover

    @contextlib.contextmanager
    def open(self) -> Iterator[Sweep]:
        here = Path.cwd()
        with self.world.installed():
            strangers.settle(self.world.account)
            self.before = self.world.account.inventory()
            self.clean = self.in_child(self._clean_shape)
            try:
                yield self
            finally:
                os.chdir(here)
                if os.getpid() == self.owner:
                    self.world.account.close()
                    shutil.rmtree(self.root, ignore_errors=True)

    owner = os.getpid()

    def folder(self) -> Path:
        self.folders += 1
        path = self.root / f"{os.getpid()}-{self.folders}"
        path.mkdir(parents=True)
        return path

    def _clean_shape(self) -> dict[str, Any]:
        os.chdir(self.folder())
        ended = self.world.run("provision", "--no-try")
        assert ended.code == 0, ended.talk
        return self.shape()

    def shape(self) -> dict[str, Any]:
        deployment = json.loads(LEDGER.read_bytes())["deployment"]
        return accounts.shape(self.world.account.inventory(), self.before, deployment)

    # Forks

    def in_child(self, body: Callable[[], Any]) -> Any:
        """What `body` returns, run in a child that is thrown away."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with os.fdopen(write, "wb") as pipe:
                    pipe.write(json.dumps(body(), default=str).encode())
                code = 0
            except BaseException:  # noqa: BLE001
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError("a child of the sweep failed; its traceback is above")
        return json.loads(answer)

    def at_point(self, result: Result) -> bool:
        """Fork. In the child: True, and it plays the fault; in the parent: False, and the result will come."""
        while len(self.running) >= CHILDREN:
            self.collect()
        copied = self.folder()
        copy_folder(Path.cwd(), copied)
        still_open = self.world.disk.still_open()
        read, write = os.pipe()
        child = os.fork()
        if child:
            os.close(write)
            self.running[child] = (read, copied, result)
            return False
        os.close(read)
        self.running = {}
        self.report_to = write
        os.chdir(copied)
        self.world.disk.move_to_this_folder(still_open)
        return True

    def finish(self, result: Result) -> None:
        """The child's end: tell the parent, and be gone."""
        with contextlib.suppress(BrokenPipeError):
            data = json.dumps(dataclasses.asdict(result)).encode()
            while data:
                data = data[os.write(self.report_to, data) :]
        os._exit(0)

    def collect(self, *, all_of_them: bool = False) -> None:
        while self.running:
            child, (read, copied, begun) = next(iter(self.running.items()))
            with os.fdopen(read, "rb") as pipe:
                answer = pipe.read()
            os.waitpid(child, 0)
            del self.running[child]
            shutil.rmtree(copied, ignore_errors=True)
            if not answer:
                begun.failures.append("the child of a point died")
                self.results.append(begun)
            else:
                result = Result(**json.loads(answer))
                self.verdicts.update(result.known)
                result.known = {}
                self.results.append(result)
            if not all_of_them:
                return

    # Recoveries and oracles

    def judge_run(self, result: Result, ended: Ended) -> None:
        """What every run owes, however it ended: a known exit code, one message if it failed, no traceback."""
        result.ended = str(ended.code)
        if self.loud:
            print(f"--- a run ended with {ended.code}\n{ended.talk}", flush=True)
        if ended.code not in EXIT_CODES:
            result.failures.append(f"exit code {ended.code}")
        if (ended.code != 0) != (ended.messages == 1):
            result.failures.append(f"exit code {ended.code} with {ended.messages} messages: {ended.talk[-600:]}")
        self.judge_files(result)

    def judge_files(self, result: Result) -> None:
        for path in Path(FOLDER).iterdir() if Path(FOLDER).exists() else ():
            text = path.read_text(errors="replace") if path.is_file() else ""
            if path.name.startswith("error-"):
                result.failures.append(f"a traceback was kept: {text.strip().splitlines()[-1] if text.strip() else ''}")
                path.unlink()
            if SECRET in text or TOKEN[:40] in text:
                result.failures.append(f"a secret stands in {path.name}")

    def judge_shape(self, result: Result) -> None:
        """A run that ended well has made one of each, faults or not."""
        key = f"shape {self.state()}" if self.memo else secrets.token_hex(4)
        if key not in self.verdicts:
            wrong = accounts.differing(self.shape(), self.clean)
            self.verdicts[key] = result.known[key] = [f"after provision {line}" for line in wrong]
        result.failures += self.verdicts[key]

    def recover(self, result: Result) -> None:
        """Both recoveries, each on its own copy of what is there; the same state is judged once."""
        for name, recovery in (("resume", self.resume_then_teardown), ("teardown", self.teardown_at_once)):
            key = f"{name} {self.state()}" if self.memo else secrets.token_hex(4)
            if key not in self.verdicts:
                self.verdicts[key] = self.in_child(lambda recovery=recovery: self.on_a_copy(recovery))
                result.known[key] = self.verdicts[key]
            result.failures += [f"{name}: {failure}" for failure in self.verdicts[key]]

    def on_a_copy(self, body: Callable[[], list[str]]) -> list[str]:
        copied = self.folder()
        copy_folder(Path.cwd(), copied)
        os.chdir(copied)
        try:
            return body()
        finally:
            shutil.rmtree(copied, ignore_errors=True)

    def state(self) -> str:
        """A digest of the account and the folder, without the names that AWS invents, and without times.

        The account is what the writes that it applied have made of it, so these stand for it.
        """
        files: dict[str, Any] = {}
        for path in sorted(Path(FOLDER).iterdir()) if Path(FOLDER).exists() else ():
            name = re.sub(r"\.\d+\.tmp", ".PID.tmp", path.name)
            files[name] = None
            if path.suffix == ".json":
                try:
                    content = json.loads(path.read_bytes())
                    for field in ("serial", "checksum", "receipt"):
                        content.pop(field, None)
                    for entry in content["resources"]:
                        entry.pop("since", None)
                    files[name] = content
                except (ValueError, KeyError, TypeError, AttributeError):
                    files[name] = path.read_text(errors="replace")
        numbers: dict[str, str] = {}
        text = json.dumps([self.world.applied, files, Path(FOLDER).exists()], sort_keys=True)
        folded = INVENTED.sub(lambda found: numbers.setdefault(found.group(), f"<{len(numbers)}>"), text)
        return hashlib.sha256(folded.encode()).hexdigest()

    def resume_then_teardown(self) -> list[str]:
        result = Result("", "", "")
        ended = self.world.run("provision", "--no-try")
        self.judge_run(result, ended)
        if ended.code != 0:
            return [*result.failures, f"provision ended with {ended.code}: {last_words(ended)}"]
        result.failures += [f"after provision {line}" for line in accounts.differing(self.shape(), self.clean)]
        return result.failures + self.teardown_at_once()

    def teardown_at_once(self) -> list[str]:
        result = Result("", "", "")
        had_ledger = LEDGER.exists()
        ended = self.world.run("teardown")
        self.judge_run(result, ended)
        if SPOIL:
            self.world.account.clients["sqs"].create_queue(QueueName="spoilt")
        # Without a state file it looks in the account, and may have to say that it cannot tell whose resources are
        # there.
        if ended.code != 0 and (had_ledger or ended.code != 1 or self.world.wrote):
            result.failures.append(f"teardown ended with {ended.code}: {last_words(ended)}")
        result.failures += [
            f"after teardown {line}" for line in accounts.differing(self.world.account.inventory(), self.before)
        ]
        return result.failures

    # Sweeps

    def sweep_requests(self, scenario: str, name: str, *arguments: str) -> Ended:
        """Run a program once; at each request fork for each kind. The parent's run ends as if nothing happened."""

        def at(sent: Sent, answer: Callable[[], Any]) -> Any:
            for kind in weather.kinds(sent) if not self.calls or sent.operation in self.calls else ():
                point = f"{scenario}:{sent.number}:{kind.replace(' ', '-')}"
                if not self.select(point):
                    continue
                result = Result(point, f"{sent.service} {sent.operation}", kind)
                if self.at_point(result):
                    return self.play(result, kind, sent, answer)
            return answer()

        self.world.faults = at
        ended = self.run_and_judge(name, *arguments)
        self.world.faults = None
        return ended

    def run_and_judge(self, name: str, *arguments: str) -> Ended:
        """Run a program. In a child that was forked at a fault, what follows its end happens here, too."""
        ended = self.world.run(name, *arguments)
        current = self.current
        if current is not None and os.getpid() != self.owner:
            self.world.faults = None
            self.world.disk.watch = None
            self.judge_run(current, ended)
            if name == "provision" and ended.code == 0:
                self.judge_shape(current)
            self.afterwards(current)
            self.finish(current)
        return ended

    current: Result | None = None
    afterwards: Callable[[Result], None]

    def play(self, result: Result, kind: str, sent: Sent, answer: Callable[[], Any]) -> Any:
        """In the child: the fault itself, and what it says of the requests after it."""
        self.current = result
        fault = weather.Fault(kind, self.world.clock, lambda: self.killed(result))
        self.world.faults = fault.later
        return fault(sent, answer)

    def killed(self, result: Result) -> None:
        """The program is never returned to: its locks are gone, its files are as they are."""
        result.kills += 1
        result.ended = "killed"
        self.world.abandon()
        self.judge_files(result)
        self.judge_claims(result)
        self.afterwards(result)
        self.finish(result)

    def judge_claims(self, result: Result) -> None:
        """What the state file calls deleted is not there: teardown's proof would find it after its wait of 90 s."""
        try:
            content = json.loads(LEDGER.read_bytes())
            deleted = [entry for entry in content["resources"] if entry["status"] == "deleted"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # no state file, or one that is refused
        inventory = self.world.account.inventory() if deleted else {}
        for entry in deleted:
            named = str(next(iter(entry["identity"].values())))
            for key, resource in inventory[entry["kind"]].items():
                tags = resource.get("tags", {}) if isinstance(resource, dict) else {}
                its_name = key == entry["outputs"].get("id") or f"/{named}".endswith(f"/{key}")
                if its_name and tags.get(TAG) == content["deployment"]:
                    result.failures.append(f"the state file calls {entry['key']} deleted, and it is there")

    def sweep_files(self, scenario: str, name: str, *arguments: str) -> Ended:
        """The same at each operation on the state file's files."""
        number = 0

        def at(operation: disk.Operation, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
            nonlocal number
            number += 1
            kinds = ["killed before", "killed after", *disk.REFUSALS.get(operation.name, ())]
            if operation.name in disk.CHANGES:
                kinds.append("power")
            for kind in kinds:
                point = f"{scenario}:{number}:{kind.replace(' ', '-')}"
                call = f"{operation.name} {operation.file}"
                if kind == "power":
                    self.power_points(point, call, do)
                    continue
                if not self.select(point):
                    continue
                result = Result(point, call, kind)
                if self.at_point(result):
                    return self.play_file(result, kind, do, half)
            return do()

        self.world.disk.watch = at
        ended = self.run_and_judge(name, *arguments)
        self.world.disk.watch = None
        return ended

    def power_points(self, point: str, call: str, do: Callable[[], Any]) -> None:
        """After the operation the power fails: one point for each state that the disk can come back with."""
        if self.world.disk.watch is None:
            return
        if not any(self.select(f"{point}-{state}") for state in range(MOST_STATES)):
            return  # counting them takes a fork

        def count() -> int:
            do()
            return len(self.world.disk.platter.after_power_loss())

        watch, self.world.disk.watch = self.world.disk.watch, None
        copied = self.folder() / "here"
        copy_folder(Path.cwd(), copied)
        still_open = self.world.disk.still_open()

        def in_the_copy() -> int:
            os.chdir(copied)
            self.world.disk.move_to_this_folder(still_open)
            return count()

        states = self.in_child(in_the_copy)
        assert states <= MOST_STATES, f"{states} states after {call}"
        for state in range(states):
            numbered = f"{point}-{state}"
            if not self.select(numbered):
                continue
            result = Result(numbered, call, "power failure")
            if self.at_point(result):
                do()
                files = self.world.disk.platter.after_power_loss()[state]
                self.world.abandon()
                lay_out(Path.cwd(), files)
                result.ended = "no power"
                result.kills += 1
                self.recover(result)
                self.finish(result)
        self.world.disk.watch = watch

    def play_file(self, result: Result, kind: str, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
        self.current = result
        self.world.disk.watch = None
        if kind == "killed before":
            self.killed(result)
        if kind == "killed after":
            do()
            self.killed(result)
        if kind == "torn":
            assert half is not None
            half()
            self.killed(result)
        if kind == "full" and half is not None:
            half()
        number = disk.ERRORS[kind]

        def still(operation: disk.Operation, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
            # A disk that is full or read-only stays so for the rest of the run; an error of the device was one.
            if kind in disk.REFUSALS.get(operation.name, ()):
                raise OSError(number, os.strerror(number))
            return do()

        if kind != "failed":
            self.world.disk.watch = still
        raise OSError(number, os.strerror(number))


def last_words(ended: Ended) -> str:
    lines = [line for line in ended.talk.splitlines() if line.strip()]
    start = next(
        (n for n, line in enumerate(lines) if line.startswith(("Error", "aws:", "Interrupted"))), len(lines) - 4
    )
    return " | ".join(lines[max(start, 0) : start + 5])


def digest(results: list[Result]) -> str:
    """Of the points and how each ended: the same seed gives the same one."""
    text = json.dumps(sorted((one.point, one.call, one.kind, one.ended, bool(one.failures)) for one in results))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
