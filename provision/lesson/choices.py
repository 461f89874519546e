"""What a learner can choose on each page. The first choice is what Enter does: it runs nothing twice."""

from __future__ import annotations

from provision import Step
from provision.lesson.place import OPENING, TESTS
from provision.lesson.standing import Standing
from provision.lesson.terms import Terms
from provision.terminal.prompts import Choice


def of_step(say: Terms, standing: Standing, step: Step) -> list[Choice]:
    """What can be chosen on a step's page; the first is what Enter does."""
    made, needed = standing.is_made(step), standing.missing(step)
    choices = []
    if made:
        choices.append(Choice("next", "n", say("next"), "turn to the next page"))
    elif needed:
        go = say("go to step {number}", number=needed[0].number)
        choices.append(Choice("needed", "g", go, f"turn to step {needed[0].number}, {needed[0].title}: needed here"))
    else:
        choices.append(Choice("run", "r", say("run it"), "run this step, and see its calls"))
    if not made and not needed:
        choices.append(Choice("hand", "h", say("by hand"), "do it yourself; the lesson only looks"))
    choices += [
        Choice("code", "c", say("code"), "the step's code, part by part"),
        Choice("calls", "l", say("calls"), "its calls: in the console, in boto3, as aws commands"),
        Choice("answer", "a", say("answer"), "the answer to the question of the page"),
    ]
    if made:
        choices.append(Choice("run", "r", "", "run it again; what exists stays as it is"))
    else:
        choices.append(Choice("next", "n", say("later"), "turn to the next page, and leave this step for later"))
    return [*choices, *everywhere(say, step.name)]


def of_tests(say: Terms, standing: Standing, *, tested: bool) -> list[Choice]:
    """What can be chosen on the page of the tests. `tested`: they passed, in this lesson."""
    again = Choice("run", "r", say("test again"), "run the tests again")
    end = Choice("end", "n", say("finish"), "the end of the lesson")
    if standing.left_out():
        step = standing.left_out()[0]
        go = say("go to step {number}", number=step.number)
        first = [Choice("needed", "g", go, f"turn to step {step.number}, {step.title}, which was left out")]
    elif tested:
        first = [end, again]
    else:
        first = [Choice("run", "r", say("run the tests"), "run the walkthrough's tests"), end]
    return [*first, *everywhere(say, TESTS)]


def everywhere(say: Terms, page: str) -> list[Choice]:
    """What can be chosen on every page."""
    choices = [
        Choice("back", "b", say("back"), "turn back one page (deletes nothing)"),
        Choice("errata", "e", say("errata"), "where the walkthrough is wrong here, and what is done instead"),
        Choice("picture", "d", "", "the picture of what there is so far"),
        Choice("text", "t", "", "the text of this page again"),
        Choice("notes", "p", "", "the notes for the presenter"),
        Choice("words", "w", "", "what the words mean"),
        Choice("number", "0-9", "", "turn to that page"),
    ]
    unfit = {OPENING: ("back", "errata", "text", "notes"), TESTS: ("notes",)}
    return [choice for choice in choices if choice.word not in unfit.get(page, ())]
