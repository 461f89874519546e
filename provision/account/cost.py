"""What the architecture costs: the table in prices.json, and what follows from it.

AWS is not asked: its own figures come a day late. The prices are those of one Region at one date, so this is an
estimate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from provision.settings import Settings

# Requests a second that all APIs of an account and Region answer together.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
ACCOUNT_LIMIT = 10_000


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

    def flooded_hour(self, rate: int | None, *, by_queue: bool) -> float:
        """Dollars for an hour of as many requests as get through: `rate` a second on each route, or the account's."""
        million = self.million_direct + (self.million_by_queue if by_queue else 0)
        if rate is None:  # the account's limit is one for all routes
            rate, million = ACCOUNT_LIMIT, max(self.million_direct, self.million_by_queue if by_queue else 0)
        return rate * 3600 / 1e6 * million


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


def flood_sentence(rate: int | None, *, by_queue: bool) -> str:
    """What it costs while somebody floods the URL. `rate`: what the stage answers a second on each route."""
    cost = f"${prices().flooded_hour(rate, by_queue=by_queue):,.2f}"
    if rate is None:
        limit = f"the account's limit, {ACCOUNT_LIMIT:,} requests a second"
        return f"While somebody floods the URL it costs about {cost} an hour, at {limit}."
    limit = f"the stage's limit, {rate} requests a second on each route"
    return f"While somebody floods the URL it costs about {cost} an hour, at {limit}."


def cost_sentences(settings: Settings) -> str:
    """What a deployment costs: idle, in use, and flooded."""
    by_queue = settings.has_queue_route
    flooded = flood_sentence(settings.throttle_rate, by_queue=by_queue)
    return f"{idle_sentence()} {use_sentence(by_queue=by_queue)} {flooded}"
