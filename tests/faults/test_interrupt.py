"""A query that is interrupted ends in the engine too, and Ctrl-C does not end the engine."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from sololakehouse.engine import Engine

LONG = (
    "SELECT a.id * b.id AS x, count(*) OVER (PARTITION BY a.id % 7 ORDER BY b.id) AS n "
    "FROM range(3000) a CROSS JOIN range(3000) b"
)


def test_an_interrupted_query_is_not_computed_any_further(tmp_path):
    errors: list[Exception] = []
    with Engine.start() as engine:
        frame = engine.session.sql(LONG)

        def write() -> None:
            try:
                engine.write_parquet(frame, tmp_path)
            except Exception as error:  # noqa: BLE001
                errors.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(1)
        engine.interrupt()
        writer.join(20)
        assert not writer.is_alive()
        assert len(errors) == 1
        time.sleep(2)
        before = time.process_time()
        time.sleep(2)
        assert time.process_time() - before < 0.2


def test_after_an_interruption_pyspark_takes_the_next_session():
    from pyspark.sql.types import StructType

    with Engine.start() as engine:
        engine.interrupt()
    with Engine.start():
        assert StructType.fromDDL("id BIGINT").names == ["id"]


def _send_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def test_ctrl_c_is_for_python_alone():
    with Engine.start() as engine:
        with pytest.raises(KeyboardInterrupt):
            _send_ctrl_c()
        assert engine.session.sql("SELECT 1 AS one").toArrow().to_pylist() == [{"one": 1}]
