"""A mapping validated against a settings model, and what is said of its mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sololakehouse.config.settings import Settings
from sololakehouse.errors import ConfigError, UsageError, suggestion

S = TypeVar("S", bound=Settings)


def validate(
    content: dict[str, Any], model: type[S], where: str, context: Mapping[str, Any] | None = None
) -> S:
    """Validate a mapping against a settings model.

    Parameters
    ----------
    where
        What holds the mapping, such as the path of a file: messages begin with it.
    context
        What validators are told besides the values, such as the zone of `moment.in_zone`.

    Raises
    ------
    ConfigError
        Names every mistake with its place, and for an unknown key the known ones.
    """
    try:
        return model.model_validate(content, context=context)
    except ValidationError as error:
        raise ConfigError(f"{where}: {validation_mistakes(error, model)}") from error
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from error


def validation_mistakes(error: ValidationError, model: type[BaseModel]) -> str:
    """Write what does not validate, with the place of each mistake and the known keys."""
    return "; ".join(_mistake(detail, model) for detail in error.errors())


def _mistake(detail: Any, model: type[BaseModel]) -> str:
    *parents, last = detail["loc"] or ("",)
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg'].removeprefix('Value error, ')}"
    return f"unknown key {place!r}. {suggestion(str(last), _fields_at(model, parents), 'key')}"


def _fields_at(model: type[BaseModel], parents: list[str | int]) -> list[str]:
    known: type[BaseModel] | None = model
    for parent in parents:
        field = known.model_fields.get(str(parent)) if known else None
        known = _model_in(field.annotation) if field else known
    return [field.alias or name for name, field in known.model_fields.items()] if known else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)
