"""Another machine under test: nothing of the lakehouse can be imported there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "gpu_training.ipynb"
# What a machine for training has no need of, and must not be asked for.
ABSENT = (
    *("click", "deltalake", "filelock", "matplotlib", "mlflow", "polars_hash", "pysail"),
    *("pyspark", "rich", "sqlglot", "starlette"),
)
# The same linear algebra as here: another kernel of OpenBLAS moves the last bit.
_KEPT = ("PATH", "HOME", "TZ", "OPENBLAS_")
SITE = f"""
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} on this machine")

sys.meta_path.insert(0, Absent())
sys.path[:] = [place for place in sys.path if not (Path(place) / "sololakehouse").is_dir()]
"""


def run_notebook(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Execute the cells of the notebook in an empty folder, in one process and in their order."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    work = folder / "work"
    work.mkdir()
    environment = {n: value for n, value in os.environ.items() if n.startswith(_KEPT)}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=work,
        env={**environment, "PYTHONPATH": str(site), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
