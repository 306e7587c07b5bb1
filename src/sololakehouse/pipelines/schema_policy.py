"""What a source's files may bring besides the columns of their contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sololakehouse.config.source import Source
from sololakehouse.errors import IngestError, suggestion
from sololakehouse.pipelines.columns import arrow_type, data_columns, plain_name

if TYPE_CHECKING:
    import pyarrow as pa

Policy = Literal["strict", "evolve", "rescue"]


@dataclass(frozen=True)
class Contract:
    """The columns that rows of a source have, and what happens to others."""

    columns: pa.Schema
    policy: Policy

    def extended(self, fields: Sequence[pa.Field]) -> Contract:
        """Add columns at the end."""
        import pyarrow as pa

        return Contract(pa.schema([*self.columns, *fields]), self.policy)

    def column_of(self, name: str) -> str | None:
        """Return the contract's column for a file's; None if it has none.

        Under `evolve` upper and lower case do not matter: Delta could not hold both columns. Under
        `strict` and `rescue` a name in another case is an unknown one, as on Databricks.
        """
        if name in self.columns.names:
            return name
        if self.policy != "evolve":
            return None
        folded = {known.lower(): known for known in self.columns.names}
        return folded.get(name.lower())

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return those of a file's columns that the contract does not have."""
        return [name for name in names if self.column_of(name) is None]

    def check_header(self, names: Sequence[str], place: str) -> None:
        """Refuse a header that lacks columns or has others, if the policy is `strict`.

        Raises
        ------
        IngestError
            Names each missing and each unknown column.
        """
        if self.policy != "strict":
            return
        missing = [name for name in self.columns.names if name not in names]
        extra = self.unknown(names)
        if not missing and not extra:
            return
        said = [f"has no column {name!r}" for name in missing]
        said += [f"has the column {name!r}, which its source does not" for name in extra]
        near = missing[0] if missing else extra[0]
        raise IngestError(
            f"{place}: the file {' and '.join(said)}. "
            f"{suggestion(near, names if missing else self.columns.names, 'column')} Correct the "
            "file, or the source's 'schema' or 'schema_policy' in lakehouse.yml. Nothing was "
            "ingested."
        )


def contract_of(name: str, source: Source, stored: pa.Schema | None) -> Contract | None:
    """Return the contract of a source, from its declared schema and its bronze table.

    None if there is neither: then the first file decides.

    Raises
    ------
    IngestError
        The declared schema and the table disagree in a way that the policy does not allow.
    """
    import pyarrow as pa

    known = data_columns(stored) if stored is not None else pa.schema([])
    if source.columns is None:
        return Contract(known, source.schema_policy) if len(known) else None
    declared = pa.schema([(column, arrow_type(kind)) for column, kind in source.columns.items()])
    if not len(known):
        return Contract(declared, source.schema_policy)
    _check_types(name, source, declared, known)
    added = [field for field in declared if field.name not in known.names]
    lacking = [column for column in known.names if column not in declared.names]
    if source.schema_policy != "evolve" and (
        added or (lacking and source.schema_policy == "strict")
    ):
        different = ", ".join([field.name for field in added] or lacking)
        raise IngestError(
            f"Source {name!r} declares other columns than {source.table} has: {different}. "
            "Correct 'schema' in lakehouse.yml, or set 'schema_policy: evolve'. Nothing was "
            "ingested."
        )
    return Contract(pa.schema([*known, *added]), source.schema_policy)


def _check_types(name: str, source: Source, declared: pa.Schema, known: pa.Schema) -> None:
    for field in declared:
        if field.name not in known.names:
            continue
        stored = known.field(field.name).type
        if stored != field.type:
            raise IngestError(
                f"Source {name!r} declares column {field.name!r} as {plain_name(field.type)}, "
                f"and {source.table} has it as {plain_name(stored)}. Correct 'schema' in "
                "lakehouse.yml, or choose another table. Nothing was ingested."
            )
