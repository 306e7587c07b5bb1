"""The write side of lineage: fingerprint, content manifest, commit record.

Every commit on a table carries a `CommitRecord` in its Delta metadata. Nothing else stores
lineage, so nothing can disagree with the tables.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from sololakehouse.row_hash import MODULUS, RowHasher

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

ExpectationKind = Literal["row", "unique", "fresh"]
MANIFEST_ALGORITHM = 2
_BATCH = 131_072


def fingerprint(*parts: Any) -> str:
    """Hash JSON-like values to 32 hex digits; the order of mapping keys does not matter.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def code_revision(folder: Path) -> str | None:
    """Return the Git commit of `folder`, with `+dirty` if it has changes; None outside of Git."""
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return None
    return revision + ("+dirty" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@dataclass(frozen=True)
class Run:
    """One execution of a command: what all of its commits have in common."""

    run_id: str
    engine: str
    code_revision: str | None
    started_at: datetime
    user: str

    @classmethod
    def start(cls, folder: Path, engine: str) -> Run:
        """Begin a run now, with the code revision of the project in `folder`."""
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        return cls(run_id, engine, code_revision(folder), now, _user())


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TableVersion(_Record):
    """A table at one of its versions.

    Attributes
    ----------
    table_id
        Tells the table from a later one of the same name.
    data_version
        The older version that has the same rows, if this one only arranged files or set retention.
    """

    table: str
    version: int
    table_id: str
    data_version: int | None = None

    @property
    def content(self) -> tuple[str, int]:
        """What decides the rows: the table's identifier, and the version that wrote them."""
        return self.table_id, self.version if self.data_version is None else self.data_version

    def __str__(self) -> str:
        return f"{self.table}@v{self.version}"


class ExpectationResult(_Record):
    """What came out of one expectation.

    Attributes
    ----------
    kind
        `row`: a condition on each row; `unique`, `fresh`: of the whole table.
    rows
        Rows that were checked, those that it drops included.
    violations
        `row`: rows that violate it; NULL counts as violated. `unique`: rows in excess of one for
        each key. `fresh`: 1 if the newest value is too old, else 0.
    """

    kind: ExpectationKind = "row"
    name: str
    condition: str
    action: Literal["warn", "drop", "fail"]
    rows: int
    violations: int

    @property
    def passed(self) -> bool:
        """Whether nothing violates it."""
        return self.violations == 0

    @property
    def violated_text(self) -> str:
        """Say in a sentence how it is violated, without the name of the table."""
        if self.kind == "fresh":
            return f"the newest value is older than {self.name!r} allows ({self.condition})."
        some = f"{self.violations:,} of {self.rows:,} rows"
        if self.kind == "unique":
            return f"{some} repeat a key against {self.name!r} ({self.condition})."
        done = "dropped" if self.action == "drop" else "kept"
        return f"{some} violate {self.name!r} and were {done}."


class Manifest(_Record):
    """What a table holds, whatever the order of its rows and the layout of its files.

    Attributes
    ----------
    rows
        Number of rows.
    row_sum
        Sum modulo 2**64 of one hash per row.
    columns
        For each column in the manifest the sum modulo 2**64 of one hash per value.
    left_out
        Columns that hold the moment or place of a run instead of data, and are not in the sums.
    algorithm
        How values are hashed: 2 as in `sololakehouse.row_hash`; 1 in records from before. Manifests
        of two algorithms cannot be compared.
    """

    rows: int
    row_sum: int
    columns: dict[str, int]
    left_out: tuple[str, ...] = ()
    algorithm: int = 1

    @property
    def digest(self) -> str:
        """32 hex digits that stand for the whole manifest."""
        return fingerprint(self.rows, self.row_sum, self.columns)

    def __add__(self, other: Manifest) -> Manifest:
        """Manifest of the rows of both; the columns must be the same."""
        return Manifest(
            rows=self.rows + other.rows,
            row_sum=(self.row_sum + other.row_sum) % MODULUS,
            columns={
                name: (total + other.columns[name]) % MODULUS
                for name, total in self.columns.items()
            },
            left_out=other.left_out,
            algorithm=other.algorithm,
        )

    def __sub__(self, other: Manifest) -> Manifest:
        """Manifest of the rows that are left when the rows of `other` are removed."""
        return Manifest(
            rows=self.rows - other.rows,
            row_sum=(self.row_sum - other.row_sum) % MODULUS,
            columns={
                name: (total - other.columns[name]) % MODULUS
                for name, total in self.columns.items()
            },
            left_out=self.left_out,
            algorithm=self.algorithm,
        )

    def can_add(self, other: Manifest) -> bool:
        """Whether both manifests cover the same columns."""
        return self.columns.keys() == other.columns.keys()

    @property
    def is_current(self) -> bool:
        """Whether it can be compared with the manifests that `content_manifest` gives."""
        return self.algorithm == MANIFEST_ALGORITHM


def content_manifest(frame: pl.LazyFrame | pl.DataFrame, left_out: Iterable[str] = ()) -> Manifest:
    """Compute the manifest of a frame in one pass, of a lazy one batch by batch.

    A value is hashed from its canonical 64 bits: integers, booleans and dates as signed integers,
    timestamps as UTC microseconds, floats as IEEE 754 doubles with -0.0 as 0.0 and one NaN, text
    and bytes by XXH3, everything else (decimals, lists, structs) by XXH3 of its text. How the bits
    are hashed depends on the column's name (`sololakehouse.row_hash`). NULL has a hash of its own.
    The width of an integer or float does not matter, its kind does.

    Parameters
    ----------
    frame
        Any number of rows.
    left_out
        Columns to leave out; those that the frame lacks are ignored.

    Examples
    --------
    >>> import polars as pl
    >>> one = content_manifest(pl.LazyFrame({"a": [1, 2], "b": ["x", None]}))
    >>> two = content_manifest(pl.LazyFrame({"a": [2, 1], "b": [None, "x"]}))
    >>> one == two, one.rows
    (True, 2)
    """
    import numpy as np
    import polars as pl

    schema = frame.collect_schema()
    out = tuple(sorted(set(left_out) & set(schema)))
    canonical = {name: _canonical(name, schema[name]) for name in schema if name not in out}
    hasher = RowHasher({name: _seed(kind, name) for name, (kind, _) in canonical.items()})
    words = frame.select(word.alias(name) for name, (_, word) in canonical.items())
    if isinstance(words, pl.DataFrame):
        totals = np.zeros(len(canonical) + 2, np.uint64)
        for some in words.iter_slices(_BATCH):
            totals += hasher.sums(some)
    else:
        totals = _streamed(words, hasher)
    rows, row_sum, *columns = totals.tolist()
    by_name = dict(zip(canonical, columns, strict=True))
    return Manifest(
        rows=rows, row_sum=row_sum, columns=by_name, left_out=out, algorithm=MANIFEST_ALGORITHM
    )


def order_digest(frame: pl.LazyFrame | pl.DataFrame) -> str:
    """Return a digest of rows in their order, which a content manifest does not know.

    Examples
    --------
    >>> import polars as pl
    >>> rows = pl.DataFrame({"a": [1, 2]})
    >>> order_digest(rows) == order_digest(rows.reverse())
    False
    """
    columns, number = frame.collect_schema(), "row number"
    while number in columns:
        number += "'"
    return content_manifest(frame.with_row_index(number)).digest


def _streamed(words: pl.LazyFrame, hasher: RowHasher) -> np.ndarray[Any, Any]:
    # Not `collect_batches`: polars 2.1 ends it without an error when the process is interrupted.
    import polars as pl

    names = [str(number) for number in range(len(words.collect_schema()) + 2)]
    sums = words.map_batches(
        lambda some: pl.from_numpy(hasher.sums(some)[None, :], schema=names),
        streamable=True,
        schema=dict.fromkeys(names, pl.UInt64()),
    )
    found: np.ndarray[Any, Any] = sums.sum().collect(engine="streaming").to_numpy()[0]
    return found


def _seed(kind: str, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{kind}:{name}".encode(), digest_size=8).digest())


def _canonical(name: str, dtype: pl.DataType) -> tuple[str, pl.Expr]:
    import polars as pl

    column = pl.col(name)
    if dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64):
        return "integer", column
    if dtype == pl.Boolean:
        return "integer", column.cast(pl.Int8)
    if dtype == pl.Date:
        return "integer", column.to_physical()
    if dtype.is_integer() or dtype == pl.Time:
        return "integer", column.cast(pl.Int64)
    if dtype.is_float():
        return "float", column.cast(pl.Float64)
    if dtype.is_temporal():
        return "instant", column.dt.cast_time_unit("us").cast(pl.Int64)
    return "text", _text_hash(column, dtype)


def _text_hash(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    import polars as pl
    import polars_hash  # noqa: F401  (registers the `nchash` namespace)

    if dtype == pl.Binary:
        text = column
    elif dtype.is_nested():
        wrapped = pl.struct(column.alias("value")).struct.json_encode()
        text = pl.when(column.is_null()).then(None).otherwise(wrapped)
    else:
        text = column.cast(pl.String)
    return text.nchash.xxh3_64()  # type: ignore[attr-defined, no-any-return]


class CommitRecord(_Record):
    """What a commit says of itself.

    Attributes
    ----------
    operation
        What made the commit, for example `MATERIALIZED VIEW` or `INGEST`.
    fingerprint
        Hash of everything that decides the content: plan, input versions, policy.
    inputs
        The table versions that were read.
    user
        Who ran it: the name of the operating system's account.
    rows_written
        Rows in the files that this commit added.
    manifest
        Content of the whole table at this version.
    details
        What only this operation has: a training set's recipe, an ingested file's SHA-256.
    data_version
        For a commit that changed no row: the version that did. Everything in the record but
        operation, run and `rows_written` is then of that version.
    """

    operation: str
    fingerprint: str
    run_id: str
    engine: str
    code_revision: str | None
    user: str | None = None
    inputs: tuple[TableVersion, ...]
    rows_written: int
    manifest: Manifest
    expectations: tuple[ExpectationResult, ...] = ()
    details: dict[str, Any] = {}
    data_version: int | None = None

    @property
    def restored_version(self) -> int | None:
        """The version whose content a restore brought back; None for any other commit."""
        restored = self.details.get("restored")
        return int(restored["version"]) if restored else None

    @property
    def content_operation(self) -> str:
        """What made the content, if this commit only brought it back or arranged its files."""
        older = self.details.get("restored") or self.details.get("arranged")
        return str(older["operation"] or self.operation) if older else self.operation

    @property
    def arranges_foreign_rows(self) -> bool:
        """Whether it only arranged the files of rows that another program wrote."""
        arranged = self.details.get("arranged")
        return arranged is not None and arranged["operation"] is None


@dataclass(frozen=True)
class Change:
    """What a writer knows of a commit before the files are there; see `CommitRecord`.

    `engine` is what computed the rows, with its version; None: the one that the run was given.
    """

    operation: str
    fingerprint: str
    inputs: Sequence[TableVersion] = ()
    expectations: Sequence[ExpectationResult] = ()
    details: dict[str, Any] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    engine: str | None = None
