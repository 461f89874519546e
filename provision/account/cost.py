"""What the architecture costs: the table in prices.json, and what follows from it.

AWS is not asked: its own figures come a day late. The prices are those of one Region at one date, so this is an
estimate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Row:
    """One price, in dollars for a `unit`; how many units an idle month takes, and a million requests by each route."""

    service: str
    unit: str
    price: float
    idle: float
    direct: float
    queue: float
    why: str
    source: str


@dataclass(frozen=True)
class Prices:
    """The prices, with their date and Region."""

    date: str
    region: str
    about: str
    rows: tuple[Row, ...]

    @property
    def idle_month(self) -> float:
        """Dollars for a month without requests, outside the free tier."""
        return sum(row.price * row.idle for row in self.rows)

    @property
    def million_direct(self) -> float:
        """Dollars for a million requests that wait for the function."""
        return sum(row.price * row.direct for row in self.rows)

    @property
    def million_by_queue(self) -> float:
        """Dollars for a million requests through the queue."""
        return sum(row.price * row.queue for row in self.rows)


@cache
def prices() -> Prices:
    table = json.loads((resources.files("provision.account") / "prices.json").read_text(encoding="utf-8"))
    return Prices(**{**table, "rows": tuple(Row(**row) for row in table["rows"])})


def idle_sentence() -> str:
    """What it costs while nobody uses it."""
    return f"Idle it costs about ${prices().idle_month:.2f} a month outside the free tier, and nothing within it."


def use_sentence(*, by_queue: bool) -> str:
    """What using it costs; `by_queue`: there is a queue route."""
    found = prices()
    queue = f", through the queue ${found.million_by_queue:.2f}" if by_queue else ""
    return (
        f"A million requests cost about ${found.million_direct:.2f}{queue} "
        f"(list prices of {found.region}, {found.date})."
    )
