"""What a lesson shows: pages, code, calls and their answers. The player shows the same of a recorded run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rich.text import Text

from provision.lesson.call import Faces
from provision.lesson.drawing import as_text
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.resources import name_of, noun_of
from provision.terminal.screen import INDENT, Screen
from provision.terminal.shell import is_unicode
from provision.terminal.text import folded

# What is said of a call that a person does not make in the console.
CONSOLE_MARKS = {
    "unasked": "the console does this unasked",
    "not in the walkthrough": "not in the walkthrough; in the console it would be",
}


FOLDED = "... "  # before the rest of a folded line of code


def show_page(screen: Screen, title: str) -> None:
    """The beginning of a page; when presenting, on a clear screen."""
    if screen.presenting:
        screen.clear()
    screen.say()
    screen.say("=" * (screen.width - 1) if screen.in_terminal else "")
    screen.say(title, "bold")


def show_markdown(screen: Screen, text: str) -> None:
    """A text of a lesson: laid out in a terminal, as it is in a pipe."""
    from rich.markdown import Markdown  # it takes a tenth of a second to import, which only a terminal needs
    from rich.theme import Theme  # as above

    screen.say()
    if screen.in_terminal:
        # rich's black background of code would be a bar across a light terminal.
        with screen.talk.use_theme(Theme({"markdown.code": "bold cyan"})):
            screen.talk.print(Markdown(text), width=screen.width, soft_wrap=False)
    else:
        screen.keep(text)


def show_drawing(screen: Screen, settings: Settings, existing: Collection[str]) -> None:
    """The architecture, with what exists lit."""
    screen.say()
    in_unicode = is_unicode(screen.talk.encoding)
    screen.talk.print(as_text(settings, existing, width=screen.width, in_unicode=in_unicode), soft_wrap=True)


def show_code(screen: Screen, code: str, language: str, indent: str = "", *, to_read: bool = False) -> None:
    """Code without padding, so that one can copy it.

    What is only `to_read` is folded in a terminal, between words; "..." stands before the rest of a folded line.
    """
    from rich.syntax import Syntax  # Pygments takes a tenth of a second to import, and not every page has code

    text = Syntax("", language, theme="ansi_dark", background_color="default").highlight(code.rstrip("\n"))
    for line in text.split("\n"):
        if to_read and screen.in_terminal:
            below = min(len(line.plain) - len(line.plain.lstrip()), screen.talk.width // 2)
            first, *rest = folded(line, screen.talk.width - len(FOLDED), below).split("\n")
            line = Text("\n").join([first, *(Text(" " * below + FOLDED, "dim") + one[below:] for one in rest)])
        screen.talk.print(Text(indent) + line, soft_wrap=True)


def show_call(screen: Screen, call: Mapping[str, Any], faces: Faces, *shown: str) -> None:
    """One call with these of its faces, "console", "boto3", "aws"; then what matters in its answer."""
    screen.say()
    seconds = f"{call['seconds']:.2f} s" + (f", sent {call['sent']} times" if call["sent"] > 1 else "")
    screen.keep(f"  {faces.title}  ({seconds})", "bold")
    for face in shown:
        show_face(screen, faces, face, is_read=call["read"])
    if call["error"]:
        screen.keep(f"    Refused   {call['error']['code']}: {call['error']['message']}", "red")
    if faces.answer:
        screen.say()
        screen.say("    Answer", "cyan")
    for found, words in faces.answer:
        screen.keep(f"      {found}")
        screen.prose("      ", words, "dim")


def show_todo(screen: Screen, faces: Faces, face: str) -> None:
    """One face of a call that the learner is to make."""
    screen.say()
    screen.keep(f"  {faces.title}", "bold")
    show_face(screen, faces, face)


def show_face(screen: Screen, faces: Faces, face: str, *, is_read: bool = False) -> None:
    """One face of a call: what the console asks for, the boto3 lines, or the `aws` command."""
    if face == "boto3":
        screen.say("    boto3", "cyan")
        show_code(screen, faces.boto3, "python", "      ")
    elif face == "aws":
        screen.say("    aws", "cyan")
        show_code(screen, faces.aws, "bash", "      ")
    else:
        screen.say(f"    Console{f' ({CONSOLE_MARKS[faces.mark]})' if faces.mark else ''}", "cyan")
        looks = "nothing: the console looks by itself" if is_read else "nothing: the lesson has no page for it"
        for line in faces.console or [looks]:
            screen.keep(f"      {line}")


def show_change(screen: Screen, entry: Resource, word: str, where: str) -> None:
    """What became of a resource, and where to see it."""
    screen.line(word, noun_of(entry.kind), name_of(entry.kind, entry.identity))
    screen.keep(f"{INDENT}{where}", "dim")
