"""What tests of several rooms share: real data, where there is any."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

# On Python 3.13 Blender's module loads only before open3d, which brings an older TBB under the same name.
with contextlib.suppress(ImportError):
    import bpy  # noqa: F401

from neuropil.pipeline.real_images import data_folders


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    for folder in data_folders():
        if folder.is_dir():
            return folder
    pytest.skip(f"no real data in {', '.join(map(str, data_folders()))} (set NEUROPIL_DATA)")
