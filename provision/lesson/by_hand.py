"""A step that the learner does by hand: call by call what to do, then each attribute watched until it is right.

The lesson only reads meanwhile. Whoever makes the resources, in whatever way, they are judged as `check` judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from provision.check.verdicts import FAIL, PASS, Finding
from provision.lesson.findings import show_findings
from provision.lesson.terms import Terms
from provision.terminal.prompts import read_while
from provision.terminal.screen import Screen
from provision.terminal.text import KEPT, kept

DONE, TAKE_OVER, SHOW = "done", "take over", "show"


@dataclass
class Watch:
    """What is right by now. `look` finds each attribute of the step, with its words; it only reads."""

    screen: Screen
    words: Terms
    look: Callable[[], Sequence[Finding]]
    show_again: Callable[[], object]
    findings: Sequence[Finding] = ()
    right: set[tuple[str, str]] = field(default_factory=set)
    tries: int = 1

    def until_right(self) -> str:
        """Watch until all is right, or the learner decides otherwise: "done", "take over" or "show". Raises Quit."""
        self.news()
        while not self.is_right():
            answer = read_while(self.screen, self.prompt(), self.news)
            if answer == "t":
                return TAKE_OVER
            if answer == "r":
                return SHOW
            if answer == "f":
                self.show_again()
            elif answer:
                self.screen.say(f"{answer!r} {self.words('is not a choice')}.", "yellow")
            elif answer is not None:
                self.news()
                if not self.is_right():
                    self.tries += any(one.outcome == PASS for one in self.findings)
                    self.screen.say()
                    show_findings(self.screen, self.findings, data=False)
        return DONE

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
        for words, style, group in (("right", "green", new), ("wrong", "red", lost)):
            for one in group:
                self.screen.say(f"    {self.words(words):<8} {one.label}", style)
        return right != before

    def prompt(self) -> str:
        say = self.words
        failing = sum(one.outcome == FAIL for one in self.findings)
        count = say("{right} of {all} right", right=len(self.right), all=len(self.findings))
        keys = [
            f"{say('Enter')}: {say('what is missing')}" if failing else f"{say('Enter')}: {say('look again')}",
            f"f: {say('the calls again')}",
            f"t: {say('take it over as it is')}",
            f"r: {say('run it for me')}",
            f"q: {say('quit')}",
        ]
        return f"{count}.  {'  '.join(kept(*key.split()) for key in keys)}{KEPT}> "
