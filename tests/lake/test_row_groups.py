"""Row groups are on the disk when a commit comes, and what the disk says of earlier ones counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sololakehouse.lake import row_groups
from sololakehouse.lake.row_groups import write_row_groups
from sololakehouse.provenance import content_manifest

FRAMES = [pl.DataFrame({"n": [number, None], "text": ["a", "b"]}) for number in range(5)]


@pytest.fixture(autouse=True)
def each_frame_goes_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "_BYTES_IN_FLIGHT", 0)


def test_rows_and_manifest_are_those_of_all_frames(tmp_path: Path) -> None:
    manifest = write_row_groups(tmp_path / "rows.parquet", FRAMES)

    expected = pl.concat(FRAMES)
    assert_frame_equal(pl.read_parquet(tmp_path / "rows.parquet"), expected)
    assert manifest == content_manifest(expected)


def test_what_goes_wrong_with_earlier_rows_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"

    def frames() -> Iterator[pl.DataFrame]:
        yield FRAMES[0]
        path.unlink()
        yield FRAMES[1]

    with pytest.raises(FileNotFoundError):
        write_row_groups(path, frames())


def test_hashing_and_writing_the_same_rows_never_wait_for_each_other(tmp_path: Path) -> None:
    """Polars locks a frame while it becomes Arrow, and needs Python's lock for that."""
    frame = "pl.DataFrame({f'f{i}': pl.zeros(2000, eager=True) for i in range(28)})"
    frames = f"({frame} for _ in range(300))"
    write = f"write_row_groups(Path({str(tmp_path / 'rows.parquet')!r}), {frames})"
    imports = "import polars as pl; from pathlib import Path; from sololakehouse.lake.row_groups"
    subprocess.run(
        [sys.executable, "-c", f"{imports} import write_row_groups; {write}"],
        check=True,
        timeout=60,
    )
