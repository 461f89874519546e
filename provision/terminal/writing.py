"""Files that a person asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.terminal import disk, outcome
from provision.terminal.screen import Screen


def write_file(path: Path, text: str, screen: Screen) -> None:
    """Write a file that a person asked for; "-" is stdout. Raises UserError."""
    if str(path) == "-":
        with writing(Path("stdout")):
            screen.give_stdout_away()(text)
        return
    with writing(path):
        disk.write(path, text)
    screen.keep(f"Written: {path} ({len(text.encode('utf-8', 'replace')) // 1024 + 1} KiB)", "green")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError inside the block becomes a UserError that says what cannot be written."""
    try:
        yield
    except OSError as error:
        raise outcome.UserError(
            f"{path} cannot be written: {error.strerror}.",
            means="Nothing was written.",
            advice=("Name another place.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
