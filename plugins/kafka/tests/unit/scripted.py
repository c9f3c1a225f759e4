"""A scripted consumer, because no broker does on demand what happens inside a poll, and what tests ask of its member."""

from confluent_kafka import KafkaError, Message, TopicPartition

from streamkit.model import Batch, Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Budget

BUDGET = Budget(100, 1 << 20, 0.05)
P0, P1 = Partition("t", "0"), Partition("t", "1")


def message(partition, offset, error=None):
    return Message(topic="t", partition=partition, offset=offset, value=b"x", error=error)


def tp(*numbers):
    return [TopicPartition("t", number) for number in numbers]


class Script:
    """A consumer that does what a test says: each call of poll or consume runs the next of `steps`, which returns messages."""

    def __init__(self):
        self.steps = []
        self.rest = []
        self.stored = {}
        self.refuses = ()
        self.calls = []
        self.local = set()
        self.callbacks = {}
        self.watermarks = (0, 100)

    def subscribe(self, topics, **callbacks):
        self.callbacks = callbacks

    def poll(self, timeout):
        found = self.steps.pop(0)() if self.steps else []
        self.rest = found[1:]
        return found[0] if found else None

    def consume(self, count, timeout):
        rest, self.rest = self.rest, []
        return rest + (self.steps.pop(0)() if self.steps else [])

    def incremental_assign(self, partitions):
        self.calls.append(("assign", [(p.partition, p.offset) for p in partitions]))
        self.local |= {p.partition for p in partitions}

    def incremental_unassign(self, partitions):
        assert {p.partition for p in partitions} <= self.local, "unassigning what is not assigned hangs the rebalance"
        self.calls.append(("unassign", [p.partition for p in partitions]))
        self.local -= {p.partition for p in partitions}

    def assignment(self):
        return tp(*self.local)

    def seek(self, where):
        self.calls.append(("seek", where.partition, where.offset))

    def pause(self, partitions):
        self.calls.append(("pause", [p.partition for p in partitions]))

    def resume(self, partitions):
        self.calls.append(("resume", [p.partition for p in partitions]))

    def get_watermark_offsets(self, partition, timeout=0, cached=False):
        return self.watermarks

    def consumer_group_metadata(self):
        return b"CGMDv2:\x05\x00\x00\x00g"

    def committed(self, partitions, timeout):
        return [self.stored.get(p.partition, p) for p in partitions]

    def commit(self, offsets, asynchronous):
        assert asynchronous, "the synchronous one knows no timeout"
        self.calls.append(("commit", [(p.partition, p.offset) for p in offsets]))
        self.stored.update({p.partition: p for p in offsets if p.partition not in self.refuses})

    def close(self):
        self.callbacks["on_revoke"](self, tp(*self.owned))

    # what a broker does inside a poll
    owned = ()

    def give(self, *numbers):
        self.callbacks["on_assign"](self, tp(*numbers))

    def revoke(self, *numbers):
        self.callbacks["on_revoke"](self, tp(*numbers))

    def lose(self, *numbers):
        self.callbacks["on_lost"](self, tp(*numbers))


class Clock:
    broker, group, worker = "kafka", "g", "w"
    now = 0.0

    def monotonic(self):
        return self.now

    def unix_time(self):
        return self.now


def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("suspended")


def poll(member, script, *steps):
    """One poll; the steps follow one another inside its first call of the client."""
    script.steps = [lambda: [found for step in steps for found in step()]]
    return drive(member.poll(BUDGET))


def batches(events):
    return {event.partition.id: [record.position.sequence for record in event] for event in events if isinstance(event, Batch)}


def claim(member, partition):
    return drive(member.checkpoints.claim(partition, "w", 0))


def save(member, partition, grant):
    return drive(member.checkpoints.save([(Checkpoint(partition, StartPosition.after(Position(9))), grant)]))[0]


class Report:
    topic, partition, offset = "t", 1, 10

    def __init__(self, code):
        self.error = KafkaError(code)


def counted(script):
    """The partitions of each question to the coordinator."""
    asked, answer = [], script.committed
    script.committed = lambda partitions, timeout: asked.append([p.partition for p in partitions]) or answer(partitions, timeout)
    return asked
