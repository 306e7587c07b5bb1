from __future__ import annotations

from sololakehouse.features.labels_query import LabelsQuery
from sololakehouse.features.spine import Spine

from .flights import LABELS


def test_the_number_of_labels_of_a_frame_a_table_and_a_query(unchanged):
    query = LabelsQuery.pin(unchanged.lake, "SELECT * FROM gold.labels WHERE is_late = 0")
    assert Spine(LABELS.head(3), (), None).height == 3
    assert Spine(unchanged.lake.read("gold.labels"), (), None).height == 4
    assert Spine(query, (), None).height == 2
