"""One recorded call for people: its three faces, and the parts of the answer that matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jmespath

from provision.aws.call_text import aws_command, boto3_lines
from provision.lesson.page import Page

FACES = ("console", "boto3", "aws")


@dataclass(frozen=True)
class Faces:
    """A call as console page, as boto3 and as `aws` command.

    `mark` is "unasked" if the console makes the call without being asked, "not in the walkthrough" if only the suite
    makes it, else empty. `console` is empty where the page does not have the call, as with all calls that only look.
    `answer` are pairs: what is in the answer, and what it means.
    """

    title: str
    mark: str
    console: list[str]
    boto3: str
    aws: str
    answer: list[tuple[str, str]]


def faces(
    call: Mapping[str, Any],
    page: Page | None,
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    tags: bool = True,
) -> Faces:
    """The faces of a `call` event of a transcript. `page` is its step's; the rest is for the `aws` command.

    Without `tags` they are those of a person who makes the call by hand: the suite's tag is left out.
    """
    service, operation, parameters = call["service"], call["operation"], call["parameters"]
    console = page.console_face(operation, parameters) if page is not None else None
    if not tags:
        parameters = {name: value for name, value in parameters.items() if name.lower() != "tags"}
        rows = [row for row in console.rows if not row[2].lower().startswith("tags")] if console is not None else []
        console = replace(console, rows=tuple(rows)) if console is not None else None
    answer = []
    for expression, words in console.answer if console is not None else ():
        found = jmespath.search(expression, call["answer"] or {})
        if found is not None:
            answer.append((f"{expression}: {short(found)}", words))
    return Faces(
        title=f"{service} {operation}",
        mark=console.mark if console is not None else "",
        console=console.lines() if console is not None else [],
        boto3=boto3_lines(service, operation, parameters),
        aws=aws_command(service, operation, parameters, region=region, endpoint_url=endpoint_url, profile=profile),
        answer=answer,
    )


def short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
