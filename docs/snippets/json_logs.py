"""A program that has set up logging itself, with streamkit's JSON lines. Runs on the memory broker."""

# --8<-- [start:set_up]
import logging

from streamkit import App, Context, Record, record_processor, run
from streamkit.telemetry.logs import JsonFormatter

log = logging.getLogger("billing")


@record_processor
def handle(record: Record, context: Context) -> None:
    fields = {"partition": str(record.partition), "epoch": context.epoch, "position": str(record.position)}
    log.info("charged", extra=fields)


handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
# --8<-- [end:set_up]

if __name__ == "__main__":
    import io
    import json

    from streamkit.builtin.memory import MemoryLog

    handler.setStream(written := io.StringIO())
    memory = MemoryLog.named()
    memory.create("orders")
    memory.append("orders", b"1")
    run(App(handle, stream="orders", group="billing"))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    (charged,) = [line for line in lines if line["logger"] == "billing"]
    assert {name: charged[name] for name in ("message", "partition", "epoch", "position")} == {
        "message": "charged",
        "partition": "orders/0",
        "epoch": 1,
        "position": "0",
    }
    assert "orders/0 assigned, epoch 1" in [line["message"] for line in lines]
