"""The parts of the whole sweep: which lives are played, at which points, and what is counted."""

from __future__ import annotations

import gc
import os
import random
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import teardown.looks
from teardown.looks import BELIEVED_SECONDS
from tests.faults import state_files, strangers, weather
from tests.faults.chaos import chaos
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.sweep import Result, Sweep
from tests.faults.world import Ended, Sent

Select = Callable[[str], bool]

LIVES = 500
SPOILED = 2000
DOUBLES = 2000


@dataclass
class Played:
    """The results of a part, and the figures it adds to the report."""

    name: str
    results: list[Result]
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def summary(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.figures.items())


def a_sweep(seed: int, select: Select, replay: bool) -> Sweep:
    sweep = Sweep(seed)
    sweep.select = select
    sweep.memo = not replay
    sweep.loud = replay
    gc.collect()
    gc.freeze()  # else a collection in a child would copy every page of the parent
    return sweep


def scenarios(sweep: Sweep, play: Callable[[str, str, tuple[str, ...]], Ended]) -> None:
    """The lives that are swept: a first build with its smoke tests, an updating run after drifts, a teardown.

    And a teardown of which a person thinks about the question for long: what it saw before, it does not believe.
    Of one point that is played again, no more than it takes to come there.
    """
    os.chdir(sweep.folder())
    lives = ("build", "provision"), ("update", "provision"), ("teardown", "teardown"), ("asked", "teardown")
    for scenario, name in lives:
        if scenario == "update":
            strangers.drift(sweep.world.account)
        if scenario == "asked":
            assert sweep.world.run("provision", "--no-try").code == 0
            teardown.looks.BELIEVED_SECONDS = 0.0
        ended = play(scenario, name, ())
        teardown.looks.BELIEVED_SECONDS = BELIEVED_SECONDS
        assert ended.code == 0, ended.talk
        if sweep.loud and (sweep.running or sweep.results):
            return


def api(seed: int, select: Select, replay: bool) -> Played:
    sweep = a_sweep(seed, select, replay)
    with sweep.open():
        scenarios(sweep, lambda scenario, name, arguments: sweep.sweep_requests(scenario, name, *arguments))
        sweep.collect(all_of_them=True)
    pairs = {(one.call, one.kind) for one in sweep.results}
    return Played("api", sweep.results, {"API fault points": len(sweep.results), "pairs of call and kind": len(pairs)})


def files(seed: int, select: Select, replay: bool) -> Played:
    sweep = a_sweep(seed, select, replay)
    with sweep.open():
        scenarios(sweep, lambda scenario, name, arguments: sweep.sweep_files(f"files-{scenario}", name, *arguments))
        sweep.collect(all_of_them=True)
    pairs = {(one.call, one.kind) for one in sweep.results}
    return Played(
        "files", sweep.results, {"file fault points": len(sweep.results), "pairs of operation and kind": len(pairs)}
    )


def double(seed: int, select: Select, replay: bool) -> Played:
    """A second fault while the first one is being recovered from. Points are drawn by the seed."""
    sweep = a_sweep(seed, lambda point: True, replay)
    sweep.memo = True
    with sweep.open():
        total = count_points(sweep)
        chance = min(1.0, DOUBLES * 1.08 / total)  # some recoveries end before their second fault would come

        def pick(point: str) -> bool:
            dice = random.Random(f"{seed} {point}")
            return dice.random() < chance and select(f"double-{point}")

        sweep.select = pick

        def second(result: Result) -> None:
            dice = random.Random(f"{seed} second {result.point}")
            world = sweep.world
            sweep.afterwards = sweep.recover
            at = 0

            def once(sent: Sent, answer: Callable[[], Any]) -> Any:
                if sent.number != at:
                    return answer()
                kind = dice.choice(weather.kinds(sent))
                result.faults += 1
                result.kind += f", then {kind} at {sent.operation}"
                fault = weather.Fault(kind, world.clock, lambda: sweep.killed(result))
                world.faults = fault.later
                return fault(sent, answer)

            for _ in range(4):  # a run may end before the request that was drawn; then the next one is tried
                name = dice.choice(("provision", "teardown"))
                at = 1 + int(dice.random() ** 2 * (70 if name == "provision" else 130))
                world.faults = once
                ended = world.run(name, *(["--no-try"] if name == "provision" and dice.random() < 0.5 else []))
                world.faults = None
                sweep.judge_run(result, ended)
                if result.faults > 1:
                    break
            sweep.recover(result)

        sweep.afterwards = second
        scenarios(sweep, lambda scenario, name, arguments: sweep.sweep_requests(scenario, name, *arguments))
        sweep.collect(all_of_them=True)
    for one in sweep.results:
        one.point = f"double-{one.point}"
    twice = sum(one.faults >= 2 for one in sweep.results)
    return Played("double", sweep.results, {"double faults": twice, "single among them": len(sweep.results) - twice})


