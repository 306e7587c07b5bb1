"""What a model holds, as a hash that does not depend on when and where it was saved."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from zipfile import ZipFile

# skops names members by addresses in memory or at random, and notes such an address on every node.
_ADDRESS = "__id__"
_MEMBER = "file"
_SCHEMA = "schema.json"


def model_content(model: Any) -> str | None:
    """Return the SHA-256 of what a fitted model holds; None for a model that skops cannot write.

    Two models have the same content if their files in skops' format differ in nothing but what
    only names their parts: addresses in memory, names and dates of the members. Every parameter
    and every number that was learned counts, to the last bit.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> one, other = (LinearRegression().fit([[0.0], [1.0]], [0, up]) for up in (1, 2))
    >>> again = LinearRegression().fit([[0.0], [1.0]], [0, 1])
    >>> model_content(one) == model_content(again), model_content(one) == model_content(other)
    (True, False)
    """
    from io import BytesIO

    from skops.io import dumps
    from skops.io.exceptions import UnsupportedTypeException

    try:
        written = dumps(model)
    except (UnsupportedTypeException, TypeError):
        return None
    with ZipFile(BytesIO(written)) as archive:
        members = {
            name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
        }
        schema = json.loads(archive.read(_SCHEMA))
    plain = json.dumps(_without_addresses(schema, members), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def _without_addresses(node: Any, members: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_without_addresses(one, members) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {name: value for name, value in node.items() if name != _ADDRESS}
    if isinstance(kept.get(_MEMBER), str):
        kept[_MEMBER] = members[kept[_MEMBER]]
    return {name: _without_addresses(value, members) for name, value in kept.items()}
