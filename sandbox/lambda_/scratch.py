"""The folder in which functions are unpacked and run: it goes with the sandbox, after a crash with the next start."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from provision.terminal import disk

PREFIX = "sandbox-"
LOCK = "local-aws.lock"  # held while the folder is in use; the system lets go of it when the process dies


class Scratch:
    """A new folder of this process's own, until :meth:`remove`."""

    def __init__(self) -> None:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        new = self.folder / f"{LOCK}.new"
        self._lock = new.open("a", encoding="utf-8")
        with contextlib.suppress(OSError):  # without locks there, nobody sweeps it
            if disk.try_lock(self._lock) and sys.platform != "win32":  # which renames no open file
                new.rename(self.folder / LOCK)

    def remove(self) -> None:
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep() -> None:
    """Remove this user's folders whose process is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not disk.is_mine(folder):
                continue
            with (folder / LOCK).open("r+", encoding="utf-8") as lock:
                if disk.try_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
