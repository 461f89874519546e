"""Waiting for AWS: the named reasons, and the two ways to wait.

`retry_while` tries a call again while AWS refuses it for one named reason; `poll_until` looks again until something
is so. Both have a budget, both tell what they wait for, and neither waits where waiting cannot help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from botocore.exceptions import ClientError

from provision.aws.reasons import Reason
from provision.terminal import outcome

T = TypeVar("T")


# How many looks in a row must say that waiting cannot help: with the pauses between them, eight seconds. IAM's reads
# lag behind its writes by a few seconds as a rule; a really wrong trust policy must not cost the whole budget.
SURE = 5


class GaveUp(outcome.UserError):
    """The budget of a wait is used up. AWS's own last words are in the message."""

    code = "timeout"


class StillRefused(outcome.UserError):
    """AWS refused one call until the budget of a reason that passes by itself was used up."""

    code = "timeout"


class WaitingCannotHelp(outcome.UserError):
    """AWS refused, for a reason that often passes by itself, but here something is really wrong."""


@dataclass(frozen=True)
class Wait:
    """One look at a wait that goes on: what for, AWS's words if it refused, seconds so far, seconds at most."""

    reason: str
    means: str
    words: str
    elapsed: float
    budget: float


@dataclass
class Waiting:
    """The clock, the sleep, and who is told. Tests bring a clock of their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[Wait], None] = lambda wait: None
    every: float = 2.0
    waited: list[Wait] = field(default_factory=list)
    _put_off: list[Callable[[], None]] | None = None

    @contextmanager
    def putting_off(self) -> Iterator[list[Callable[[], None]]]:
        """Inside the block `later` does not wait: it puts the waits into this list."""
        waits: list[Callable[[], None]] = []
        self._put_off = waits
        try:
            yield waits
        finally:
            self._put_off = None

    def later(self, wait: Callable[[], None]) -> None:
        """Wait now; in a run of several steps, when one of them needs what is waited for. So AWS's waits overlap."""
        if self._put_off is None:
            wait()
        else:
            self._put_off.append(wait)

    def retry_while(self, *reasons: Reason, unless: Callable[[], str | None] | None = None) -> Iterator[Attempt]:
        """Attempts, until one succeeds or fails for a reason that is not among `reasons`.

        Each attempt is a `with` block around the call. After a refusal `unless` looks whether waiting can help: it
        returns None, or the sentence that says what is really wrong. What it looks at may itself be new and not yet
        readable everywhere, so it is believed after SURE looks in a row, between which the call is tried again; then
        WaitingCannotHelp is raised. Once it saw nothing wrong it is asked again only when the budget is used up.
        Raises GaveUp when the budget of a reason is used up.
        """
        since: dict[Reason, float] = {}
        wrong_looks = 0
        trusted = unless is None
        while True:
            attempt = Attempt(reasons)
            yield attempt
            if attempt.refusal is None or attempt.reason is None:
                return
            reason, means, words = attempt.reason, attempt.reason.means, _words(attempt.refusal)
            started = since.setdefault(reason, self.clock())
            is_last = self.clock() - started + self.every > reason.budget
            if unless is not None and (is_last or not trusted):
                wrong = unless()
                trusted = wrong is None
                if wrong:
                    wrong_looks += 1
                    if is_last or wrong_looks >= SURE:
                        raise WaitingCannotHelp(words, means=wrong, exit_code=outcome.SERVICE) from attempt.refusal
                    means = f"{wrong} If that is still so in some seconds, waiting cannot help."
            self._pause(reason.name, means, words, started, reason.budget)

    def retry(self, call: Callable[[], T], *reasons: Reason, unless: Callable[[], str | None] | None = None) -> T:
        """What `call` returns, once AWS no longer refuses it for one of the reasons. `unless`: see retry_while."""
        for attempt in self.retry_while(*reasons, unless=unless):
            with attempt:
                return call()
        raise AssertionError("an attempt that was not refused returns")

    def poll_until(
        self,
        what: str,
        look: Callable[[], T | None],
        *,
        budget: float,
        means: str = "",
        times: int = 1,
        every: float | None = None,
    ) -> T:
        """What `look` returns, as soon as it is neither None nor False, `times` looks in a row.

        "Not there" is believed only after several looks: an answer may come from a place that lags behind. `every` is
        the pause between two looks in seconds; None: the usual one.
        """
        started = self.clock()
        seen = 0
        while True:
            found = look()
            if found is None or found is False:
                seen = 0
            else:
                seen += 1
                if seen >= times:
                    return found
            if seen:
                self.sleep(min(self.every, 1.0))
            else:
                self._pause(what, means, "", started, budget, every)

    def _pause(
        self, reason: str, means: str, words: str, started: float, budget: float, every: float | None = None
    ) -> None:
        every = self.every if every is None else every
        elapsed = self.clock() - started
        wait = Wait(reason, means, words, elapsed, budget)
        if elapsed + every > budget:
            raise GaveUp(
                f"Gave up after {elapsed:.0f} s: {reason}." + (f" AWS said: {words}" if words else ""),
                means=means,
                advice=("Run the same command again: it goes on where this run stopped.",),
            )
        self.looks_again(wait)
        self.sleep(every)

    def pause(self, wait: Wait, seconds: float) -> None:
        """Tell of a wait, and sleep."""
        self.waited.append(wait)
        self.tell(wait)
        self.sleep(seconds)

    def looks_again(self, wait: Wait) -> None:
        """Told before each further look."""
        self.waited.append(wait)
        self.tell(wait)


class Attempt:
    """One try of `retry_while`: a `with` block that swallows exactly the errors that the reasons name."""

    def __init__(self, reasons: tuple[Reason, ...]) -> None:
        self.reasons = reasons
        self.reason: Reason | None = None
        self.refusal: ClientError | None = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ClientError):
            return False
        self.reason = next((reason for reason in self.reasons if reason.matches(error)), None)
        self.refusal = error
        return self.reason is not None


def _words(error: ClientError) -> str:
    answer = error.response.get("Error", {})
    return f"{answer.get('Code')}: {answer.get('Message')}"
