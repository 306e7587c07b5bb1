"""What is different between two versions of a table: schema, counts, rows by key, examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake.table import Snapshot

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 5
_ROW, _ROW_2, _KEY, _KEY_2 = "\0row", "\0row 2", "\0key", "\0key 2"
_NET, _UNKEYED, _OLD, _NEW = "\0net", "\0unkeyed", "\0old", "\0new"
_SEEDS = (11, 29)
_PAIRS_AT_ONCE, _COPIES = 500_000, 4


@dataclass(frozen=True)
class ChangedRow:
    """A row of both versions with the same key and other values; `columns` are those."""

    key: dict[str, Any]
    columns: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class TableDiff:
    """The differences from version `old` to version `new` of a table.

    Rows are compared as a multiset: a row that is there twice and then once counts as removed
    once. With keys, a row that was removed and one that was added are one changed row if they are
    the only ones of their key; rows with a NULL in a key never pair.

    Attributes
    ----------
    columns_added, columns_removed
        Column names with Spark SQL's types.
    columns_retyped
        Column names with the old and the new type.
    not_compared
        Columns that no row was compared by, with the reason.
    rows_old, rows_new
        Number of rows.
    added, removed, changed
        Number of rows; `changed` is 0 without keys.
    changed_columns
        For each column the number of changed rows that have another value there.
    unkeyed
        How many of the added and removed rows have a NULL in a key.
    by_manifest
        Whether equal content manifests or equal files told that the rows are equal, without
        reading a row.
    """

    table: str
    old: int
    new: int
    keys: tuple[str, ...]
    columns_added: dict[str, str]
    columns_removed: dict[str, str]
    columns_retyped: dict[str, tuple[str, str]]
    not_compared: dict[str, str]
    rows_old: int
    rows_new: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    unkeyed: int = 0
    changed_columns: dict[str, int] = field(default_factory=dict)
    added_examples: tuple[dict[str, Any], ...] = ()
    removed_examples: tuple[dict[str, Any], ...] = ()
    changed_examples: tuple[ChangedRow, ...] = ()
    by_manifest: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether neither the schema nor a row is different."""
        schema = self.columns_added or self.columns_removed or self.columns_retyped
        return not (schema or self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, Any]:
        """Return the differences as JSON-like values."""
        return asdict(self)


def diff(
    old: Snapshot, new: Snapshot, keys: Sequence[str] = (), examples: int = EXAMPLES
) -> TableDiff:
    """Compare two versions of a table.

    Rows are compared by the columns that both versions have with the same type; widths of
    integers and of floats do not matter, NaN equals NaN and NULL equals NULL. Columns that hold
    the moment of a run, as `_ingested_at`, are not compared. Files that both versions have are
    not read, and neither is anything if the content manifests are equal.

    Rows are told apart by 128 bits of hash, so memory holds about 120 bytes for each row that is
    read, and of whole rows a part of the changed ones at a time.

    Parameters
    ----------
    keys
        Columns that identify a row; by default those of the newer version's feature contract. If
        there are none, rows are added or removed and never changed.
    examples
        Greatest number of examples of each kind.

    Raises
    ------
    UsageError
        The snapshots are of two tables, or of the same version.
    NotFoundError
        A key is no column of both versions.
    RunError
        A data file is damaged.
    """
    if old.name != new.name or old.table_id != new.table_id:
        raise UsageError(f"{old.name} and {new.name} are two tables. Compare versions of one.")
    if old.version == new.version:
        raise UsageError(
            f"{old.name}: version {old.version} is the same as version {new.version}. "
            "Name two versions; 'slh history' lists them."
        )
    try:
        return _Comparison(old, new, tuple(keys), examples).result()
    except Exception:
        for side in (old, new):
            side.verify()
        raise


