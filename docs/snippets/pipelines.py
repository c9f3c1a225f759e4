"""Two apps in one process. Runs on the memory broker."""

from streamkit import App, Context, Record, record_processor, run
from streamkit.builtin.memory import MemoryLog

seen: set[bytes | None] = set()


@record_processor
def bill(record: Record, context: Context) -> None:
    seen.add(record.value)


@record_processor
def ship(record: Record, context: Context) -> None:
    seen.add(record.value)


def fill() -> None:
    log = MemoryLog.named()
    for stream, value in (("orders", b"order"), ("payments", b"payment")):
        log.create(stream)
        log.append(stream, value)


if __name__ == "__main__":
    fill()
    # --8<-- [start:run]
    run(
        App(bill, stream="orders", group="billing"),
        App(ship, stream="payments", group="shipping", retry_attempts=10),
    )
    # --8<-- [end:run]
    assert seen == {b"order", b"payment"}, seen
