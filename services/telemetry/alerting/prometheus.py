"""Alerts as a Prometheus judges them (shell: HTTP)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx

from services.contract.errors import shorten
from services.telemetry.alerting.alerts import RULES, AlertReport, AlertsReport, in_order
from services.telemetry.keep_on import keep_on

EVERY_S: Final = 10.0
TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 4 * 2**20
_OURS: Final = frozenset(rule.name for rule in RULES)


class PrometheusAlerts:
    """Looks at Prometheus' list of alerts every ten seconds.

    Args:
        url: of Prometheus, for example http://127.0.0.1:9190 or https://name:password@prometheus.example/path.
        transport: tests give their own.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # A name and a password in the address are for Prometheus alone: the address is shown where it does not answer.
        parts = urlsplit(url)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._sign_in = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        self._transport = transport
        self._report = AlertsReport("prometheus", "not asked yet", [])

    async def run(self) -> None:
        """Ask for ever."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, transport=self._transport, auth=self._sign_in) as http:
            await keep_on("prometheus", lambda: self.ask(http), lambda: EVERY_S)

    async def ask(self, http: httpx.AsyncClient) -> None:
        """Ask once; a failure is told in the report, beside the last alerts that could be had."""
        try:
            response = await http.get(f"{self._url}/api/v1/alerts")
            response.raise_for_status()
            if len(response.content) > MAX_BYTES:
                raise ValueError(f"{len(response.content)} bytes")  # noqa: TRY301 - told like every other failure
            alerts = read_alerts(response.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            detail = shorten(f"{type(error).__name__}: {error}")
            self._report = AlertsReport("prometheus", f"{self._url} gives no alerts: {detail}", self._report.alerts)
        else:
            self._report = AlertsReport("prometheus", "", alerts)

    def report(self) -> AlertsReport:
        """The last answer."""
        return self._report


def read_alerts(body: Mapping[str, Any]) -> list[AlertReport]:
    """Ours among the answer of `/api/v1/alerts`.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    alerts = []
    for each in body["data"]["alerts"]:
        labels, annotations = each["labels"], each["annotations"]
        if labels["alertname"] not in _OURS:
            continue
        # Nanoseconds are more than Python reads.
        began = datetime.fromisoformat(each["activeAt"])
        alerts.append(
            AlertReport(
                name=labels["alertname"],
                severity=str(labels.get("severity", "")),
                state=str(each["state"]),
                instance=str(labels.get("instance", "")),
                summary=str(annotations.get("summary", "")),
                description=str(annotations.get("description", "")),
                runbook=str(annotations.get("runbook_url", "")),
                since=round(began.timestamp(), 1),
            )
        )
    return in_order(alerts)
