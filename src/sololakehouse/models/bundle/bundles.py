"""The table `system.bundles`: every bundle that was written, by the digest of its manifest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.bundle.archive import Manifest
from sololakehouse.provenance import Change, fingerprint

BUNDLES = "system.bundles"
OPERATION = "BUNDLE"


def record_bundle(writer: LakeWriter, manifest: Manifest, training_set: Snapshot) -> None:
    """Append a bundle, so that its result is known when it comes back."""
    import polars as pl

    row = {
        "digest": manifest.digest,
        "experiment": manifest.about["experiment"],
        "training_set": training_set.name,
        "training_set_version": training_set.version,
        "run_id": writer.run.run_id,
        "at": datetime.now(UTC),
    }
    schema = {
        **dict.fromkeys(row, pl.String()),
        "training_set_version": pl.Int64(),
        "at": pl.Datetime("us", "UTC"),
    }
    mark = fingerprint(OPERATION, manifest.digest)
    change = Change(
        OPERATION, mark, [training_set.table_version], left_out=("digest", "run_id", "at")
    )
    writer.write_frame(BUNDLES, pl.DataFrame([row], schema=schema), change, mode="append")


def known_bundles(lake: Lakehouse) -> list[dict[str, Any]]:
    """Return the bundles that were written, oldest first."""
    stored = lake.newest(BUNDLES)
    return stored.to_polars().sort("at").to_dicts() if stored else []
