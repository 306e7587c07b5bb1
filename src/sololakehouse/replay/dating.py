"""When each row and each value of a source became known, as `known_at` in lakehouse.yml says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config.knowledge import ALWAYS, Knowledge
from sololakehouse.engine import Engine, quoted
from sololakehouse.errors import ConfigError, NotFoundError, suggestion
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.missing_columns import explained

if TYPE_CHECKING:
    import polars as pl

ROW = "__slh_row"
_MOMENT = "__slh_known_"
# NULL is `void`; text is cast, and what is no moment fails there.
_MOMENT_KINDS = ("timestamp", "date", "string", "varchar", "void")


@dataclass(frozen=True)
class DatedTable:
    """The rows of a table with the moments when they became known.

    Attributes
    ----------
    snapshot
        The version whose rows these are.
    folder
        Holds `rows`, a Parquet file of all rows with their number in `ROW`, and `moments`, with the
        moments of the row of the same place.
    late
        Columns that became known at other moments than their row, with the column of moments.
    kept
        Columns that the moments are computed from, as far as the declaration names them.
    unknown
        Number of rows that are not known at any moment: NULL.
    """

    snapshot: Snapshot
    folder: Path
    late: Mapping[str, str]
    kept: frozenset[str]
    unknown: int

    @property
    def name(self) -> str:
        """`schema.table`."""
        return self.snapshot.name

    @property
    def row_known(self) -> str:
        """The column with the moment when the row became known."""
        return moment_column(0)

    @property
    def moments(self) -> tuple[str, ...]:
        """The columns of moments at which something of a row became known."""
        return tuple(sorted({self.row_known, *self.late.values()}))

    def known_with(self, part: str) -> tuple[str, ...]:
        """Return what of a row becomes known at a moment: `ROW`, and columns.

        Anything but a column of moments is returned as it is.
        """
        if part not in self.moments:
            return (part,)
        row = (ROW,) if part == self.row_known else ()
        return (*row, *(name for name, moment in self.late.items() if moment == part))

    def scan(self) -> pl.LazyFrame:
        """Scan the rows beside their moments."""
        import polars as pl

        parts = [pl.scan_parquet(self.folder / f"{name}.parquet") for name in ("rows", "moments")]
        return pl.concat(parts, how="horizontal")

    def bounds(self) -> tuple[datetime, datetime] | None:
        """Return the first and the last moment at which something became known."""
        import polars as pl

        names = list(self.moments)
        found = pl.scan_parquet(self.folder / "moments.parquet").select(names).collect()
        moments = pl.concat([found[name] for name in names]).drop_nulls()
        if moments.is_empty():
            return None
        first: Any = moments.min()
        last: Any = moments.max()
        return first, last


def moment_column(number: int) -> str:
    """Return the name of a column of moments."""
    return f"{_MOMENT}{number}"


def check_declarations(lake: Lakehouse, tables: Iterable[str]) -> None:
    """Refuse declarations of tables and columns that do not exist.

    Parameters
    ----------
    tables
        The tables that a pipeline computes: what it reads elsewhere can be declared.

    Raises
    ------
    NotFoundError, ConfigError
        Names the candidates.
    """
    computed = set(tables)
    declared = lake.project.settings.known_at
    stored = [name for name in lake.table_names() if name not in computed]
    for table, knowledge in declared.items():
        if table in computed:
            raise ConfigError(
                f"lakehouse.yml: known_at: {table} is computed by the pipeline. Say when the rows "
                "of the tables that it reads were known."
            )
        if not lake.exists(table):
            raise NotFoundError.of("table", table, stored, where="lakehouse.yml: known_at")
        columns = lake.read(table).columns
        for column in knowledge.columns:
            if column not in columns:
                where = f"lakehouse.yml: known_at: {table}"
                raise NotFoundError.of("column", column, columns, where=where)


def dated_table(
    lake: Lakehouse, snapshot: Snapshot, knowledge: Knowledge, folder: Path, engine: Engine
) -> DatedTable:
    """Compute when each row and value of a table became known.

    Parameters
    ----------
    folder
        An empty folder for the files of the table.
    engine
        A session in which names of tables may be given another meaning.

    Raises
    ------
    ConfigError
        An expression cannot be computed, or `from` does not give each row once.
    """
    numbered = folder / "numbered"
    numbered.mkdir(parents=True)
    texts = [knowledge.rows, *knowledge.columns.values(), knowledge.source or ""]
    kept = named_columns(snapshot.columns, texts, f"lakehouse.yml: known_at: {snapshot.name}")
    snapshot.numbered_scan(ROW).sink_parquet(numbered / "rows.parquet", maintain_order=True)
    expressions = list(dict.fromkeys([knowledge.rows, *knowledge.columns.values()]))
    moments = _moments(lake, snapshot, knowledge, expressions, numbered, engine)
    (numbered / "rows.parquet").rename(folder / "rows.parquet")
    moments.drop(ROW).write_parquet(folder / "moments.parquet")
    return DatedTable(
        snapshot,
        folder,
        {name: moment_column(expressions.index(one)) for name, one in knowledge.columns.items()},
        kept,
        moments[moment_column(0)].null_count(),
    )


def named_columns(
    columns: Iterable[str], texts: Iterable[str], where: str = "known_at"
) -> frozenset[str]:
    """Return the columns whose names stand in some SQL texts, which are written at some place.

    Raises
    ------
    DefinitionError
        A text cannot be parsed.

    Examples
    --------
    >>> sorted(named_columns(["time_hour", "hour"], ["time_hour + INTERVAL '1' HOUR"]))
    ['time_hour']
    """
    from sqlglot import exp

    named: set[str] = set()
    for text in filter(None, texts):
        query = text if sql.is_select(text) else f"SELECT {text}"
        tree = sql.parse(query, where)
        named |= {one.name.lower() for one in tree.find_all(exp.Column)}
    return frozenset(name for name in columns if name.lower() in named)


def moments_of(
    engine: Engine, where: str, knowledge: Knowledge, expressions: Iterable[str], rows: str
) -> pl.DataFrame:
    """Ask an engine for the moments of rows, with the number of each row.

    Parameters
    ----------
    rows
        The name that the rows with their numbers have in the session.

    Raises
    ------
    ConfigError
        The engine cannot compute it, or what it gives is no moment.
    """
    import polars as pl

    asked = [one for one in expressions if one != ALWAYS]
    source = knowledge.source or f"SELECT * FROM {quoted(rows)}"
    listed = [
        "CAST('0001-01-01' AS TIMESTAMP)" if one == ALWAYS else f"CAST(({one}) AS TIMESTAMP)"
        for one in expressions
    ]
    named = [f"{one} AS {moment_column(number)}" for number, one in enumerate(listed)]
    query = f"SELECT {', '.join([ROW, *named])} FROM ({source}) AS rows_with_moments"
    try:
        kinds = _kinds(engine, asked, source)
    except Exception as error:
        raise _not_computed(engine, where, source, error) from error
    for one, kind in kinds.items():
        if not kind.startswith(_MOMENT_KINDS):
            raise ConfigError(
                f"lakehouse.yml: known_at: {where}: {one!r} is {kind}, which is no moment. Write "
                "an expression that gives a timestamp or a date, as in timestamp_seconds(...)."
            )
    try:
        found = pl.from_arrow(engine.session.sql(query).toArrow())
    except Exception as error:
        raise _not_computed(engine, where, source, error) from error
    assert isinstance(found, pl.DataFrame)
    return found.with_columns(pl.col(ROW).cast(pl.Int64), pl.exclude(ROW).dt.cast_time_unit("us"))


def _not_computed(engine: Engine, where: str, source: str, error: Exception) -> ConfigError:
    said = explained(error, _columns_of(engine, source))
    return ConfigError(f"lakehouse.yml: known_at: {where} cannot be computed: {said}")


def _kinds(engine: Engine, expressions: Sequence[str], source: str) -> dict[str, str]:
    """Return what types expressions over a source have, as Spark writes them."""
    if not expressions:
        return {}
    listed = ", ".join(f"({one}) AS {moment_column(n)}" for n, one in enumerate(expressions))
    frame: Any = engine.session.sql(f"SELECT {listed} FROM ({source}) AS rows_with_moments")
    return dict(zip(expressions, (kind for _, kind in frame.dtypes), strict=True))


def _columns_of(engine: Engine, query: str) -> list[str]:
    """Return the columns of a query; none if the query itself is what cannot be computed."""
    try:
        return [name for name in engine.session.sql(query).columns if name != ROW]
    except Exception:  # noqa: BLE001  (engines raise whatever they like)
        return []


def _moments(
    lake: Lakehouse,
    snapshot: Snapshot,
    knowledge: Knowledge,
    expressions: list[str],
    numbered: Path,
    engine: Engine,
) -> pl.DataFrame:
    for table in sorted(sources_of(knowledge) - {snapshot.name}):
        if not lake.exists(table):
            known = lake.table_names()
            raise ConfigError(
                f"lakehouse.yml: known_at: {snapshot.name}: 'from' reads {table!r}, which does not "
                f"exist. {suggestion(table, known, 'table')}"
            )
        engine.pin(lake.read(table))
    engine.register(snapshot.name, numbered)
    found = moments_of(engine, snapshot.name, knowledge, expressions, snapshot.name).sort(ROW)
    expected = snapshot.rows
    if found.height != expected or found[ROW].n_unique() != expected:
        raise ConfigError(
            f"lakehouse.yml: known_at: {snapshot.name}: 'from' must give each of the {expected:,} "
            f"rows once, and gives {found.height:,} rows, of which {found[ROW].n_unique():,} "
            "differ. Correct its joins."
        )
    return found


def sources_of(knowledge: Knowledge) -> frozenset[str]:
    """Return the tables that `from` reads; none without it.

    Raises
    ------
    DefinitionError
        It cannot be parsed.
    """
    if knowledge.source is None:
        return frozenset()
    return frozenset(sql.tables_in(knowledge.source, "lakehouse.yml: known_at: from"))


def moments_again(
    scratch: Lakehouse, dated: DatedTable, knowledge: Knowledge, rows: pl.DataFrame, folder: Path
) -> pl.DataFrame:
    """Ask the declaration when made-up rows would have become known.

    Parameters
    ----------
    scratch
        Where `from` finds its other tables.
    rows
        The made-up rows with their numbers.
    folder
        A folder for files meanwhile.
    """
    place = folder / dated.name
    place.mkdir()
    rows.write_parquet(place / "rows.parquet", compression="lz4")
    expressions = list(dict.fromkeys([knowledge.rows, *knowledge.columns.values()]))
    with scratch.engine() as engine:
        for table in sorted(sources_of(knowledge) - {dated.name}):
            engine.pin(scratch.read(table))
        engine.register(dated.name, place)
        return moments_of(engine, dated.name, knowledge, expressions, dated.name)
