"""Files as streams: where reading begins, what it brings, and what is said about lines that are no records."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.broker import FileBroker
from streamkit.builtin.file.lines import encode
from streamkit.builtin.file.producer import FileProducer
from streamkit.errors import AccessDeniedError, BrokerError, PositionInvalidError, StreamGoneError, UnsupportedError
from streamkit.model import Batch, Headers, Partition, Position, Record, StartPosition
from streamkit.plugin import Budget, CaughtUp, Event, Failed, Idle, NewRecord, Reader
from tests.conformance.context import PlainContext

T = TypeVar("T")
LOTS = Budget(1000, 1 << 20, 0)


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


class Rig:
    """One file, its broker and a reader of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.jsonl"
        self.context = PlainContext()
        self.broker = FileBroker(FileSettings(), self.context)
        self.reader: Reader = self.broker.reader()

    def write(self, *values: bytes, now: float | None = None) -> None:
        if now is not None:
            self.context.now = now
        run(FileProducer(FileSettings(), self.context).send(str(self.path), [NewRecord(value) for value in values]))

    def raw(self, text: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text)

    @property
    def partition(self) -> Partition:
        (found,) = run(self.broker.discover([str(self.path)], StartPosition.EARLIEST))
        return found

    def add(self, start: StartPosition = StartPosition.EARLIEST) -> None:
        run(self.reader.add(self.partition, start))

    def poll(self, budget: Budget = LOTS) -> Sequence[Event]:
        return run(self.reader.poll(budget))

    def read(self, start: StartPosition = StartPosition.EARLIEST) -> list[Record]:
        """Everything from there to the end, as an engine reads it: again from where a failure says."""
        reader = self.broker.reader()
        run(reader.add(self.partition, start))
        found: list[Record] = []
        for _ in range(100):
            for event in run(reader.poll(LOTS)):
                if isinstance(event, Batch):
                    found.extend(event)
                elif isinstance(event, CaughtUp):
                    return found
                elif isinstance(event, Failed):
                    assert event.resume is not None, event.error
                    run(reader.add(event.partition, event.resume))
                else:
                    self.context.now += 0.3
        raise AssertionError("it has no end")

    def values(self, start: StartPosition = StartPosition.EARLIEST) -> list[bytes | None]:
        return [record.value for record in self.read(start)]

    def resolve(self, start: StartPosition) -> StartPosition:
        return run(self.broker.resolve(self.partition, start))

    def tip(self) -> Position | None:
        (found,) = run(self.broker.tips([self.partition]))
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def at(sequence: int) -> StartPosition:
    return StartPosition.at(Position(sequence))


def after(sequence: int) -> StartPosition:
    return StartPosition.after(Position(sequence))


def time(seconds: float) -> StartPosition:
    return StartPosition.at_time(datetime.fromtimestamp(seconds, UTC))


def test_a_position_is_the_number_of_a_line_and_a_record_is_what_was_written(rig: Rig) -> None:
    headers = Headers([("a", b"\xff"), ("a", None)])
    run(FileProducer(FileSettings(), rig.context).send(str(rig.path), [NewRecord(None, b"k", headers), NewRecord(b"b")]))
    first, second = rig.read()
    assert (first.position, first.key, first.value, first.headers) == (Position(1), b"k", None, headers)
    assert first.timestamp == datetime.fromtimestamp(rig.context.now, UTC)
    assert (first.partition, first.id) == (rig.partition, f"{rig.path}/0/1")
    assert (second.position, second.value) == (Position(2), b"b")


def test_plain_json_lines_are_records_and_blank_lines_only_count(rig: Rig) -> None:
    rig.raw(b'{"id": 1}\n\n  \n{"id": 2}\r\n')
    assert [(record.position.sequence, record.value) for record in rig.read()] == [(1, b'{"id": 1}'), (4, b'{"id": 2}')]


# -- where it begins -----------------------------------------------------------------------------------------------------


def test_the_next_line_to_be_written_is_no_position_beyond_the_end(rig: Rig) -> None:
    rig.write(b"1", b"2", b"3")
    resolved = rig.resolve(at(4))
    rig.write(b"4")
    assert rig.values(resolved) == [b"4"]


def test_a_line_that_does_not_say_its_time_counts_as_new(rig: Rig) -> None:
    rig.write(b"1", now=100)
    rig.raw(b'\n{"id": 2}\n')
    rig.write(b"3", now=100)
    assert rig.resolve(time(200)) == at(3)


@pytest.mark.parametrize("start", [at(5), after(4), StartPosition.after(Position.END)])
def test_a_start_beyond_the_end_is_refused(rig: Rig, start: StartPosition) -> None:
    rig.write(b"1", b"2", b"3")
    with pytest.raises(PositionInvalidError):
        rig.resolve(start)


