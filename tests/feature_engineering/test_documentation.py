"""The page on feature engineering: its examples run, one after the other, in an empty project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "feature_engineering.md"
FUNCTIONS = "# functions/travel.py\n"


def test_the_examples_run(tmp_path, monkeypatch):
    (tmp_path / "lakehouse.yml").write_text("name: documented\n")
    (tmp_path / "functions").mkdir()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    for block in blocks:
        if block.startswith(FUNCTIONS):
            (tmp_path / "functions" / "travel.py").write_text(block)
        else:
            exec(compile(block, PAGE.name, "exec"), names)
    assert str(names["version"]) == "my_delay version 1"
