"""A step that the learner does by hand: call by call what to do, then each attribute watched until it is right.

The lesson only reads meanwhile. Whoever makes the resources, in whatever way, they are judged as `check` judges them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.check.mistakes import EXISTS
from provision.check.verdicts import FAIL, PASS, Finding
from provision.lesson.findings import show_findings
from provision.lesson.terms import Terms
from provision.state.entries import CannotUpdate
from provision.terminal import outcome
from provision.terminal.prompts import not_a_choice, read_while
from provision.terminal.screen import Screen
from provision.terminal.text import KEPT, kept

# So many commands are shown with what is missing; l shows all that are left.
SHOWN_AT_ONCE = 3

DONE, TAKE_OVER, SHOW = "done", "take over", "show"


@dataclass
class Watch:
    """What is right by now. `look` finds each attribute of the step, with its words; it only reads.

    `left` finds the calls that make or correct the rest.
    """

    screen: Screen
    words: Terms
    look: Callable[[], Sequence[Finding]]
    left: Callable[[Sequence[Finding]], list[dict[str, Any]]]
    show_calls: Callable[[list[dict[str, Any]]], object]
    show_commands: Callable[[list[dict[str, Any]]], object]
    findings: Sequence[Finding] = ()
    right: set[tuple[str, str]] = field(default_factory=set)
    since: dict[str, str] = field(default_factory=dict)  # by key, the time at which a resource was first seen
    tries: int = 1

    def until_right(self) -> str:
        """Watch until all is right, or the learner decides otherwise: "done", "take over" or "show".

        Raises Quit and Turn.
        """
        self.news()
        while not self.is_right():
            answer = read_while(self.screen, self.prompt(), self.news)
            if answer == "o" and self.has_begun:
                return TAKE_OVER
            if answer == "r":
                return SHOW
            if answer == "o":
                self.screen.say(self.words("There is nothing to take over yet."), "yellow")
            elif answer == "l":
                self.show_calls(self.left(self.findings))
            elif answer:
                not_a_choice(self.screen, answer, ("l", "o", "r"), self.words)
            elif answer is not None:
                self.news()
                if not self.is_right():
                    self.tries += any(one.outcome == PASS for one in self.findings)
                    self.show_what_is_missing()
        return DONE

    def show_what_is_missing(self) -> None:
        """What does not pass, and the first commands that make or correct it."""
        self.screen.say()
        show_findings(self.screen, self.findings, data=False)
        left = self.left(self.findings) if self.has_begun else []
        if left:
            self.show_commands(left[:SHOWN_AT_ONCE])
            self.screen.say()
        more = len(left) - SHOWN_AT_ONCE
        if more > 0:
            self.screen.say(self.words("{more} more: l shows them one by one.", more=more), "dim")
            self.screen.say()

    @property
    def has_begun(self) -> bool:
        """Whether anything of the step is there."""
        return any((one.attribute, one.outcome) == (EXISTS, PASS) for one in self.findings)

    def is_right(self) -> bool:
        """Whether all that could be checked passes. What AWS refuses to show is left to the learner."""
        return all(one.outcome == PASS for one in self.findings)

    def news(self) -> bool:
        """Look; say which attributes have become right, or wrong again, and whether there are any."""
        self.findings = self.look()
        right = {(one.key, one.attribute) for one in self.findings if one.outcome == PASS}
        new = [one for one in self.findings if (one.key, one.attribute) in right - self.right]
        lost = [one for one in self.findings if (one.key, one.attribute) in self.right - right]
        before, self.right = self.right, right
        for one in new:
            self.since.setdefault(one.key, f"{datetime.datetime.now():%H:%M}")
        if new or lost:
            self.screen.say()  # the cursor may stand behind the question
        for words, style, group in (("right", "green", new), ("wrong", "red", lost)):
            for one in group:
                self.screen.say(f"    {self.words(words):<8} {one.label}", style)
        return right != before

    def prompt(self) -> str:
        say = self.words
        failing = sum(one.outcome == FAIL for one in self.findings)
        resources, wrong = {one.key for one in self.findings}, {one.key for one in self.findings if one.outcome != PASS}
        count = say("{right} of {all} resources right", right=len(resources - wrong), all=len(resources))
        keys = [
            f"{say('Enter')}: {say('what is missing')}" if failing else f"{say('Enter')}: {say('look again')}",
            f"l: {say('the calls that are left')}",
            f"o: {say('take it over, and correct it')}",
            f"r: {say('run it for me')}",
            f"q: {say('quit')}",
        ]
        return f"{count}.  {'  '.join(kept(*key.split()) for key in keys)}{KEPT}> "


def with_what_helps(stop: CannotUpdate, findings: Sequence[Finding]) -> outcome.UserError:
    """The same ending with what the lesson knows to do about it: outside of a lesson a teardown would be the way."""
    todo = dict.fromkeys(one.todo for one in findings if one.outcome == FAIL and one.todo)
    return stop.with_words(
        means="So it cannot be taken over. Nothing was changed.",
        advice=(*todo, "The lesson goes on looking."),
    )
