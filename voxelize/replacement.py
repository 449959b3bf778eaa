"""Writing that is either finished or not there: into a temporary neighbour, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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
