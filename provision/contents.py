"""What is in a queue, in words."""

from __future__ import annotations

from collections.abc import Mapping


def messages(queue: Mapping[str, str]) -> str:
    """How many messages wait in a queue, hidden and delayed ones included, by its attributes. SQS counts roughly.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
    """
    waiting = sum(
        int(queue.get(attribute, 0))
        for attribute in (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
    )
    return plural(waiting, "waiting message") if waiting else "no messages"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
