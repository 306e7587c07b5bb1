"""The rows of one commit, in files that are not part of the table yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import RunError
from sololakehouse.lake.feature_rows import FeatureRows
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Manifest, content_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True)
class StagedRows:
    """What a commit adds to a table.

    Attributes
    ----------
    files
        Parquet files of one schema, at least one.
    schema
        Of the files; every column may be NULL, and none has metadata.
    manifest
        Of these rows alone.
    features
        The rows of a feature table; None if the table is none.
    """

    files: tuple[Path, ...]
    schema: pa.Schema
    manifest: Manifest
    features: FeatureRows | None

    @classmethod
    def of(
        cls,
        table: str,
        folder: Path,
        before: Snapshot | None,
        properties: Mapping[str, str] | None,
        *,
        are_all: bool,
        left_out: Sequence[str],
        manifest: Manifest | None,
        features: FeatureRows | None,
    ) -> StagedRows:
        """Describe the Parquet files of a folder; those of a feature table with their statistics.

        Parameters
        ----------
        before
            The table's newest version; None if there is none yet.
        properties
            The table properties that the commit sets; None: they stay as they are.
        are_all
            Whether the table will have no other rows; only then statistics are its own.
        left_out
            Columns that are not in the manifest.
        manifest, features
            From a writer that has the rows in memory; None: the files are read.

        Raises
        ------
        RunError
            The folder holds no Parquet file.
        DefinitionError, NotFoundError, FeatureTableError
            See `FeatureRows.of`.
        """
        import polars as pl
        import pyarrow.parquet as pq

        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise RunError(f"The engine wrote no file for {table}.")
        scan = pl.scan_parquet(files)
        features = features or FeatureRows.of(table, before, properties, scan)
        if features and are_all and not features.statistics:
            known, features = _read_at_once(scan, left_out, manifest, features)
        else:
            known = manifest or content_manifest(scan, left_out)
        return cls(tuple(files), _nullable(pq.read_schema(files[0])), known, features)

    def checked(self, table: str, beside: Snapshot | None, removes: pl.Expr | None) -> StagedRows:
        """Hold the rows of a feature table to its contract; see `FeatureRows.checked`."""
        if self.features is None:
            return self
        return replace(self, features=self.features.checked(table, beside, removes))


def _read_at_once(
    scan: pl.LazyFrame, left_out: Sequence[str], manifest: Manifest | None, features: FeatureRows
) -> tuple[Manifest, FeatureRows]:
    with ThreadPoolExecutor(1) as beside:
        described = beside.submit(features.described)
        known = manifest or content_manifest(scan, left_out)
    return known, described.result()


def _nullable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field.with_nullable(True).remove_metadata() for field in schema])
