"""Alerts that a Prometheus judges (shell: HTTP)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx

from services.contract.errors import shorten
from services.telemetry.alerting.alerts import AlertReport, AlertsReport, in_order
from services.telemetry.alerting.rules import RULES
from services.telemetry.periodic import run_periodically

EVERY_S: Final = 10.0
"""Time between two requests."""
TIMEOUT_S: Final = 5.0
"""How long an answer may take."""
MAX_BYTES: Final = 4 * 2**20
"""Largest answer; a larger one counts as a failure."""
_OWN_ALERTS: Final = frozenset(rule.name for rule in RULES)
"""Alerts of Auralis; a Prometheus may have others."""


class PrometheusAlerts:
    """Fetches Prometheus' list of alerts every ten seconds.

    Args:
        url: of Prometheus, for example http://127.0.0.1:9190 or https://name:password@prometheus.example/path.
        transport: of the HTTP client; None: the network.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # The address is shown if Prometheus does not answer; name and password are removed from it.
        parts = urlsplit(url)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        self._transport = transport
        self._report = AlertsReport("prometheus", "not asked yet", [])

    async def run(self) -> None:
        """Fetch the alerts for ever."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, transport=self._transport, auth=self._auth) as http:
            await run_periodically("prometheus", lambda: self.fetch(http), lambda: EVERY_S)

    async def fetch(self, http: httpx.AsyncClient) -> None:
        """Fetch the alerts once; a failure goes into the report, beside the alerts of the last success."""
        try:
            response = await http.get(f"{self._url}/api/v1/alerts")
            response.raise_for_status()
            if len(response.content) > MAX_BYTES:
                raise ValueError(f"{len(response.content)} bytes")  # noqa: TRY301 - reported like the other failures
            alerts = read_alerts(response.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            detail = shorten(f"{type(error).__name__}: {error}")
            self._report = AlertsReport("prometheus", f"{self._url} gives no alerts: {detail}", self._report.alerts)
        else:
            self._report = AlertsReport("prometheus", "", alerts)

    def report(self) -> AlertsReport:
        """The alerts of the last success, with the problem since then, if any."""
        return self._report


def read_alerts(body: Mapping[str, Any]) -> list[AlertReport]:
    """The alerts of Auralis in an answer of `/api/v1/alerts`.

    Raises:
        KeyError, TypeError, ValueError: it is not such an answer.
    """
    alerts = []
    for each in body["data"]["alerts"]:
        labels, annotations = each["labels"], each["annotations"]
        if labels["alertname"] not in _OWN_ALERTS:
            continue
        # Python cuts Prometheus' nanoseconds to microseconds.
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
