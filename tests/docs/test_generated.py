"""What the site generates: the API, the errors, the keys of settings, diagrams in two colours."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sololakehouse import errors
from sololakehouse.config import ProjectSettings
from sololakehouse.config.drift import DriftSettings
from sololakehouse.config.settings import Settings
from sololakehouse.config.source import CsvOptions, Source
from sololakehouse.models.experiment import Experiment
from sololakehouse.pipelines.spec import PipelineSpec
from tests.docs.pages import DOCS, ROOT

sys.path.insert(0, str(DOCS / "_ext"))
generated = import_module("generated")
settings = import_module("settings")

FILES = {"lakehouse.yml": ProjectSettings, "spec": PipelineSpec, "experiment": Experiment}
SOURCES = ROOT / "src" / "sololakehouse"


def modules_with_public_names() -> set[str]:
    found = set()
    for file in SOURCES.rglob("*.py"):
        assigned = [
            one for one in ast.parse(file.read_text("utf-8")).body if isinstance(one, ast.Assign)
        ]
        if any(
            isinstance(to, ast.Name) and to.id == "__all__"
            for one in assigned
            for to in one.targets
        ):
            parts = file.relative_to(SOURCES.parent).with_suffix("").parts
            found.add(".".join(parts).removesuffix(".__init__"))
    return found


def test_the_api_reference_has_every_module_that_says_what_is_public():
    described = {module for _, _, modules in generated.API.values() for module in modules}
    assert modules_with_public_names() <= described


def test_the_api_reference_describes_each_public_name_once():
    text = "\n".join(dict(generated.api_pages()).values())
    directives = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", text, re.MULTILINE)
    things = [
        getattr(import_module(one.rpartition(".")[0]), one.rpartition(".")[2]) for one in directives
    ]
    assert len(things) == len(set(things)) > 60
    for _, _, modules in generated.API.values():
        for module, named in modules.items():
            for name in generated.public_names(module, named):
                assert getattr(import_module(module), name) in things, f"{module}.{name}"
    assert all(inspect.getdoc(thing) for thing in things)


def test_every_error_says_when_it_is_raised_and_what_to_do():
    page = generated.error_page()
    classes = generated.error_classes()
    assert len(classes) > 20
    for error in classes:
        first, *rest = (error.__doc__ or "").split("\n\n")
        assert first.strip().endswith("."), error
        told = [part for part in rest if part.strip().startswith("What to do: ")]
        assert len(told) == 1, f"the docstring of {error.__name__} has no 'What to do: ...'"
        assert f".. autoexception:: sololakehouse.errors.{error.__name__}\n" in page
        assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or ""), f"the tree lacks {error}"


@pytest.mark.parametrize("model", FILES.values(), ids=FILES)
def test_every_key_of_settings_is_described(model: type[Settings]):
    keys = list(settings.keys_of(model))
    assert [key.path for key in keys if not key.meaning] == []
    assert len({key.path for key in keys}) == len(keys)
    assert {name.alias or own for own, name in model.model_fields.items()} <= {
        key.path for key in keys
    }
    assert all(re.fullmatch(r"[\w.\[\]]+", key.path) for key in keys)


def test_a_list_of_keys_is_written_again_when_any_of_its_models_changes():
    assert {Source, CsvOptions, DriftSettings} < set(settings.models_in(ProjectSettings))


def test_a_key_says_what_it_takes_and_its_default():
    keys = {key.path: key for key in settings.keys_of(ProjectSettings)}
    listed = "\n".join(settings.listed(ProjectSettings))
    assert keys["memory_limit"].takes == "size"
    assert keys["memory_limit"].default == "`1GB`"
    assert keys["sources.NAME.on_change"].takes == "`error`, `append`, `replace`"
    assert keys["sources.NAME.max_quarantined"].takes == "number at least 0 and at most 1"
    assert keys["sources.NAME.schema"].takes == "mapping of names to text"
    assert keys["scoring.NAME.keys"].takes == "list of text"
    assert keys["name"].default == "required"
    assert "`sources.NAME.path`\n: Pattern of the files" in listed
    assert "\n\n  Takes: text, required.\n" in listed
    assert "\n\n  Takes: size, default `1GB`.\n" in listed
    keys = {key.path: key for key in settings.keys_of(Experiment)}
    assert keys["split.embargo"].default == "`0s`"
    assert keys["baseline.threshold"].takes == "number or `f1` or keys"
    assert keys["model"].meaning.endswith("Keys as in `baseline`.")


def built(folder: Path, text: str) -> tuple[str, str]:
    """Build a page with the site's own extension for diagrams; returns its HTML and warnings."""
    from io import StringIO

    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    (folder / "index.md").write_text(text)
    told = StringIO()
    options = {"extensions": ["myst_parser", "diagrams"]}
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            *(folder, None, folder / "html", folder / "read", "html", options), None, told, True
        )
        app.build()
    return (folder / "html" / "index.html").read_text(), told.getvalue()


PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def test_a_diagram_has_its_dark_form_beside_it(tmp_path):
    (tmp_path / "diagrams").mkdir()
    for name in ("lake.svg", "lake-dark.svg"):
        (tmp_path / "diagrams" / name).write_text(PICTURE)
    (tmp_path / "other.svg").write_text(PICTURE)
    page = "# A\n\n![The lake at night.](diagrams/lake.svg)\n\n![Another one.](other.svg)\n"
    html, told = built(tmp_path, page)
    light, dark, other = re.findall(r"<img [^>]*>", html)
    assert told == ""
    assert all('alt="The lake at night."' in one for one in (light, dark))
    assert 'class="only-light"' in light
    assert "lake.svg" in light
    assert 'class="only-dark"' in dark
    assert "lake-dark.svg" in dark
    assert "only-" not in other
    assert {one.name for one in (tmp_path / "html" / "_images").iterdir()} == {
        *("lake.svg", "lake-dark.svg", "other.svg")
    }


def test_a_diagram_without_a_dark_form_is_a_warning(tmp_path):
    (tmp_path / "diagrams").mkdir()
    (tmp_path / "diagrams" / "lake.svg").write_text(PICTURE)
    _, told = built(tmp_path, "# A\n\n![The lake.](diagrams/lake.svg)\n")
    assert "diagrams/lake.svg has no dark form: diagrams/lake-dark.svg" in told
