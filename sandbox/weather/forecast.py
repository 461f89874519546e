"""What a weather consists of, times and probabilities, and the weathers that have names."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

Span = tuple[float, float]


@dataclass(frozen=True)
class Forecast:
    """A weather: how long things take, and how often things go wrong. By default they take no time and never do.

    A span is (least, most) in seconds, before ``scale``; one time is drawn from it for each resource.
    """

    seed: int = 0
    # Multiplies every duration, also the periods of quotas: 0.1 is ten times as fast as AWS.
    scale: float = 1.0

    # IAM: a new role or policy is NoSuchEntity to reads, lists and attaching.
    entity_visible: Span = (0, 0)
    # A new role cannot be assumed by Lambda.
    role_assumable: Span = (0, 0)
    # KMS does not know a new role, so that no function with environment variables can have it.
    role_known_to_kms: Span = (0, 0)
    # SQS does not know a new role in a queue's policy.
    role_known_to_queues: Span = (0, 0)
    # Lambda does not see a new permission when it checks whether a role may read a queue.
    permissions_seen: Span = (0, 0)
    # After a detach, role and policy still count as attached, so that neither can be deleted.
    detachment_seen: Span = (0, 0)

    # DynamoDB: a new table is not found, a table is CREATING (both begin with CreateTable), UPDATING, DELETING.
    table_visible: Span = (0, 0)
    table_creating: Span = (0, 0)
    table_updating: Span = (0, 0)
    table_deleting: Span = (0, 0)

    # Lambda: State Pending; LastUpdateStatus InProgress; a mapping Creating, Enabling, Updating; Deleting.
    function_pending: Span = (0, 0)
    function_updating: Span = (0, 0)
    # After a change of a function, what else changes it (a permission, a trigger) is refused.
    function_busy: Span = (0, 0)
    trigger_settling: Span = (0, 0)
    trigger_deleting: Span = (0, 0)

    # SQS: a new queue is not found, nor by Lambda; a deleted one is; its name is blocked; changed attributes read as
    # before.
    queue_visible: Span = (0, 0)
    queue_known_to_lambda: Span = (0, 0)
    queue_lingering: Span = (0, 0)
    queue_name_blocked: Span = (0, 0)
    attributes_stale: Span = (0, 0)

    # API Gateway: the URL of a new stage is not served; the account's fixed quotas apply.
    stage_served: Span = (0, 0)
    quotas: bool = False

    # Every call: seconds of latency, and the probability that it is throttled, answered 500 or 503, or lost. Half of
    # the failed and the lost ones have been applied all the same.
    latency: Span = (0, 0)
    throttled: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    # Seconds from an access key's first call until its session has expired; 0: never.
    expire: float = 0.0


CALM = Forecast()


AWS = Forecast(
    entity_visible=(0, 4),
    role_assumable=(8, 25),
    role_known_to_kms=(8, 28),
    role_known_to_queues=(5, 20),
    permissions_seen=(8, 25),
    detachment_seen=(0, 5),
    table_visible=(0, 1),
    table_creating=(4, 10),
    table_updating=(3, 8),
    table_deleting=(3, 10),
    function_pending=(2, 6),
    function_updating=(1, 5),
    function_busy=(0, 7),
    trigger_settling=(4, 12),
    trigger_deleting=(4, 12),
    queue_visible=(0, 2),
    queue_known_to_lambda=(0, 12),
    queue_lingering=(2, 10),
    # The one time that AWS publishes:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
    queue_name_blocked=(60, 60),
    attributes_stale=(0, 8),
    stage_served=(1, 6),
    quotas=True,
    latency=(0.01, 0.15),
    throttled=0.01,
    failed=0.003,
    lost=0.002,
)


NAMED = {"calm": CALM, "aws": AWS}

PROBABILITIES = ("throttled", "failed", "lost")


def parse(text: str) -> Forecast:
    """``aws,seed=7,scale=0.1,lost=0.02,table_creating=3-5,quotas=off``: a name, then the differences.

    Raises ValueError with one sentence.
    """
    name, *changes = [part.strip() for part in text.split(",")]
    if name not in NAMED:
        raise ValueError(f"There is no weather {name!r}; there are {' and '.join(NAMED)}.")
    changed: dict[str, Any] = {}
    for change in changes:
        key, equals, value = (part.strip() for part in change.partition("="))
        if not equals or key not in FIELDS:
            raise ValueError(f"The weather has no {key!r}; it has {', '.join(FIELDS)}, each followed by = and a value.")
        if key in changed:
            raise ValueError(f"The weather's {key} is given twice.")
        changed[key] = _value(key, value)
    forecast = dataclasses.replace(NAMED[name], **changed)
    if forecast.throttled + forecast.failed + forecast.lost > 1:
        raise ValueError(f"The probabilities {', '.join(PROBABILITIES)} add up to more than 1.")
    return forecast


FIELDS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Forecast)}


def _value(key: str, text: str) -> Any:
    usual = FIELDS[key]
    if isinstance(usual, bool):
        if text not in ("on", "off"):
            raise ValueError(f"The weather's {key} is on or off, not {text!r}.")
        return text == "on"
    if isinstance(usual, tuple):
        least, dash, most = text.partition("-")
        span = (_number(key, least), _number(key, most if dash else least))
        if span[0] > span[1]:
            raise ValueError(f"The weather's {key} begins with the longer time: {text}.")
        return span
    if isinstance(usual, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"The weather's {key} is a whole number, not {text!r}.") from None
    number = _number(key, text)
    if key in PROBABILITIES and number > 1:
        raise ValueError(f"The weather's {key} is a probability and at most 1, not {text}.")
    if key == "scale" and not number:
        raise ValueError("The weather's scale is more than 0; for no weather there is calm.")
    return number


def _number(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"The weather's {key} is a number from 0 on, not {text!r}.")
    return number
