from __future__ import annotations

import json
import socket

import pytest

from tests.lake.keeping import TABLE, Shop


@pytest.fixture
def shop(tmp_path) -> Shop:
    shop = Shop(tmp_path)
    shop.versions(3)
    return shop


def test_leases_are_added_listed_and_dropped(slh, shop):
    said = slh("lease", "add", f"{TABLE}@v2", "--why", "annual report", folder=shop.folder)
    assert said.code == 0
    assert said.out.startswith(f"{TABLE}@v2 is leased (")
    again = slh("lease", "add", f"{TABLE}@v2", "--why", "other", folder=shop.folder)
    assert "was leased already" in again.out
    (row,) = json.loads(slh("lease", "list", "--json", folder=shop.folder).out)
    assert (row["version"], row["kind"], row["why"]) == (f"{TABLE}@v2", "person", "annual report")
    assert "annual report" in slh("lease", "list", folder=shop.folder).out
    dropped = slh("lease", "drop", f"{TABLE}@v2", folder=shop.folder)
    assert "is not leased by" in dropped.out
    assert "No leases." in slh("lease", "list", folder=shop.folder).out


def test_a_mistake_ends_with_2_and_one_sentence(slh, shop):
    said = slh("lease", "add", f"{TABLE}@v9", "--why", "report", folder=shop.folder)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"Error: {TABLE} has no version 9 that can be read. Versions that can: 0 to 3.\n"
    )
    said = slh("vacuum", "--without-lease", "x", folder=shop.folder)
    assert said.code == 2
    assert "add --dry-run" in said.err


def test_vacuum_says_what_it_did(slh, shop):
    orphan = shop.lake.path(TABLE) / "part-20260101T000000-0a1b2c3d-0a1b2c3d4e5f.parquet"
    orphan.write_bytes(b"orphan")
    dry = slh("vacuum", "--dry-run", folder=shop.folder)
    assert "6 bytes would be removed." in dry.out
    assert f"  {orphan.name}  " in dry.out
    assert orphan.exists()
    done = json.loads(slh("vacuum", TABLE, "--json", folder=shop.folder).out)
    assert done["bytes"] == 6
    assert done["tables"][0]["orphan files"] == 1
    assert done["tables"][0]["readable versions"] == "0 to 3"
    assert "Nothing to remove." in slh("vacuum", folder=shop.folder).out


def test_a_dry_run_without_a_lease_says_so(slh, shop):
    slh("lease", "add", f"{TABLE}@v2", "--why", "report", folder=shop.folder)
    reference = f"{TABLE}@v2"
    dry = slh("vacuum", "--dry-run", "--without-lease", reference, folder=shop.folder)
    assert "Without these leases" in dry.out
    unknown = slh("vacuum", "--dry-run", "--without-lease", "nobody", folder=shop.folder)
    assert (unknown.code, "No lease 'nobody'" in unknown.err) == (2, True)


def test_a_dry_run_says_what_would_go_at_a_later_moment(slh, shop):
    shop.set_retention("30d")
    assert "Nothing to remove." in slh("vacuum", "--dry-run", folder=shop.folder).out
    later = slh("vacuum", "--dry-run", "--at", "2100-01-01T00:00:00Z", "--json", folder=shop.folder)
    assert json.loads(later.out)["tables"][0]["readable versions"] == "3"
    wrong = slh("vacuum", "--at", "2100-01-01T00:00:00Z", folder=shop.folder)
    assert (wrong.code, "add --dry-run" in wrong.err) == (2, True)
    zone = slh("vacuum", "--dry-run", "--at", "2100-01-01", folder=shop.folder)
    assert (zone.code, "2100-01-01" in zone.err) == (2, True)


def test_optimize_says_that_the_content_is_the_same(slh, shop):
    for n in (7, 8):
        shop.write([n], mode="append")
    said = slh("optimize", TABLE, folder=shop.folder)
    assert "3 files with" in said.out
    assert "The content is the same before and after: 5 rows" in said.out
    assert "nothing to do" in slh("optimize", TABLE, folder=shop.folder).out
    row = json.loads(slh("optimize", TABLE, "--zorder", "id", "--json", folder=shop.folder).out)
    assert (row["changed"], row["rows"]) == (True, 5)


def test_doctor_ends_with_1_only_for_errors(slh, shop):
    assert slh("doctor", folder=shop.folder).out == "Healthy: nothing to report.\n"
    shop.set_retention("7d")
    said = slh("doctor", folder=shop.folder)
    assert (said.code, "slh doctor --fix" in said.out) == (0, True)
    fixed = json.loads(slh("doctor", "--fix", "--json", folder=shop.folder).out)
    assert fixed == {"fixed": [TABLE], "findings": []}
    for file in shop.lake.path(TABLE).glob("*.parquet"):
        file.unlink()
    broken = slh("doctor", "--json", folder=shop.folder)
    assert broken.code == 1
    assert json.loads(broken.out)["findings"][0]["check"] == "data files"


def test_a_zorder_that_names_no_column_is_refused(slh, shop):
    said = slh("optimize", TABLE, "--zorder", " ,", folder=shop.folder)
    assert (said.code, said.out) == (2, "")
    assert said.err == "Error: --zorder ' ,' names no column. Write columns as in a,b.\n"


def test_doctor_says_once_that_a_retention_changed(slh, shop):
    for name in ("gold.a", "gold.b", "gold.c"):
        shop.versions(1, name)
    shop.set_retention("365d")
    said = slh("doctor", folder=shop.folder)
    assert said.code == 0
    assert said.out.splitlines()[0] == "warning lakehouse"
    assert len(said.out.splitlines()) == 3
    listed = slh("doctor", "--json", folder=shop.folder).out
    assert json.loads(listed)["findings"][0]["tables"] == ["gold.a", "gold.b", "gold.c", TABLE]
    said = slh("doctor", "--fix", folder=shop.folder)
    assert said.out.splitlines() == [
        "4 tables have the project's retention now: gold.a, gold.b, gold.c and 1 more.",
        "Healthy: nothing to report.",
    ]


def test_a_port_of_the_console_that_is_taken_is_said_in_one_sentence(slh, shop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = slh("console", "--port", port, folder=shop.folder)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"Error: Nothing can listen on 127.0.0.1 port {port}: ")
    assert said.err.endswith("Choose another with --port.\n")
