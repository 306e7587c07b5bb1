"""A project whose models go back to landing files, in a Git repository."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sololakehouse.lake import LakeWriter
from sololakehouse.models.registry import RUNS, ModelVersion
from sololakehouse.pipelines.ingest import ingest
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.provenance import Change, Run
from tests.rain import ModelProject, labels, sky

CONFIG = """\
name: rain
sources:
  sky:
    path: landing/sky_*.csv
    table: bronze.sky
    schema: {place: string, feature_ts: timestamp, light: double}
  hours:
    path: landing/hours.csv
    table: bronze.hours
    schema:
      {id: bigint, place: string, at: timestamp, humid: double, wind: double, cloud: string,
      wet: int}
  stars: {path: landing/stars.csv, table: bronze.stars}
"""
SPEC = """\
name: rain
storage: .pipeline-storage
libraries:
  - glob: {include: transformations/**}
"""
FEATURES = """\
CREATE MATERIALIZED VIEW features.sky
TBLPROPERTIES ('feature.keys' = 'place', 'feature.timestamp' = 'feature_ts')
AS SELECT place, feature_ts, light * 2 AS light FROM bronze.sky
"""
LABELS = """\
CREATE MATERIALIZED VIEW gold.labels
AS SELECT id, place, at, humid, wind, cloud, wet FROM bronze.hours
"""
BESIDE = "CREATE MATERIALIZED VIEW gold.stars AS SELECT name FROM bronze.stars"


def make_raw_project(folder: Path) -> ModelProject:
    """Make the project, up to its two models, from two files of sky and one of labelled hours."""
    files = {
        "lakehouse.yml": CONFIG,
        "spark-pipeline.yml": SPEC,
        "transformations/sky.sql": FEATURES,
        "transformations/labels.sql": LABELS,
        "transformations/stars.sql": BESIDE,
        "landing/stars.csv": "name\nVega\n",
        ".gitignore": "landing\nwarehouse\nmlflow.db\nmlartifacts\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    rows = sky()
    rows[:300].write_csv(folder / "landing/sky_1.csv")
    rows[300:].write_csv(folder / "landing/sky_2.csv")
    labels().write_csv(folder / "landing/hours.csv")
    git(folder, "init", "-q")
    commit(folder)
    project = ModelProject(folder)
    writer = project.writer()
    for source in ("sky", "hours", "stars"):
        ingest(project.lake, writer, source)
    with prepare(project.lake) as pipeline:
        execute(pipeline, writer)
    project.train()
    return project


def commit(folder: Path) -> None:
    """Commit everything in a project's folder."""
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "state")


def git(folder: Path, *arguments: str) -> None:
    """Run Git as somebody."""
    somebody = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", "-C", str(folder), *somebody, *arguments], check=True)


def copied(project: ModelProject, folder: Path) -> ModelProject:
    """Copy a project with its tables; its store knows its artifacts where they were."""
    return ModelProject(Path(shutil.copytree(project.folder, folder)))


def spoil_record(
    project: ModelProject, version: ModelVersion, change: Callable[[dict[str, Any]], None]
) -> None:
    """Write the record of a version anew, as if its training had noted something else."""
    import polars as pl

    runs = project.lake.read(RUNS)
    rows = runs.to_polars().to_dicts()
    for row in rows:
        if row["model_version"] == version.version:
            record = json.loads(row["record"])
            change(record)
            row["record"] = json.dumps(record)
    assert runs.record is not None
    run = replace(Run.start(project.folder, "embedded"), run_id=version.run_id)
    spoiled = Change("TEST", "spoiled", inputs=runs.record.inputs)
    frame = pl.DataFrame(rows, schema=runs.schema)
    LakeWriter(project.lake, run).write_frame(RUNS, frame, spoiled)


def rewrite_data(project: ModelProject, table: str, change: Mapping[str, Any]) -> None:
    """Overwrite the data of a table's newest version behind the back of its log."""
    import polars as pl

    snapshot = project.lake.read(table)
    (file,) = snapshot.data_files
    pl.read_parquet(file).with_columns(**change).write_parquet(file)
    entry = snapshot.log / f"{snapshot.version:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["size"] = file.stat().st_size
    entry.write_text("\n".join(map(json.dumps, lines)))
