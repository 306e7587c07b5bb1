"""When what a table holds became known."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from sololakehouse.config.settings import Settings

ALWAYS = "always"


class Knowledge(Settings):
    """When the rows and values of a table became known, which `slh replay` goes back by.

    Attributes
    ----------
    rows
        When a row became known: `always`, or an expression in Spark SQL that gives a moment, over
        the columns of the table or of `from`. NULL: it is not known yet.
    source
        `from` in the file: a `SELECT` that gives each row of the table once, with all of its
        columns (as in `SELECT flights.*, ...`) and others that the expressions need.
    columns
        Columns whose values became known at other moments than their row, with these. A value is
        NULL until then.
    """

    rows: str = Field(min_length=1)
    source: str | None = Field(default=None, alias="from", min_length=1)
    columns: dict[str, str] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, content: Any) -> Any:
        return {"rows": content} if isinstance(content, str) else content

    @field_validator("rows")
    @classmethod
    def _stripped(cls, rows: str) -> str:
        return ALWAYS if rows.strip().lower() == ALWAYS else rows.strip()

    @model_validator(mode="after")
    def _something_to_tell(self) -> Knowledge:
        if self.is_static and self.source is not None:
            raise ValueError("'from' serves expressions, and everything is known 'always'")
        return self

    @property
    def is_static(self) -> bool:
        """Whether everything was known at any moment."""
        return self.rows == ALWAYS and not self.columns
