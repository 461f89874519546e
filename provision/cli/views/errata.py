"""`errata`: where the walkthrough contradicts itself or AWS, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence

from provision import STEPS
from provision.errata import Erratum
from provision.terminal.screen import Screen


def show_errata(screen: Screen, errata: Sequence[Erratum]) -> None:
    """All of them under a heading; one alone also with what it costs when it is ignored: data."""
    alone = len(errata) == 1
    if not alone:
        screen.prose(
            "", f"The {len(errata)} places where the walkthrough contradicts itself or AWS:", "bold", data=True
        )
        screen.tell()
    titles = {step.name: f"step {step.number}, {step.title}" for step in STEPS}
    for erratum in errata:
        screen.tell(f"{erratum.number:>2}  {titles[erratum.step] if erratum.step else 'the walkthrough as a whole'}")
        screen.prose("    It says:     ", erratum.says, data=True)
        screen.prose("    In fact:     ", erratum.truth, data=True)
        if alone:
            screen.prose("    If ignored:  ", erratum.ignored, data=True)
        screen.prose("    Done:        ", erratum.done, data=True)
        if erratum.as_written:
            screen.prose("    As written:  ", erratum.as_written, data=True)
