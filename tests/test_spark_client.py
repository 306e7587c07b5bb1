"""The Spark client comes without pandas, and with it where a person uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
WITH_PANDAS = "import pandas\n" + START
UP_TO_DATE = """
import sys
from sololakehouse.cli import slh

for _ in range(2):
    slh.main(["run", "--json"], standalone_mode=False)
print("pandas" in sys.modules)
"""


def said(code: str, folder: Path) -> list[str]:
    script = folder / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_query_needs_no_pandas(tmp_path):
    assert said(START, tmp_path) == ["[(0, 'a'), (1, 'a')] False"]


def test_frames_and_functions_of_pandas_are_taken_as_ever(tmp_path):
    assert said(USE, tmp_path)[1:] == ["['int64', 'datetime64[ns]'] True"]


def test_pandas_that_is_there_already_is_used(tmp_path):
    assert said(WITH_PANDAS, tmp_path) == ["[(0, 'a'), (1, 'a')] True"]


def test_a_run_computes_and_commits_without_pandas(sales):
    sales.write(
        "transformations/clean.sql",
        "CREATE MATERIALIZED VIEW silver.clean TBLPROPERTIES ('expect.known' = 'shop IS NOT NULL') "
        "AS SELECT id, shop, sold_at, amount FROM bronze.sales",
    )
    assert said(UP_TO_DATE, sales.folder)[-1] == "False"
