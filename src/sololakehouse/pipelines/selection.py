"""Which tables a run computes: all, or the named ones."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.pipelines.graph import Graph


@dataclass(frozen=True)
class Selection:
    """Tables by name or pattern, as in `features.*`; all of them if nothing is named.

    Attributes
    ----------
    refresh
        Tables to bring up to date.
    full_refresh
        Tables to compute anew from all rows, whether or not they are up to date.
    full_refresh_all
        Whether all tables are computed anew.
    downstream
        Whether what reads the named tables, directly or not, is brought up to date as well.
    """

    refresh: tuple[str, ...] = ()
    full_refresh: tuple[str, ...] = ()
    full_refresh_all: bool = False
    downstream: bool = False

    def is_anew(self, name: str) -> bool:
        """Whether a table is computed anew from all rows."""
        return self.full_refresh_all or _matches(name, self.full_refresh)

    def names(self, graph: Graph) -> frozenset[str]:
        """Return the views and tables that a run computes.

        Raises
        ------
        NotFoundError
            A name or pattern fits no table of the pipeline.
        UsageError
            Other options stand beside `full_refresh_all`, or `downstream` stands alone.
        """
        named = (*self.refresh, *self.full_refresh)
        if self.full_refresh_all and (named or self.downstream):
            raise UsageError("--full-refresh-all computes every table; name no others beside it.")
        if self.downstream and not named:
            raise UsageError("--downstream needs tables: name them with --select.")
        tables = [node.name for node in graph.nodes if not node.is_view]
        for pattern in named:
            if not any(_matches(name, (pattern,)) for name in tables):
                raise NotFoundError.of("table", pattern, tables, where="the pipeline")
        if not named:
            return frozenset(node.name for node in graph.nodes)
        chosen = {name for name in tables if _matches(name, named)}
        for node in graph.nodes:
            reads = set(graph.tables_read(node))
            if node.is_view or (self.downstream and chosen & reads):
                chosen.add(node.name)
        return frozenset(chosen)


EVERYTHING = Selection()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
