"""The directive `settings`: a list of every key that a file of settings may have.

```{settings} sololakehouse.config:ProjectSettings
```
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


@dataclass(frozen=True)
class Key:
    """One key of a file: where it stands, what it takes, and what it means."""

    path: str
    takes: str
    default: str
    meaning: str


def keys_of(
    model: type[BaseModel], prefix: str = "", known: dict[type[BaseModel], str] | None = None
) -> Iterator[Key]:
    """Give every key of a model and of the models in it, from the outside to the inside.

    A model whose keys were given already, `known` by its path, is only named.
    """
    known = {} if known is None else known
    meanings = described_attributes(model)
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        meaning = field.description or meanings.get(name, "")
        inner = [one for one in _parts(field.annotation) if _is_model(one)]
        again = [f"Keys as in `{known[one]}`." for one in inner if one in known]
        yield Key(path, takes(field), default_of(field), " ".join([meaning, *again]).strip())
        for one in inner:
            if one not in known:
                known[one] = path
                yield from keys_of(one, f"{path}{_step(field.annotation)}.", known)


def models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model, and those that its keys hold."""
    known = {model: ""}
    list(keys_of(model, known=known))
    return list(known)


def described_attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what the `Attributes` sections of a model and its bases say of each attribute."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        text = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        _, _, section = text.partition("Attributes\n----------\n")
        section = re.split(r"\n\n\w[^\n]*\n-{3,}\n", section)[0]
        for names, told in re.findall(r"^(\S[^\n]*)\n((?:[ \n][^\n]*\n?)+)", section, re.MULTILINE):
            sentence = " ".join(told.split())
            found |= {name.strip(): sentence for name in names.split(",")}
    return found


def takes(field: FieldInfo) -> str:
    """Write what a key takes, as a person says it."""
    return _said(field.annotation, field.metadata)


def _said(kind: Any, metadata: typing.Sequence[Any] = ()) -> str:
    if hasattr(kind, "__metadata__"):
        return _said(kind.__origin__, [*metadata, *kind.__metadata__])
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return ", ".join(f"`{_plain(one)}`" for one in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_said(one) for one in arguments if one is not type(None)))
    if origin in (tuple, list):
        return f"list of {_said(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_said(arguments[1])}"
    if _is_model(kind):
        return "keys"
    return _scalar(kind, metadata)


_SCALARS = {"str": "text", "bool": "`true`, `false`", "timedelta": "length of time", "Any": "value"}


def _scalar(kind: Any, metadata: typing.Sequence[Any]) -> str:
    functions = [getattr(one, "func", None) for one in metadata]
    if any(getattr(one, "__name__", "") == "_memory" for one in functions):
        return "size"
    name = getattr(kind, "__name__", str(kind))
    if name in ("AwareDatetime", "datetime"):
        return "moment with a time zone"
    bounds = [text for one in metadata for text in _bounds(one)]
    said = {"int": "whole number", "float": "number"}.get(name) or _SCALARS.get(name, name)
    return " ".join([said, *bounds[:1], *(f"and {text}" for text in bounds[1:])])


def _bounds(constraint: Any) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for name, word in words.items():
        bound = getattr(constraint, name, None)
        if bound is not None:
            yield f"{word} {bound}"


def default_of(field: FieldInfo) -> str:
    """Write the default of a key; empty for none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{value.total_seconds():g}s`"
    if value in ((), {}, ""):
        return ""
    if _is_size(field):
        return f"`{value // 10**6}MB`" if value < 10**9 else f"`{value // 10**9}GB`"
    return f"`{_plain(value)}`"


def _is_size(field: FieldInfo) -> bool:
    return "size" in takes(field)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _parts(kind: Any) -> Iterator[Any]:
    if _is_model(kind) or not typing.get_args(kind):
        yield kind
    for one in typing.get_args(kind):
        yield from _parts(one)


def _step(kind: Any) -> str:
    origins = [typing.get_origin(kind), *map(typing.get_origin, typing.get_args(kind))]
    return ".NAME" if dict in origins else "[]" if tuple in origins or list in origins else ""


def listed(model: type[BaseModel]) -> list[str]:
    """Write the list of a model's keys in Markdown: the key, what it takes, what it means."""
    lines: list[str] = []
    for key in keys_of(model):
        default = f"default {key.default}" if key.default.startswith("`") else key.default
        facts = ", ".join(filter(None, (key.takes, default)))
        lines += [f"`{key.path}`", f": {key.meaning}", "", f"  Takes: {facts}.", ""]
    return lines


def model_of(reference: str) -> type[BaseModel]:
    """Return the model that `module:Class` names."""
    module, _, name = reference.partition(":")
    found = getattr(import_module(module), name)
    assert _is_model(found), reference
    return typing.cast("type[BaseModel]", found)


class SettingsDirective(SphinxDirective):
    """The list of the keys of one settings model."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the list where the directive stands."""
        model = model_of(self.arguments[0])
        for one in models_in(model):
            self.env.note_dependency(inspect.getfile(one))
        place = nodes.container(classes=["settings"])
        self.state.nested_parse(StringList(listed(model), self.arguments[0]), 0, place)
        return [place]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("settings", SettingsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
