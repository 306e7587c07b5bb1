"""What commands import: their start-up time, without a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("asyncio", "filelock", "mlflow", "numpy", "pandas", "polars", "pyarrow", "pysail"),
    *("pyspark", "rich", "sklearn"),
}
PROBE = """
import sys
from sololakehouse.cli import slh
slh.main({command!r}, standalone_mode=False)
print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["tables"],
        ["tables", "--all"],
        ["tables", "--json"],
        ["history", "bronze.sales"],
        ["trace", "bronze.sales", "--json"],
        ["impact", "bronze.sales", "--format", "mermaid"],
    ],
)
def test_asking_what_there_is_imports_nothing_heavy(sales, command):
    code = PROBE.format(command=command, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sales.folder, capture_output=True, text=True, check=True
    )
    assert "bronze.sales" in done.stdout or command[0] == "history"
    assert done.stderr.strip() == "[]"
