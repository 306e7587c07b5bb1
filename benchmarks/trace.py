"""Lineage of a large lake: `slh trace` and `slh impact` as processes of their own.

`python benchmarks/trace.py [--tables 200] [--versions 100] [--rounds 7] [--project FOLDER]`. The
tables are real Delta tables, with one row a version; their log entries are written here, since
20,000 commits would take an hour. A tenth of the tables is ingested, a tenth appended to by
streams, the others are overwritten; each reads the same version of two tables before it. A model is
trained on each version of a training set. Reported are medians of seconds on the clock and of CPU,
start-up included. `--project` times the same commands in a project where `slh demo` has run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from measuring import measured

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.history import RECORD_KEY
from sololakehouse.models import registry
from sololakehouse.provenance import Change, CommitRecord, Manifest, Run, TableVersion

SLH = str(Path(sys.executable).parent / "slh")
BEGIN = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
COLUMNS = 20
SCHEMAS = ("silver", "gold", "features", "training", "inference", "monitoring")
OPERATIONS = {
    "training": "TRAINING SET",
    "inference": "BATCH INFERENCE",
    "monitoring": "EVALUATION",
}
FRAME = pl.DataFrame({f"c{n}": [float(n)] for n in range(COLUMNS)})


@dataclass(frozen=True)
class Plan:
    """One table of the lake, and the tables that it is made from."""

    name: str
    table_id: str
    operation: str
    inputs: tuple[Plan, ...] = ()

    @property
    def appends(self) -> bool:
        """Whether a commit adds to the rows before."""
        return self.operation in ("INGEST", "STREAMING TABLE")


def plans(count: int) -> list[Plan]:
    """Give the tables, each after those that it reads: layers as wide as a tenth of them."""
    width = max(count // 10, 2)
    made: list[Plan] = []
    for number in range(count):
        layer, place = divmod(number, width)
        table_id = str(uuid.UUID(int=number + 1))
        if layer == 0:
            made.append(Plan(f"bronze.t{number:03}", table_id, "INGEST"))
            continue
        schema = SCHEMAS[min((layer - 1) * len(SCHEMAS) // 9, len(SCHEMAS) - 1)]
        operation = "STREAMING TABLE" if layer == 1 else OPERATIONS.get(schema, "MATERIALIZED VIEW")
        first = made[(layer - 1) * width + place]
        second = made[(layer - 1) * width + (place + 1) % width]
        read = (first,) if layer == 1 else (first, second)
        made.append(Plan(f"{schema}.t{number:03}", table_id, operation, read))
    return made


def record(plan: Plan, version: int) -> CommitRecord:
    source = f"silver.{plan.name}"
    details: dict[str, object] = {"definition": "SELECT * FROM x " * 60, "place": f"{source}.sql:1"}
    if plan.operation == "INGEST":
        path = f"landing/{plan.name}/{version:03}.csv"
        about = {"sha256": f"{version:064x}", "rows": 1, "accepted": 1, "action": "new"}
        details = {"source": plan.name, "batch": version, "files": {path: about}}
    if plan.operation == "STREAMING TABLE":
        details["streams"] = {"a": inputs(plan, version)[0].model_dump(exclude={"data_version"})}
    if plan.operation == "BATCH INFERENCE":
        details = {"model": "m", "model_version": version, "input": "SELECT 1"}
    rows = version if plan.appends else 1
    columns = {name: hash((name, version)) % 2**64 for name in FRAME.columns}
    return CommitRecord(
        operation=plan.operation,
        fingerprint=f"{version:032x}",
        run_id=f"20260101T{version:06}-{version:08x}",
        engine="embedded sail 0.7.2",
        code_revision=f"{version:040x}",
        user="solo",
        inputs=inputs(plan, version),
        rows_written=1,
        manifest=Manifest(rows=rows, row_sum=version, columns=columns, algorithm=2),
        details=details,
    )


def inputs(plan: Plan, version: int) -> tuple[TableVersion, ...]:
    return tuple(
        TableVersion(table=source.name, version=version, table_id=source.table_id)
        for source in plan.inputs
    )


def write_table(folder: Path, plan: Plan, versions: int, data: Path) -> None:
    """Write a table of `versions` versions: the first is empty, each other one has a row more."""
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    fields = [
        {"name": name, "type": "double", "nullable": True, "metadata": {}} for name in FRAME.columns
    ]
    about = {
        "id": plan.table_id,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": [],
        "configuration": {},
        "createdTime": BEGIN,
    }
    created = {"timestamp": BEGIN, "operation": "CREATE TABLE", "operationParameters": {}}
    protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
    write_entry(log, 0, {"commitInfo": created}, {"protocol": protocol}, {"metaData": about})
    size, limits = data.stat().st_size, {name: float(n) for n, name in enumerate(FRAME.columns)}
    stats = {"numRecords": 1, "minValues": limits, "maxValues": limits}
    for version in range(1, versions):
        os.link(data, folder / f"part-{version}.parquet")
        info = {
            "timestamp": BEGIN + version * 3_600_000,
            "operation": "WRITE",
            "operationParameters": {"mode": "Append" if plan.appends else "Overwrite"},
            RECORD_KEY: record(plan, version).model_dump_json(),
        }
        file = {"path": f"part-{version}.parquet", "partitionValues": {}, "dataChange": True}
        about = {"size": size, "modificationTime": BEGIN, "stats": json.dumps(stats)}
        actions = [{"commitInfo": info}, {"add": file | about}]
        if version > 1 and not plan.appends:
            before = {"path": f"part-{version - 1}.parquet", "dataChange": True}
            actions.append({"remove": before | {"deletionTimestamp": BEGIN}})
        write_entry(log, version, *actions)


def write_entry(log: Path, version: int, *actions: dict[str, object]) -> None:
    text = "".join(json.dumps(action) + "\n" for action in actions)
    (log / f"{version:020}.json").write_text(text)


def write_models(lake: Lakehouse, made: Sequence[Plan], versions: int) -> None:
    """Register a model for each version of one training set."""
    writer = LakeWriter(lake, Run.start(lake.project.folder, "embedded"))
    used = next(plan for plan in made if plan.name.startswith("training."))
    numbers = range(1, versions)
    rows = [model_row(writer.run, used.name, number) for number in numbers]
    read = [
        TableVersion(table=used.name, version=number, table_id=used.table_id) for number in numbers
    ]
    frame = pl.DataFrame(rows).with_columns(pl.col("started_at").cast(pl.Datetime("us", "UTC")))
    writer.write_frame(registry.RUNS, frame, Change("TRAINING", "models", read), mode="append")


def model_row(run: Run, table: str, number: int) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "experiment": "m",
        "role": "model",
        "fingerprint": f"{number:032x}",
        "mlflow_run_id": uuid.UUID(int=number).hex,
        "model_uri": f"models:/m-{number}",
        "model_name": "m",
        "model_version": number,
        "training_set": table,
        "training_set_version": number,
        "primary_metric": "roc_auc",
        "metrics": json.dumps({"test_roc_auc": 0.7}),
        "recipe": "{}",
        "feature_columns": "[]",
        "started_at": run.started_at,
    }


def make_lake(folder: Path, tables: int, versions: int) -> list[Plan]:
    """Make the whole lake, and look at a table as any Delta reader does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lakehouse.yml").write_text("name: large\n")
    data = folder / "row.parquet"
    FRAME.write_parquet(data)
    made = plans(tables)
    lake = Lakehouse.open(folder)
    for plan in made:
        write_table(lake.path(plan.name), plan, versions, data)
    write_models(lake, made, versions)
    assert DeltaTable(lake.path(made[-1].name)).version() == versions - 1
    return made


