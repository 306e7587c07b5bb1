"""Feast's historical retrieval, for `slh conformance benchmarks/peers/feast_store.py:duckdb`.

Also `:dask`, its default store for files. `known_at` is the created timestamp of the source, and
labels see what was created by then (`filter_by_created_timestamp`). The lookback is the view's ttl,
of which 0 means any age. Rows are sorted back by an extra column. Feast has neither strict matches
nor a fixed day of knowledge, and every view has timestamps. `make feast` installs it.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import tempfile
from datetime import timedelta
from functools import cache, partial
from pathlib import Path

import pandas as pd
import polars as pl

from sololakehouse.conformance import AsOf

NOT_SUPPORTED = ("known_as_of", "strict", "plain_lookup")
PYTHON = Path(__file__).parents[2] / ".venv-feast" / "bin" / "python"
WORKER = Path(__file__).parent / "feast_worker.py"


@cache
def worker(store: str) -> subprocess.Popen[str]:
    command = [str(PYTHON), str(WORKER), store]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process


def join(store: str, labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pd.DataFrame:
    lookback = rule.lookback or timedelta(0)
    with tempfile.TemporaryDirectory() as folder:
        labels.write_parquet(Path(folder) / "labels.parquet")
        features.write_parquet(Path(folder) / "features.parquet")
        asked = {
            "folder": folder,
            "keys": list(rule.keys),
            "known_at": rule.known_at,
            "ttl": lookback // timedelta(microseconds=1),
        }
        process = worker(store)
        print(json.dumps(asked), file=process.stdin, flush=True)
        said = json.loads(process.stdout.readline())
        if said:
            raise RuntimeError(said)
        return pd.read_parquet(Path(folder) / "found.parquet")


duckdb = partial(join, "duckdb")
dask = partial(join, "dask")
