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
    `on_aws` is a text for a local AWS that answers otherwise than AWS; AWS's answer stands in it first, as code.
    """

    question: str
    answers: tuple[tuple[str, str], ...]
    operation: str
    expression: str
    on_aws: str = ""

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

    def verdict(self, guess: str, said: str, *, local: bool) -> list[str]:
        """What came of the answer with the letter `guess`, in lines. `local`: a local AWS said it."""
        letter = self.answer_for(said)
        answer = self.choices[letter] if letter is not None else ""
        # What is neither a word of AWS's nor in the answer already tells a person nothing.
        raw = "" if said == NOTHING or said.startswith(("{", "[")) or answer.startswith(said) else said
        told = f"{answer} ({raw})" if answer and raw else answer or said
        lines = [f"{'The local AWS' if local else 'AWS'} answered: {told}."]
        there = self.elsewhere(said) if local else ""
        if there:
            lines.append(there.replace("`", ""))
        right = {letter, self.answer_for(self.said_on_aws) if there else None}
        if guess not in right:
            return lines
        return [*lines, "You were right." if guess == letter else "For AWS you were right."]

    def elsewhere(self, said: str) -> str:
        """What the page says of AWS's answer, if it is another than that of a local AWS."""
        return self.on_aws if self.on_aws and self.answer_for(said) != self.answer_for(self.said_on_aws) else ""

    @property
    def said_on_aws(self) -> str:
        """What AWS says, out of `on_aws`."""
        return self.on_aws.split("`")[1]


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
    question, on_aws = without_tables(text[: judge.start()]), " ".join(text[judge.end() :].split())
    if on_aws and on_aws.count("`") < 2:
        raise ValueError("has below its line with the judge no `answer of AWS`")
    answers = tuple((row[0], row[1]) for row in rows)
    return Prediction(question, answers, judge["operation"], judge["expression"], on_aws)
