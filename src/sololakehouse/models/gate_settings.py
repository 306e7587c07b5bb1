"""What an experiment asks of its model before production."""

from __future__ import annotations

from pydantic import Field

from sololakehouse.config.settings import Settings


class GateSettings(Settings):
    """What an experiment asks of its model before production, besides beating the baseline.

    Attributes
    ----------
    slices
        Columns of the training set; each of their values is a slice of the test part.
    max_slice_loss
        By how much the first metric may be worse than the champion's on a slice.
    min_slice_rows
        Slices of fewer rows, or of one class only, are not judged.
    max_loss
        By how much the first metric may be worse than the champion's on the whole test part, at
        the worse end of the 95 % interval of the difference. None: the interval must reach 0.
    require_rebuild
        Whether production needs a version that 'slh rebuild' has rebuilt.
    """

    slices: tuple[str, ...] = ()
    max_slice_loss: float = Field(default=0.02, ge=0)
    min_slice_rows: int = Field(default=100, ge=1)
    max_loss: float | None = Field(default=None, ge=0)
    require_rebuild: bool = False
