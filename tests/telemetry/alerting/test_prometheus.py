import asyncio
import base64

import httpx

from services.telemetry.alerting.prometheus import PrometheusAlerts
from tests.support.waiting import until

ANSWER = {
    "status": "success",
    "data": {
        "alerts": [
            {
                "labels": {"alertname": "StreamsDegraded", "instance": "edge-1", "severity": "warning"},
                "annotations": {
                    "summary": "Streams loop their last seconds",
                    "description": "edge-1: 2 streams.",
                    "runbook_url": "https://music.example/runbooks/StreamsDegraded.md",
                },
                "state": "pending",
                "activeAt": "2026-11-23T15:37:44.123456789Z",
                "value": "2e+00",
            },
            {
                "labels": {"alertname": "EdgeSilent", "instance": "edge-1", "severity": "critical"},
                "annotations": {},
                "state": "firing",
                "activeAt": "2026-11-23T15:37:44Z",
            },
            {"labels": {"alertname": "AlertOfAnotherProject"}, "annotations": {}, "state": "firing", "activeAt": "…"},
        ]
    },
}


def answering(response: httpx.Response) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: response)


async def fetch(alerts: PrometheusAlerts, response: httpx.Response) -> None:
    async with httpx.AsyncClient(transport=answering(response)) as http:
        await alerts.fetch(http)


async def test_alerts_of_auralis_are_reported_as_prometheus_has_them() -> None:
    alerts = PrometheusAlerts("http://prometheus:9090/")
    await fetch(alerts, httpx.Response(200, json=ANSWER))
    report = alerts.report()
    assert (report.source, report.problem) == ("prometheus", "")
    assert [(each.name, each.state) for each in report.alerts] == [
        ("EdgeSilent", "firing"), ("StreamsDegraded", "pending"),
    ]  # fmt: skip
    assert report.alerts[1].since == 1795448264.1
    assert report.alerts[1].description == "edge-1: 2 streams."
    assert [each.runbook for each in report.alerts] == ["", "https://music.example/runbooks/StreamsDegraded.md"]


async def test_a_failure_is_reported_beside_the_last_alerts() -> None:
    alerts = PrometheusAlerts("http://prometheus:9090")
    await fetch(alerts, httpx.Response(200, json=ANSWER))
    for bad in (httpx.Response(503), httpx.Response(200, text="<html>"), httpx.Response(200, json={"data": {}})):
        await fetch(alerts, bad)
        report = alerts.report()
        assert "http://prometheus:9090 gives no alerts" in report.problem
        assert len(report.alerts) == 2


async def test_a_password_in_the_url_is_sent_to_prometheus_and_not_reported() -> None:
    requests: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(401)

    alerts = PrometheusAlerts("http://me:hun%40ter2@prometheus:9090/sub/", transport=httpx.MockTransport(refuse))
    running = asyncio.create_task(alerts.run())
    await until(lambda: "401" in alerts.report().problem)
    running.cancel()
    assert str(requests[0].url) == "http://prometheus:9090/sub/api/v1/alerts"
    assert requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:hun@ter2").decode()
    assert "ter2" not in alerts.report().problem
