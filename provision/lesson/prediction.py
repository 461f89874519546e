"""A question before a step runs, which AWS's own answers to the step's calls judge."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from provision.lesson.tables import rows_of, without_tables

LETTERS = "abcdef"
JUDGE = re.compile(r"^.*`(?P<operation>[A-Za-z]+)`: *`(?P<expression>[^`]+)`\s*$", re.MULTILINE)
ELSE = "*"
NOTHING = "nothing"


@dataclass(frozen=True)
class Prediction:
    """The question (Markdown), the answers to choose from with what AWS says for each, and where that is found.

    `expression` is a JMESPath into the list of the step's calls of `operation`, as `call` events of a transcript.
    """

    question: str
    answers: tuple[tuple[str, str], ...]
    operation: str
    expression: str

    @property
    def choices(self) -> dict[str, str]:
        """The answers by their letters."""
        return {letter: answer for letter, (answer, _) in zip(LETTERS, self.answers, strict=False)}

    def said_by(self, calls: Sequence[Mapping[str, Any]]) -> str | None:
        """What AWS said, as the table writes it; None when the step made no such call."""
        fitting = [dict(call) for call in calls if call["operation"] == self.operation]
        if not fitting:
            return None
        found = jmespath.search(self.expression, fitting)
        return NOTHING if found is None else found if isinstance(found, str) else json.dumps(found)

    def answer_for(self, said: str) -> str | None:
        """The letter of the answer that fits what AWS said; None when none does."""
        fitting = [letter for letter, (_, wanted) in zip(LETTERS, self.answers, strict=False) if wanted in (said, ELSE)]
        return fitting[0] if fitting else None


def parse(text: str) -> Prediction:
    """The prediction that a section has. Raises ValueError, which says what is wrong with it."""
    judge = JUDGE.search(text)
    if judge is None:
        raise ValueError("has no last line like: Judged by `CreateTable`: `[0].answer.TableDescription.TableStatus`")
    rows = rows_of(text)
    if not 2 <= len(rows) <= len(LETTERS) or any(len(row) != 2 for row in rows):
        raise ValueError(f"needs a table of two to {len(LETTERS)} answers, with two cells in each row")
    try:
        jmespath.compile(judge["expression"])
    except JMESPathError as error:
        raise ValueError(f"has {judge['expression']!r}, which is no JMESPath ({error})") from error
    question = without_tables(text[: judge.start()])
    return Prediction(question, tuple((row[0], row[1]) for row in rows), judge["operation"], judge["expression"])
