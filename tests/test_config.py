from __future__ import annotations

import re

import polars as pl
import pytest

from sololakehouse.config import Project
from sololakehouse.errors import ConfigError
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run


def project(folder, text):
    (folder / "lakehouse.yml").write_text(text)
    return Project.find(folder)


def test_a_project_is_found_from_a_folder_below(tmp_path):
    project(tmp_path, "name: x\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert Project.find(below).folder == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nsource: {}\n", "unknown key 'source'. Did you mean 'sources'?"),
        (
            "name: x\nsources: {s: {path: a, table: b.c, shema: {}}}\n",
            "unknown key 'sources.s.shema'. Did you mean 'schema'?",
        ),
        ("name: x\nsources: {s: {path: a}}\n", "sources.s.table: Field required"),
        ("name: x\nsources: {s: {path: a, table: flat}}\n", "sources.s.table: String should match"),
        ("name: x\nengine: cluster\n", "engine: 'cluster' is no engine. Write 'embedded'"),
        (
            "name: x\nwarehouse: s3://models/lake\n",
            "warehouse: s3://models/lake is no folder. Tables are on a file system of this machine",
        ),
        (
            "name: x\ntime_zone: Europe/Bern\n",
            "time_zone: 'Europe/Bern' is no time zone. Write UTC, or a name as in Europe/Berlin. "
            "Did you mean 'Europe/Berlin'? Time zones: Africa/Abidjan, ",
        ),
        ("- a\n", "must hold a mapping of settings"),
        ("a: [\n", "is not valid YAML"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        project(tmp_path, text)


def test_all_mistakes_are_said_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        project(tmp_path, "source: {}\nengine: cluster\n")
    assert all(word in str(error.value) for word in ("source", "engine", "name"))


@pytest.mark.parametrize("name", ["a space", "café", "50%", "a#b"])
def test_a_path_that_neither_engine_nor_library_reads_is_refused(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"Tables cannot be kept in .* Move the project"):
        project(folder, "name: x\n")


def test_tables_can_be_where_paths_have_usual_marks(tmp_path):
    folder = tmp_path / "a-b_c.d+e(f)@g,h=i"
    folder.mkdir()
    made = project(folder, "name: x\n")
    writer = LakeWriter(Lakehouse(made), Run.start(folder, "embedded"))
    writer.write_frame("bronze.t", pl.DataFrame({"a": [1]}), Change("TEST", "0"))
    assert Lakehouse(made).read("bronze.t").to_polars()["a"].to_list() == [1]
    with Lakehouse(made).engine() as engine:
        assert engine.read(Lakehouse(made).read("bronze.t")).count() == 1