def count_points(sweep: Sweep) -> int:
    """How many API fault points there are, counted from clean runs in a child."""

    def count() -> int:
        points = 0

        def counting(scenario: str, name: str, arguments: tuple[str, ...]) -> Ended:
            nonlocal points
            ended = sweep.world.run(name, *arguments)
            points += sum(len(weather.kinds(sent)) for sent in ended.sent)
            return ended

        scenarios(sweep, counting)
        return points

    return int(sweep.in_child(count))


def lives(seed: int, select: Select, replay: bool) -> Played:
    sweep = a_sweep(seed, select, replay)
    with sweep.open():
        os.chdir(sweep.folder())
        for number in range(LIVES):
            chaos(sweep, seed * 100_000 + number)
        sweep.collect(all_of_them=True)
    return Played(
        "chaos",
        sweep.results,
        {
            "chaos lives": len(sweep.results),
            "faults in them": sum(one.faults for one in sweep.results),
            "kills in them": sum(one.kills for one in sweep.results),
        },
    )


def spoiled(seed: int, select: Select, replay: bool) -> Played:
    """State files of a finished build, of one that was killed half-way, of an updated one and of a half teardown."""
    sweep = a_sweep(seed, select, replay)
    with sweep.open():
        share = SPOILED // 4
        for state in ("built", "half-built", "half-removed", "drifted"):
            sweep.results.extend(played_apart(sweep, lambda state=state: spoil(sweep, seed, state, share)))
    refusals = sum("refused" in one.ended for one in sweep.results)
    return Played("ledgers", sweep.results, {"spoiled state files": len(sweep.results), "refused": refusals})


def spoil(sweep: Sweep, seed: int, state: str, share: int) -> None:
    os.chdir(sweep.folder())
    world = sweep.world
    if state == "half-built":
        world.faults = at_number(random.Random(seed).randrange(20, 60))
    world.run("provision", "--no-try")
    world.faults = None
    if state == "half-removed":
        world.faults = at_number(random.Random(seed).randrange(60, 110))
        world.run("teardown")
        world.faults = None
    if state == "drifted":
        strangers.drift(world.account)
    state_files.try_ledgers(sweep, seed, share, state)


def at_number(number: int) -> Callable[[Sent, Callable[[], Any]], Any]:
    """Expired credentials from a request on: the run ends there."""

    def expire(sent: Sent, answer: Callable[[], Any]) -> Any:
        if sent.number < number:
            return answer()
        return weather.refusal(sent, 403, "ExpiredToken", "The security token included in the request is expired")

    return expire


def played_apart(sweep: Sweep, play: Callable[[], None]) -> list[Result]:
    """The results of something that is played in a child, which may do to the account what it likes."""

    def body() -> list[dict[str, Any]]:
        sweep.owner = os.getpid()
        sweep.results = []
        try:
            play()
        except Exception:  # noqa: BLE001 - a mutant may break anything
            traceback.print_exc(file=sys.__stderr__) if sweep.loud else None
            sweep.results.append(Result("?", "clean run", "exception", failures=["the child of a point died"]))
        sweep.collect(all_of_them=True)
        return [vars(result) for result in sweep.results]

    return [Result(**one) for one in sweep.in_child(body)]


