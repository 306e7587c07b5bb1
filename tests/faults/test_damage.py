"""Files cut short, emptied or gone: one sentence that names the file, and nothing else harmed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.conftest import SPEC, ProjectFolder
from tests.faults.shop import Shop
from tests.rain import EXPERIMENT
from tests.rain import make_project as make_rain_project

NEWEST = 3


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """Make a shop with three commits to each table; tests get copies of it."""
    project = ProjectFolder(tmp_path_factory.mktemp("grown"))
    project.write("lakehouse.yml", Shop.CONFIG)
    project.write("spark-pipeline.yml", SPEC)
    for name, text in Shop.PIPELINE.items():
        project.write(name, text)
    shop = Shop(project)
    for _ in range(NEWEST):
        shop.deliver()
        project.ingest()
        project.run()
    return project.folder


@pytest.fixture
def old_shop(grown, tmp_path) -> Shop:
    """Give a shop with three commits to each table."""
    shop = Shop(ProjectFolder(Path(shutil.copytree(grown, tmp_path / "shop"))))
    shop.files = NEWEST
    return shop


def log_entry(shop: Shop, version: int) -> Path:
    return shop.lake.path("silver.sales") / "_delta_log" / f"{version:020}.json"


def data_file(shop: Shop, version: int = NEWEST) -> Path:
    return Path(shop.lake.read("silver.sales", version).file_uris()[0])


def checkpoint(shop: Shop) -> Path:
    DeltaTable(shop.lake.path("silver.sales")).create_checkpoint()
    return next((shop.lake.path("silver.sales") / "_delta_log").glob("*.checkpoint.parquet"))


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    return file


def cut_to_a_line(file: Path) -> Path:
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    return file


def emptied(file: Path) -> Path:
    file.write_bytes(b"")
    return file


def gone(file: Path) -> Path:
    file.unlink()
    return file


@dataclass(frozen=True)
class Damage:
    """How `silver.sales` is damaged, what is said, and which older version can still be read."""

    make: Callable[[Shop], Path]
    said: str
    older: int | None = NEWEST - 1


DAMAGES = {
    "a data file cut short": Damage(lambda shop: cut(data_file(shop)), "bytes"),
    "an empty data file": Damage(lambda shop: emptied(data_file(shop)), "has 0 of"),
    "a missing data file": Damage(lambda shop: gone(data_file(shop)), "is missing"),
    "the newest log entry cut short": Damage(
        lambda shop: cut(log_entry(shop, NEWEST)), "is cut short or no JSON"
    ),
    "the newest log entry cut at a line": Damage(
        lambda shop: cut_to_a_line(log_entry(shop, NEWEST)).parent, "an entry has lost lines"
    ),
    "the newest log entry empty": Damage(lambda shop: emptied(log_entry(shop, NEWEST)), "is empty"),
    "an older log entry cut short": Damage(
        lambda shop: cut(log_entry(shop, 2)), "is cut short or no JSON", older=1
    ),
    "an older log entry empty": Damage(lambda shop: emptied(log_entry(shop, 2)), "is empty", 1),
    "an older log entry gone": Damage(lambda shop: gone(log_entry(shop, 2)), "is missing", 1),
    "the first log entry cut short": Damage(
        lambda shop: cut(log_entry(shop, 0)), "is cut short or no JSON", older=None
    ),
    "a checkpoint cut short": Damage(
        lambda shop: cut(checkpoint(shop)), "Every log entry is there: delete the checkpoint"
    ),
    "an empty checkpoint": Damage(
        lambda shop: emptied(checkpoint(shop)), "Every log entry is there: delete the checkpoint"
    ),
    "a missing checkpoint": Damage(
        lambda shop: gone(checkpoint(shop)).with_name("_last_checkpoint"),
        "names a checkpoint that is missing",
    ),
}
READING = {
    "tables": ["tables"],
    "query": ["query", "SELECT sum(id) AS total, count(*) AS n FROM silver.sales"],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_is_named_and_harms_nothing_else(old_shop, slh, kind):
    damage = DAMAGES[kind]
    file = damage.make(old_shop)
    old_shop.deliver()
    assert slh("ingest", folder=old_shop.folder).code == 0
    for name, arguments in READING.items():
        said = slh(*arguments, folder=old_shop.folder)
        assert said.code == 1, name
        assert "Error: silver.sales" in said.err, name
        assert str(file) in said.err, name
        assert damage.said in said.err, name
    listed = slh("tables", "--json", folder=old_shop.folder)
    assert [row["table"] for row in json.loads(listed.out)] == [
        "bronze.sales",
        "gold.top",
        "gold.totals",
    ]
    other = slh("query", "SELECT count(*) AS n FROM gold.totals", folder=old_shop.folder)
    assert other.code == 0
    if damage.older is not None:
        older = old_shop.lake.read("silver.sales", damage.older)
        assert older.to_polars().height == damage.older * 40


@pytest.mark.parametrize("kind", ["a missing data file", "the newest log entry cut short"])
@pytest.mark.parametrize("command", [["history"], ["trace"]])
def test_what_needs_only_the_log_works_or_names_the_file(old_shop, slh, kind, command):
    file = DAMAGES[kind].make(old_shop)
    said = slh(*command, "silver.sales", folder=old_shop.folder)
    assert "Traceback" not in said.err
    assert (said.code, said.err) == (0, "") or (said.code == 1 and str(file) in said.err)
    assert said.code == (0 if "data" in kind else 1)


def test_history_names_an_old_log_entry_that_a_checkpoint_hides(old_shop, slh):
    checkpoint(old_shop)
    file = cut(log_entry(old_shop, 1))
    assert old_shop.lake.read("silver.sales").to_polars().height == NEWEST * 40
    said = slh("history", "silver.sales", folder=old_shop.folder)
    assert said.code == 1
    assert f"Error: silver.sales: the log entry {file} is cut short" in said.err


@pytest.mark.parametrize("damaged", ["bronze.sales", "silver.sales"])
def test_a_run_stops_at_a_damaged_input_and_a_damaged_output(old_shop, slh, damaged):
    entry = old_shop.lake.path(damaged) / "_delta_log" / f"{NEWEST:020}.json"
    cut(entry)
    before = old_shop.lake.read("gold.totals").version
    said = slh("run", folder=old_shop.folder)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"Error: {damaged}: the log entry {entry} is cut short")
    assert old_shop.lake.read("gold.totals").version == before


def test_a_run_names_a_missing_file_of_an_input(old_shop, slh):
    old_shop.deliver()
    assert slh("ingest", folder=old_shop.folder).code == 0
    file = gone(Path(old_shop.lake.read("bronze.sales").file_uris()[0]))
    said = slh("run", folder=old_shop.folder)
    assert said.code == 1
    assert f"Error: bronze.sales@v4: the data file {file} is missing" in said.err


def test_a_run_does_not_care_for_a_damaged_table_that_it_does_not_need(old_shop, slh):
    cut(log_entry(old_shop, NEWEST))
    for name in ("silver", "gold", "top"):
        (old_shop.folder / f"transformations/{name}.sql").unlink()
    old_shop.project.write(
        "transformations/n.sql",
        "CREATE MATERIALIZED VIEW gold.n AS SELECT count(*) AS n FROM bronze.sales",
    )
    assert slh("run", folder=old_shop.folder).code == 0
    assert old_shop.lake.read("gold.n").to_polars()["n"].to_list() == [NEWEST * 40]


def test_an_ingestion_stops_at_a_damaged_log_and_takes_nothing_twice(old_shop, slh):
    entry = old_shop.lake.path("bronze.sales") / "_delta_log" / f"{2:020}.json"
    intact = entry.read_bytes()
    emptied(entry)
    old_shop.deliver()
    said = slh("ingest", folder=old_shop.folder)
    assert (said.code, said.out) == (1, "")
    assert f"the log entry {entry} is empty" in said.err
    entry.write_bytes(intact)
    assert slh("ingest", folder=old_shop.folder).code == 0
    old_shop.check_bronze()


@pytest.mark.parametrize("how", [cut, gone, emptied])
def test_commands_that_read_all_rows_name_the_damaged_file(old_shop, slh, how):
    file = how(data_file(old_shop))
    newest = str(NEWEST)
    for command in (["optimize", "silver.sales"], ["diff", "silver.sales", "1", newest]):
        said = slh(*command, folder=old_shop.folder)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert f"Error: silver.sales@v{newest}: the data file {file} " in said.err


def garbled(file: Path) -> Path:
    content = bytearray(file.read_bytes())
    content[8:80] = b"\xff" * 72
    file.write_bytes(bytes(content))
    return file


def test_garbled_rows_are_an_error_without_a_traceback(old_shop, slh):
    garbled(data_file(old_shop))
    said = slh("query", "SELECT sum(id) FROM silver.sales", folder=old_shop.folder)
    assert said.code == 1
    assert said.err.startswith("Error: The rows of silver.sales cannot be read: ")
    assert said.err.count("\n") == 1
    assert "put it back from a backup" in said.err
    said = slh("optimize", "silver.sales", "--zorder", "id", folder=old_shop.folder)
    assert said.code == 1
    assert "silver.sales could not be rewritten" in said.err
    assert "put it back from a backup" in said.err
    assert old_shop.lake.read("silver.sales", 2).to_polars().height == 80


@pytest.mark.parametrize("how", [cut, gone])
@pytest.mark.parametrize("table", ["gold.labels", "features.sky"])
def test_training_names_the_damaged_file(tmp_path, slh, table, how):
    project = make_rain_project(tmp_path)
    (tmp_path / "rain.yml").write_text(EXPERIMENT)
    file = how(Path(project.lake.read(table).file_uris()[0]))
    said = slh("train", "rain.yml", folder=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert f"Error: {table}@v1: the data file {file} " in said.err
    assert not project.lake.exists("training.rain")


def test_garbled_rows_stop_a_training_in_one_sentence(tmp_path, slh):
    project = make_rain_project(tmp_path)
    (tmp_path / "rain.yml").write_text(EXPERIMENT)
    file = Path(project.lake.read("gold.labels").file_uris()[0])
    content = bytearray(file.read_bytes())
    content[8:400] = b"\xff" * 392
    file.write_bytes(bytes(content))
    said = slh("train", "rain.yml", folder=tmp_path)
    assert said.code == 1
    assert said.err.startswith("Error: Rows of a table cannot be read: parquet")


def test_a_table_of_a_crashed_creation_is_no_table(shop, slh):
    log = shop.lake.path("silver.sales") / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json#1").write_text('{"protocol"')
    assert shop.lake.table_names() == []
    assert slh("tables", folder=shop.folder).code == 0
    shop.deliver()
    assert slh("ingest", folder=shop.folder).code == 0
    assert slh("run", folder=shop.folder).code == 0
    shop.check_all()


def test_the_console_shows_the_healthy_tables_and_names_the_damaged_one(old_shop):
    import asyncio

    from sololakehouse.console.app import create_app

    file = cut(log_entry(old_shop, NEWEST))

    async def page(path: str) -> tuple[int, str]:
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": [],
            "query_string": b"",
            "http_version": "1.1",
            "server": ("localhost", 80),
            "scheme": "http",
            "root_path": "",
        }
        await create_app(old_shop.lake)(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent).decode()
        return sent[0]["status"], body

    status, body = asyncio.run(page("/"))
    assert status == 200
    assert "gold.totals" in body
    assert file.name in body
    status, body = asyncio.run(page("/tables/silver.sales"))
    assert status == 500
    assert file.name in body
    garbled(Path(old_shop.lake.read("gold.totals").file_uris()[0]))
    status, body = asyncio.run(page("/tables/gold.totals"))
    assert status == 500
    assert "put it back from a backup" in body
