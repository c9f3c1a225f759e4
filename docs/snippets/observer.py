"""An observer that counts. Runs on the memory broker."""

# --8<-- [start:observer]
from collections import Counter

from streamkit import App, Context, Partition, Record, record_processor
from streamkit.plugin import Observer

failed: Counter[Partition] = Counter()


class CountFailures(Observer):
    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        failed[partition] += 1


@record_processor
def handle(record: Record, context: Context) -> None:
    if context.attempt == 1:
        raise ValueError("not at the first attempt")


app = App(handle, stream="orders", group="observed")
app.observe(CountFailures())
# --8<-- [end:observer]

if __name__ == "__main__":
    from streamkit import run
    from streamkit.builtin.memory import MemoryLog

    log = MemoryLog.named()
    log.create("orders")
    log.append("orders", b"1")
    run(app)
    assert failed.total() == 1, failed
