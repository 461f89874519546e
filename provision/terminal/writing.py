"""Files that a command writes: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.terminal import disk, outcome
from provision.terminal.screen import Screen


def write_file(path: Path, text: str, screen: Screen) -> None:
    """Write what a person asked to have in a file, "-" being stdout. Raises UserError.

    What stood there goes only when all of it is written.
    """
    if str(path) == "-":
        with writing(Path("stdout")):
            screen.give_stdout_away()(text)
        return
    with writing(path):
        disk.write(path, text)
    screen.keep(f"Written: {path} ({len(text.encode('utf-8', 'replace')) // 1024 + 1} KiB)", "green")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError inside the block becomes a Stop that says what cannot be written."""
    try:
        yield
    except OSError as error:
        raise outcome.UserError(
            f"{path} cannot be written: {error.strerror}.",
            means="Nothing was written.",
            advice=("Name another place.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
