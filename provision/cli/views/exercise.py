"""What `break`, `hint` and `heal` say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from provision.aws.clients import Clients
from provision.cli.views.build import show_to_paste
from provision.exercise.exercise import Exercise
from provision.lesson.exercise_page import ExercisePage, with_place
from provision.lesson.views import show_markdown
from provision.settings import Settings
from provision.state.state import State
from provision.terminal.screen import Screen
from provision.terminal.shell import program

FENCED = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def show_broken(screen: Screen, aws: Clients, settings: Settings, state: State, arguments: list[str]) -> None:
    """That something is broken, and how to go on: what to try, and the commands that help."""
    how = "with aws, or in the console" if aws.endpoint is None else "with aws: a local AWS has no console"
    screen.say(f"One thing is broken. Find out what it is, and mend it {how}.", "bold")
    screen.say("Begin with what a user would notice:")
    screen.say()
    show_to_paste(screen, aws, settings, state)
    for title, command in (
        *([("A shell in which aws and boto3 speak to it", "shell")] if aws.endpoint is not None else []),
        ("A hint; there are three", "hint"),
        ("Is it mended? This names what is wrong, too: look for yourself first", "check"),
        ("Put it back as it was, and read what it was", "heal"),
    ):
        screen.heading(title)
        screen.tell(program("provision", [command, *arguments]))


def show_hints(screen: Screen, hints: Sequence[str], count: int, arguments: list[str]) -> None:
    """The hints so far, the new one last: data."""
    screen.tell()
    for number, text in enumerate(hints, start=1):
        screen.prose(f"Hint {number} of {count}  ", text, data=True)
    if len(hints) == count:
        screen.heading("There are no more hints. Is it mended?")
        screen.keep(program("provision", ["check", *arguments]))
        screen.heading("Put it back as it was, and read what it was")
        screen.keep(program("provision", ["heal", *arguments]))


def show_exercise(screen: Screen, arguments: list[str]) -> None:
    """For `status`: an exercise is open, so what has drifted is not told."""
    screen.say()
    screen.say("An exercise is open. What has drifted is not shown: that would name the fault.", "bold yellow")
    for title, command in (
        ("A hint", ["hint"]),
        ("Put it back as it was, and read what it was", ["heal"]),
        ("See what has drifted all the same", ["status", "--verbose"]),
    ):
        screen.heading(title)
        screen.keep(program("provision", [command[0], *arguments, *command[1:]]))


def show_mended(screen: Screen, exercise: Exercise, *, mended: bool, arguments: list[str]) -> None:
    """For `check`: an exercise is open, and whether it is mended."""
    screen.say()
    if mended:
        screen.say(f"It is mended, {in_words(exercise.seconds)} after it was broken. To end the exercise", "bold green")
        screen.keep(program("provision", ["heal", *arguments]))
    else:
        screen.say("An exercise is open, and it is not mended yet.", "yellow")


def show_healed(screen: Screen, aws: Clients, page: ExercisePage, exercise: Exercise, arguments: list[str]) -> None:
    """What it was, whether a person mended it, and what is learned."""
    screen.say()
    if exercise.mended:
        used = f" with {len_in_words(exercise.hints)}"
        screen.say(f"You had mended it, {in_words(exercise.seconds)} after it was broken,{used}.", "bold green")
    elif exercise.made:
        screen.say("It was not mended. It is put back as it was.", "bold")
    else:
        screen.say("The fault was not made to its end: break had been stopped. All is as it was.", "bold")
    show_markdown(screen, f"## {page.title}\n\n{page.seen}")
    for number, part in enumerate(FENCED.split(with_place(page.look, aws))):
        if number % 2:  # commands, which stay whole
            screen.say()
            screen.keep(part.strip())
        elif part.strip():
            show_markdown(screen, part.strip())
    show_markdown(screen, page.learned)
    screen.heading("All is as it was before. To see that")
    screen.keep(program("provision", ["status", *arguments]))
    screen.heading("Break another thing")
    screen.keep(program("provision", ["break", *arguments]))


def len_in_words(hints: int) -> str:
    return {0: "no hint", 1: "one hint"}.get(hints, f"{hints} hints")


def in_words(seconds: int | None) -> str:
    minutes, rest = divmod(seconds or 0, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
