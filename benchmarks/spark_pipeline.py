"""One run of a project's pipeline by a local Apache Spark; `pipeline.py` measures it.

`python benchmarks/spark_pipeline.py PROJECT SCRATCH MEMORY TOLD`: writes the seconds of the
server's start and of the run to the file TOLD.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.spark import server

from sololakehouse.lake import Lakehouse

SCHEMAS = ("bronze", "silver", "gold", "features")


def main() -> None:
    project, scratch, memory, told = sys.argv[1:]
    lake = Lakehouse.open(Path(project))
    bronze = [name for name in lake.table_names() if name.startswith("bronze.")]
    began = time.perf_counter()
    with server.started(Path(scratch), memory) as spark:
        seconds = time.perf_counter() - began
        spark.put({name: lake.read(name).file_uris() for name in bronze}, SCHEMAS)
        began = time.perf_counter()
        said = spark.run_pipeline(Path(project))
        seconds += time.perf_counter() - began
    if "Run is COMPLETED." not in said:
        sys.exit(said)
    Path(told).write_text(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
