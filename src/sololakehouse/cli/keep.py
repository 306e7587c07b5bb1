"""Commands that keep the lake: `slh lease`, `slh vacuum`, `slh optimize`, `slh doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.lake.doctor import Finding
    from sololakehouse.lake.leases import Lease
    from sololakehouse.lake.optimize import OptimizeResult
    from sololakehouse.lake.vacuum import HolderShare, TablePlan, VacuumResult

_NAMED = 3
_COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.group()
def lease() -> None:
    """Keep versions of tables: 'slh vacuum' removes nothing that a lease needs.

    Registered models and saved training sets lease what they were made from by themselves.

    \b
    Examples:
      slh lease add silver.flights@v7 --why "figures of the annual report"
      slh lease list
      slh lease drop silver.flights@v7
    """


@lease.command("add")
@click.argument("version")
@click.option("--why", required=True, help="What the version is needed for.")
@as_json
def lease_add(version: str, why: str, json_wanted: bool) -> None:
    """Lease VERSION, such as silver.flights@v7, until the lease is dropped.

    \b
    Examples:
      slh lease add silver.flights@v7 --why "figures of the annual report"
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.leases import add_lease

    with recorded(Lakehouse.open(), "lease add", version) as log:
        added, new = add_lease(log.writer, version, why)
    if json_wanted:
        print_json(_lease_row(added) | {"new": new})
    elif new:
        print_line(f"{added.reference} is leased ({added.lease_id}).")
    else:
        print_line(f"{added.reference} was leased already ({added.lease_id}): {added.why}")


@lease.command("list")
@as_json
def lease_list(json_wanted: bool) -> None:
    """List the leases that hold.

    \b
    Examples:
      slh lease list
      slh lease list --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.leases import active_leases

    rows = [_lease_row(held) for held in active_leases(Lakehouse.open())]
    if json_wanted:
        print_json(rows)
    elif rows:
        print_table(rows, ["lease", "version", "holder", "kind", "why", "user", "at"])
    else:
        print_line("No leases. 'slh lease add TABLE@v1 --why ...' makes one.")


@lease.command("drop")
@click.argument("reference")
@as_json
def lease_drop(reference: str, json_wanted: bool) -> None:
    """Drop a lease: by its identifier, by the version, or all leases of a holder.

    A version names the leases of persons only. Look before with
    'slh vacuum --dry-run --without-lease REFERENCE'.

    \b
    Examples:
      slh lease drop silver.flights@v7
      slh lease drop 4f0c2d9a61be
      slh lease drop flight_delay@3
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.leases import drop_leases

    with recorded(Lakehouse.open(), "lease drop", reference) as log:
        dropped = drop_leases(log.writer, reference)
    if json_wanted:
        print_json([_lease_row(one) for one in dropped])
        return
    for one in dropped:
        print_line(f"{one.reference} is not leased by {one.holder} any more.")


def _lease_row(held: Lease) -> dict[str, Any]:
    return {
        "lease": held.lease_id,
        "version": held.reference,
        "holder": held.holder,
        "kind": held.holder_kind,
        "why": held.why,
        "user": held.user,
        "at": held.added_at,
    }


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option(
    "--without-lease",
    "without",
    multiple=True,
    metavar="LEASE",
    help="With --dry-run: as if this lease (identifier, T@v7 or holder) were dropped.",
)
@click.option("--at", metavar="MOMENT", help="With --dry-run: as if it were this moment.")
@as_json
def vacuum(
    tables: tuple[str, ...],
    dry_run: bool,
    without: tuple[str, ...],
    at: str | None,
    json_wanted: bool,
) -> None:
    """Remove data files and log entries that no kept version needs, and left-over files.

    TABLES are all tables by default. Kept are the newest version, the versions that were replaced
    within the 'retention' of lakehouse.yml, and the leased ones. With --dry-run it also says what
    only the leases of each holder keep, and which models could not be built again without.

    \b
    Examples:
      slh vacuum --dry-run
      slh vacuum --dry-run --without-lease flight_delay@1
      slh vacuum --dry-run --at 2027-01-31T00:00:00Z
      slh vacuum silver.flights
    """
    from sololakehouse.errors import UsageError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.leases import active_leases, matching_leases
    from sololakehouse.lake.reference import parse_moment
    from sololakehouse.lake.vacuum import plan_vacuum
    from sololakehouse.lake.vacuum import vacuum as vacuum_tables

    if without and not dry_run:
        raise UsageError(
            "--without-lease asks what would happen: add --dry-run, or drop the lease with "
            "'slh lease drop'."
        )
    if at and not dry_run:
        raise UsageError("--at asks what would happen: add --dry-run.")
    lake = Lakehouse.open()
    if dry_run:
        active = active_leases(lake)
        dropped = [held for name in without for held in matching_leases(active, name)]
        moment = parse_moment(at, lake.project.settings.time_zone) if at else None
        result = plan_vacuum(lake, tables, without=dropped, now=moment)
    else:
        with recorded(lake, "vacuum", *tables) as log:
            result = vacuum_tables(log.writer, tables)
    if json_wanted:
        print_json(_vacuum_json(result))
    else:
        _print_vacuum(result, dry_run=dry_run)


def _vacuum_json(result: VacuumResult) -> dict[str, Any]:
    return {
        "bytes": result.bytes,
        "tables": [_plan_row(plan) for plan in result.tables],
        "staging_folders": [str(folder) for folder in result.staging],
        "leases_by_holder": [_share_row(share) for share in result.shares],
        "without_leases": _share_row(result.without) if result.without else None,
    }


