"""`errata`: where the walkthrough contradicts itself or AWS, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence

from provision import STEPS
from provision.errata import Erratum
from provision.terminal.screen import Screen


def show_errata(screen: Screen, errata: Sequence[Erratum]) -> None:
    titles = {step.name: f"step {step.number}, {step.title}" for step in STEPS}
    for erratum in errata:
        screen.tell(f"{erratum.number:>2}  {titles[erratum.step] if erratum.step else 'the walkthrough as a whole'}")
        screen.prose("    It says:     ", erratum.says, data=True)
        screen.prose("    True is:     ", erratum.truth, data=True)
        screen.prose("    Done:        ", erratum.done, data=True)
        if erratum.as_written:
            screen.prose("    As written:  ", erratum.as_written, data=True)
