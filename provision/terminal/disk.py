"""The one way to write a file: replace it whole. Somebody may be reading it, and the disk may be full."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

# Windows refuses to replace a file that another program has open, a virus scanner for example.
PATIENCE = 2.0 if sys.platform == "win32" else 0.0
PAUSE = 0.05

PRIVATE = ".provision"  # the folder that the suite makes where it runs; only its owner can read what is in it


def replace(
    temporary: Path, path: Path, *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Rename the temporary file to `path`; try again for `patience` seconds while the system refuses."""
    for _ in range(round(patience / PAUSE)):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            sleep(PAUSE)
    temporary.replace(path)


def write(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all: on a full disk the old content stays. Raises OSError.

    A symbolic link stays one, and the permissions stay. A device or a pipe (/dev/stdout) is written to.
    """
    content = text.encode("utf-8", "replace")  # not all that comes from AWS can be encoded
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    if before is not None and (not stat.S_ISREG(before.st_mode) or path.parts[1:2] in (("dev",), ("proc",))):
        with path.open("ab") as stream:  # /dev/stdout may be a file that has content already
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
    """Replace the content of a file: at every moment either the old or the new content is there, never a part.

    That holds for a power failure, too: a temporary file in the same folder, fsync, rename, fsync of the folder. Only
    the owner can read the file.
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


def refuse_link(path: Path) -> None:
    """Raise OSError where a link stands in the place of a file or folder of the suite's own.

    Links come with a cloned project, and lead where its author wants: what is written would overwrite another file.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, and links are not followed", str(path))


def open_private(path: Path, mode: str) -> IO[str]:
    """A file of the suite's own, as text; only its owner can read it. Raises OSError where it is a link."""
    refuse_link(path)  # says so in words; O_NOFOLLOW has no gap between look and open
    file: IO[str] = open(path, mode, encoding="utf-8", opener=private_opener)  # noqa: SIM115
    if sys.platform != "win32":
        os.fchmod(file.fileno(), 0o600)  # it may have been there before
    return file


def private_opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def is_mine(path: Path) -> bool:
    """Whether it is this user's; of a link the link itself counts."""
    return sys.platform == "win32" or path.lstat().st_uid == os.getuid()


def make_private(folder: Path) -> Path:
    """Make a folder of the suite's own, and its missing parents: only its owner can read it, and git does not see it.

    One that is there already, outside `.provision`, is the user's own, and stays as it is. Raises OSError where it is a
    link, or somebody else's.
    """
    refuse_link(folder)
    is_there = folder.is_dir()
    if not is_there:
        make_folder_durably(folder)
    if not is_mine(folder):
        raise OSError(errno.EPERM, "it belongs to somebody else", str(folder))
    if is_there and PRIVATE not in folder.absolute().parts:
        return folder
    if os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)
    hide = folder / ".gitignore"
    if not os.path.lexists(hide):
        hide.write_text("*\n", encoding="utf-8")
    return folder


def make_folder_durably(folder: Path) -> None:
    """Make the folder and its missing parents. A power failure loses a new folder's name as easily as a file's.

    The suite's own is private: see make_private.
    """
    if not folder.is_dir():
        make_folder_durably(folder.absolute().parent)
        refuse_link(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(folder.absolute().parent)
    if folder.name == PRIVATE:
        make_private(folder)


def fsync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk. Windows cannot open a folder, and needs no fsync of one."""
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


def try_lock(lock: IO[str]) -> bool:
    """Lock an open file for this process alone. False where somebody holds it; OSError where it cannot be locked."""
    import portalocker  # it takes a thirtieth of a second to import

    try:
        portalocker.lock(lock, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except (portalocker.LockException, OSError) as error:
        if is_held(error):
            return False
        raise OSError(str(error)) from error
    return True


def is_held(error: Exception) -> bool:
    """Whether a lock was refused because somebody holds it. portalocker 2 names no exception for that."""
    import portalocker  # as above

    causes = [cause for cause in (error, error.__cause__, *error.args) if isinstance(cause, OSError)]
    return isinstance(error, portalocker.AlreadyLocked) or any(
        cause.errno in (errno.EAGAIN, errno.EACCES) for cause in causes
    )


def unlock(lock: IO[str]) -> None:
    import portalocker  # as above

    portalocker.unlock(lock)
