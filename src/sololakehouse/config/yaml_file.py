"""Settings read from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sololakehouse.config.validation import S, validate
from sololakehouse.errors import ConfigError

_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path, model: type[S]) -> S:
    """Read a YAML file into a settings model.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML mapping, or does not validate; every mistake is named.
    """
    return validate(read_mapping(path), model, str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping of settings.

    Raises
    ------
    ConfigError
        The file is missing or is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        content = _yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, such as 'name: my_project'.")
    return content


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FAST_LOADER)
    except yaml.YAMLError:
        # The slow one shows the line with a mistake in it.
        return yaml.safe_load(text)
