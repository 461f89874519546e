"""What a learner hands in: for each page of the lesson what was done, by whom, what was guessed and answered."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.lesson import terms
from provision.lesson.page import read
from provision.lesson.place import OPENING, PAGES, TESTS, Place
from provision.lesson.prediction import Prediction

SHOWN, BY_HAND = "shown", "by hand"


@dataclass(frozen=True)
class PageDone:
    """One page. `how` is "shown", "by hand", or "" where it was not done; `at` is when, in UTC.

    `guess` is what the learner expected, `aws` what AWS said, `means` which of the answers that is; `on_aws` says how
    AWS itself answers where it was a local AWS that answers otherwise. `answer` is the learner's, `lesson_answer` the
    page's. What was not asked or not answered is "". `asked`, `on_aws`, `question` and `lesson_answer` are Markdown.
    """

    page: str
    number: int
    title: str
    how: str = ""
    tries: int = 0
    at: str = ""
    asked: str = ""
    guess: str = ""
    aws: str = ""
    means: str = ""
    on_aws: str = ""
    question: str = ""
    answer: str = ""
    lesson_answer: str = ""

    @property
    def by_whom(self) -> str:
        """How it was done, in words."""
        if self.how == BY_HAND and self.tries > 1:
            return f"by hand, after {self.tries} tries"
        return {"": "not done", SHOWN: "shown by the lesson"}.get(self.how, self.how)


@dataclass(frozen=True)
class Report:
    """All pages but the opening one. `not_checked` says why nothing was checked; "" where it was.

    `name` is whose it is, "" where nobody says; `written` is when it was written, in UTC. `is_local`: a local AWS
    answered.
    """

    name: str
    written: str
    pages: tuple[PageDone, ...]
    not_checked: str = ""
    is_local: bool = False

    @property
    def summary(self) -> str:
        hows = [page.how for page in self.pages]
        done = [how for how in hows if how]
        by_hand = f", {hows.count(BY_HAND)} of them by hand" if BY_HAND in hows else ""
        return f"{len(done)} of {len(hows)} pages done{by_hand}"


def make_report(
    place: Place, names: Mapping[str, str], *, name: str, not_checked: str = "", lessons: Path | None = None
) -> Report:
    """The report on the progress that is kept in `place`. `lessons` is a trainer's own folder. Raises BadPage."""
    words = terms.read(lessons)
    pages = []
    for number, page in enumerate(PAGES):
        if page == OPENING:
            continue
        done, said = place.done.get(page, {}), {key: str(one) for key, one in place.answers.get(page, {}).items()}
        lesson = read(page, names, folder=lessons, terms=words) if page != TESTS else None
        prediction = lesson.prediction if lesson and "guess" in said else None
        pages.append(
            PageDone(
                page,
                number,
                lesson.title if lesson else words("Tests"),
                how=str(done.get("how", "")),
                tries=whole(done.get("tries")),
                at=str(done.get("at", "")),
                asked=prediction.question if prediction else "",
                guess=said.get("guess", ""),
                aws=said.get("aws", ""),
                means=meaning(prediction, said.get("aws", "")),
                on_aws=prediction.elsewhere(said.get("aws", "")) if prediction and place.endpoint is not None else "",
                question=lesson.question if lesson else "",
                answer=said.get("answer", ""),
                lesson_answer=lesson.answer if lesson else "",
            )
        )
    written = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Report(name, written, tuple(pages), not_checked, is_local=place.endpoint is not None)


def whole(number: Any) -> int:
    """A number of tries; 0 for what somebody has written in its place."""
    return number if isinstance(number, int) else 0


def meaning(prediction: Prediction | None, said: str) -> str:
    """Which of a prediction's answers fits what AWS said; "" if none does."""
    letter = prediction.answer_for(said) if prediction is not None and said else None
    return prediction.choices[letter] if prediction is not None and letter is not None else ""
