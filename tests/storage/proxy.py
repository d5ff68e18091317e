"""A server on the loopback interface that stands before another one and is slow, or fails, where a test wants it to."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

LIMIT = 1 << 20  # bytes of the longest header

Fault = Callable[["Request"], "bytes | str | int | None"]


@dataclass
class Request:
    """What a client asked for."""

    method: str
    target: str  # path and query as sent
    headers: dict[str, str]  # names in lower case
    head: bytes
    body: bytes


class Proxy:
    """Forwards HTTP/1.1 requests to `upstream`, each after `latency` seconds; `requests` remembers them, and `sent` is
    how many bytes the answers had. `rewrite` changes the heads of the answers.

    `fault` decides about each request: None forwards it; bytes are the whole answer, the request never arrives, and
    "Connection: close" in them ends the connection; "lost" lets it arrive and cuts the connection in place of an
    answer; "cut" ends the connection in the middle of the answer's body, and a number ends it after as many bytes;
    "hang" never answers. It may also change the head of the request before that is forwarded.
    """

    def __init__(self, upstream: str, *, latency: float = 0.0, fault: Fault = lambda request: None) -> None:
        self.upstream = urlsplit(upstream)
        self.latency = latency
        self.fault = fault
        self.rewrite: Callable[[bytes], bytes] = lambda head: head
        self.requests: list[Request] = []
        self.sent = 0
        self.address = ""
        self._connections: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[StreamWriter] = []

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serve at `address` until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as listener, closing(asyncio.SelectorEventLoop()) as loop:
            listener.setblocking(False)
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            loop.add_reader(listener, self._accept, listener, loop)
            thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
            thread.start()
            try:
                yield self
            finally:
                asyncio.run_coroutine_threadsafe(self._end(listener), loop).result()
                loop.call_soon_threadsafe(loop.stop)
                thread.join()

    def _accept(self, listener: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Serve one more connection. asyncio's own servers leave one open that comes while they close."""
        connection, _ = listener.accept()
        self._connections.append(connection)
        self._tasks.add(loop.create_task(self._serve(connection)))

    async def _end(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # close() waits for a client that does not read
        await asyncio.sleep(0)  # transports end in the loop's next turn
        for connection in self._connections:
            connection.close()  # those whose task had not begun

    async def _serve(self, connection: socket.socket) -> None:
        upstream: tuple[StreamReader, StreamWriter] | None = None
        ends: list[StreamWriter] = []
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=LIMIT)
            ends.append(writer)
            while (request := await _read_request(reader, writer)) is not None:
                self.requests.append(request)
                await asyncio.sleep(self.latency)
                fault = self.fault(request)
                if fault == "hang":
                    await asyncio.sleep(3600)
                if isinstance(fault, bytes):
                    await self._send(writer, fault)
                    if b"Connection: close" in fault:
                        break
                    continue
                if upstream is None:
                    upstream = await asyncio.open_connection(self.upstream.hostname, self.upstream.port, limit=LIMIT)
                    ends.append(upstream[1])
                upstream[1].write(request.head + request.body)
                await upstream[1].drain()
                if not await self._answer(request, upstream[0], writer, fault):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two ended, or the test did
        finally:
            self._writers += ends
            for end in ends:
                end.close()

    async def _answer(
        self, request: Request, upstream: StreamReader, writer: StreamWriter, fault: str | int | None
    ) -> bool:
        """Pass an answer on; return whether the connection can serve another request."""
        head = self.rewrite(await upstream.readuntil(b"\r\n\r\n"))
        if fault == "lost":
            return False
        line, headers = _parse(head)
        await self._send(writer, head)
        if request.method == "HEAD" or line.split(" ")[1] in ("204", "304"):
            return True
        left = fault if isinstance(fault, int) else int(headers.get("content-length", LIMIT)) // 2
        is_cut = fault is not None
        async for chunk in _body(upstream, headers, request=False):
            await self._send(writer, chunk[:left] if is_cut else chunk)
            left -= len(chunk)
            if is_cut and left <= 0:
                return False
        return "content-length" in headers or "transfer-encoding" in headers

    async def _send(self, writer: StreamWriter, data: bytes) -> None:
        self.sent += len(data)
        writer.write(data)
        await writer.drain()


def reply(status: str, body: str = "", **headers: str) -> bytes:
    """The bytes of an answer: `reply("503 Slow Down")`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *lines])
    return f"{head}\r\n\r\n{body}".encode()


def refusing(rate: float, seed: int = 0, in_a_row: int = 3) -> Fault:
    """Answer a share of all requests by 503, but no request more often than `in_a_row` times one after the other."""
    chance = random.Random(seed)
    refused: Counter[str] = Counter()

    def fault(request: Request) -> bytes | None:
        name = f"{request.method} {request.target}"
        if chance.random() >= rate or refused[name] == in_a_row:
            refused[name] = 0
            return None
        refused[name] += 1
        return reply("503 Slow Down", "{}")

    return fault


async def _read_request(reader: StreamReader, writer: StreamWriter) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, headers = _parse(head)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(part for part in head.split(b"\r\n") if not part.lower().startswith(b"expect:"))
    method, target, _ = line.split(" ", 2)
    body = b"".join([chunk async for chunk in _body(reader, headers, request=True)])
    return Request(method, target, headers, head, body)


async def _body(reader: StreamReader, headers: dict[str, str], *, request: bool) -> AsyncIterator[bytes]:
    """The bytes of a body as they come, with the marks of its chunks."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        size = -1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
        return
    left = int(headers.get("content-length", 0 if request else 1 << 62))
    while left and (chunk := await reader.read(min(left, 1 << 16))):
        left -= len(chunk)
        yield chunk
    if left and "content-length" in headers:
        raise asyncio.IncompleteReadError(b"", left)


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    line, *rest = head.decode("latin-1").split("\r\n")
    pairs = (item.partition(":") for item in rest if item)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}
