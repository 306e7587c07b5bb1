"""A Parquet file of any number of rows, written frame by frame, and the manifest of them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.lake.commit import flush
from sololakehouse.lake.compression import compression_of
from sololakehouse.provenance import Manifest, content_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


_ROWS_OF_A_GROUP = 122_880
_BYTES_IN_FLIGHT = 256_000_000


def write_row_groups(
    path: Path, frames: Iterable[pl.DataFrame], left_out: Sequence[str] = ()
) -> Manifest:
    """Write frames of one schema, at least one, each as row groups; return the manifest of all.

    The columns in `left_out` are not part of the manifest. Only text is dictionary-encoded: of
    numbers it takes six times as long to write, and is larger. While later rows are written,
    earlier ones go to the disk, so that a commit, which waits for that, has little to wait for.

    Raises
    ------
    OSError
        The disk is full, or fails.
    """
    import polars as pl
    import pyarrow.parquet as pq

    manifests = []
    with ThreadPoolExecutor(1) as beside, ThreadPoolExecutor(1) as disk, ExitStack() as closing:
        file, in_flight, flushed = None, 0, []
        for frame in frames:
            # A clone has a lock of its own: in `to_arrow` Polars holds the frame's and waits for
            # Python's, which a thread may hold that waits for the frame's.
            manifest = beside.submit(content_manifest, frame.clone(), left_out)
            rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            file = file or closing.enter_context(
                pq.ParquetWriter(
                    path,
                    rows.schema,
                    compression=compression_of(frame),
                    use_dictionary=_texts(rows.schema),
                    store_schema=False,
                )
            )
            file.write_table(rows, row_group_size=_ROWS_OF_A_GROUP)
            in_flight += rows.nbytes
            if in_flight > _BYTES_IN_FLIGHT:
                flushed.append(disk.submit(flush, path))
                in_flight = 0
            manifests.append(manifest.result())
        for one in flushed:
            one.result()
    return reduce(add, manifests)


def _texts(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    kinds = (pa.types.is_large_string, pa.types.is_large_binary, pa.types.is_dictionary)
    return [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