def _plan_row(plan: TablePlan) -> dict[str, Any]:
    from sololakehouse.lake.leases import ranges

    return {
        "table": plan.state.table,
        "bytes": plan.bytes,
        "old files": len(plan.old_files),
        "orphan files": len(plan.orphans),
        "orphans": [orphan.path for orphan in plan.orphans],
        "log files": len(plan.log_files),
        "readable versions": ranges(plan.readable),
    }


def _share_row(share: HolderShare) -> dict[str, Any]:
    return {
        "holder": share.holder,
        "leases": share.leases,
        "bytes": share.bytes,
        "unbuildable": list(share.unbuildable),
    }


def _print_vacuum(result: VacuumResult, *, dry_run: bool) -> None:
    from sololakehouse.errors import shortened

    rows = [_plan_row(plan) for plan in result.tables if not plan.nothing]
    rows = [row | {"orphans": shortened(row["orphans"], limit=3)} for row in rows]
    would = "would be removed" if dry_run else "removed"
    if rows:
        print_table(rows, list(rows[0]))
    if result.staging:
        print_line(f"{len(result.staging)} staging folders of killed processes: {would}.")
    if rows or result.staging:
        print_line(f"{result.bytes:,} bytes {would}.")
    else:
        print_line("Nothing to remove.")
    shares = [share for share in result.shares if share.bytes or share.unbuildable]
    if shares:
        print_line("\n[bold]What only the leases of a holder keep[/]")
        _print_shares(shares)
    if result.without:
        print_line("\n[bold]Without these leases[/]")
        _print_shares([result.without])


def _print_shares(shares: Sequence[HolderShare]) -> None:
    rows = [_share_row(share) for share in shares]
    written = [row | {"unbuildable": ", ".join(row["unbuildable"])} for row in rows]
    print_table(written, ["holder", "leases", "bytes", "unbuildable"])


@click.command()
@click.argument("table")
@click.option("--zorder", metavar="COLUMNS", help="Order rows by these columns: a,b.")
@as_json
def optimize(table: str, zorder: str | None, json_wanted: bool) -> None:
    """Put the small files of TABLE together, or order its rows for faster filters.

    The rows are the same afterwards: the content manifest of the new files is compared before they
    are committed. Nothing that has read the table is computed again.

    \b
    Examples:
      slh optimize silver.flights
      slh optimize silver.flights --zorder origin,flight_date
    """
    from sololakehouse.errors import UsageError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.optimize import optimize as optimize_table

    columns = [name.strip() for name in (zorder or "").split(",") if name.strip()]
    if zorder is not None and not columns:
        raise UsageError(f"--zorder {zorder!r} names no column. Write columns as in a,b.")
    with recorded(Lakehouse.open(), "optimize", table) as log:
        result = optimize_table(log.writer, table, columns)
    if json_wanted:
        print_json(_optimize_row(result))
    elif result.changed:
        print_line(
            f"{result.snapshot.name}: {result.files_before} files with {result.bytes_before:,} "
            f"bytes are {result.files_after} with {result.bytes_after:,}. The content is the same "
            f"before and after: {result.manifest.rows:,} rows, {result.manifest.digest[:12]}."
        )
    else:
        print_line(f"{result.snapshot.name}: nothing to do, its {result.files_before} files stay.")


def _optimize_row(result: OptimizeResult) -> dict[str, Any]:
    return {
        "table": result.snapshot.name,
        "version": result.snapshot.version,
        "changed": result.changed,
        "files before": result.files_before,
        "files after": result.files_after,
        "bytes before": result.bytes_before,
        "bytes after": result.bytes_after,
        "rows": result.manifest.rows,
        "digest": result.manifest.digest,
    }


@click.command()
@click.option("--fix", is_flag=True, help="Set the project's retention on tables that differ.")
@as_json
def doctor(fix: bool, json_wanted: bool) -> int:
    """Check tables, leases, files, quarantines and the log; the exit code is 1 if there are errors.

    \b
    Examples:
      slh doctor
      slh doctor --fix
      slh doctor --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.doctor import diagnose
    from sololakehouse.lake.retention import set_retention
    from sololakehouse.pipelines.quarantine_check import check_quarantines

    lake = Lakehouse.open()
    fixed: list[str] = []
    if fix:
        with recorded(lake, "doctor", "--fix") as log:
            fixed = set_retention(log.writer)
    findings = diagnose(lake) + check_quarantines(lake)
    if json_wanted:
        print_json({"fixed": fixed, "findings": [_finding_row(found) for found in findings]})
    else:
        _print_findings(findings, fixed)
    return int(any(found.severity == "error" for found in findings))


def _finding_row(found: Finding) -> dict[str, Any]:
    return {
        "table": found.table,
        "tables": list(found.tables or filter(None, [found.table])),
        "severity": found.severity,
        "check": found.check,
        "what": found.what,
        "advice": found.advice,
    }


def _print_findings(findings: Sequence[Finding], fixed: Sequence[str]) -> None:
    from sololakehouse.errors import shortened

    if fixed:
        count = f"{len(fixed)} table{' has' if len(fixed) == 1 else 's have'}"
        print_line(f"{count} the project's retention now: {shortened(fixed, _NAMED)}.")
    for found in findings:
        color = _COLORS[found.severity]
        print_line(f"[{color}]{found.severity}[/] [bold]{found.table or 'lakehouse'}[/]")
        click.echo(f"  {found.what}\n  {found.advice}")
    if not findings:
        print_line("Healthy: nothing to report.")
