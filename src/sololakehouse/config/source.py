"""What is ingested: landing files of one kind, and their table."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sololakehouse.config.column_type import ColumnType
from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TABLE_NAME


class CsvOptions(Settings):
    """How a CSV file is written.

    Attributes
    ----------
    delimiter
        What stands between two fields: one ASCII character.
    quote
        What stands around a field that holds delimiters or line breaks: one ASCII character.
    null_value
        A field that means NULL, besides an empty one.
    header
        Whether the first row has the names. Without it the source's `schema` gives them, in order.
    encoding
        How characters are written, such as `utf-8`, `latin-1` or `cp1252`.
    skip_rows
        How many lines stand before the header, or before the first row.
    """

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    null_value: str = ""
    header: bool = True
    encoding: str = "utf-8"
    skip_rows: int = Field(default=0, ge=0)

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_byte(cls, value: str) -> str:
        if not value.isascii() or value in "\r\n\0":
            raise ValueError(f"{value!r} must be one ASCII character and no line break")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError as error:
            raise ValueError(f"no encoding {value!r}; write utf-8, latin-1 or cp1252") from error

    @model_validator(mode="after")
    def _different(self) -> CsvOptions:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ")
        return self


class Source(Settings):
    """Landing files of one kind, and the bronze table that takes them.

    Attributes
    ----------
    path
        Pattern of the files, relative to the project's folder: `landing/orders/*.csv`.
    table
        The bronze table that takes them, such as `bronze.orders`.
    format
        `json` is JSON lines. Compression goes by the suffix: `.gz`, `.bz2`, `.zst`, `.lz4`.
    options
        How CSV files are written.
    columns
        `schema` in the file: each column with its type. Without it the first file decides, and
        the bronze table's schema is the contract from then on. Types: `string`, `tinyint`,
        `smallint`, `int`, `bigint`, `float`, `double`, `decimal(p,s)`, `boolean`, `date`,
        `timestamp` (ISO 8601 with a zone), `timestamp_ntz`, `binary`.
    schema_policy
        What happens to columns that the contract does not know, lacks, or has with another type:
        an error; new columns are added; or they are kept as JSON in `_rescued_data`.
    on_change
        What happens to a file that was taken and now has other content: an error, its rows are
        added to the old ones, or they replace them.
    max_quarantined
        Share of a file's rows, from 0 to 1, that may be malformed; above it the file fails.
    """

    path: str
    table: str = Field(pattern=TABLE_NAME)
    format: Literal["csv", "json", "parquet"] = "csv"
    options: CsvOptions = CsvOptions()
    columns: dict[str, ColumnType] | None = Field(default=None, alias="schema", min_length=1)
    schema_policy: Literal["strict", "evolve", "rescue"] = "strict"
    on_change: Literal["error", "append", "replace"] = "error"
    max_quarantined: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        if self.format != "csv" and self.options != CsvOptions():
            raise ValueError(f"'options' are for CSV files, and the format is {self.format}")
        if not self.options.header and self.columns is None:
            raise ValueError("'header: false' needs a 'schema', which gives the names in order")
        names = [name.lower() for name in self.columns or ()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"'schema' names {twice[0]!r} twice; Delta does not tell upper from lower case"
            )
        return self
