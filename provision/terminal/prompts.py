"""Questions to a person at the terminal, and what is typed there."""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from rich.text import Text

from provision.terminal import outcome
from provision.terminal.screen import Screen
from provision.terminal.text import folded

ROWS_OF_A_PAUSE = 2


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


def choose(screen: Screen, title: str, choices: Mapping[str, str], keys: Mapping[str, str], numbers: int = 0) -> str:
    """Ask for one of the choices; return its word, or a number up to `numbers`.

    `choices` are words with what they mean, `keys` the letter of each. Enter means the first choice, the end of the
    input the last.
    """
    words = list(choices)

    def show_them() -> None:
        screen.heading(title)
        for word in words:
            screen.keep(f"  {keys[word]}{' or Enter' if word == words[0] else '':<10}{choices[word]}")
        if numbers:
            screen.keep(f"  1-{numbers}{'':<8}turn to that page")

    show_them()
    meant = {**{keys[word]: word for word in words}, **{word: word for word in words}, "": words[0]}
    meant |= {str(number): str(number) for number in range(1, numbers + 1)}
    while True:
        try:
            answer = read_line(screen, "> ").strip().lower()
        except EOFError:
            return words[-1]
        if answer in meant:
            return meant[answer]
        if answer == "?":
            show_them()
        else:
            screen.say(f"{answer!r} is not a choice. To see the choices again: ?", "yellow")


def pause(screen: Screen, prompt: str, answers: Collection[str]) -> str:
    """Wait until a person gives one of these answers, and return it; "" at the end of the input."""
    screen.say()
    while True:
        try:
            answer = read_line(screen, prompt).strip().lower()
        except EOFError:
            return ""
        if answer in answers:
            return answer
        screen.say(f"{answer!r} is not a choice.", "yellow")


def in_parts(screen: Screen, parts: Sequence[Callable[[], None]], prompt: str, *, below: int) -> None:
    """Show a long page part by part. In a terminal, stop before a part that does not fit below the last stop.

    A part only shows something: it is called twice, first to be measured. `below` is how many lines follow the last
    part. The answer "e" ends the stops, "x" and "q" the page.
    """
    stopping, used = screen.in_terminal, 0
    sizes = [rows_of(screen, part) if stopping else 0 for part in parts]
    for number, size in enumerate([*sizes, below]):
        if stopping and used and used + size + ROWS_OF_A_PAUSE > screen.talk.height:
            answer = pause(screen, prompt, ("", "e", "x", "q"))
            if answer in ("x", "q"):
                return
            stopping, used = answer != "e", 0
        if number < len(parts):
            parts[number]()
            used += size


def rows_of(screen: Screen, part: Callable[[], None]) -> int:
    """How many rows of the terminal a part takes."""
    with screen.talk.capture() as captured:
        part()
    lines = Text.from_ansi(captured.get()).split("\n")
    return sum(max(1, math.ceil(line.cell_len / screen.talk.width)) for line in lines)


def read_line(screen: Screen, prompt: str) -> str:
    """The line that a person types. Raises EOFError at the end of the input."""
    with screen.interruptible(), screen.motionless():  # both before the question can be seen
        shown = Text(prompt, style="bold")
        if screen.in_terminal:
            shown = folded(Text(prompt.rstrip(), style="bold"), screen.talk.width - 2, 0).append(" ", "bold")
        screen.talk.print(shown, end="")
        wait_for_a_line()
        try:
            return input()
        except (EOFError, KeyboardInterrupt):
            screen.talk.print()  # the cursor is still behind the question
            raise


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