def report(folder: Path, rounds: int, *commands: Sequence[str]) -> None:
    print(f"{'':<52}{'seconds':>10}{'CPU':>8}{'MB':>8}")
    for command in commands:
        found = [measured([SLH, *command], folder) for _ in range(rounds + 1)][1:]
        seconds = statistics.median(one.seconds for one in found)
        busy = statistics.median(one.cpu_seconds for one in found)
        peak = statistics.median(one.peak for one in found)
        print(f"{'slh ' + ' '.join(command):<52}{seconds:>10.2f}{busy:>8.2f}{peak:>8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--project", type=Path)
    asked = parser.parse_args()
    if asked.project is not None:
        demo = asked.project
        report(
            demo,
            asked.rounds,
            ["tables"],
            ["trace", "inference.flight_delay"],
            ["trace", "flight_delay@production"],
            ["impact", "bronze.flights"],
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "large"
        made = make_lake(folder, asked.tables, asked.versions)
        last, first, middle = made[-1].name, made[0].name, asked.versions // 2
        report(
            folder,
            asked.rounds,
            ["trace", last],
            ["trace", f"{last}@v{middle}"],
            ["trace", f"m@{middle}"],
            ["impact", first],
            ["impact", f"{first}@v{middle}"],
        )


if __name__ == "__main__":
    main()
