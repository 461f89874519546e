"""`--debug`: a log of what botocore and the suite do, without secrets."""

from __future__ import annotations

import copy
import datetime
import logging
import os
from pathlib import Path

from provision.terminal.disk import make_private, open_private
from provision.terminal.redaction import without_bodies, without_secrets
from provision.terminal.text import visible

FOLDER = "logs"  # beside the state file
ROOM = logging.getLogger("provision")


class WithoutSecrets(logging.Formatter):
    """Bodies are left out of the arguments, and secrets of each whole line: one may come from a traceback.

    Nor does a line steer the terminal of whoever reads the log there.
    """

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        if isinstance(record.args, tuple):
            record.args = tuple(map(without_bodies, record.args))
        return visible(without_secrets(super().format(record)))


def begin(beside: Path, program: str) -> Path:
    """From here on log everything into a new file in the folder `logs` beside a state file. Raises OSError."""
    folder = make_private(beside / FOLDER)
    path = folder / f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%d-%H%M%S}-{os.getpid()}-{program}.log"
    open_private(path, "a").close()  # two runs of a process within a second share it
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(WithoutSecrets("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("botocore.hooks").setLevel(logging.INFO)  # half of all lines, and none says anything about AWS
    return path


def end() -> None:
    """Close the log, if there is one."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, WithoutSecrets)]:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(logging.WARNING)
