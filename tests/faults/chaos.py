"""Whole lives under bad weather: runs that fail and are killed at random, until a calm one must set all right."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable
from typing import Any

from tests.faults import account as accounts
from tests.faults import disk, weather
from tests.faults.sweep import LEDGER, Result, Sweep, last_words
from tests.faults.world import Sent


@dataclasses.dataclass
class Life:
    """One seed: which runs are still to come, and how bad the weather is in each of them."""

    sweep: Sweep
    result: Result
    dice: random.Random
    plan: list[tuple[str, bool]]
    drifted: bool = False

    def live(self) -> None:
        """Go on with the plan. A kill ends a run in the middle, and the life goes on from there."""
        world = self.sweep.world
        while self.plan:
            name, calm = self.plan.pop(0)
            world.faults = None if calm else self.weather()
            world.disk.watch = None if calm else self.bad_disk()
            ended = world.run(name, "--no-try" if name == "provision" and self.dice.random() < 0.7 else "--yes")
            world.faults, world.disk.watch = None, None
            self.sweep.judge_run(self.result, ended)
            if calm:
                self.judge(name, ended)
        self.sweep.finish(self.result)

    def judge(self, name: str, ended: Any) -> None:
        failures = self.result.failures
        inventory = self.sweep.world.account.inventory()
        if ended.code != 0:
            failures.append(f"a calm {name} ended with {ended.code}: {last_words(ended)}")
        elif name == "provision":
            failures += [f"after provision {line}" for line in accounts.differing(self.sweep.shape(), self.sweep.clean)]
        else:
            failures += [f"after teardown {line}" for line in accounts.differing(inventory, self.sweep.before)]

    def killed(self) -> None:
        self.result.kills += 1
        self.sweep.world.abandon()
        self.sweep.judge_files(self.result)
        self.live()

    def weather(self) -> Callable[[Sent, Callable[[], Any]], Any]:
        """How a run goes: the rate of its faults, of kills among them, and how slow AWS is."""
        rate, deadly, slow = self.dice.uniform(0.02, 0.2), self.dice.uniform(0.05, 0.5), self.dice.uniform(0, 3)
        lasting: list[weather.Fault] = []
        world = self.sweep.world

        def pass_through(sent: Sent, answer: Callable[[], Any]) -> Any:
            world.clock.now += self.dice.uniform(0, slow)
            if self.dice.random() < rate:
                possible = weather.kinds(sent)
                kills = [kind for kind in possible if kind.startswith("killed")]
                others = [kind for kind in possible if kind not in kills]
                if self.dice.random() > 0.15:  # what ends a run for sure would end nearly every one
                    others = [kind for kind in others if kind not in ("denied", "expired")]
                kind = self.dice.choice(kills if self.dice.random() < deadly else others)
                self.result.faults += 1
                fault = weather.Fault(kind, world.clock, self.killed)
                lasting.append(fault)
                return fault(sent, answer)
            for fault in lasting:
                if fault.at is not None and fault.applies(sent):
                    return fault.later(sent, answer)
            return answer()

        return pass_through

    def bad_disk(self) -> disk.Watch:
        rate = self.dice.choice((0, 0, 0.002, 0.01))

        def watch(operation: disk.Operation, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
            if self.dice.random() >= rate:
                return do()
            self.result.faults += 1
            kind = self.dice.choice(["killed before", "killed after", *disk.REFUSALS.get(operation.name, ())])
            if kind == "killed after":
                do()
            if kind == "torn" and half is not None:
                half()
            if kind in ("killed before", "killed after", "torn"):
                self.killed()
            raise OSError(disk.ERRORS[kind], os.strerror(disk.ERRORS[kind]))

        return watch


def chaos(sweep: Sweep, seed: int) -> None:
    """Fork one life. Its end arrives with the sweep's other results."""
    point = f"chaos:{seed}"
    if not sweep.select(point):
        return
    result = Result(point, "life", "chaos", faults=0)
    if not sweep.at_point(result):
        return
    os.chdir(sweep.folder())
    dice = random.Random(seed)
    plan: list[tuple[str, bool]] = []
    for _ in range(dice.choice((1, 1, 2))):
        rough = [
            (dice.choice(("provision", "provision", "provision", "teardown")), False) for _ in range(dice.randint(3, 7))
        ]
        plan += [*rough, ("provision", True)]
        plan += [*(("teardown", False) for _ in range(dice.randint(2, 5))), ("teardown", True)]
    if LEDGER.exists():
        raise AssertionError("a life begins without a state file")
    life = Life(sweep, result, dice, plan)
    try:
        life.live()
    except BaseException as error:  # noqa: BLE001
        result.failures.append(f"the life itself failed: {error!r}")
    sweep.finish(result)
