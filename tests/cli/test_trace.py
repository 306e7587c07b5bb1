from __future__ import annotations

import json

import pytest

DRAWN = """\
CREATE MATERIALIZED VIEW silver.drawn
TBLPROPERTIES ('pipelines.deterministic' = 'false')
AS SELECT id, rand() AS lot FROM bronze.sales;
CREATE MATERIALIZED VIEW gold.winners AS SELECT id FROM silver.drawn WHERE lot >= 0;
CREATE MATERIALIZED VIEW gold.shops AS SELECT DISTINCT shop FROM bronze.sales;
CREATE MATERIALIZED VIEW gold.both AS SELECT w.id, d.lot FROM gold.winners w JOIN silver.drawn d
ON w.id = d.id;
"""


@pytest.fixture
def drawn(sales):
    sales.write("transformations/drawn.sql", DRAWN)
    sales.run()
    return sales


def test_steps_that_may_differ_each_time_are_marked_and_summed_up(drawn, slh):
    said = slh("trace", "gold.both", folder=drawn.folder)
    marked = [line.strip() for line in said.out.splitlines() if "  not deterministic" in line]
    assert {line.split("  ")[0] for line in marked} == {"silver.drawn@v1"}
    assert "Not deterministic: silver.drawn@v1. Computed again, they may differ." in said.out


def test_json_says_it_for_each_step_and_for_all(drawn, slh):
    found = json.loads(slh("trace", "gold.winners", "--json", folder=drawn.folder).out)
    assert found["not deterministic"] == ["silver.drawn@v1"]
    assert found["deterministic"] is True
    assert found["inputs"][0]["deterministic"] is False
    assert found["inputs"][0]["record"]["details"]["deterministic"] is False


def test_a_table_without_such_a_step_says_nothing_of_it(drawn, slh):
    assert "deterministic" not in slh("trace", "gold.shops", folder=drawn.folder).out.lower()
    found = json.loads(slh("trace", "gold.shops", "--json", folder=drawn.folder).out)
    assert found["not deterministic"] == []
