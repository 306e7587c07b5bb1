"""The rules of the point-in-time join in plain Python: look at every row, for every label."""

Key = tuple[object, ...]
Row = tuple[Key, int, int]  # key, feature_ts, known_at


def chosen(
    key: Key,
    event: int | None,
    rows: list[Row],
    *,
    uses_known_at: bool = False,
    known_as_of: int | None = None,
    lookback: int | None = None,
    allow_exact_match: bool = True,
) -> int | None:
    """Return the place of the row that a label gets; times are in microseconds."""
    best: int | None = None
    for index, (row_key, ts, restated) in enumerate(rows):
        if event is None or None in key or row_key != key:
            continue
        visible = ts <= event if allow_exact_match else ts < event
        known_at = restated if uses_known_at else ts
        known = known_at <= (event if known_as_of is None else known_as_of)
        if visible and known and (best is None or (ts, restated) > rows[best][1:]):
            best = index
    if best is None or event is None or lookback is None:
        return best
    return best if event - rows[best][1] <= lookback else None
