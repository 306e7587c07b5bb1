"""The conformance kit: hold a point-in-time join to the rules.

`check_join` holds any function to an oracle of thirty lines of plain Python, in cases that aim at
what joins get wrong; `check_training_set` holds a saved training set to it, row by row.
"""

from sololakehouse.conformance.contestants import Contestant, load_contestant, our_contestant
from sololakehouse.conformance.judging import Difference
from sololakehouse.conformance.report import ConformanceReport, TrapResult, check_join
from sololakehouse.conformance.training_sets import TrainingSetReport, check_training_set
from sololakehouse.features.asof import AsOf

__all__ = [
    "AsOf",
    "ConformanceReport",
    "Contestant",
    "Difference",
    "TrainingSetReport",
    "TrapResult",
    "check_join",
    "check_training_set",
    "load_contestant",
    "our_contestant",
]
