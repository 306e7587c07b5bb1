"""Runs in the environment of Apache Spark: puts tables into a server, and takes tables out.

Usage: tables.py put|take ADDRESS < JSON

`put` takes `{table: [Parquet files]}`, `take` takes `{table: folder}`.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession


def put(session: SparkSession, tables: dict[str, list[str]], databases: list[str]) -> None:
    for database in databases:
        session.sql(f"CREATE DATABASE IF NOT EXISTS {database}")
    for table, files in tables.items():
        session.read.parquet(*files).write.saveAsTable(table)


def take(session: SparkSession, folders: dict[str, str]) -> None:
    for table, folder in folders.items():
        session.table(table).write.parquet(folder)


def main() -> None:
    verb, address = sys.argv[1:]
    asked = json.load(sys.stdin)
    session = SparkSession.builder.remote(address).getOrCreate()
    if verb == "put":
        put(session, asked["tables"], asked["databases"])
    else:
        take(session, asked["folders"])


if __name__ == "__main__":
    main()
