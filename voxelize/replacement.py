"""Writing that is either finished or not there: into a temporary neighbour, then renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or folder to; it takes `path`'s place at the end.

    What was at `path` stays until the new one is complete; on an error the temporary one is removed. The
    suffix is kept, since writers choose their format by it. Raises OSError where nothing can be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    temporary = path.with_name(f".{path.name[: len(path.name) - len(suffix)]}.{os.getpid()}.part{suffix}")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir() or temporary.is_dir():
            # A folder cannot be renamed over another: the old one steps aside for the moment of the exchange.
            aside = path.with_name(f".{path.name}.{os.getpid()}.old")
            _remove(aside)
            if path.exists():
                os.rename(path, aside)
            os.rename(temporary, path)
            _remove(aside)
        else:
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def made_once(folder: Path, is_finished: Callable[[Path], bool]) -> Iterator[Path | None]:
    """Give a temporary path to make `folder` at, or None where another process has finished it meanwhile.

    Only one process at a time makes a folder; others wait for it. A process that dies loses its claim, and the
    next one removes what it left. Raises OSError where nothing can be written or something unfinished has the name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _claim(folder.with_name(f".{folder.name}.lock")):
        if is_finished(folder):
            yield None
            return
        temporary = folder.with_name(f".{folder.name}.part")
        _remove(temporary)
        try:
            yield temporary
            os.rename(temporary, folder)
        except BaseException:
            _remove(temporary)
            raise


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is there only as long as someone holds it or has died."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            # Some network file systems have no locks: then it is for the user not to start a block twice.
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                os.close(lock)
                raise
        # The one before may have removed the file while this one waited; the lock of a removed file holds nobody off.
        try:
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                break
        except FileNotFoundError:
            pass
        os.close(lock)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
