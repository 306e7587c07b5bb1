"""What a Spark client asks an engine: as little as it can, and not before the engine is ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

Calls = Callable[[Any, Any], Any]
_QUERY = re.compile(r"(\s|\(|--[^\n]*\n|/\*.*?\*/)*(select|with|from|values|table)\b", re.I | re.S)
_QUESTIONS = ("/AnalyzePlan", "/ExecutePlan")


class Questions(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Sees the questions of a session on the wire: for columns, for rows, for the catalog."""

    def __init__(self) -> None:
        self._prepare: Callable[[], None] | None = None

    @contextmanager
    def preceded_by(self, prepare: Callable[[], None]) -> Iterator[None]:
        """Call `prepare` before the first question that is asked meanwhile, if one is."""
        self._prepare = prepare
        try:
            yield
        finally:
            self._prepare = None

    def intercept_unary_unary(self, send: Calls, details: Any, request: Any) -> Any:
        """Send a request, for example to analyse a plan."""
        self._note(details.method)
        return send(details, request)

    def intercept_unary_stream(self, send: Calls, details: Any, request: Any) -> Any:
        """Send a request, for example to execute a plan."""
        self._note(details.method)
        return send(details, request)

    def _note(self, method: str) -> None:
        if self._prepare is not None and method.endswith(_QUESTIONS):
            prepare, self._prepare = self._prepare, None
            prepare()


def keep_queries(client: Any) -> None:
    """Let `spark.sql` return a query as it is, without asking the engine.

    A server would look at once for tables that a run has still to make, and its answer would name
    our databases as it knows them. The embedded engine gives the query back as it came.
    """
    execute = client.execute_command

    def execute_command(command: Any, *args: Any, **kwargs: Any) -> Any:
        if command.HasField("sql_command"):
            asked = command.sql_command.input
            root = asked.with_relations.root if asked.HasField("with_relations") else asked
            if is_query(root.sql.query):
                return None, {"sql_command_result": asked}, None
        return execute(command, *args, **kwargs)

    client.execute_command = execute_command


def is_query(text: str) -> bool:
    """Whether a statement only asks for rows.

    Examples
    --------
    >>> is_query("-- all of them\\n (SELECT 1)"), is_query("CREATE VIEW v AS SELECT 1")
    (True, False)
    """
    return _QUERY.match(text) is not None
