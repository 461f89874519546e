"""Questions to a person at the terminal, and what is typed there."""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.text import Text

from provision.terminal import outcome
from provision.terminal.screen import Screen
from provision.terminal.text import KEPT, folded, kept

ROWS_OF_A_PAUSE = 2
# What a stop says to "?"; its own keys are in its prompt.
KEYS_HERE = "Here: the keys below, and 0 to 9 to turn to that page. The other keys work in the menu at a page's end."
# What the keys of stops do; "?" says it of those that the stop has.
KEYS_OF_STOPS = {
    "f": "the same call in another form",
    "s": "leave out the rest of this, and go to the next question or the menu",
    "l": "show the calls that are left",
    "o": "record what you made, and correct what is not right",
    "r": "do what is missing, and correct what is not right",
}


def ask(screen: Screen, question: str, *, flag: str) -> None:
    """Ask for consent. Raises UserError when it is refused, or when nobody is there to be asked."""
    if not sys.stdin.isatty():
        raise outcome.UserError(
            f"{question} Nobody is there to be asked: this is not a terminal.",
            means="Nothing was changed.",
            advice=(f"Add {flag} to say yes beforehand.",),
            exit_code=outcome.USAGE,
        )
    screen.say()
    forget_typed_ahead()
    try:
        answer = read_line(screen, f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise outcome.Declined("Not done: consent was not given.", means="Nothing was changed.")


def agrees(screen: Screen, question: str) -> bool:
    """Ask, and return whether the answer is yes."""
    try:
        ask(screen, question, flag="--yes")
    except outcome.Declined:
        return False
    return True


@dataclass(frozen=True)
class Choice:
    """What a person may choose: the word that is returned, its key, what the menu calls it, and what it does.

    One without a `short` name is in the list of all keys only.
    """

    word: str
    key: str
    short: str
    meaning: str


class Quit(Exception):
    """A person wants no more, and said so at any of the questions."""


class Turn(Exception):
    """A person typed the number of a page where a page, or what belongs to it, was still being shown."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def choose(screen: Screen, title: str, choices: Sequence[Choice], words: Callable[[str], str] = str) -> str:
    """Ask for one of the choices; return its word, or the digits that were typed instead.

    Enter means the first. `words` translates what is said here. Raises Quit for q and at the end of the input.
    """
    menu = [kept(*f"{words('Enter')}: {choices[0].short}".split())]
    menu += [kept(*f"{one.key}: {one.short}".split()) for one in choices[1:] if one.short]
    menu += [kept(*f"q: {words('quit')}".split()), kept(*f"?: {words('keys')}".split())]
    meant = {"": choices[0].word}
    meant |= {typed: one.word for one in choices for typed in (one.key, one.word)}
    screen.say()
    while True:
        answer = answer_to(screen, f"{kept(*title.split())}{KEPT}  {'  '.join(menu)}{KEPT}> ")
        if answer in meant:
            return meant[answer]
        if answer.isdigit() and len(answer) == 1:
            return answer
        if answer == "?":
            for one in choices:
                keys = f"{one.key} {words('or Enter')}" if one == choices[0] else one.key
                screen.keep(f"  {keys:<12}{one.meaning}")
        else:
            screen.say(f"{answer!r} {words('is not a choice')}.", "yellow")


def answer_to(screen: Screen, prompt: str) -> str:
    """What a person types, in lower case. Raises Quit for q and at the end of the input."""
    try:
        answer = read_line(screen, prompt).strip().lower()
    except EOFError:
        raise Quit from None
    if answer in ("q", "quit"):
        raise Quit
    return answer


def pause(screen: Screen, prompt: str, answers: Collection[str], words: Callable[[str], str] = str) -> str:
    """Wait until a person gives one of these answers, and return it.

    Raises Quit for q and at the end of the input, and Turn for the number of a page.
    """
    screen.say()
    while (answer := answer_to(screen, prompt)) not in answers:
        not_a_choice(screen, answer, answers, words)
    return answer


def not_a_choice(screen: Screen, answer: str, answers: Collection[str], words: Callable[[str], str]) -> None:
    """What a stop with these `answers` says to any other key. Raises Turn for the number of a page."""
    if answer.isdecimal() and len(answer) == 1:
        raise Turn(int(answer))
    if answer != "?":
        screen.say(f"{repr(answer) if answer else words('Enter')} {words('is not a choice')}.", "yellow")
    screen.say(words(KEYS_HERE), "dim")
    for key in sorted(KEYS_OF_STOPS.keys() & answers) if answer == "?" else ():
        screen.say(f"  {key}  {words(KEYS_OF_STOPS[key])}", "dim")


def in_parts(
    screen: Screen,
    parts: Sequence[Callable[[], None]],
    prompt: str,
    *,
    below: int,
    words: Callable[[str], str] = str,
) -> None:
    """Show a long page part by part. In a terminal, stop before a part that does not fit below the last stop.

    A part only shows something, and is rendered before it is shown; one that is longer than the screen is cut between
    lines. `below` is how many lines follow the last part. The answer s skips the rest. Raises Quit and Turn.
    """
    if not screen.in_terminal:
        for part in parts:
            part()
        return
    used, height = 0, screen.talk.height - ROWS_OF_A_PAUSE
    for part in parts:
        for lines in screenfuls(rendered(screen, part), height, screen.talk.width):
            size = rows_of(lines, screen.talk.width)
            if used and used + size > height:
                if pause(screen, prompt, ("", "s"), words):
                    return
                used = 0
            for line in lines:
                screen.talk.print(Text.from_ansi(line), soft_wrap=True)
            used += size
    if used and used + below > height + ROWS_OF_A_PAUSE:
        pause(screen, prompt, ("", "s"), words)


def rendered(screen: Screen, part: Callable[[], None]) -> list[str]:
    """The lines that a part shows, with their colours."""
    with screen.talk.capture() as captured:
        part()
    return captured.get().removesuffix("\n").split("\n")


def screenfuls(lines: list[str], height: int, width: int) -> list[list[str]]:
    """The lines in pieces that fit the screen, cut at an empty line where there is one in its lower half.

    A line that stands alone may be the heading of what follows, and goes with it.
    """
    pieces: list[list[str]] = [[]]
    for line in lines:
        if pieces[-1] and rows_of([*pieces[-1], line], width) > height:
            full = pieces[-1]
            empty = [number for number, one in enumerate(full) if number > len(full) // 2 and not one.strip()]
            if len(empty) > 1 and empty[-2] == empty[-1] - 2:
                empty.pop()
            cut = empty[-1] if empty else len(full)
            pieces[-1:] = [full[:cut], full[cut:]]
        pieces[-1].append(line)
    return pieces


def rows_of(lines: Sequence[str], width: int) -> int:
    """How many rows of the terminal these lines take."""
    return sum(max(1, math.ceil(Text.from_ansi(line).cell_len / width)) for line in lines)


def read_line(screen: Screen, prompt: str) -> str:
    """The line that a person types. Raises EOFError at the end of the input."""
    with screen.interruptible(), screen.motionless():  # both before the question can be seen
        screen.talk.print(in_rows(screen, prompt), end="")
        wait_for_a_line()
        try:
            return input()
        except (EOFError, KeyboardInterrupt):
            screen.talk.print()  # the cursor is still behind the question
            raise


def read_while(screen: Screen, prompt: str, look: Callable[[], bool], every: float = 2.0) -> str | None:
    """The line that a person types; None as soon as `look`, asked every so many seconds, says that there is news.

    Where a terminal cannot be listened to (Windows), it waits for the line. Raises Quit for q and at the end of input.
    """
    if sys.platform == "win32":
        return answer_to(screen, prompt)
    with screen.interruptible(), screen.motionless():
        screen.talk.print(in_rows(screen, prompt), end="")
        while not select.select([sys.stdin], [], [], every)[0]:
            if look():
                screen.talk.print()
                return None
        try:
            answer = input().strip().lower()
        except EOFError:
            raise Quit from None
    if answer in ("q", "quit"):
        raise Quit
    return answer


def in_rows(screen: Screen, prompt: str) -> Text:
    """A prompt as it is shown: in a terminal, folded between its choices."""
    shown = Text(prompt, style="bold")
    if screen.in_terminal:
        shown = folded(Text(prompt.rstrip(), style="bold"), screen.talk.width - 2, 0).append(" ", "bold")
        shown.plain = shown.plain.replace(KEPT, " ")
    return shown


def forget_typed_ahead() -> None:
    """Drop what was typed before a question was asked: it is no answer to it."""
    if sys.platform == "win32":
        import msvcrt  # Windows alone has it

        while msvcrt.kbhit():
            msvcrt.getch()
        return
    import termios  # which Windows has not

    with suppress(OSError, ValueError, termios.error):  # not a real terminal
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def wait_for_a_line() -> None:
    """Return once somebody has typed a line, or soon after a signal.

    input() alone misses a Ctrl-C that comes just before it begins to read, and waits for a key.
    """
    if sys.platform == "win32":
        return  # select() knows sockets only there
    with suppress(OSError, ValueError):  # not a real terminal
        while not select.select([sys.stdin], [], [], 0.2)[0]:
            continue
