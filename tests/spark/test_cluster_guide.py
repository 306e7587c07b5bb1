"""The guide on clusters: its section on a project is executed on Apache Spark."""

from __future__ import annotations

import dataclasses

import pytest

from tests.docs.execution import execute
from tests.docs.pages import DOCS, read_page

PAGE = read_page(DOCS / "guides" / "cluster.md")
WRITTEN = "sc://localhost:15002"


@pytest.mark.spark_suite
def test_the_guide_s_commands_do_what_it_shows(spark, tmp_path):
    ours = [
        dataclasses.replace(
            block, marker="", argument="", content=block.content.replace(WRITTEN, spark.address)
        )
        for block in PAGE.blocks
        if "test_cluster_guide.py" in block.argument or block.argument == "as above"
    ]
    assert len(ours) == 3
    steps = execute(dataclasses.replace(PAGE, blocks=tuple(ours)), tmp_path)
    assert any(WRITTEN.replace("15002", "") in step.command for step in steps)
    wrong = [str(step) for step in steps if not step.is_right]
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
