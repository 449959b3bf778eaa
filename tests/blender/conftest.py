"""These tests need pip's bpy; without it none of them is collected, and the report says so."""

from __future__ import annotations

import importlib.util

import pytest

HAS_BPY = importlib.util.find_spec("bpy") is not None
collect_ignore_glob = [] if HAS_BPY else ["test_*.py"]


def pytest_report_header(config: pytest.Config) -> str:
    """Say what is left out."""
    return "" if HAS_BPY else "tests/blender: left out, pip's bpy is not installed for this Python"
