"""The result: a table for people, JSON for scripts."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench.figures import Row

_VERDICT = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


def table(rows: Sequence[Row]) -> Table:
    """One line per row."""
    shown = Table("row", "figure", "floor of the same run", "ratio", "bar", "met?", show_lines=True)
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        shown.add_row(row.name, row.figure, row.floor, ratio, row.bar, _VERDICT[row.is_met])
    return shown


def write_json(path: Path, rows: Sequence[Row], problems: dict[str, str]) -> None:
    """All rows with their details, and what they were measured on."""
    path.write_text(
        json.dumps(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine(),
                "rows": [asdict(row) for row in rows],
                "problems": problems,
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )


def machine() -> dict[str, str | int | float]:
    """What the figures depend on; the load tells whether others used the machine."""
    return {
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def show(console: Console, rows: Sequence[Row], problems: dict[str, str]) -> None:
    """The table, and what could not be measured."""
    console.print(table(rows))
    for name, problem in problems.items():
        console.print(f"{name} could not be measured: {problem}", style="red", markup=False)
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), style="dim")
    console.print(
        "Functions whose throughput is measured have 1769 MB, a whole vCPU, so that the CPU quota is not measured.",
        style="dim",
    )
