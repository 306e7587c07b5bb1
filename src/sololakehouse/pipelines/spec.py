"""The pipeline spec, `spark-pipeline.yml`, as Apache Spark reads it."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict, Field, field_validator

from sololakehouse.config import Project, Settings, load
from sololakehouse.errors import ConfigError, DefinitionError

SPEC_FILES = ("spark-pipeline.yml", "spark-pipeline.yaml")
SUFFIXES = (".py", ".sql")


class Glob(Settings):
    """A pattern of source files: one file, or a folder with everything below (`folder/**`)."""

    include: str

    @field_validator("include")
    @classmethod
    def _only_files_and_folders(cls, pattern: str) -> str:
        if glob.has_magic(pattern.removesuffix("/**")):
            raise ValueError(f"{pattern!r} must be a file's path or a folder's path ending in /**")
        return pattern


class Library(Settings):
    """One entry of `libraries`."""

    glob: Glob


class PipelineSpec(Settings):
    """The content of the spec: the fields of Apache Spark's own `spark-pipelines`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str
    storage: str
    catalog: str | None = None
    database: str = Field(default="default", alias="schema")
    configuration: dict[str, str] = Field(default={})
    libraries: tuple[Library, ...] = ()


def find_spec(project: Project) -> tuple[Path, PipelineSpec]:
    """Load the project's spec.

    Raises
    ------
    ConfigError
        There is no spec file, there are two, or it does not validate.
    """
    found = [project.folder / name for name in SPEC_FILES if (project.folder / name).is_file()]
    if not found:
        raise ConfigError(
            f"No {SPEC_FILES[0]} in {project.folder}. It names the pipeline and its source files; "
            "'slh init NAME' writes one that runs."
        )
    if len(found) > 1:
        raise ConfigError(f"{project.folder} holds both {' and '.join(SPEC_FILES)}. Keep one.")
    return found[0], load(found[0], PipelineSpec)


def source_files(folder: Path, spec: PipelineSpec) -> Iterator[Path]:
    """Give the pipeline's source files in the order of their paths, each once.

    Raises
    ------
    DefinitionError
        No file matches, or a file is neither Python nor SQL.
    """
    patterns = [library.glob.include for library in spec.libraries]
    files = sorted({file for pattern in patterns for file in _matching(folder, pattern)})
    if not files:
        raise DefinitionError(
            f"The spec in {folder} names no source files: {', '.join(patterns) or 'no libraries'}."
            " Put .py or .sql files there, or correct 'libraries'."
        )
    for file in files:
        if file.suffix not in SUFFIXES:
            raise DefinitionError(f"{file}: a pipeline source ends in .py or .sql.")
    return iter(files)


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    everything = f"{pattern}/*" if pattern.endswith("/**") else pattern
    for file in folder.glob(everything):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file
