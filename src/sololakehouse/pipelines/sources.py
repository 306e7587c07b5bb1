"""Running the source files of a pipeline, and where an error in them stands."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import engine_message
from sololakehouse.errors import DefinitionError, SoloLakehouseError, UsageError
from sololakehouse.pipelines.change_flow import scd_type_hint
from sololakehouse.pipelines.collector import Collector
from sololakehouse.pipelines.declarations import Declared, Place, SourceContext
from sololakehouse.pipelines.hints import hint
from sololakehouse.pipelines.refused_actions import ActionRefusedError, refused_actions
from sololakehouse.pipelines.settings import keys_read
from sololakehouse.pipelines.variables import VariableError

if TYPE_CHECKING:
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry
    from pyspark.sql.connect.session import SparkSession


def collect(files: Iterator[Path], context: SourceContext, session: SparkSession) -> Declared:
    """Run the source files and return what they declare, by qualified name.

    A name without a schema is in the spec's database; a temporary view or a sink has a one-part
    name. Mistakes are files that cannot be run, and what is declared twice or not supported.
    """
    from pyspark.pipelines.graph_element_registry import graph_element_registration_context

    folder = context.folder
    collector = Collector(context, session)
    with in_folder(folder), graph_element_registration_context(_as_registry(collector)):
        for file in files:
            near = file.relative_to(folder)
            try:
                if file.suffix == ".sql":
                    collector.register_sql(_text(file, near), near)
                else:
                    with keys_read() as asked:
                        collector.asked[str(near)] = asked
                        _run_source(file, folder, session)
            except DefinitionError as error:
                collector.give_up(str(near), error)
    return collector.declared()


def _text(file: Path, near: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise DefinitionError(f"{near}:{line}: this is no UTF-8 text. Save it as UTF-8.") from error


def _run_source(file: Path, folder: Path, session: SparkSession) -> None:
    from pyspark.pipelines.block_session_mutations import block_session_mutations

    spec: Any = importlib.util.spec_from_file_location(file.stem, file)
    module: Any = importlib.util.module_from_spec(spec)
    module.spark = session
    try:
        with block_session_mutations(), refused_actions(), _uncompiled():
            spec.loader.exec_module(module)
    except DefinitionError:
        raise
    except UsageError as error:
        raise DefinitionError(f"{error_place(error, file, folder)}: {error}") from error
    except SoloLakehouseError:
        raise
    except SystemExit as error:
        raise DefinitionError(
            f"{error_place(error, file, folder)}: sys.exit({error.code!r}) would end the run. "
            "Leave it out."
        ) from error
    except Exception as error:
        place = error_place(error, file, folder)
        ours = isinstance(error, ActionRefusedError | VariableError)
        kind = "" if ours else f"{type(error).__name__}: "
        said = scd_type_hint(error) or hint(error) or f"{kind}{engine_message(error)}"
        raise DefinitionError(f"{place}: {said}") from error


def error_place(error: BaseException, file: Path, folder: Path) -> Place:
    """Return the last line of the project's own code on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename:
        source = Path(error.filename)
        if source.is_relative_to(folder):
            return Place(str(source.relative_to(folder)), error.lineno or 1)
    return own_place(error, folder) or Place(str(file.relative_to(folder)), 1)


def own_place(error: BaseException, folder: Path) -> Place | None:
    """Return the same; None if no line of the project led to the error."""
    place = None
    trace = error.__traceback__
    while trace is not None:
        source = Path(trace.tb_frame.f_code.co_filename)
        if source.is_relative_to(folder):
            place = Place(str(source.relative_to(folder)), trace.tb_lineno)
        trace = trace.tb_next
    return place


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Let sources open files and import modules by where they are from the spec's folder."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Leave no compiled modules beside the project's sources.

    Only while these are run: a library that is imported meanwhile is compiled again each time.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _as_registry(collector: Collector) -> GraphElementRegistry:
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry

    GraphElementRegistry.register(type(collector))
    registry: Any = collector
    return registry  # type: ignore[no-any-return]
