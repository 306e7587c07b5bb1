from __future__ import annotations

import pytest

from sololakehouse.conformance import check_join, load_contestant, our_contestant
from sololakehouse.errors import EngineError, NotFoundError, UsageError

STORE = """
from neighbour import named
NOT_SUPPORTED = ("known_at", "lookback")

def join(labels, features, rule):
    return named(labels)
"""


@pytest.fixture
def store(tmp_path):
    """Write a store's file with a neighbour; return its path."""
    (tmp_path / "neighbour.py").write_text("def named(labels): raise RuntimeError('no store')")
    file = tmp_path / "my_store.py"
    file.write_text(STORE)
    return file


def test_a_join_is_loaded_from_a_file_with_what_it_does_not_support(store):
    contestant = load_contestant(f"{store}:join")
    assert contestant.name == f"{store}:join"
    assert contestant.lacks == {"known_at", "lookback"}
    (result, *_) = check_join(contestant, 21).results
    assert result.example.got == "RuntimeError: no store"


@pytest.mark.parametrize("place", ["my_store", "my_store.py", ":join", "my_store.py:", "a.py:b-c"])
def test_a_place_that_names_no_join(place):
    message = f"{place!r} names no join. Write a Python file and a function of it, such as "
    with pytest.raises(UsageError) as raised:
        load_contestant(place)
    assert str(raised.value).startswith(message)


def test_a_function_or_a_file_that_is_not_there(store):
    with pytest.raises(NotFoundError) as raised:
        load_contestant(f"{store}:jion")
    assert str(raised.value) == (
        f"{store}: No function 'jion'. Did you mean 'join'? Functions: join, named."
    )
    with pytest.raises(UsageError, match=r"^There is no file store\.py\.$"):
        load_contestant("store.py:join")


def test_an_option_that_no_rule_has(store):
    store.write_text("NOT_SUPPORTED = ['lookbak']\ndef join(): ...")
    with pytest.raises(NotFoundError) as raised:
        load_contestant(f"{store}:join")
    assert str(raised.value) == (
        f"{store}: NOT_SUPPORTED: No option 'lookbak'. Did you mean 'lookback'? Options: "
        "known_as_of, known_at, lookback, plain_lookup, strict."
    )


def test_a_file_that_cannot_be_run(store):
    store.write_text("import no_such_store")
    with pytest.raises(UsageError) as raised:
        load_contestant(f"{store}:join")
    assert str(raised.value) == (
        f"{store} cannot be run: ModuleNotFoundError: No module named 'no_such_store'."
    )


def test_an_engine_that_is_none():
    with pytest.raises(UsageError) as raised, our_contestant("cluster"):
        pass
    assert str(raised.value) == (
        "'cluster' is no engine. Write 'embedded', or the address of a Spark Connect server: "
        "sc://host:15002, or 'polars'."
    )
    with (
        pytest.raises(EngineError, match="No Spark Connect server answers at sc://localhost:1"),
        our_contestant("sc://localhost:1"),
    ):
        pass
