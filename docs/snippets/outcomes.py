"""What a processor may return. Runs on the memory broker."""

# --8<-- [start:outcomes]
import json

from streamkit import Context, Record, Reject, Retry, Stop, record_processor


@record_processor(reject_on=(UnicodeDecodeError,))
def handle(record: Record, context: Context) -> Retry | Reject | Stop | None:
    try:
        order = json.loads((record.value or b"").decode())
    except json.JSONDecodeError:
        return Reject("not JSON")  # no further attempt can mend that
    if order.get("version", 1) > 1:
        return Stop("an order of a newer version: deploy first")
    if order.get("stock") == "unknown" and context.attempt == 1:
        return Retry(after=0.05)  # seconds
    print(order["id"])
    return None


# --8<-- [end:outcomes]

if __name__ == "__main__":
    from streamkit import App, run
    from streamkit.builtin.memory import MemoryLog

    log = MemoryLog.named()
    log.create("orders")
    for value in (b'{"id": 1}', b'{"id": 2, "stock": "unknown"}', b"{"):
        log.append("orders", value)
    run(App(handle, stream="orders", group="outcomes", on_failure="stop"))
