"""Writes the generated references into `reference/`: API, command line, errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = "reference"

# The pages of the API: a title, what it is for, and its modules. A module without `__all__` is
# followed by the names that are public.
API: dict[str, tuple[str, str, dict[str, tuple[str, ...]]]] = {
    "lake": (
        "Tables",
        "Find the tables of a project, read them at a version, compare, ask and write.",
        {
            "sololakehouse": (),
            "sololakehouse.lake": (),
            "sololakehouse.lake.diff": ("diff", "TableDiff", "ChangedRow"),
            "sololakehouse.pipelines.query": ("run_query",),
            "sololakehouse.config": ("Project",),
            "sololakehouse.provenance": ("Run", "Change", "CommitRecord", "Manifest"),
        },
    ),
    "pipelines": (
        "Pipelines",
        "What sources use besides `pyspark.pipelines`: change data, expectations, trailing "
        "aggregates; and the engine that they run on.",
        {
            "sololakehouse.pipelines": (),
            "sololakehouse.quality": (
                *("expect", "expect_or_drop", "expect_or_fail"),
                *("expect_all", "expect_all_or_drop", "expect_all_or_fail"),
                *("expect_unique", "expect_unique_or_fail", "expect_fresh", "expect_fresh_or_fail"),
            ),
            "sololakehouse.windows": (),
            "sololakehouse.engine": (),
        },
    ),
    "feature_engineering": (
        "Feature engineering",
        "Feature tables, lookups, training sets and batch scoring, with Databricks' names.",
        {"sololakehouse.feature_engineering": ()},
    ),
    "models": (
        "Models",
        "Experiments, training, the registry with its gates, and batch inference.",
        {
            "sololakehouse.models.experiment": (),
            "sololakehouse.models.training": ("train", "TrainingOutcome"),
            "sololakehouse.models.registry": (),
            "sololakehouse.models.split": (),
            "sololakehouse.models.trainers": (),
            "sololakehouse.inference.batch": ("score", "ScoreResult"),
            "sololakehouse.inference.predictor": ("Predictor", "Prediction"),
        },
    ),
    "monitoring": (
        "Monitoring",
        "How a model does after its training.",
        {"sololakehouse.monitoring": ()},
    ),
    "lineage": (
        "Lineage, rebuild, replay",
        "Where a number comes from, a model built again, and features of a past moment.",
        {
            "sololakehouse.lineage.trace": ("trace",),
            "sololakehouse.lineage.impact": ("impact", "Impact"),
            "sololakehouse.lineage.graph": (
                *("Lineage", "Edge", "Node"),
                *("FileNode", "TableNode", "RunNode", "ModelNode", "SinkNode"),
            ),
            "sololakehouse.rebuild.course": ("rebuild", "Rebuilt"),
            "sololakehouse.replay.replay": ("Replay", "ReplayRequest"),
            "sololakehouse.diagrams": (),
        },
    ),
    "conformance": (
        "Conformance",
        "Hold a point-in-time join to the rules.",
        {"sololakehouse.conformance": ()},
    ),
}


def public_names(module: str, named: tuple[str, ...]) -> list[str]:
    """Return the names of a module that the API reference describes, in their order.

    What another library owns, and what is a mere value, is left out.
    """
    there = import_module(module)
    names = named or tuple(there.__all__)
    found = [name for name in names if callable(getattr(there, name))]
    return [name for name in found if _is_ours(getattr(there, name))]


def _is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("sololakehouse")


def api_pages() -> Iterator[tuple[str, str]]:
    """Give the pages of the API, each with its name and its text."""
    described: set[Any] = set()
    contents = [f"   api_{name}" for name in API]
    yield (
        "api",
        "\n".join([*_title("API"), ".. toctree::", "   :titlesonly:", "", *contents, ""]),
    )
    for name, (title, purpose, modules) in API.items():
        lines = [*_title(title), purpose, ""]
        for module, named in modules.items():
            lines += _module(module, named, described)
        yield f"api_{name}", "\n".join(lines)


def _module(module: str, named: tuple[str, ...], described: set[Any]) -> Iterator[str]:
    things = {name: getattr(import_module(module), name) for name in public_names(module, named)}
    new = {name: thing for name, thing in things.items() if thing not in described}
    known = [name for name in things if name not in new]
    if not things:
        return
    yield from _title(module, "-")
    if known:
        yield f"Has {', '.join(f'``{name}``' for name in known)} of another module as well."
        yield ""
    for name, thing in new.items():
        described.add(thing)
        yield from _directive(module, name, thing)


def _directive(module: str, name: str, thing: Any) -> Iterator[str]:
    yield (
        f".. autoclass:: {module}.{name}"
        if isinstance(thing, type)
        else (f".. autofunction:: {module}.{name}")
    )
    if isinstance(thing, type):
        yield "   :members:"
        yield "   :exclude-members: model_config, model_post_init"
        yield "   :class-doc-from: class"
    yield ""


def error_page() -> str:
    """Write the catalogue of errors: the tree, then each class with what to do about it."""
    from sololakehouse import errors

    assert errors.__doc__ is not None
    tree = errors.__doc__.split("\n\n")[1]
    lines = [*_title("Errors"), "What the command line says after ``Error:`` is one of these.", ""]
    lines += [".. code-block:: text", "", *(f"   {line}" for line in tree.splitlines()), ""]
    lines += _title("Each of them", "-")
    for error in error_classes():
        lines += [f".. autoexception:: sololakehouse.errors.{error.__name__}", ""]
        lines += [f"   Exit code {error.exit_code}.", ""]
    return "\n".join(lines)


def error_classes() -> list[type[Any]]:
    """Return the classes of the error tree, in the order of their file."""
    from sololakehouse import errors

    things = vars(errors).values()
    return [one for one in things if isinstance(one, type) and issubclass(one, Exception)]


def cli_page() -> str:
    """Write the page of the command line."""
    options = ["   :prog: slh", "   :nested: full", ""]
    return "\n".join([*_title("Command line"), ".. click:: sololakehouse.cli:slh", *options])


def show_examples(_: Sphinx, __: Any, lines: list[str]) -> None:
    """Show the examples of a command as commands, where its help has lines as they are."""
    shown: list[str] = []
    inside = False
    for line in lines:
        if re.fullmatch(r"\| Examples?:", line):
            inside = True
            shown += [line[2:], "", ".. code-block:: console", ""]
        elif inside and line.startswith("| "):
            more = shown[-1].endswith("\\")
            shown.append(f"   {'>' if more else '$'} {line[2:].strip()}")
        else:
            inside = False
            shown.append(line)
    lines[:] = shown


def _title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def write_pages(app: Sphinx) -> None:
    """Write the pages that changed; what is as it was is not read again."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    pages = {**dict(api_pages()), "errors": error_page(), "cli": cli_page()}
    for old in folder.iterdir():
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the event."""
    app.setup_extension("sphinx_click")
    app.connect("builder-inited", write_pages)
    app.connect("sphinx-click-process-description", show_examples)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
