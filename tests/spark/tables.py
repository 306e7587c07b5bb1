"""Runs in the environment of Apache Spark: puts tables into a server, and takes tables out.

Usage: tables.py put|append|take ADDRESS < JSON
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession


def put(session: SparkSession, tables: dict[str, list[str]], databases: list[str]) -> None:
    for database in databases:
        session.sql(f"DROP DATABASE IF EXISTS {database} CASCADE")
        session.sql(f"CREATE DATABASE {database}")
    append(session, tables)


def append(session: SparkSession, tables: dict[str, list[str]]) -> None:
    for table, files in tables.items():
        session.read.parquet(*files).write.mode("append").saveAsTable(table)


def take(session: SparkSession, folders: dict[str, str]) -> None:
    for table, folder in folders.items():
        session.table(table).write.parquet(folder)


def main() -> None:
    verb, address = sys.argv[1:]
    asked = json.load(sys.stdin)
    session = SparkSession.builder.remote(address).getOrCreate()
    {"put": put, "append": append, "take": take}[verb](session, **asked)


if __name__ == "__main__":
    main()
