"""The table of rights on the bus, and the files that are made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from services.runtime.bus.rights import SERVICES, bus_rights, server_accounts

ROOT = Path(__file__).parents[3]


def test_the_files_that_are_made_of_the_table_are_current() -> None:
    done = subprocess.run([ROOT / "scripts" / "bus-rights", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_import_has_an_export_for_its_account() -> None:
    accounts = server_accounts(dict.fromkeys(SERVICES, "a-password"))
    for name, each in accounts.items():
        for imported in each["imports"]:
            (kind,) = {"service", "stream"} & set(imported)
            wanted = imported[kind]
            exports = [export for export in accounts[wanted["account"]]["exports"] if kind in export]
            assert any(export[kind] == wanted["subject"] and name in export["accounts"] for export in exports), imported


def test_a_server_without_workers_has_no_account_for_them() -> None:
    accounts = server_accounts({"edge": "a1", "telemetry": "a2"})
    assert set(accounts) == {"EDGE", "TELEMETRY"}
    assert "SYNTHESIS" not in str(accounts)


def test_only_the_account_of_the_workers_has_jetstream() -> None:
    assert [service for service, rights in bus_rights().items() if rights["jetstream"]] == ["synthesis"]
