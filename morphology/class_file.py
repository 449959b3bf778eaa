"""Writing a class as the YAML file it is read from."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from .distribution import Distribution
from .neuron_class import NeuronClass


class _OneLine(dict[str, Any]):
    """A mapping that stands on one line."""


class _Row(list[float]):
    """Numbers that stand on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(
    _Row, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def class_yaml(neuron_class: NeuronClass) -> str:
    """The class as YAML: a line for each distribution, and nothing that stands at its default."""
    content = _content(neuron_class)
    return yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True, default_flow_style=False
    )


def _content(value: object) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = {name: _content(item) for name, item in value if item != fields[name].default}
        return _OneLine(kept) if isinstance(value, Distribution) else kept
    if isinstance(value, dict):
        return {name: _content(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return _Row(value)
    return value
