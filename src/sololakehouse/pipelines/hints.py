"""What to say where a source asks for what Databricks has and the open API of pipelines has not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from sololakehouse import quality
from sololakehouse.pipelines.auto_cdc import OWN_NAME

_KEYWORD = re.compile(r"^(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_CDC = f"Write dp.create_auto_cdc_flow(...), or for histories {OWN_NAME}(...)."
_SNAPSHOTS = (
    "Nothing here compares snapshots: write the changes into a table, and let it read that."
)
_INSTEAD: Mapping[str, str] = {
    "apply_changes": _CDC,
    "apply_changes_from_snapshot": _SNAPSHOTS,
    "create_auto_cdc_from_snapshot_flow": _SNAPSHOTS,
    "create_streaming_live_table": "Write dp.create_streaming_table(...).",
    "create_target_table": "Write dp.create_streaming_table(...).",
    "read": "Write spark.table(...).",
    "read_stream": "Write spark.readStream.table(...).",
    "readStream": "Write spark.readStream.table(...).",
    "view": "Write @dp.temporary_view.",
}


def hint(error: BaseException) -> str | None:
    """Return what to write instead; None for an error of another kind.

    Examples
    --------
    >>> from pyspark import pipelines as dp
    >>> try:
    ...     dp.view
    ... except AttributeError as error:
    ...     print(hint(error))
    pyspark.pipelines has no 'view'. Write @dp.temporary_view.
    """
    if isinstance(error, ModuleNotFoundError) and error.name == "dlt":
        return "there is no module 'dlt'. Write 'from pyspark import pipelines as dp'."
    if isinstance(error, AttributeError):
        return _of_name(error)
    if isinstance(error, TypeError):
        return _of_keyword(str(error))
    return None


def _of_name(error: AttributeError) -> str | None:
    from pyspark import pipelines

    name = error.name
    if error.obj is not pipelines or name is None:
        return None
    instead = _INSTEAD.get(name)
    if instead is None and name.startswith("expect") and hasattr(quality, name):
        instead = f"Write 'from sololakehouse.quality import {name}', and @{name}(...)."
    has = f"It has: {', '.join(sorted(pipelines.__all__))}."
    return f"pyspark.pipelines has no {name!r}. {instead or has}"


def _of_keyword(message: str) -> str | None:
    from pyspark import pipelines

    found = _KEYWORD.match(message)
    if found is None or found[1] not in pipelines.__all__:
        return None
    parameters = inspect.signature(getattr(pipelines, found[1])).parameters
    return (
        f"dp.{found[1]} has no parameter {found[2]!r} in the open API. Its parameters: "
        f"{', '.join(parameters)}."
    )
