import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.local import http_get
from services.local.ports import free_ports

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(*parts: bytes, hold: bool = False) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        if hold:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_status_and_body_are_read() -> None:
    async with answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\n", b"abc") as port:
        assert await http_get.get("127.0.0.1", port, "/readyz") == http_get.Response(503, b"abc")


async def test_a_body_of_known_length_does_not_wait_for_the_end_of_the_connection() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", hold=True) as port:
        assert await http_get.get("127.0.0.1", port, "/", timeout_s=5.0) == http_get.Response(200, b"ok")


async def test_no_answer_in_time_and_other_protocols_give_none() -> None:
    assert await http_get.get("127.0.0.1", free_ports(1)[0], "/") is None
    async with answering(b"SSH-2.0-x\r\n") as port:
        assert await http_get.get("127.0.0.1", port, "/") is None
    async with answering(hold=True) as port:
        assert await http_get.get("127.0.0.1", port, "/", timeout_s=0.05) is None
