"""What a page shows against what was printed: matching with `...`, and differences to read."""

from __future__ import annotations

import difflib
import re

ANY = "..."
_EXIT = re.compile(r"\[exit (\d+)\]")


def lines_of(text: str) -> list[str]:
    """Return the lines of an output without what nobody sees: trailing spaces and empty ends."""
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def without_exit_code(text: str) -> tuple[str, int]:
    """Take a last line `[exit N]` off an output; 0 if there is none."""
    lines = lines_of(text)
    found = _EXIT.fullmatch(lines[-1]) if lines else None
    return ("\n".join(lines[:-1]), int(found[1])) if found else (text, 0)


def matches(expected: str, got: str) -> bool:
    """Whether an output is the expected one.

    `...` stands for anything within a line, a line that is only `...` for any number of lines.
    Spaces at the ends of lines do not count, nor do empty lines at the beginning and the end.
    """
    wanted, printed = lines_of(expected), lines_of(got)
    sections = _sections(wanted)
    first, *others = sections
    if not others:
        return len(first) == len(printed) and _alike(first, printed)
    *middle, last = others
    if not _alike(first, printed) or len(first) + len(last) > len(printed):
        return False
    inner = printed[len(first) : len(printed) - len(last)]
    if last and not _alike(last, printed[-len(last) :]):
        return False
    return _in_order(middle, inner)


def _sections(wanted: list[str]) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in wanted:
        if line.strip() == ANY:
            sections.append([])
        else:
            sections[-1].append(line)
    return sections


def _in_order(sections: list[list[str]], printed: list[str]) -> bool:
    start = 0
    for section in sections:
        places = range(start, len(printed) - len(section) + 1)
        found = next((at for at in places if _alike(section, printed[at:])), None)
        if found is None:
            return False
        start = found + len(section)
    return True


def _alike(section: list[str], printed: list[str]) -> bool:
    if len(section) > len(printed):
        return False
    return all(line_matches(one, other) for one, other in zip(section, printed, strict=False))


def line_matches(expected: str, got: str) -> bool:
    """Whether one line is the expected one, where `...` stands for anything."""
    if ANY not in expected:
        return expected == got
    pattern = ".*".join(map(re.escape, expected.split(ANY)))
    return re.fullmatch(pattern, got) is not None


def kept(expected: str, got: str) -> str:
    """Return what was printed, with the `...` of what was expected where it still holds.

    Examples
    --------
    >>> kept("run ...\\n2 rows", "run 17\\n3 rows")
    'run ...\\n3 rows'
    """
    output, code = without_exit_code(got)
    wanted = lines_of(without_exit_code(expected)[0])
    printed = _worded_as_expected(wanted, output)
    matcher = difflib.SequenceMatcher(a=wanted, b=printed, autojunk=False)
    lines: list[str] = []
    for _, first, last, start, end in matcher.get_opcodes():
        whole = [line.strip() for line in wanted[first:last]] == [ANY]
        lines += wanted[first:last] if whole else printed[start:end]
    return "\n".join([*lines, f"[exit {code}]"] if code else lines)


def difference(expected: str, got: str) -> str:
    """Write the difference between what was expected and what was printed, line by line."""
    told = difflib.unified_diff(
        lines_of(expected),
        lines_of(kept(expected, got)),
        "expected",
        "got",
        lineterm="",
        n=3,
    )
    return "\n".join(told)


def _worded_as_expected(wanted: list[str], got: str) -> list[str]:
    patterns = [line for line in wanted if ANY in line and line.strip() != ANY]
    return [
        next((pattern for pattern in patterns if line_matches(pattern, line)), line)
        for line in lines_of(got)
    ]
