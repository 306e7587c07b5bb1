"""Who may come in, and how much they may send."""

from __future__ import annotations

import socket
import time

import pytest

from sololakehouse.errors import UsageError
from sololakehouse.serving.limits import TOKEN_VARIABLE, Access
from sololakehouse.serving.server import LOCALHOST, _listen
from tests.serving.process import serving
from tests.serving.test_requests import ROW

TOKEN = "a-token-of-enough-characters"


@pytest.fixture(scope="module")
def guarded(copied):
    """Give a server with a token and narrow limits."""
    options = ("--max-bytes", "5000", "--timeout", "1")
    with serving(copied().folder, "rain@2", *options, **{TOKEN_VARIABLE: TOKEN}) as running:
        yield running


def test_without_the_token_nothing_but_health_is_told(guarded):
    client = guarded.client()
    for path in ("/model", "/metrics", "/docs", "/openapi.json", "/version", "/nowhere"):
        reply = client.get(path)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), path
    assert client.predict(ROW).status == 401
    assert [client.get(path).status for path in ("/ping", "/health", "/ready")] == [200] * 3


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        ("Bearer \xff", 401),
    ],
)
def test_only_the_token_itself_lets_in(guarded, authorization, status):
    assert guarded.client().get("/model", Authorization=authorization).status == status


def test_other_hosts_in_the_header_are_refused(client):
    assert client.get("/model", Host="evil.example").status == 421
    assert client.get("/model", Host="evil.example:80").status == 421
    assert client.get("/model", Host="127.0.0.1.evil.example").status == 421
    assert client.get("/model", Host="localhost:1").status == 200
    assert client.get("/model", Host="[::1]:1").status == 200


def test_large_bodies_are_refused_with_and_without_their_length(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    assert guarded.client().ask("POST", "/predict", b" " * 5001, headers).status == 413
    parts = (b" " * 1000 for _ in range(6))
    assert guarded.client().ask("POST", "/predict", parts, headers).status == 413
    assert guarded.client().ask("POST", "/predict", b" " * 5000, headers).status == 400
    parts = (b" " * 1000 for _ in range(5))
    assert guarded.client().ask("POST", "/predict", parts, headers).status == 400


def head_of(length: int) -> bytes:
    return (
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(guarded):
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as announced:
        announced.sendall(head_of(5001))
        assert announced.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_given_up(guarded):
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as slow:
        slow.sendall(head_of(100) + b"{")
        began = time.monotonic()
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert 0.9 < time.monotonic() - began < 5


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_addresses_need_a_token(monkeypatch, host):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"Set the environment variable {TOKEN_VARIABLE}"):
        Access.of(host)
    for token in ("short", TOKEN[:15], "é" * 16):
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        with pytest.raises(UsageError, match="16 ASCII characters"):
            Access.of(host)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert Access.of(host).local is False


def test_this_machine_needs_none(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert all(Access.of(host).local for host in ("127.0.0.1", "localhost", "::1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rain@production",), "Promote one with 'slh promote rain --to production'"),
        (("rain",), "'rain' is no model"),
        (("snow@staging",), "No model 'snow'"),
        (("rain@2", "--host", "0.0.0.0"), TOKEN_VARIABLE),
    ],
)
def test_a_mistake_ends_the_command_before_it_listens(rich, slh, arguments, message):
    said = slh("serve", *arguments, "--port", "0", folder=rich.folder)
    assert (said.code, message in said.err) == (2, True), said


def test_a_port_that_is_taken_is_named(rich, slh, server):
    said = slh("serve", "rain@2", "--port", str(server.port), folder=rich.folder)
    assert said.code == 2
    assert f"Nothing can listen on 127.0.0.1 port {server.port}: Address already in use" in said.err


def test_a_port_is_free_again_right_after_a_server_that_answered_on_it():
    first = _listen(LOCALHOST, 0)
    port = first.getsockname()[1]
    with socket.create_connection((LOCALHOST, port)) as client:
        answering, _ = first.accept()
        answering.close()
        assert client.recv(1) == b""
    first.close()
    with _listen(LOCALHOST, port) as again:
        assert again.getsockname()[1] == port
