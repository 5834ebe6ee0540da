from services.local.up.plan import Addresses, announcement, choose_addresses, plan_children
from services.runtime.settings import Settings

PASSWORDS = {"synthesis": "a1", "edge": "a2", "telemetry": "a3"}
SECRET = "a secret of more than 16 letters"  # noqa: S105 - of this test only
ADDRESSES = Addresses(
    host="127.0.0.1",
    edge_port=8000,
    metrics_port=9090,
    internal_ports={"synthesis": 5001, "edge": 5002, "telemetry": 9090},
    nats_url="nats://127.0.0.1:5000",
)


def test_public_ports_come_from_the_settings_and_internal_ports_are_free() -> None:
    addresses = choose_addresses(Settings(port=8100, metrics_port=9100, host="0.0.0.0"), "nats://x:1")  # noqa: S104
    assert (addresses.host, addresses.edge_port, addresses.metrics_port) == ("127.0.0.1", 8100, 9100)
    assert addresses.internal_ports["telemetry"] == 9100
    assert len(set(addresses.internal_ports.values())) == 3


def test_port_0_means_a_free_port() -> None:
    addresses = choose_addresses(Settings(port=0, metrics_port=0), "nats://x:1")
    assert 0 < addresses.edge_port != addresses.metrics_port > 0


def test_each_service_gets_its_ports_and_the_bus() -> None:
    children = {
        child.name: child for child in plan_children(ADDRESSES, passwords=PASSWORDS, drain_s=1.0, secret=SECRET)
    }
    assert {child.environ["NATS_URL"] for child in children.values()} == {"nats://127.0.0.1:5000"}
    assert {name: child.environ["METRICS_PORT"] for name, child in children.items()} == {
        "synthesis": "5001", "edge": "5002", "telemetry": "9090",
    }  # fmt: skip
    assert children["edge"].environ["AURALIS_PORT"] == "8000"
    assert children["edge"].environ["AURALIS_DRAIN_SECONDS"] == "1"
    assert children["edge"].environ["AURALIS_SECRET"] == SECRET
    assert "AURALIS_SECRET" not in children["synthesis"].environ
    assert children["synthesis"].environ["AURALIS_HOST"] == "127.0.0.1"
    assert children["telemetry"].module == "services.telemetry"


def test_credentials_go_only_to_a_server_that_the_user_runs() -> None:
    own = plan_children(ADDRESSES, passwords=PASSWORDS, drain_s=1.0, secret=SECRET)[0].environ
    given = plan_children(ADDRESSES, passwords=None, drain_s=1.0, secret=SECRET)[0].environ
    assert own["NATS_TOKEN"] == ""
    assert "NATS_TOKEN" not in given
    assert "NATS_PASSWORD" not in given


def test_each_service_signs_in_to_the_server_of_auralis_up_as_itself() -> None:
    children = plan_children(ADDRESSES, passwords=PASSWORDS, drain_s=1.0, secret=SECRET)
    signing_in = {child.name: (child.environ["NATS_USER"], child.environ["NATS_PASSWORD"]) for child in children}
    assert signing_in == {name: (name, password) for name, password in PASSWORDS.items()}


def test_the_announcement_has_every_address_and_a_command_that_plays() -> None:
    text = dict(announcement(ADDRESSES, http_stream=False, ffplay=True))
    assert text["Player"] == "http://127.0.0.1:8000/"
    assert text["In a terminal"].startswith("auralis listen ws://127.0.0.1:8000/ws -o - | ffplay")
    assert text["Metrics"] == "http://127.0.0.1:9090/metrics"
    assert text["Fleet"] == "http://127.0.0.1:9090/"
    assert text["NATS"] == "nats://127.0.0.1:5000"
    assert text["edge (internal)"] == "http://127.0.0.1:5002/readyz"


def test_curl_is_offered_if_the_edge_streams_over_http_and_a_missing_ffplay_is_mentioned() -> None:
    lines = announcement(ADDRESSES, http_stream=True, ffplay=False)
    assert dict(lines)["In a terminal"].startswith("curl -sN http://127.0.0.1:8000/stream.opus | ffplay")
    assert "ffplay is not installed" in lines[-1][1]
