"""The name of a table: `schema.table`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

TABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$"


def _table_name(name: str) -> str:
    if not re.match(TABLE_NAME, name):
        raise ValueError(f"{name!r} is no table. Write schema.table, as in bronze.flights")
    return name


TableName = Annotated[str, AfterValidator(_table_name)]
