"""The Spark client comes without pandas, NumPy and PyArrow, and with them where they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
START = """
import sys
from sololakehouse.engine import Engine

with Engine.start() as engine:
    session = engine.session
    rows = session.sql("SELECT id, 'a' AS b FROM range(2)").collect()
    print([tuple(row) for row in rows], "pandas" in sys.modules)
"""
USE = (
    START
    + """
    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    @pandas_udf("long")
    def more(numbers: pd.Series) -> pd.Series:
        return numbers + 1

    at = pd.to_datetime(["2026-01-01"])
    frame = session.createDataFrame(pd.DataFrame({"n": [1], "at": at})).select(more("n"), "at")
    print(frame.toPandas().dtypes.astype(str).tolist(), pd.__version__ > "2")
"""
)
ARRAYS = """
import sys
from sololakehouse.engine import Engine

with Engine.start() as engine:
    from pyspark.sql import functions as F

    session = engine.session
    one = session.range(1).select(F.lit(1), F.lit("a"), F.lit(True))
    print(one.columns, {"numpy", "pyarrow"} & set(sys.modules))

    import numpy as np

    numbers = np.array([3, 4])
    frame = session.range(1).select(F.lit(np.int64(2)), F.lit(numbers), F.lit(np.bool_(True)))
    print([tuple(row) for row in frame.collect()], "pyarrow" in sys.modules)
    print(session.createDataFrame(numbers).toArrow().to_pydict())
"""
WITH_PANDAS = "import pandas\n" + START
UP_TO_DATE = """
import sys
from sololakehouse.cli import slh

for _ in range(2):
    slh.main(["run", "--json"], standalone_mode=False)
print("pandas" in sys.modules)
slh.main(["query", "SELECT count(*) FROM silver.clean"], standalone_mode=False)
"""
NOTHING_TO_DO = """
import sys
from sololakehouse.cli import slh

slh.main(["run", "--json"], standalone_mode=False)
print({"numpy", "pandas", "polars", "pyarrow"} & set(sys.modules))
"""
PLANNED = """
import sys
import threading
from sololakehouse.lake import Lakehouse
from sololakehouse.pipelines.run import prepare

for to_execute in (False, True):
    with prepare(Lakehouse.open(), to_execute=to_execute):
        for thread in threading.enumerate():
            if thread.name.startswith("import "):
                thread.join()
        print(sorted({"polars", "pyarrow"} & set(sys.modules)))
"""
CLEAN = (
    "CREATE MATERIALIZED VIEW silver.clean TBLPROPERTIES ('expect.known' = 'shop IS NOT NULL') "
    "AS SELECT id, shop, sold_at, amount FROM bronze.sales"
)
LABELLED = """
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinds import KIND

spark = SparkSession.active()


@dp.materialized_view(name="gold.labelled")
def labelled():
    return spark.table("silver.clean").withColumn("kind", F.lit(KIND))
"""


def said(code: str, folder: Path, **variables: str) -> list[str]:
    script = folder / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script)]
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_query_needs_no_pandas(tmp_path):
    assert said(START, tmp_path) == ["[(0, 'a'), (1, 'a')] False"]


def test_frames_and_functions_of_pandas_are_taken_as_ever(tmp_path):
    assert said(USE, tmp_path)[1:] == ["['int64', 'datetime64[ns]'] True"]


def test_pandas_that_is_there_already_is_used(tmp_path):
    assert said(WITH_PANDAS, tmp_path) == ["[(0, 'a'), (1, 'a')] True"]


def test_arrays_and_numbers_of_numpy_are_taken_as_ever(tmp_path):
    assert said(ARRAYS, tmp_path) == [
        "['1', 'a', 'true'] set()",
        "[(2, [3, 4], True)] True",
        "{'value': [3, 4]}",
    ]


def test_a_run_computes_and_commits_without_pandas(sales):
    sales.write("transformations/clean.sql", CLEAN)
    lines = said(UP_TO_DATE, sales.folder)
    assert "False" in lines
    assert lines[-1].strip() == "3"


def test_what_rows_need_is_imported_once_it_is_known_that_some_are_computed(sales):
    sales.write("transformations/clean.sql", CLEAN)
    assert said(PLANNED, sales.folder) == ["[]", "['polars', 'pyarrow']"]


@pytest.mark.skipif(not STATUS.exists(), reason="Linux tells what a process asked for")
def test_the_engine_gets_memory_in_small_pages(tmp_path):
    assert "THP_enabled:\t0" in said(f"{START}\nprint(open('{STATUS}').read())", tmp_path)


def test_a_run_compiles_libraries_once_and_nothing_of_the_project(sales, tmp_path_factory):
    compiled = tmp_path_factory.mktemp("compiled")
    sales.write("transformations/clean.sql", CLEAN)
    sales.write("transformations/labelled.py", LABELLED)
    sales.write("kinds.py", "KIND = 'shop'")
    sales.run()
    lines = said(NOTHING_TO_DO, sales.folder, PYTHONPYCACHEPREFIX=str(compiled))
    assert lines[-1] == "set()"
    found = {path.name.partition(".")[0] for path in compiled.glob("**/*.pyc")}
    assert {"parser", "dialect", "graph_element_registry", "declarations"} <= found
    assert not {"labelled", "kinds"} & found
    assert not list(sales.folder.glob("**/__pycache__"))
