"""Two workers that share the partitions of a stream by leases, in one process. Runs on the memory broker."""

# --8<-- [start:workers]
import asyncio

from streamkit import App, Context, Record, record_processor


@record_processor
async def handle(record: Record, context: Context) -> None:
    print(f"{context.partition}, epoch {context.epoch}: {record.value!r}")


def worker(name: str) -> App:
    return App(
        handle,
        broker="memory",
        memory={"shape": "kinesis"},
        stream="orders",
        group="billing",
        ownership="lease",
        lease_duration="5s",
        worker=name,
        stop="at_end",
    )


async def main() -> None:
    await asyncio.gather(worker("one").serve(), worker("two").serve())


# --8<-- [end:workers]

if __name__ == "__main__":
    from streamkit.builtin.memory import MemoryLog

    log = MemoryLog.named()
    first, second, *_ = log.create("orders", 4, "kinesis")
    for number in range(8):
        log.append("orders", b"%d" % number, key=b"customer %d" % number)
    log.merge("orders", first.id, second.id)
    log.append("orders", b"last", partition="shardId-000000000004")
    asyncio.run(main())