def test_a_reader_is_not_opened_beyond_the_end(rig: Rig) -> None:
    rig.write(b"1")
    with pytest.raises(PositionInvalidError, match="has no line 7 any more"):
        rig.add(after(7))


@pytest.mark.parametrize(
    ("content", "tip", "latest"),
    [
        (b"", None, 1),
        (b'{"id": 1}\n', 1, 2),
        (b'{"id": 1}\n{"id": 2}\n', 2, 3),
        (b'{"id": 1}\n{"id": 2}', 2, 3),
        (b'{"id": 1}\n{"id": 2', 2, 2),
        (b'{"id": 1', 1, 1),
    ],
)
def test_the_tip_is_the_last_line_and_latest_begins_at_the_first_that_is_not_whole(
    rig: Rig, content: bytes, tip: int | None, latest: int
) -> None:
    rig.raw(content)
    assert rig.tip() == (Position(tip) if tip else None)
    assert rig.resolve(StartPosition.LATEST) == at(latest)


def test_lines_are_found_in_large_files_too(rig: Rig) -> None:
    rig.raw(b"".join(b'{"id": %d, "fill": "%s"}\n' % (n, b"x" * (n % 3000)) for n in range(1, 3001)))
    assert rig.tip() == Position(3000)
    for line in (1, 2, 700, 2999, 3000):
        assert rig.read(at(line))[0].value.startswith(b'{"id": %d,' % line)  # type: ignore[union-attr]


def test_a_file_is_known_by_its_first_line(rig: Rig, tmp_path: Path) -> None:
    rig.raw(b"")
    assert rig.partition.incarnation == ""
    rig.raw(b'{"id": 1')
    assert rig.partition.incarnation == ""
    rig.raw(b"}\n")
    first = rig.partition.incarnation
    assert first
    rig.write(b"more")
    rig.path.write_bytes(rig.path.read_bytes())  # copied back
    assert rig.partition.incarnation == first
    rig.path.unlink()
    rig.write(b"new")
    assert rig.partition.incarnation != first


def test_what_is_not_there_or_no_file_is_gone(rig: Rig, tmp_path: Path) -> None:
    for path, text in ((rig.path, "there is no file"), (tmp_path, "is a folder")):
        with pytest.raises(StreamGoneError, match=text):
            run(rig.broker.discover([str(path)], StartPosition.EARLIEST))
    with pytest.raises(UnsupportedError, match="is a pattern"):
        run(rig.broker.discover(["^orders.*"], StartPosition.EARLIEST))


def test_a_file_that_may_not_be_read_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AccessDeniedError):
        _ = rig.partition


# -- following -----------------------------------------------------------------------------------------------------------


def test_the_end_is_said_once_until_there_is_something_new(rig: Rig) -> None:
    rig.write(b"1")
    rig.add()
    batch, end = rig.poll()
    assert isinstance(batch, Batch)
    assert isinstance(end, CaughtUp)
    assert isinstance(rig.poll()[0], Idle)
    rig.write(b"2", b"3")
    batch, end = rig.poll()
    assert isinstance(batch, Batch)
    assert list(batch.values()) == [b"2", b"3"]
    assert isinstance(end, CaughtUp)


def test_several_files_share_a_poll(rig: Rig, tmp_path: Path) -> None:
    names = []
    for name in ("a", "b", "c"):
        rig.path = tmp_path / name
        rig.write(*[name.encode()] * 50)
        rig.add()
        names.append(str(rig.path))
    seen: dict[str, int] = {}
    for _ in range(5):
        for event in rig.poll(Budget(30, 1 << 20, 0)):
            if isinstance(event, Batch):
                seen[event.partition.stream] = seen.get(event.partition.stream, 0) + len(event)
    assert seen == dict.fromkeys(names, 50)


# -- lines that are no records -------------------------------------------------------------------------------------------


def test_what_a_crash_left_of_a_line_is_reported_and_passed(rig: Rig) -> None:
    rig.write(b"1")
    rig.raw(encode(NewRecord(b"lost"), 0.0)[:30])
    rig.write(b"3")
    rig.add()
    batch, failed = rig.poll()
    assert isinstance(batch, Batch)
    assert isinstance(failed, Failed)
    assert "line 2 of" in str(failed.error)
    assert "never acknowledged" in str(failed.error)
    assert failed.resume == at(3)
    assert isinstance(rig.poll()[0], Idle), "it is opened again by the engine alone"
    assert rig.values() == [b"1", b"3"]


