from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def server(sales):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "slh"), "console", "--port", str(port)]
    process = subprocess.Popen(command, cwd=sales.folder, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int) -> None:
    for _ in range(150):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the console did not start within 15 s")


def answer(port: int, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_the_pages_show_tables_rows_and_origin_and_take_no_writes(server, sales):
    status, body = answer(server, "GET", "/")
    assert status == 200
    assert '<a href="/tables/bronze.sales">bronze.sales</a>' in body
    status, body = answer(server, "GET", "/tables/bronze.sales")
    assert status == 200
    assert "└─ landing/2026-01.csv" in body
    assert "<code>sha256:" in body
    assert "north" in body
    status, body = answer(server, "GET", "/tables/bronze.sale")
    assert status == 404
    assert "Did you mean &#39;bronze.sales&#39;?" in body
    assert answer(server, "GET", "/tables/..%2F..%2Fetc.passwd")[0] == 404
    assert answer(server, "POST", "/tables/bronze.sales")[0] == 405
