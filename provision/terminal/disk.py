"""Files that are replaced in one go: somebody may be reading them, and the disk may be full."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Windows refuses to replace a file that another program has open, be it a virus scanner's look at it.
PATIENCE = 2.0 if sys.platform == "win32" else 0.0

PAUSE = 0.05


def replace(
    temporary: Path, path: Path, *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Put the temporary file in the place of `path`, in one go; after a refusal again for `patience` seconds."""
    for _ in range(round(patience / PAUSE)):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            sleep(PAUSE)
    temporary.replace(path)


def write(path: Path, text: str) -> None:
    """A file's text, whole or not at all: on a full disk what stood there before stays. Raises OSError.

    A symbolic link stays one, the bits of permission stay as they are. A device or a pipe (/dev/stdout) is written to.
    """
    content = text.encode("utf-8", "replace")  # of what came from AWS not all can be written
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    if before is not None and (not stat.S_ISREG(before.st_mode) or path.parts[1:2] in (("dev",), ("proc",))):
        with path.open("ab") as stream:  # /dev/stdout may be a file with something in it already
            stream.write(content)
        return
    target = Path(os.path.realpath(path))
    if before is None:
        put(target, content, 0o666)
        return
    if not os.access(target, os.W_OK):  # a rename would not mind
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    try:
        put(target, content, 0o600, bits=stat.S_IMODE(before.st_mode))
    except PermissionError:  # the file may be written, and nothing beside it
        target.write_bytes(content)


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`: afterwards either the old or the new content is there, never a part.

    Of the protocols in use only this one survives a power failure at every moment: a temporary file in the same
    folder, fsync, replace, fsync of the folder. The file is readable by its owner alone.
    """
    put(path, data, 0o600)
    fsync_folder(path.parent)


def put(path: Path, data: bytes, mode: int, bits: int | None = None) -> None:
    """Replace a file by a new one: made with `mode`, less the umask, then given exactly the permissions `bits`."""
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # what is there already may have another mode, or lead elsewhere
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if bits is not None:
            temporary.chmod(bits)
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder_durably(folder: Path) -> None:
    """Make the folder and what is missing above it. The name of a new folder is as easily lost as that of a file."""
    if folder.is_dir():
        return
    make_folder_durably(folder.absolute().parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.absolute().parent)


def fsync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk. Windows cannot open a folder, and needs no fsync of it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)
