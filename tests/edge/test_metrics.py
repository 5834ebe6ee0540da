from __future__ import annotations

from prometheus_client import generate_latest

from services.contract.subjects import LANES
from services.contract.websocket import TIERS, CloseCode
from services.edge.metrics import ASK_RESULTS, REFUSALS, SEND_ERRORS, EdgeMetrics
from services.edge.stream.ring import Added
from services.runtime.metrics import PrometheusMetrics


def test_every_known_label_value_has_a_sample_from_the_start() -> None:
    process = PrometheusMetrics()
    EdgeMetrics(process)
    samples = generate_latest(process.registry).decode().splitlines()
    expected = [
        *(f'auralis_asks_total{{lane="{lane}",result="{result}"}} 0.0' for lane in LANES for result in ASK_RESULTS),
        *(f'auralis_blocks_total{{result="{result}"}} 0.0' for result in (*Added, "invalid")),
        *(f'auralis_refusals_total{{reason="{reason}"}} 0.0' for reason in REFUSALS),
        *(f'websocket_send_errors_total{{error_type="{kind}"}} 0.0' for kind in SEND_ERRORS),
        *(f'auralis_tier_listeners{{tier="{tier}"}} 0.0' for tier in TIERS),
        *(f'auralis_closes_total{{code="{int(code)}"}} 0.0' for code in CloseCode),
        *(f'auralis_resumes_total{{recovered="{recovered}"}} 0.0' for recovered in ("true", "false")),
        *(f'auralis_bus_messages_skipped_total{{kind="{kind}"}} 0.0' for kind in ("block", "presence")),
    ]
    assert [sample for sample in expected if sample not in samples] == []
