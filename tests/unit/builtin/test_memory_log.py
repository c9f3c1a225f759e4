"""Streams of the memory log: where a record goes, which position it gets, and how partitions split and merge."""

from __future__ import annotations

import sys
from hashlib import md5
from threading import Barrier, Thread
from zlib import crc32

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.errors import BrokerError, StreamGoneError

KEYS = [b"key-%d" % n for n in range(200)]


def holder(log: MemoryLog, hash_key: int) -> str:
    (found,) = [p.id for p in log.partitions("s") if not p.ended and p.key_range and p.key_range[0] <= hash_key <= p.key_range[1]]
    return found


def test_a_name_gives_one_log_until_it_is_forgotten() -> None:
    log = MemoryLog.named("t-registry")
    assert MemoryLog.named("t-registry") is log
    assert MemoryLog.named("t-other") is not log
    MemoryLog.forget("t-registry")
    assert MemoryLog.named("t-registry") is not log
    MemoryLog.forget("t-registry")
    MemoryLog.forget("t-other")


def test_kafka_offsets_count_from_zero_in_each_partition_and_keys_go_by_crc32() -> None:
    log = MemoryLog()
    log.create("s", 3)
    next_offset = {"0": 0, "1": 0, "2": 0}
    for key in KEYS:
        record = log.append("s", b"v", key=key)
        assert record.partition.id == str(crc32(key) % 3)
        assert record.position.sequence == next_offset[record.partition.id]
        next_offset[record.partition.id] += 1


def test_records_without_a_key_are_spread_and_a_named_partition_wins() -> None:
    log = MemoryLog()
    log.create("s", 3)
    assert [log.append("s", b"").partition.id for _ in range(6)] == ["0", "1", "2"] * 2
    assert log.append("s", b"", key=b"k", partition="1").partition.id == "1"
    with pytest.raises(BrokerError, match="no partition '7'"):
        log.append("s", b"", partition="7")


def test_kinesis_keys_go_by_the_md5_of_the_key_and_the_ranges_cover_everything() -> None:
    log = MemoryLog()
    log.create("s", 3, "kinesis")
    ranges = [p.key_range or (0, 0) for p in log.partitions("s")]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**128 - 1
    assert [low for low, _ in ranges[1:]] == [high + 1 for _, high in ranges[:-1]]
    for key in KEYS:
        assert log.append("s", b"v", key=key).partition.id == holder(log, int(md5(key).hexdigest(), 16))


def test_kinesis_sequences_rise_over_the_whole_stream_with_gaps() -> None:
    log = MemoryLog()
    log.create("s", 3, "kinesis")
    sequences = [log.append("s", b"v", key=key).position.sequence or 0 for key in KEYS]
    assert sequences == sorted(set(sequences))
    assert sequences[0] > 2**184
    assert sequences[-1] - sequences[0] > len(sequences)


def test_a_split_ends_the_parent_and_its_keys_go_on_in_its_children() -> None:
    log = MemoryLog()
    log.create("s", 1, "kinesis")
    (parent,) = log.partitions("s")
    left, right = log.split("s", parent.id)
    (parent, *_) = log.partitions("s")
    assert parent.ended
    assert parent.children == (left.id, right.id)
    assert left.parents == right.parents == (parent.id,)
    assert {log.append("s", b"", key=key).partition.id for key in KEYS} == {left.id, right.id}
    with pytest.raises(BrokerError, match="has ended"):
        log.append("s", b"", partition=parent.id)
    with pytest.raises(ValueError, match="ended"):
        log.split("s", parent.id)


def test_a_merge_of_neighbours_ends_both_and_others_are_refused() -> None:
    log = MemoryLog()
    log.create("s", 3, "kinesis")
    a, b, c = (p.id for p in log.partitions("s"))
    with pytest.raises(ValueError, match="neighbours"):
        log.merge("s", a, c)
    child = log.merge("s", b, a)
    assert set(child.parents) == {a, b}
    assert all(p.ended and p.children == (child.id,) for p in log.partitions("s")[:2])
    for key in KEYS:
        assert log.append("s", b"", key=key).partition.id == holder(log, int(md5(key).hexdigest(), 16))
    assert child.id == log.partitions("s")[3].id


def test_a_kafka_stream_grows_and_does_not_split() -> None:
    log = MemoryLog()
    log.create("s", 2)
    log.add_partitions("s", 4)
    assert [p.id for p in log.partitions("s")] == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="cannot grow to 3"):
        log.add_partitions("s", 3)
    with pytest.raises(ValueError, match="no hash keys"):
        log.split("s", "0")


def test_a_stream_made_again_is_another_incarnation() -> None:
    log = MemoryLog()
    (before,) = log.create("s", now=5.0)
    with pytest.raises(ValueError, match="exists"):
        log.create("s")
    log.delete("s")
    with pytest.raises(StreamGoneError, match="deleted"):
        log.append("s", b"")
    log.ensure("s", 1, "kafka", now=5.0)
    with pytest.raises(StreamGoneError, match="deleted"):
        log.partitions("s")
    (again,) = log.create("s", now=5.0)
    assert again == before
    assert again.incarnation != before.incarnation


def test_offsets_go_on_after_everything_was_trimmed() -> None:
    log = MemoryLog()
    log.create("s")
    for _ in range(3):
        log.append("s", b"")
    log.trim("s", "0", 100)
    assert log.append("s", b"").position.sequence == 3


def test_appends_of_several_threads_are_neither_lost_nor_mixed_up() -> None:
    log = MemoryLog()
    log.create("s", 2)
    together = Barrier(4)

    def write() -> None:
        together.wait(10)
        for _ in range(1500):
            log.append("s", b"", partition="0")

    threads = [Thread(target=write) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # or they hardly ever meet
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    with log.lock:
        assert log.topic("s").log("0").sequences == list(range(6000))
