# ruff: noqa: PTH100, PTH112, PTH115, PTH119 - this stands between the state file and `os`, whose functions it watches
"""The state file's file operations, one by one: counted, refused, torn, and what a power failure leaves of them.

What is watched is what the state file does to its folder. A disk that loses power keeps what fsync reached: the data
of a file after fsync of the file, its name after fsync of the folder. All else may be there or not, or in part.
"""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import provision.terminal.disk

FOLDER = ".provision"


@dataclass(frozen=True)
class Operation:
    """One file operation of the state file: its name, and the last part of the path it is done to."""

    name: str
    file: str


@dataclass
class Inode:
    """A file's content as it was written, and as much of it as fsync has reached; None: nothing of it."""

    data: bytes = b""
    synced: bytes | None = None


@dataclass
class Platter:
    """What the disk keeps for sure, and what is still on its way to it."""

    durable: dict[str, Inode] = field(default_factory=dict)
    folder_durable: bool = False
    pending: list[tuple[str, ...]] = field(default_factory=list)  # names that appear, move and vanish, in order
    inodes: dict[str, Inode] = field(default_factory=dict)  # by the name it has now

    def mkdir(self) -> None:
        self.pending.append(("mkdir",))

    def create(self, name: str) -> None:
        self.inodes[name] = Inode()
        self.pending.append(("create", name))

    def write(self, name: str, data: bytes) -> None:
        self.inodes[name].data += data

    def fsync(self, name: str) -> None:
        self.inodes[name].synced = self.inodes[name].data

    def unlink(self, name: str) -> None:
        self.inodes.pop(name, None)
        self.pending.append(("unlink", name))

    def replace(self, source: str, target: str) -> None:
        self.inodes[target] = self.inodes.pop(source)
        self.pending.append(("replace", source, target))

    def fsync_folder(self) -> None:
        self.durable = dict(self.inodes)
        self.pending = [one for one in self.pending if one == ("mkdir",)]

    def fsync_parent(self) -> None:
        self.folder_durable = True
        self.pending = [one for one in self.pending if one != ("mkdir",)]

    def after_power_loss(self) -> list[dict[str, bytes] | None]:
        """Every state that the folder can be found in, each as its files; None: the folder itself is not there."""
        states: list[dict[str, bytes] | None] = []
        if ("mkdir",) in self.pending and not self.folder_durable:
            states.append(None)
        names = [one for one in self.pending if one != ("mkdir",)]
        for reached in range(len(names) + 1):
            entries = dict(self.durable)
            moving = dict(self.inodes)
            # Which inode a pending name stands for: played from the durable state onwards.
            born: dict[str, Inode] = {}
            for one in names[:reached]:
                if one[0] == "create":
                    born[one[1]] = entries[one[1]] = self._inode_created_as(one[1], names, moving)
                elif one[0] == "unlink":
                    entries.pop(one[1], None)
                elif one[0] == "replace" and one[1] in entries:
                    entries[one[2]] = entries.pop(one[1])
            for part in ("nothing", "half", "all"):
                files = {name: self._content(inode, part) for name, inode in entries.items()}
                if files not in states:
                    states.append(files)
        return states

    def _inode_created_as(self, name: str, names: list[tuple[str, ...]], now: dict[str, Inode]) -> Inode:
        for one in names:
            if one[0] == "replace" and one[1] == name:
                name = one[2]
        return now.get(name, Inode())

    @staticmethod
    def _content(inode: Inode, part: str) -> bytes:
        if inode.synced is not None and inode.synced == inode.data:
            return inode.data
        kept = inode.synced or b""
        rest = inode.data[len(kept) :]
        return kept + {"nothing": b"", "half": rest[: len(rest) // 2], "all": rest}[part]


# Tells what is about to happen and does it: `do` does the operation, `half` a part of it (a write only).
Watch = Callable[[Operation, Callable[[], Any], Callable[[], Any] | None], Any]


class Disk:
    """Stands between the state file and the operating system. `watch` decides what becomes of each operation."""

    def __init__(self) -> None:
        self.platter = Platter()
        self.watch: Watch | None = None
        self.open_files: dict[int, str] = {}  # descriptors of the folder's files, by number
        self.folders: set[int] = set()
        self.parents: set[int] = set()

    def still_open(self) -> dict[int, str]:
        """The descriptors that are open and lead to the folder's files: a number may be another's by now."""
        found = {}
        for descriptor, path in self.open_files.items():
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{descriptor}").endswith(f"{FOLDER}/{os.path.basename(path)}"):
                    found[descriptor] = path
        return found

    def move_to_this_folder(self, still_open: Mapping[int, str]) -> None:
        """Lead the open descriptors to the same files in the current folder, which is a copy.

        Which are open must be asked before the fork: the parent goes on, and may have renamed a file since.
        """
        for descriptor, path in still_open.items():
            with suppress(OSError):
                other = os.open(path, os.O_RDWR)
                os.lseek(other, 0, os.SEEK_END)
                os.dup2(other, descriptor)
                os.close(other)

    def do(self, name: str, path: Any, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        if self.watch is None:
            return do()
        return self.watch(Operation(name, self.file_of(path)), do, half)

    @staticmethod
    def file_of(path: Any) -> str:
        name = os.path.basename(os.fspath(path))
        return name.replace(f".{os.getpid()}.", ".PID.")

    @staticmethod
    def is_ours(path: Any) -> bool:
        parts = pathlib.PurePath(os.fspath(path)).parts
        return FOLDER in parts

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch, for as long as the block lasts."""
        saved_os = provision.terminal.disk.os
        saved = {name: getattr(pathlib.Path, name) for name in PATH_OPERATIONS}
        provision.terminal.disk.os = Os(self)  # type: ignore[assignment]
        for name, operation in saved.items():
            setattr(pathlib.Path, name, self._watched(name, operation))
        try:
            yield
        finally:
            provision.terminal.disk.os = saved_os
            for name, operation in saved.items():
                setattr(pathlib.Path, name, operation)

    def _watched(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: pathlib.Path, *arguments: Any, **keywords: Any) -> Any:
            if not self.is_ours(path) or self._nested:
                return operation(path, *arguments, **keywords)

            def do() -> Any:
                self._nested = True
                try:
                    existed = name == "mkdir" and path.exists()
                    result = operation(path, *arguments, **keywords)
                finally:
                    self._nested = False
                if name == "mkdir" and not existed and path.name == FOLDER:
                    self.platter.mkdir()
                elif name == "unlink":
                    self.platter.unlink(path.name)
                elif name == "replace":
                    self.platter.replace(path.name, pathlib.Path(arguments[0]).name)
                return list(result) if name == "iterdir" else result

            if name == "unlink" and keywords.get("missing_ok") and not os.path.lexists(path):
                return operation(path, *arguments, **keywords)  # nothing to do: no operation on the disk
            return self.do(name, path, do)

        return watched

    _nested = False


PATH_OPERATIONS = ("mkdir", "read_bytes", "unlink", "replace", "iterdir")


class Os:
    """`os`, as `provision.terminal.disk` sees it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        disk = self._disk

        def do() -> int:
            descriptor = os.open(path, flags, mode)
            if os.path.isdir(path):
                (disk.folders if os.path.basename(os.path.abspath(path)) == FOLDER else disk.parents).add(descriptor)
            else:
                disk.open_files[descriptor] = os.fspath(path)
                if flags & os.O_EXCL:
                    disk.platter.create(os.path.basename(path))
            return descriptor

        name = "open folder" if os.path.isdir(path) else "create" if flags & os.O_EXCL else "open"
        return int(disk.do(name, path, do))

    def fdopen(self, descriptor: int, mode: str = "r") -> File:
        return File(self._disk, descriptor)

    def fsync(self, descriptor: int) -> None:
        disk = self._disk
        if descriptor in disk.folders or descriptor in disk.parents:

            def do() -> None:
                os.fsync(descriptor)
                if descriptor in disk.folders:
                    disk.platter.fsync_folder()
                else:
                    disk.platter.fsync_parent()

            disk.do("fsync folder", FOLDER if descriptor in disk.folders else "parent", do)
        else:
            path = disk.open_files[descriptor]

            def do_file() -> None:
                os.fsync(descriptor)
                disk.platter.fsync(os.path.basename(path))

            disk.do("fsync", path, do_file)

    def close(self, descriptor: int) -> None:
        self._disk.folders.discard(descriptor)
        self._disk.parents.discard(descriptor)
        self._disk.open_files.pop(descriptor, None)
        os.close(descriptor)

    def ftruncate(self, descriptor: int, length: int) -> None:
        self._disk.do(
            "truncate", self._disk.open_files.get(descriptor, "lock"), lambda: os.ftruncate(descriptor, length)
        )

    def write(self, descriptor: int, data: bytes) -> int:
        path = self._disk.open_files.get(descriptor, "lock")
        return int(
            self._disk.do(
                "write",
                path,
                lambda: os.write(descriptor, data),
                lambda: os.write(descriptor, data[: len(data) // 2]),
            )
        )


class File:
    """The temporary file while it is being written; nothing is buffered, so each write is an operation."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disk.open_files.pop(self._descriptor, None)
        os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> None:
        """There is no buffer."""

    def write(self, data: bytes) -> int:
        path = self._disk.open_files[self._descriptor]

        def put(part: bytes) -> int:
            written = os.write(self._descriptor, part)
            self._disk.platter.write(os.path.basename(path), part[:written])
            return written

        return int(self._disk.do("write", path, lambda: put(data), lambda: put(data[: len(data) // 2])))


def no_space(*arguments: Any) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*arguments: Any) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS))


# The kinds that each operation can meet, beside a kill before and after it, and the power failure after it.
REFUSALS: dict[str, tuple[str, ...]] = {
    "mkdir": ("full", "read-only"),
    "open": ("full", "read-only"),
    "create": ("full", "read-only"),
    "write": ("full", "torn"),
    "fsync": ("full", "failed"),
    "fsync folder": ("failed",),
    "open folder": ("failed",),
    "unlink": ("read-only",),
    "replace": ("full", "read-only"),
    "read_bytes": ("failed",),
    "truncate": ("full",),
    "iterdir": ("failed",),
}
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failed": errno.EIO}
CHANGES = ("mkdir", "create", "write", "fsync", "fsync folder", "unlink", "replace")  # power states follow these
