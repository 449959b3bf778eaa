"""What a user got wrong, said in one sentence."""

from __future__ import annotations

# What the rooms raise for a wrong input, pydantic's ValidationError and requests' errors included. Anything else
# is a fault of the program and keeps its traceback.
USER_ERRORS = (ValueError, OSError)


def sentence(error: BaseException) -> str:
    """The error as one line: the system's own errors as path and reason, others as they were raised."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}"
    return " ".join(str(error).split()) or type(error).__name__