def mutants(seed: int, select: Select, replay: bool) -> Played:
    """Each mutant on a part of the points; the unmutated suite on the same points, before."""
    sweep = a_sweep(seed, lambda point: True, replay)
    results: list[Result] = []
    with sweep.open():
        for one in MUTANTS:
            point = f"mutant:{one.break_it.__name__}"
            if not select(point):
                continue
            result = Result(point, "mutant", one.name, faults=0)
            sick = played_apart(sweep, lambda one=one: play_mutant(sweep, seed, one, broken=True))
            caught = {
                played.point: failure
                for played in reversed(sick)
                for failure in reversed(played.failures)
                if is_catch(failure)
            }
            result.ended = f"{len(sick)} points"
            result.call = next(iter(caught.values()))[:160] if caught else "not caught"
            if not caught:
                result.failures.append(f"not caught at any of {len(sick)} points, {[one.point for one in sick][:4]}")
            healthy = played_apart(
                sweep, lambda one=one, points=caught: play_mutant(sweep, seed, one, broken=False, only=points)
            )
            if len(healthy) < len({without_state(point) for point in caught}) or any(
                played.failures for played in healthy
            ):
                result.failures.append(
                    f"the unmutated suite fails at {[played.point for played in healthy if played.failures][:3]}"
                )
            print(f"    {'NOT CAUGHT' if result.failures else 'caught'}: {one.name}", flush=True)
            results.append(result)
            if replay or os.environ.get("FAULTS_LOUD"):
                print(result, sick[:3], file=sys.stderr)
    return Played(
        "mutants",
        results,
        {"mutants": len(results), "mutants caught": sum(not one.failures for one in results)},
    )


def without_state(point: str) -> str:
    """A point without the number of the state that a disk came back in: a healthy suite leaves fewer of them."""
    return re.sub(r"(:power)-\d+$", r"\1", point)


def is_catch(failure: str) -> bool:
    """Whether an oracle saw it: what is in the account or the files, not that the mutant broke down."""
    return not any(words in failure for words in ("a traceback was kept", "the child of a point died", "itself failed"))


def play_mutant(sweep: Sweep, seed: int, one: Mutant, *, broken: bool, only: Collection[str] | None = None) -> None:
    """Play a mutant's points until one has caught it; or, `only` given, the unmutated suite at just those."""
    sweep.verdicts = {}

    def is_left(point: str) -> bool:
        if only is not None:
            return without_state(point) in {without_state(caught) for caught in only}
        return not any(is_catch(failure) for played in sweep.results for failure in played.failures)

    if one.where == "ledgers":
        os.chdir(sweep.folder())
        sweep.world.run("provision", "--no-try")
        if broken:
            one.break_it(sweep.world)
        sweep.select = is_left
        state_files.try_ledgers(sweep, seed, 400, "mutant")
        return
    kinds = [kind.replace(" ", "-") for kind in one.kinds]

    def pick(point: str) -> bool:
        right_kind = not kinds or any(point.split(":")[2].startswith(kind) for kind in kinds)
        drawn = only is not None or one.calls or zlib.crc32(point.encode()) % 5 == 0
        return right_kind and bool(drawn) and is_left(point)

    os.chdir(sweep.folder())
    scenario = one.where
    if scenario in ("update", "teardown", "asked"):
        sweep.select = lambda point: False
        sweep.world.run("provision", "--no-try")
        if scenario == "update":
            strangers.drift(sweep.world.account)
        if scenario == "asked":
            teardown.looks.BELIEVED_SECONDS = 0.0
    if broken:
        one.break_it(sweep.world)
    sweep.select = pick
    sweep.calls = one.calls
    if scenario == "files":
        sweep.sweep_files("files-build", "provision", "--no-try")
    else:
        sweep.sweep_requests(scenario, "teardown" if scenario in ("teardown", "asked") else "provision")


PARTS: dict[str, Callable[[int, Select, bool], Played]] = {
    "api": api,
    "files": files,
    "double": double,
    "chaos": lives,
    "ledgers": spoiled,
    "mutants": mutants,
}


def part_of(point: str) -> str:
    """The part that a point belongs to, by its name."""
    first = point.partition(":")[0]
    if first.startswith("double-"):
        return "double"
    if first.startswith("files-"):
        return "files"
    return {"chaos": "chaos", "ledger": "ledgers", "mutant": "mutants"}.get(first, "api")
