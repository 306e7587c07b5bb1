"""What a table declares of its rows' columns, and of their order in its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sololakehouse.errors import UsageError, suggestion
from sololakehouse.quality import Expectation

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class Shape:
    """The columns that a table must have, in this order, and the columns that sort its files.

    Attributes
    ----------
    schema
        None: the columns that the query gives.
    cluster_by
        Each file that a run writes is sorted by these columns.
    """

    schema: StructType | None = None
    cluster_by: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: StructType | str | None, cluster_by: Sequence[str]) -> Shape:
        """Read the parameters `schema` and `cluster_by` of a table.

        Raises
        ------
        UsageError
            The schema is no DDL, or names a column twice.
        """
        parsed = _parsed(schema) if isinstance(schema, str) else schema
        names = [name.lower() for name in parsed.names] if parsed else []
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UsageError(f"the schema names the column {twice!r} twice.")
        return cls(parsed, tuple(cluster_by))

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What `NOT NULL` in the schema asks of the rows."""
        fields = self.schema.fields if self.schema else ()
        return tuple(
            Expectation(f"{field.name} NOT NULL", f"{_quoted(field.name)} IS NOT NULL", "fail")
            for field in fields
            if not field.nullable
        )

    @property
    def policy(self) -> list[Any]:
        """What of this decides about the table's files; empty if nothing is declared."""
        columns = [[f.name, f.dataType.simpleString()] for f in self.schema or ()]
        return [columns, *self.cluster_by] if columns or self.cluster_by else []

    def of_frame(self, given: DataFrame, beside: Sequence[str] = ()) -> DataFrame:
        """Give a frame's rows with the columns in the declared order, sorted.

        Columns named in `beside` are no columns of the table, and come last.
        """
        frame: Any = given
        if self.schema is not None:
            frame = frame.select(*map(_quoted, (*self.schema.names, *beside)))
        if self.cluster_by:
            frame = frame.sort(*(_quoted(name) for name in self.cluster_by))
        return cast("DataFrame", frame)

    def mistake(self, given: StructType) -> str | None:
        """Say how the columns of a query differ from the declared ones; None if they do not."""
        names = {name.lower() for name in given.names}
        unknown = next((name for name in self.cluster_by if name.lower() not in names), None)
        if unknown:
            return f"no column {unknown!r} to cluster by. {suggestion(unknown, names, 'column')}"
        if self.schema is None:
            return None
        ours, theirs = _types(self.schema), _types(given)
        if ours == theirs:
            return None
        wrong = [
            *(f"lacks {name} {kind}" for name, kind in ours.items() if name not in theirs),
            *(f"also gives {name} {kind}" for name, kind in theirs.items() if name not in ours),
            *(
                f"gives {name} as {theirs[name]} instead of {kind}"
                for name, kind in ours.items()
                if name in theirs and theirs[name] != kind
            ),
        ]
        return (
            f"the query does not fit the declared schema: it {', '.join(wrong)}. Change the query "
            "(CAST gives another type) or the schema."
        )


def _parsed(ddl: str) -> StructType:
    from pyspark.sql.types import StructType

    try:
        parsed: Any = StructType.fromDDL(ddl)
    except Exception as error:
        said = str(error).strip().splitlines()[0]
        raise UsageError(
            f"the schema {ddl!r} cannot be read: {said}. Write it as in 'id BIGINT NOT NULL, "
            "shop STRING'."
        ) from error
    schema: StructType = parsed
    return schema


def _types(schema: StructType) -> dict[str, str]:
    return {field.name: field.dataType.simpleString() for field in schema.fields}


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
