"""Tables with Delta features that no writer here makes: their logs are written by hand.

The forms are those of the Delta protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

FRAME = pl.DataFrame({"id": [1, 2, 3], "shop": ["north", "south", "north"]})
_BASE85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_MAGIC = 1681511377


def entry(folder: Path, version: int) -> Path:
    return folder / "_delta_log" / f"{version:020}.json"


def actions(folder: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in entry(folder, version).read_text().splitlines()]


def write_actions(folder: Path, version: int, written: list[dict[str, Any]]) -> None:
    entry(folder, version).write_text("".join(json.dumps(action) + "\n" for action in written))


def table_with(
    folder: Path,
    *,
    reader: int = 1,
    writer: int = 2,
    reader_features: list[str] | None = None,
    writer_features: list[str] | None = None,
    configuration: dict[str, str] | None = None,
    fields: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Write `FRAME` as a table, then change what its log says of protocol, settings and fields."""
    folder.mkdir(parents=True)
    write_deltalake(folder, FRAME)
    protocol: dict[str, Any] = {"minReaderVersion": reader, "minWriterVersion": writer}
    if reader_features is not None:
        protocol["readerFeatures"] = reader_features
    if writer_features is not None:
        protocol["writerFeatures"] = writer_features
    written = actions(folder, 0)
    for action in written:
        if "protocol" in action:
            action["protocol"] = protocol
        if "metaData" in action:
            about = action["metaData"]
            about["configuration"] = configuration or {}
            schema = json.loads(about["schemaString"])
            schema["fields"] = [
                {**f, **(fields or {}).get(f["name"], {})} for f in schema["fields"]
            ]
            about["schemaString"] = json.dumps(schema)
    write_actions(folder, 0, written)
    return folder


def renamed_columns(folder: Path, *, by_feature: bool) -> Path:
    """Rename the column `id` to `key`, as Spark does with column mapping by name."""
    names = {"id": "key", "shop": "shop"}
    fields = {
        physical: {
            "name": name,
            "metadata": {
                "delta.columnMapping.id": number,
                "delta.columnMapping.physicalName": physical,
            },
        }
        for number, (physical, name) in enumerate(names.items(), 1)
    }
    feature = ["columnMapping"] if by_feature else None
    return table_with(
        folder,
        reader=3 if by_feature else 2,
        writer=7 if by_feature else 5,
        reader_features=feature,
        writer_features=feature,
        configuration={"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2"},
        fields=fields,
    )


def deletion_vectors(folder: Path, deleted: list[int], *, inline: bool) -> Path:
    """Delete rows of `FRAME` by their position, as Spark does with a deletion vector."""
    table_with(
        folder,
        reader=3,
        writer=7,
        reader_features=["deletionVectors"],
        writer_features=["deletionVectors"],
        configuration={"delta.enableDeletionVectors": "true"},
    )
    (added,) = [action["add"] for action in actions(folder, 0) if "add" in action]
    removed = {
        "path": added["path"],
        "deletionTimestamp": 1,
        "dataChange": True,
        "extendedFileMetadata": True,
        "partitionValues": {},
        "size": added["size"],
    }
    vector = _inline(deleted) if inline else _in_a_file(folder, deleted)
    info = {"timestamp": 1, "operation": "DELETE"}
    after = added | {"deletionVector": vector}
    write_actions(folder, 1, [{"commitInfo": info}, {"remove": removed}, {"add": after}])
    return folder


def _bitmap(rows: list[int]) -> bytes:
    container = struct.pack("<HH", 0, len(rows) - 1) + struct.pack("<I", 16)
    values = b"".join(struct.pack("<H", row) for row in rows)
    roaring = struct.pack("<II", 12346, 1) + container + values
    return struct.pack("<iqi", _MAGIC, 1, 0) + roaring


def _inline(rows: list[int]) -> dict[str, Any]:
    bitmap = _bitmap(rows)
    padded = bitmap + b"\0" * (-len(bitmap) % 4)
    return {
        "storageType": "i",
        "pathOrInlineDv": _z85(padded),
        "sizeInBytes": len(bitmap),
        "cardinality": len(rows),
    }


def _in_a_file(folder: Path, rows: list[int]) -> dict[str, Any]:
    bitmap = _bitmap(rows)
    identifier = bytes(range(16))
    name = f"deletion_vector_{identifier.hex()[:8]}-0405-0607-0809-{identifier.hex()[20:]}.bin"
    framed = struct.pack(">i", len(bitmap)) + bitmap + struct.pack(">I", zlib.crc32(bitmap))
    (folder / name).write_bytes(b"\x01" + framed)
    return {
        "storageType": "u",
        "pathOrInlineDv": _z85(identifier),
        "offset": 1,
        "sizeInBytes": len(bitmap),
        "cardinality": len(rows),
    }


def _z85(data: bytes) -> str:
    return base64.b85encode(data).decode().translate(str.maketrans(_BASE85, _Z85))
