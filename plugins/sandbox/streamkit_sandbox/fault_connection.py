"""One client's connection to the fault proxy: reads a request, asks what shall happen to it, and makes that happen."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

from streamkit_sandbox.faults import Dice, Fault, Kind, error_answer, refusal
from streamkit_sandbox.http_wire import MAX_MESSAGE_BYTES, Message, read_message
from streamkit_sandbox.partial_failures import chosen, merged, without
from streamkit_sandbox.shard_limits import ShardMeter

__all__ = ["Connection", "Verdicts"]

_IDLE_SECONDS = 2.0  # less than any of these servers keeps an idle connection: a reset must come from a rule
_STREAM_BYTES = 64 * 1024
_RESETTING = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


class Verdicts:
    """What the connections of one proxy share: the rules, the limits, and what has happened. From any thread."""

    def __init__(self, dice: Dice, meter: ShardMeter | None) -> None:
        self.dice = dice
        self.meter = meter
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Kind]] = Counter()
        self._requests: Counter[str] = Counter()

    def asked(self, operation: str) -> tuple[float, Fault | None, Random]:
        """Counts a request; see Dice.throw."""
        with self._lock:
            self._requests[operation] += 1
        return self.dice.throw(operation)

    def happened(self, operation: str, kind: Kind) -> None:
        """Counts a fault."""
        with self._lock:
            self._counts[operation, kind] += 1

    def counts(self) -> Counter[tuple[str, Kind]]:
        """A copy."""
        with self._lock:
            return self._counts.copy()

    def requests(self) -> Counter[str]:
        """A copy."""
        with self._lock:
            return self._requests.copy()


class Connection:
    """Serves until either side is gone. It has a connection to the server of its own, so that clients do not mix."""

    def __init__(self, verdicts: Verdicts, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._verdicts = verdicts
        self._target = target
        self._reader, self._writer = reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._server_used = 0.0

    async def serve(self) -> None:
        """Returns when the connection is over; nothing is raised."""
        try:
            while (request := await read_message(self._reader, self._writer)) is not None and await self._answer(request):
                pass
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client or the server broke off: the other one sees the same
        finally:
            self._writer.close()
            self._leave_server()

    async def _answer(self, request: Message) -> bool:
        """True if the connection may serve another request."""
        target = request.header("x-amz-target")
        service, operation = target.partition("_")[0], target.rpartition(".")[2]
        seconds, fault, chance = self._verdicts.asked(operation)
        if seconds:
            self._verdicts.happened(operation, Kind.DELAY)
            await asyncio.sleep(seconds)
        if fault is not None and not fault.acted and fault.kind in (Kind.THROTTLE, Kind.ERROR, Kind.RESET, Kind.BLACK_HOLE):
            return await self._instead(fault, service, operation)
        meter = self._verdicts.meter
        if meter is not None and operation == "GetRecords" and (reason := meter.refusal(request.body, time.monotonic())):
            self._verdicts.happened(operation, Kind.LIMIT)
            return await self._send(_answer(400, refusal(service, "ProvisionedThroughputExceededException", reason)))
        if meter is not None and meter.limits.of_writes and operation in ("PutRecord", "PutRecords"):
            answer = await self._within_limits(request, service, operation, meter)
        elif fault is not None and fault.kind is Kind.PARTIAL:
            answer = await self._partially(request, operation, Kind.PARTIAL, chosen(operation, request.body, fault.share, chance))
        else:
            answer = await self._ask(request)
        if answer.stream:
            return await self._pass_on(answer)
        if meter is not None and answer.status == 200:
            meter.learn(operation, request.body, answer.body)
            if meter.limits.of_writes and operation in ("PutRecord", "PutRecords"):
                meter.learn_of_reshards(request.body, answer.body)
        if fault is None or fault.kind is Kind.PARTIAL:
            return await self._send(answer)
        if fault.acted:
            return await self._instead(fault, service, operation)
        return await self._cut(fault, operation, answer, chance)

    async def _instead(self, fault: Fault, service: str, operation: str) -> bool:
        """Something else than the server's answer."""
        self._verdicts.happened(operation, fault.kind)
        if fault.kind is Kind.RESET:
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETTING)
            self._writer.transport.abort()
            return False
        if fault.kind is Kind.BLACK_HOLE:
            await self._reader.read()  # returns when the client has given up
            return False
        return await self._send(_answer(*error_answer(fault, service, operation)))

    async def _cut(self, fault: Fault, operation: str, answer: Message, chance: Random) -> bool:
        """An answer without its end; one without a body cannot be cut."""
        if not answer.body:
            return await self._send(answer)
        self._verdicts.happened(operation, fault.kind)
        part = answer.body[: chance.randrange(len(answer.body))]
        self._writer.write(answer.head(len(answer.body) if fault.kind is Kind.CUT else len(part)))
        self._writer.write(part)
        await self._writer.drain()
        return fault.kind is not Kind.CUT

    async def _within_limits(self, request: Message, service: str, operation: str, meter: ShardMeter) -> Message:
        """A put, without the records that their shards refuse."""
        if not meter.knows_ranges(request.body):
            stream = {name: value for name, value in json.loads(request.body).items() if name in ("StreamName", "StreamARN")}
            headers = [(name, value) for name, value in request.headers if name.lower() != "x-amz-target"]
            headers.append(("X-Amz-Target", request.header("x-amz-target").replace(f".{operation}", ".ListShards")))
            shards = await self._ask(Message(request.first_line, headers, json.dumps(stream).encode()))
            if shards.status == 200:
                meter.learn_ranges(request.body, shards.body)
        refused = meter.refused_writes(request.body, time.monotonic())
        if operation == "PutRecords":
            return await self._partially(request, operation, Kind.LIMIT, refused)
        if not refused:
            return await self._ask(request)
        self._verdicts.happened(operation, Kind.LIMIT)
        return _answer(
            400, refusal(service, "ProvisionedThroughputExceededException", "Rate exceeded for a shard (made by the fault proxy)")
        )

    async def _partially(self, request: Message, operation: str, kind: Kind, refused: Sequence[int]) -> Message:
        """The server's answer to a part of the entries, and a refusal for the others."""
        if not refused:
            return await self._ask(request)
        body = without(operation, request.body, refused)
        request.body = body or b""
        answer = await self._ask(request) if body is not None else _answer(200, b"")
        if answer.status == 200:
            self._verdicts.happened(operation, kind)
            answer.body = merged(operation, answer.body, refused)
            # DynamoDB's check sum is that of the whole answer.
            answer.headers = [(name, value) for name, value in answer.headers if name.lower() != "x-amz-crc32"]
        return answer

    async def _send(self, answer: Message) -> bool:
        self._writer.write(answer.head(len(answer.body)))
        self._writer.write(answer.body)
        await self._writer.drain()
        return True

    async def _pass_on(self, answer: Message) -> bool:
        """An event stream goes through as it comes, until one side ends it."""
        assert self._server is not None
        self._writer.write(answer.raw_head())
        while part := await self._server[0].read(_STREAM_BYTES):
            self._writer.write(part)
            await self._writer.drain()
        return False

    async def _ask(self, request: Message) -> Message:
        """The server's answer."""
        now = time.monotonic()
        if self._server is not None and (now - self._server_used > _IDLE_SECONDS or self._server[0].at_eof()):
            self._leave_server()
        if self._server is None:
            self._server = await asyncio.open_connection(*self._target, limit=MAX_MESSAGE_BYTES)
        reader, writer = self._server
        writer.write(request.head(len(request.body)))
        writer.write(request.body)
        answer = await read_message(reader, writer)
        if answer is None:
            raise ConnectionResetError("the server closed the connection instead of an answer")
        self._server_used = time.monotonic()
        if answer.header("connection").lower() == "close" and not answer.stream:
            self._leave_server()
        return answer

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server[1].close()
            self._server = None


def _answer(status: int, body: bytes) -> Message:
    kind = "text/html" if body.startswith(b"<") else "application/x-amz-json-1.1"
    headers = [("Content-Type", kind), ("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000")]
    return Message(f"HTTP/1.1 {status} By the proxy", headers, body)
