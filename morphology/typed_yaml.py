"""Reading a YAML file into a pydantic model, with errors that name file, key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


def read_typed_yaml(path: Path, model: type[Model]) -> Model:
    """Read one YAML mapping and validate it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, not a mapping, or a key or value that the model refuses; one sentence.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise ValueError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ValueError(f"{path}: the file holds {found}, but allowed is a mapping of keys to values")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {validation_sentence(error, model)}") from None


def validation_sentence(error: ValidationError, model: Any) -> str:
    """What pydantic refused first, as one sentence: key, value and what is allowed.

    model: the model that was validated, or a union of models that a field of constant value tells apart.
    """
    details = error.errors()
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return _one_sentence(details[0], model) + more


def _one_sentence(detail: ErrorDetails, model: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"]) or "the file"
    if detail["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(detail["loc"][:-1], model)) or "the documented ones"
        return f"unknown key {key} (value {_short(detail['input'])}); allowed keys are {allowed}"
    if detail["type"] == "missing":
        return f"key {key} is missing"
    reason = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}: {reason}"
    return f"{key} is {_short(detail['input'])}, but {reason[0].lower()}{reason[1:]}"


def _allowed_keys(location: tuple[int | str, ...], model: Any) -> list[str]:
    """Field names of the model found by walking down the error's location, which names a union's member by its tag."""
    here: Any = model
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = here.model_fields[str(part)].annotation
        inner = [kind for kind in _flattened(here) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        tagged = [kind for kind in inner if any(field.default == part for field in kind.model_fields.values())]
        here = (tagged or inner)[0]
    return list(here.model_fields)


def _flattened(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation, *(leaf for argument in arguments for leaf in _flattened(argument))]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
