"""Folders that can be written."""

from __future__ import annotations

import tempfile
from pathlib import Path


def claim_folder(path: Path) -> Path:
    """Make `path` a folder that can be written, and return it.

    Raises OSError (a FileExistsError, NotADirectoryError or PermissionError) where that cannot be.
    """
    path.mkdir(parents=True, exist_ok=True)
    # Asking is not enough (read-only file systems, quotas): a file is made and removed.
    with tempfile.NamedTemporaryFile(dir=path, prefix=".writable-"):
        pass
    return path
