"""A project's folder with its settings."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sololakehouse.config.engine import checked_engine
from sololakehouse.config.project_settings import ProjectSettings
from sololakehouse.config.yaml_file import load
from sololakehouse.errors import ConfigError

CONFIG_FILE = "lakehouse.yml"
ENGINE_VARIABLE = "SOLOLAKEHOUSE_ENGINE"
# What URLs escape in paths, all but ASCII included (seen with deltalake 1.6 and Sail 0.7).
_STRANGE = re.compile(r"[^A-Za-z0-9/!$&'()*+,\-.:;=@_~]")


class Project(BaseModel):
    """A project's folder with its settings.

    Examples
    --------
    >>> Project.find(Path("/"))
    Traceback (most recent call last):
        ...
    sololakehouse.errors.ConfigError: No lakehouse.yml in / or any folder above it. \
Create a project with 'slh init NAME', or go to a project's folder.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    settings: ProjectSettings

    @classmethod
    def find(cls, start: Path | None = None, engine: str | None = None) -> Project:
        """Open the project whose `lakehouse.yml` is in `start` or the nearest folder above it.

        Parameters
        ----------
        engine
            In place of the one in the environment (`SOLOLAKEHOUSE_ENGINE`) or in the file.

        Raises
        ------
        ConfigError
            There is no such file, it does not validate, or tables cannot be where it says.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / CONFIG_FILE).is_file():
                settings = load(folder / CONFIG_FILE, ProjectSettings)
                project = cls(folder=folder, settings=_on_engine(settings, engine))
                refuse_unreadable(project.warehouse)
                return project
        hint = "Create a project with 'slh init NAME', or go to a project's folder."
        raise ConfigError.missing_file(CONFIG_FILE, here, hint)

    @property
    def warehouse(self) -> Path:
        """The folder of the Delta tables."""
        return self.folder / self.settings.warehouse


def refuse_unreadable(folder: Path) -> None:
    """Refuse a folder for tables whose path URLs would escape: neither engine nor library reads it.

    Raises
    ------
    ConfigError
        Says which letters of the path it is.
    """
    strange = dict.fromkeys(_STRANGE.findall(str(folder)))
    if strange:
        raise ConfigError(
            f"Tables cannot be kept in {folder}: neither engine nor Delta library finds files "
            f"under a path with {' '.join(map(repr, strange))}. Move the project to a folder whose "
            "path has letters from a to z, digits, and marks such as - _ . only."
        )


def _on_engine(settings: ProjectSettings, asked: str | None) -> ProjectSettings:
    where = "--engine" if asked is not None else ENGINE_VARIABLE
    engine = asked if asked is not None else os.environ.get(ENGINE_VARIABLE)
    if not engine and asked is None:
        return settings
    try:
        return settings.model_copy(update={"engine": checked_engine(engine or "")})
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from error