def test_a_line_that_is_no_record_stops_its_file_and_is_named(rig: Rig) -> None:
    rig.raw(b'{"id": 1}\noops\n{"id": 3}\n')
    rig.add()
    batch, failed = rig.poll()
    assert isinstance(batch, Batch)
    assert len(batch) == 1
    assert isinstance(failed, Failed)
    assert failed.resume is None
    assert not failed.error.retryable
    assert "line 2 of" in str(failed.error)
    rig.path.write_bytes(rig.path.read_bytes().replace(b"oops", b""))
    assert rig.values(after(1)) == [b'{"id": 3}']


def test_a_last_line_without_an_end_is_read_when_it_is_whole_and_only_once(rig: Rig) -> None:
    rig.raw(b'{"id": 1}\n{"id": 2}')
    rig.add()
    batch, end = rig.poll()
    assert isinstance(batch, Batch)
    assert list(batch.values()) == [b'{"id": 1}', b'{"id": 2}']
    assert isinstance(end, CaughtUp)
    assert isinstance(rig.poll()[0], Idle)
    rig.write(b"3")
    batch, *_ = rig.poll()
    assert isinstance(batch, Batch)
    assert [(r.position.sequence, r.value) for r in batch] == [(3, b"3")]
    assert rig.values(after(2)) == [b"3"]


def test_a_start_behind_a_last_line_without_an_end_is_there(rig: Rig) -> None:
    rig.raw(b'{"id": 1}\n{"id": 2}')
    rig.add(rig.resolve(StartPosition.LATEST))
    assert [type(event) for event in rig.poll()] == [CaughtUp]
    rig.write(b"3")
    (batch, _) = rig.poll()
    assert isinstance(batch, Batch)
    assert [(r.position.sequence, r.value) for r in batch] == [(3, b"3")]


def test_a_line_that_grows_after_it_was_read_is_not_taken_for_another(rig: Rig) -> None:
    rig.raw(b'{"id": 1}')
    rig.add()
    rig.poll()
    rig.raw(b'{"id": 2}\n')
    (failed,) = rig.poll()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionInvalidError)
    assert "line 1 was continued" in str(failed.error)


def test_a_line_in_pieces_is_waited_for(rig: Rig) -> None:
    line = encode(NewRecord(b"slow"), 0.0)
    rig.raw(line[:10])
    rig.add()
    for piece in (line[10:20], line[20:30], line[30:-1]):
        assert isinstance(rig.poll()[0], Idle), "not the end yet: somebody is writing"
        rig.context.now += 0.9
        rig.raw(piece)
    batch, end = rig.poll()
    assert isinstance(batch, Batch)
    assert isinstance(end, CaughtUp)


def test_a_file_that_ends_in_the_middle_of_a_line_is_reported_once_and_has_an_end(rig: Rig) -> None:
    rig.write(b"1")
    rig.raw(b'{"streamkit": 1, "va')
    rig.add()
    (batch,) = rig.poll()
    assert isinstance(batch, Batch), "and not yet the end"
    rig.context.now += 1.1
    (failed,) = rig.poll()
    assert isinstance(failed, Failed)
    assert "ends in the middle of line 2" in str(failed.error)
    assert failed.resume == at(2)
    rig.add(failed.resume)
    assert [type(event) for event in rig.poll()] == [CaughtUp]
    assert isinstance(rig.poll()[0], Idle)
    rig.write(b"3")
    assert rig.values() == [b"1", b"3"]


# -- files that change under us ------------------------------------------------------------------------------------------


def test_an_editor_that_saves_a_new_file_with_the_same_beginning_does_no_harm(rig: Rig) -> None:
    rig.write(b"1", b"2")
    rig.add()
    rig.poll()
    copy = rig.path.with_suffix(".new")
    copy.write_bytes(rig.path.read_bytes() + encode(NewRecord(b"3"), 0.0))
    copy.rename(rig.path)
    (batch, _) = rig.poll()
    assert isinstance(batch, Batch)
    assert list(batch.values()) == [b"3"]


@pytest.mark.parametrize("change", ["other", "shorter", "gone"])
def test_a_file_that_is_not_what_it_was_fails_by_name(rig: Rig, change: str) -> None:
    rig.write(b"1", b"2")
    first = rig.path.read_bytes().splitlines(keepends=True)[0]
    rig.add()
    rig.poll()
    if change == "other":
        copy = rig.path.with_suffix(".new")
        copy.write_bytes(b'{"id": 1, "and": "much longer than what was there before"}\n' * 20)
        copy.rename(rig.path)
    elif change == "shorter":
        rig.path.write_bytes(first)
    else:
        rig.path.unlink()
    (failed,) = rig.poll()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, StreamGoneError if change == "gone" else PositionInvalidError)
    assert isinstance(failed.error, BrokerError)
    assert not failed.error.retryable
