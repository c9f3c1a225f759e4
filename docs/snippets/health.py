"""Asks a running worker why a partition does not move. Runs on the memory broker."""

# --8<-- [start:ask]
import json
from urllib.request import urlopen


def reasons(address: str) -> dict[str, str]:
    """What does not move, and why."""
    with urlopen(f"http://{address}/status", timeout=5) as answer:
        apps = json.load(answer)["apps"]
    lines = [line for app in apps for line in app["partitions"] if line["reason"]]
    return {f"{line['stream']}/{line['partition']}": line["reason"]["text"] for line in lines}


# --8<-- [end:ask]

if __name__ == "__main__":
    import asyncio
    import socket
    from collections.abc import Callable

    from streamkit import App, Context, Partition, Record, record_processor
    from streamkit.builtin.memory import MemoryLog
    from streamkit.plugin import Observer

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    @record_processor
    def handle(record: Record, context: Context) -> None:
        raise ValueError("no such customer")

    class Waking(Observer):
        def __init__(self, wake: Callable[[], object]) -> None:
            self.wake = wake

        def on_halted(self, partition: Partition, error: Exception) -> None:
            self.wake()

    async def main() -> None:
        loop, halted = asyncio.get_running_loop(), asyncio.Event()
        app = App(handle, stream="orders", group="asked", stop="never", status_address=port, retry_attempts=1)
        app.observe(Waking(lambda: loop.call_soon_threadsafe(halted.set)))
        serving = asyncio.create_task(app.serve())
        await halted.wait()
        found = await asyncio.to_thread(reasons, f"127.0.0.1:{port}")
        app.stop()
        await serving
        assert list(found) == ["orders/0"], found
        assert "failed after 1 attempt: ValueError: no such customer" in found["orders/0"], found

    log = MemoryLog.named()
    log.create("orders", 1)
    log.append("orders", b"1")
    asyncio.run(main())
