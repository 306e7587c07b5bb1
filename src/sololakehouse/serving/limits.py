"""What a server takes from a client, and from whom."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from dataclasses import dataclass

from sololakehouse.errors import UsageError

TOKEN_VARIABLE = "SLH_SERVE_TOKEN"
_SHORTEST = 16


@dataclass(frozen=True)
class Limits:
    """Limits on a request.

    Attributes
    ----------
    rows
        Most rows.
    body
        Most bytes of the body.
    seconds
        Longest time to send the body, and to answer.
    waiting
        Most requests that wait for the threads that answer large ones.
    """

    rows: int = 10_000
    body: int = 10_000_000
    seconds: float = 30.0
    waiting: int = 64


@dataclass(frozen=True)
class Access:
    """Where a server listens, and the token that it asks for.

    Attributes
    ----------
    local
        Whether only programs on this machine can reach it.
    token
        None: nobody is asked for one.
    """

    host: str
    local: bool
    token: str | None

    @classmethod
    def of(cls, host: str) -> Access:
        """Check that a server may listen there.

        Raises
        ------
        UsageError
            Other machines would reach it without a token, or the token is too short.
        """
        token = os.environ.get(TOKEN_VARIABLE) or None
        local = _is_local(host)
        if token is None and not local:
            raise UsageError(
                f"Whoever reaches {host} could use the model. Set the environment variable "
                f"{TOKEN_VARIABLE} to a secret of {_SHORTEST} characters or more, which clients "
                "send as 'Authorization: Bearer ...', or leave out --host."
            )
        if token is not None and (len(token) < _SHORTEST or not token.isascii()):
            raise UsageError(
                f"{TOKEN_VARIABLE} must have {_SHORTEST} ASCII characters or more, as 'openssl "
                "rand -hex 32' makes them."
            )
        return cls(host, local, token)

    def lets_in(self, authorization: bytes | None) -> bool:
        """Whether a request brings the token, compared in constant time."""
        if self.token is None:
            return True
        scheme, _, given = (authorization or b"").partition(b" ")
        same = hmac.compare_digest(given.strip(), self.token.encode())
        return same and scheme.lower() == b"bearer"

    def knows_host(self, host: bytes | None) -> bool:
        """Whether the Host header is one of this machine: pages of other sites send theirs."""
        if not self.local:
            return True
        name = (host or b"").decode("latin-1").lower()
        without_port = re.sub(r":\d*$", "", name) if name.count(":") == 1 or "]" in name else name
        return _is_local(without_port.strip("[]"))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
