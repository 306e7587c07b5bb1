"""Appending to Delta tables that are not part of the lakehouse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from sololakehouse.errors import RunError
from sololakehouse.lake.commit import commit_properties
from sololakehouse.lake.failures import disk_error, one_line
from sololakehouse.provenance import CommitRecord


def append_outside(
    path: Path, files: Sequence[Path], record: CommitRecord, transaction: Transaction
) -> None:
    """Append the rows of Parquet files to a Delta table, unless it has the transaction already.

    Parameters
    ----------
    path
        The table's folder; a table is made there if there is none.

    Raises
    ------
    RunError
        The rows do not fit the table, it cannot be written to, or another program wrote to it at
        the same time. The table is as it was.
    """
    import pyarrow.dataset as ds

    try:
        if DeltaTable.is_deltatable(str(path)):
            known = DeltaTable(path).transaction_version(transaction.app_id)
            if known is not None and known >= transaction.version:
                return
        path.mkdir(parents=True, exist_ok=True)
        rows = ds.dataset([str(file) for file in files], format="parquet").scanner().to_reader()
        properties = commit_properties(record, transaction)
        write_deltalake(path, rows, mode="append", commit_properties=properties)
    except CommitFailedError as error:
        raise RunError(f"Another program wrote to {path} at the same time. Run again.") from error
    except (DeltaError, OSError) as error:
        said = disk_error(error, path)
        raise said or RunError(
            f"The Delta table {path} does not take the rows: {one_line(error)}."
        ) from error