class _Comparison:
    def __init__(self, old: Snapshot, new: Snapshot, keys: tuple[str, ...], examples: int) -> None:
        self._old, self._new, self._keys, self._examples = old, new, keys, examples
        before = {column.name: column.type for column in old.fields}
        after = {column.name: column.type for column in new.fields}
        self._added = {name: kind for name, kind in after.items() if name not in before}
        self._removed = {name: kind for name, kind in before.items() if name not in after}
        self._retyped = {
            name: (kind, after[name])
            for name, kind in before.items()
            if after.get(name, kind) != kind
        }
        self._left_out = self._not_compared()
        self._compared = [name for name in after if name in before and name not in self._left_out]
        declared = new.contract.identity if new.contract else ()
        if not keys and set(declared) <= set(self._compared):
            self._keys = declared
        for key in keys:
            if key not in self._compared:
                where = f"{old.name}@v{old.version} and @v{new.version}"
                raise NotFoundError.of("column", key, self._compared, where)

    def result(self) -> TableDiff:
        if self._told_equal():
            return self._described(by_manifest=True)
        old, new = (self._prepared(scan) for scan in self._old.scans_beside(self._new))
        net = self._net(old, new)
        if net.is_empty():
            return self._described()
        return self._with_rows(old, new, net)

    def _not_compared(self) -> dict[str, str]:
        records = [snapshot.record for snapshot in (self._old, self._new)]
        moments = {name for r in records if r for name in r.manifest.left_out}
        reasons = dict.fromkeys(sorted(moments), "differs from run to run")
        kinds = self._new.schema
        before = self._old.schema
        for name in self._retyped:
            same = kinds[name].is_integer() and before[name].is_integer()
            same |= kinds[name].is_float() and before[name].is_float()
            if not same:
                reasons[name] = "has another type"
        return {name: why for name, why in reasons.items() if name in kinds and name in before}

    def _told_equal(self) -> bool:
        if self._old.has_files_of(self._new):
            return True
        before, after = self._old.record, self._new.record
        if before is None or after is None:
            return False
        return before.manifest == after.manifest

    def _prepared(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        import polars as pl

        integers, floats = pl.selectors.integer(), pl.selectors.float()
        retyped = pl.selectors.by_name(*self._retyped, require_all=False)
        return scan.select(self._compared).with_columns(
            (retyped & integers).cast(pl.Int64), (retyped & floats).cast(pl.Float64)
        )

    def _hashed(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        import polars as pl

        row = pl.struct(self._compared) if self._compared else pl.struct(pl.lit(0).alias("none"))
        hashes = [row.hash(_SEEDS[0]).alias(_ROW), row.hash(_SEEDS[1]).alias(_ROW_2)]
        if self._keys:
            key = pl.struct(self._keys)
            unkeyed = pl.any_horizontal(pl.col(name).is_null() for name in self._keys)
            hashes += [key.hash(_SEEDS[0]).alias(_KEY), key.hash(_SEEDS[1]).alias(_KEY_2)]
            hashes.append(unkeyed.alias(_UNKEYED))
        return scan.with_columns(hashes)

    @property
    def _marks(self) -> list[str]:
        return [_ROW, _ROW_2, *([_KEY, _KEY_2, _UNKEYED] if self._keys else [])]

    def _net(self, old: pl.LazyFrame, new: pl.LazyFrame) -> pl.DataFrame:
        import polars as pl

        sides = [
            self._hashed(scan).select(*self._marks, pl.lit(sign, pl.Int64).alias(_NET))
            for scan, sign in ((old, -1), (new, 1))
        ]
        sums = pl.concat(sides).group_by(self._marks).agg(pl.col(_NET).sum())
        return sums.filter(pl.col(_NET) != 0).collect(engine="streaming")

    def _with_rows(self, old: pl.LazyFrame, new: pl.LazyFrame, net: pl.DataFrame) -> TableDiff:
        import polars as pl

        pairs = self._pairs(net)
        single = net.join(pairs, on=[_KEY, _KEY_2], how="anti") if self._keys else net
        more, less = single.filter(pl.col(_NET) > 0), single.filter(pl.col(_NET) < 0)
        found: dict[str, Any] = {
            "added": int(more[_NET].sum()),
            "removed": -int(less[_NET].sum()),
            "changed": pairs.height,
            "added_examples": self._examples_of(new, more),
            "removed_examples": self._examples_of(old, less),
        }
        if self._keys:
            found["unkeyed"] = int(single.filter(_UNKEYED)[_NET].abs().sum())
        if pairs.height:
            changed = net.join(pairs, on=[_KEY, _KEY_2], how="semi")
            found |= self._changes(old, new, changed)
        return self._described(**found)

    def _pairs(self, net: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        if not self._keys:
            return net.clear()
        by_key = net.filter(~pl.col(_UNKEYED)).group_by(_KEY, _KEY_2)
        counted = by_key.agg(
            pl.col(_NET).clip(lower_bound=0).sum().alias("more"),
            pl.col(_NET).clip(upper_bound=0).sum().alias("less"),
        )
        return counted.filter(pl.col("more") == 1, pl.col("less") == -1).select(_KEY, _KEY_2)

    def _examples_of(self, scan: pl.LazyFrame, wanted: pl.DataFrame) -> tuple[dict[str, Any], ...]:
        if wanted.is_empty() or not self._examples:
            return ()
        rows = self._hashed(scan).join(wanted.lazy(), on=[_ROW, _ROW_2], how="semi")
        return tuple(self._first(rows.select(self._compared)).to_dicts())

    def _first(self, rows: pl.LazyFrame) -> pl.DataFrame:
        kinds = rows.collect_schema()
        order = [name for name in (*self._keys, *self._compared) if not kinds[name].is_nested()]
        by = list(dict.fromkeys(order))
        some = _COPIES * self._examples
        first = rows.bottom_k(some, by=by) if by else rows.head(some)
        found = first.collect(engine="streaming").unique(maintain_order=True)
        return (found.sort(by, nulls_last=True) if by else found).head(self._examples)

    def _changes(
        self, old: pl.LazyFrame, new: pl.LazyFrame, changed: pl.DataFrame
    ) -> dict[str, Any]:
        import polars as pl

        values = [name for name in self._compared if name not in self._keys]
        differs = [
            pl.col(name + _OLD).ne_missing(pl.col(name + _NEW)).alias(name) for name in values
        ]
        order = [key + _OLD for key in self._keys]
        totals, first = dict.fromkeys(values, 0), []
        for both in self._changed_pairs(old, new, changed):
            flags = both.select(differs)
            for name in values:
                totals[name] += int(flags[name].sum())
            first.append(both.bottom_k(self._examples, by=order))
        rows = pl.concat(first).sort(order).head(self._examples)
        flagged = zip(rows.to_dicts(), rows.select(differs).to_dicts(), strict=True)
        return {
            "changed_columns": {name: count for name, count in totals.items() if count},
            "changed_examples": tuple(self._changed_row(row, flags) for row, flags in flagged),
        }

    def _changed_pairs(
        self, old: pl.LazyFrame, new: pl.LazyFrame, changed: pl.DataFrame
    ) -> Iterator[pl.DataFrame]:
        """Give the old and new rows side by side, in parts that memory can hold."""
        import polars as pl

        parts = 1 + changed.height // (2 * _PAIRS_AT_ONCE)
        for part in range(parts):
            here = pl.col(_KEY) % parts == part
            wanted = changed.filter(here)
            sides = [
                self._hashed(scan)
                .filter(here)
                .join(wanted.filter(side).lazy(), on=[_ROW, _ROW_2], how="semi")
                .unique([_ROW, _ROW_2])
                .select(pl.col(_KEY, _KEY_2), pl.col(self._compared).name.suffix(suffix))
                for scan, side, suffix in (
                    (old, pl.col(_NET) < 0, _OLD),
                    (new, pl.col(_NET) > 0, _NEW),
                )
            ]
            yield sides[0].join(sides[1], on=[_KEY, _KEY_2]).collect(engine="streaming")

    def _changed_row(self, row: dict[str, Any], flags: dict[str, bool]) -> ChangedRow:
        return ChangedRow(
            key={key: row[key + _OLD] for key in self._keys},
            columns={
                name: (row[name + _OLD], row[name + _NEW])
                for name, differs in flags.items()
                if differs
            },
        )

    def _described(self, **found: Any) -> TableDiff:
        return TableDiff(
            table=self._new.name,
            old=self._old.version,
            new=self._new.version,
            keys=self._keys,
            columns_added=self._added,
            columns_removed=self._removed,
            columns_retyped=self._retyped,
            not_compared=self._left_out,
            rows_old=self._old.rows,
            rows_new=self._new.rows,
            **found,
        )
