"""How `--dist loadfile` hands test files to its processes: in units, the longest first."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# What these folders and files share takes longer to make than their shortest tests: a server, a
# trained project. Each is made in one process alone.
_TOGETHER = {
    **{
        f"tests/{folder}/": folder
        for folder in ("feature_engineering", "monitoring", "rebuild", "serving", "spark")
    },
    "tests/models/test_pending.py": "MLflow's server",
    "tests/models/test_server.py": "MLflow's server",
}
# They take from twenty seconds to four minutes. What is short comes last, and so all processes end
# at about the same time.
_FIRST = (
    "tests/docs/test_pages.py",
    "spark",
    "tests/test_demo.py",
    "serving",
    "MLflow's server",
    "rebuild",
    "tests/docs/test_site.py",
    "tests/models/test_batches.py",
    "tests/models/test_training.py",
    "tests/models/test_trainers.py",
    "tests/lessons/test_baseline.py",
    "tests/lessons/test_leak.py",
    "tests/replay/test_replay.py",
    "tests/pipelines/test_determinism.py",
    "tests/pipelines/test_increment.py",
    "tests/pipelines/test_cdc.py",
)


def unit(nodeid: str) -> str:
    """Return what a test is handed out with: its file, or the files that share with it."""
    file = nodeid.split("::", 1)[0]
    return next((unit for start, unit in _TOGETHER.items() if file.startswith(start)), file)


def place(nodeid: str) -> int:
    """Return the place of a test's unit among those that come first; the others are behind."""
    return _FIRST.index(unit(nodeid)) if unit(nodeid) in _FIRST else len(_FIRST)


class InUnits(LoadFileScheduling):
    """Hands out one unit after the other, in the order of the collected tests."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
