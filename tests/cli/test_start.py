"""What commands import: their start-up time, without a clock."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize(
    ("given", "looked"), [({}, False), ({"PYDANTIC_DISABLE_PLUGINS": ""}, True)]
)
def test_plugins_of_pydantic_are_looked_for_only_if_a_person_says_so(sales, given, looked):
    code = """
import sys
from sololakehouse.cli import main
sys.argv = ["slh", "tables"]
try:
    main()
finally:
    from pydantic.plugin import _loader
    print(_loader._plugins is not None, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=sales.folder,
        env={k: v for k, v in os.environ.items() if k != "PYDANTIC_DISABLE_PLUGINS"} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == [str(looked)]
