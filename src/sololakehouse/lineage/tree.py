"""The lineage graph as a tree in text, each node expanded where it comes first."""

from __future__ import annotations

from dataclasses import dataclass

from sololakehouse.lake.history import instant
from sololakehouse.lineage.drawing import short_hash
from sololakehouse.lineage.graph import Lineage, Node

COLUMNS = ("node", "kind", "rows", "at", "code revision", "fingerprint", "notes")


@dataclass(frozen=True)
class TreeLine:
    """One line: the branches of the tree and the node's title, then what is known of the node.

    `again` says that the node stands further above, with what follows from it.
    """

    text: str
    node: Node
    again: bool

    def cells(self, digits: int | None = None) -> dict[str, str]:
        """Return the line as the cells of a table.

        Parameters
        ----------
        digits
            How many digits of a fingerprint to show; None: all.
        """
        node = self.node
        if self.again:
            return dict.fromkeys(COLUMNS, "") | {"node": f"{self.text} (above)"}
        known = (
            self.text,
            node.what,
            f"{node.rows:,}" if node.rows is not None else "",
            instant(node.at.replace(microsecond=0)) if node.at else "",
            short_hash(node.code_revision or ""),
            short_hash(node.fingerprint or "", digits),
            "; ".join(node.notes),
        )
        return dict(zip(COLUMNS, known, strict=True))


def tree(lineage: Lineage) -> list[TreeLine]:
    """Return the graph as lines, from its roots on."""
    lines: list[TreeLine] = []
    shown: set[str] = set()
    waiting = [(root, "", "") for root in reversed(lineage.roots)]
    while waiting:
        node_id, own, below = waiting.pop()
        node, again = lineage.nodes[node_id], node_id in shown
        lines.append(TreeLine(own + node.title, node, again))
        shown.add(node_id)
        following = () if again else lineage.next_of(node_id)
        for one in reversed(following):
            last = one == following[-1]
            waiting.append(
                (one, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))
            )
    return lines
