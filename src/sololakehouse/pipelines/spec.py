"""The pipeline spec, `spark-pipeline.yml`, as Apache Spark reads it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from sololakehouse.config import Project
from sololakehouse.config.settings import Settings
from sololakehouse.config.yaml_file import load
from sololakehouse.errors import ConfigError, DefinitionError, suggestion
from sololakehouse.pipelines.sql_statements import CATALOG

SPEC_FILES = ("spark-pipeline.yml", "spark-pipeline.yaml")
SUFFIXES = (".py", ".sql")


class Glob(Settings):
    """A pattern of source files: one file, or a folder with everything below (`folder/**`).

    Attributes
    ----------
    include
        A file's path, or a folder's path ending in `/**`, below the spec's folder.
    """

    include: str

    @field_validator("include")
    @classmethod
    def _only_files_and_folders(cls, pattern: str) -> str:
        if glob.has_magic(pattern.removesuffix("/**")):
            raise ValueError(f"{pattern!r} must be a file's path or a folder's path ending in /**")
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError(f"{pattern!r} must be a path below the spec's folder")
        return pattern


class Library(Settings):
    """One entry of `libraries`.

    Attributes
    ----------
    glob
        Which files it is.
    """

    glob: Glob


class PipelineSpec(Settings):
    """The content of the spec: the fields of Apache Spark's own `spark-pipelines`.

    Attributes
    ----------
    name
        The pipeline's name.
    storage
        Where Apache Spark keeps how far streams were read; here that is part of the commits.
    catalog
        `spark_catalog`, or nothing: a lakehouse is one catalog.
    database
        The schema of names without one; the spec may call it `schema`.
    configuration
        Settings of the session, which sources can read; all values are texts.
    libraries
        The pipeline's source files, in Python and SQL.
    """

    name: str = Field(min_length=1)
    storage: str
    catalog: str | None = None
    database: str = "default"
    configuration: dict[str, str] = Field(default={})
    libraries: tuple[Library, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _schema_is_another_word(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "schema" not in content:
            return content
        if "database" in content:
            raise ValueError("'schema' is another word for 'database'; write one of them")
        return {("database" if key == "schema" else key): v for key, v in content.items()}

    @field_validator("catalog")
    @classmethod
    def _one_catalog(cls, name: str | None) -> str | None:
        if name not in (None, CATALOG):
            raise ValueError(f"{name!r}: a lakehouse is one catalog; write {CATALOG}, or leave it")
        return name

    @field_validator("database")
    @classmethod
    def _one_part(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ValueError(f"{name!r} is no schema's name; write letters, digits and _")
        return name

    @field_validator("configuration", mode="before")
    @classmethod
    def _only_text(cls, configuration: Any) -> Any:
        if isinstance(configuration, dict):
            for key, value in configuration.items():
                if isinstance(value, bool | int | float):
                    text = str(value).lower() if isinstance(value, bool) else value
                    raise ValueError(f"the value of {key} must be text; write '{text}'")
        return configuration


def find_spec(project: Project, path: Path | None = None) -> tuple[Path, PipelineSpec]:
    """Load a project's spec.

    It is the one in the current folder or the nearest folder above it, up to the project's; from
    outside of the project, the one in the project's folder.

    Parameters
    ----------
    path
        The spec, if a person named it.

    Raises
    ------
    ConfigError
        There is no spec file, there are two in one folder, or it does not validate.
    """
    found = path.resolve() if path else _nearest(project.folder.resolve())
    return found, load(found, PipelineSpec)


def _nearest(project: Path) -> Path:
    here = Path.cwd()
    above = [folder for folder in (here, *here.parents) if folder.is_relative_to(project)]
    for folder in above or [project]:
        found = [folder / name for name in SPEC_FILES if (folder / name).is_file()]
        if len(found) > 1:
            raise ConfigError(f"{folder} holds both {' and '.join(SPEC_FILES)}. Keep one.")
        if found:
            return found[0]
    raise ConfigError(
        f"No {SPEC_FILES[0]} in {project}. It names the pipeline and its source files; "
        "'slh init NAME' writes one that runs."
    )


def source_files(folder: Path, spec: PipelineSpec) -> Iterator[Path]:
    """Give the pipeline's source files in the order of their paths, each once.

    Raises
    ------
    DefinitionError
        A path does not exist, no file matches, or a file is neither Python nor SQL.
    """
    patterns = [library.glob.include for library in spec.libraries]
    for pattern in patterns:
        _check_exists(folder, pattern)
    files = sorted({file for pattern in patterns for file in _matching(folder, pattern)})
    if not files:
        raise DefinitionError(
            f"The spec in {folder} names no source files: {', '.join(patterns) or 'no libraries'}."
            " Put .py or .sql files there, or correct 'libraries'."
        )
    for file in files:
        if file.suffix not in SUFFIXES:
            raise DefinitionError(
                f"{file}: a pipeline source ends in .py or .sql. Put this file elsewhere: Apache "
                "Spark refuses it as well."
            )
    return iter(files)


def _check_exists(folder: Path, pattern: str) -> None:
    path = folder / pattern.removesuffix("/**")
    if path.is_dir() and not pattern.endswith("/**"):
        raise DefinitionError(
            f"The spec in {folder}: {pattern!r} is a folder. Write '{pattern.rstrip('/')}/**' for "
            "everything below it."
        )
    if not path.exists():
        near = [str(p.relative_to(folder)) for p in path.parent.glob("*") if p.name[0] != "."]
        raise DefinitionError(
            f"The spec in {folder}: {suggestion(pattern.removesuffix('/**'), near, 'path')} "
            f"{pattern!r} does not exist."
        )


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    everything = f"{pattern}/*" if pattern.endswith("/**") else pattern
    for file in folder.glob(everything):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file
