"""What a poll returns when callbacks run in the middle of it. A scripted consumer, because no broker does this on demand."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from streamkit_kafka import commits as commits_module
from streamkit_kafka import consumer as consumer_module
from streamkit_kafka.membership import KafkaMembership
from streamkit_kafka.settings import KafkaSettings

from streamkit.errors import (
    BrokerError,
    BrokerUnavailableError,
    FencedError,
    PositionInvalidError,
    StoreNotReadyError,
    StoreUnavailableError,
)
from streamkit.model import Batch, Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Assigned, Budget, CaughtUp, Failed, Lost

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


@pytest.fixture
def script(monkeypatch):
    script = Script()
    monkeypatch.setattr(consumer_module, "new_consumer", lambda config, on_error, on_commit: script)
    monkeypatch.setattr(commits_module, "_PATIENCE_SECONDS", -1.0)
    return script


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def member(script, clock):
    """Owns both partitions and reads them from 0."""
    settings = KafkaSettings(bootstrap_servers="b")
    config = {"socket.timeout.ms": 1000}
    made = KafkaMembership(settings, clock, config, ["t"], lambda revoked: None, lambda topic, number: Partition(topic, str(number)))
    poll(made, script, lambda: script.give(0, 1) or [])
    for partition in (P0, P1):
        drive(made.add(partition, StartPosition.at(Position(0))))
    poll(made, script, lambda: [])
    script.calls.clear()
    return made


def poll(member, script, *steps):
    """One poll; the steps follow one another inside its first call of the client."""
    script.steps = [lambda: [found for step in steps for found in step()]]
    return drive(member.poll(BUDGET))


def batches(events):
    return {event.partition.id: [record.position.sequence for record in event] for event in events if isinstance(event, Batch)}


def test_messages_of_a_partition_revoked_in_the_same_call_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1), message(1, 1)], lambda: script.revoke(0) or [])
    assert batches(events) == {"1": [1]}
    assert script.calls == [("unassign", [0])]


def test_messages_of_a_partition_revoked_and_given_again_in_the_same_call_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1)], lambda: script.revoke(0) or script.give(0) or [message(0, 2)])
    assert batches(events) == {}
    assert [event.partitions for event in events if isinstance(event, Assigned)] == [(P0,)]


def test_a_loss_is_told_and_its_messages_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1)], lambda: script.lose(0, 1) or [])
    assert events == [Lost((P0, P1))]
    assert script.calls == [("unassign", [0, 1])]


def test_an_assignment_without_the_loss_before_it_tells_the_loss_too(member, script):
    """librdkafka #5604: the lost flag can be swallowed."""
    events = poll(member, script, lambda: script.give(0) or [])
    assert events == [Lost((P0,)), Assigned((P0,), 5)]


@pytest.mark.parametrize("end", ["revoke", "lose"])
def test_what_is_given_and_taken_within_one_poll_was_never_ours(member, script, end):
    """Else the engine would hear of the revoke, inside the poll, before it hears of the assignment, which the poll returns."""
    served = []
    member._serve = served.append
    events = poll(member, script, lambda: script.give(2, 3) or getattr(script, end)(1, 2) or [])
    told = [Assigned((Partition("t", "3"),), 5)]
    if end == "lose":
        assert (events, served) == ([*told, Lost((P1,))], [])
    else:
        assert (events, [revoked.partitions for revoked in served]) == (told, [(P1,)])


def test_only_what_is_assigned_locally_is_unassigned(member, script):
    poll(member, script, lambda: script.give(2) or [])
    script.calls.clear()
    poll(member, script, lambda: script.revoke(1, 2) or [])
    assert script.calls == [("unassign", [1])]


def test_an_empty_assignment_is_answered_too(member, script):
    assert poll(member, script, lambda: script.give() or []) == []
    assert script.calls == [("assign", [])]


def test_outside_the_callbacks_a_group_never_unassigns(member, script):
    drive(member.remove([P0]))
    poll(member, script, lambda: [])
    drive(member.add(P0, StartPosition.at(Position(7))))
    poll(member, script, lambda: [])
    assert script.calls == [("pause", [0]), ("seek", 0, 7), ("resume", [0])]


def test_what_is_left_over_from_before_a_seek_is_dropped(member, script):
    drive(member.remove([P0]))
    drive(member.add(P0, StartPosition.at(Position(7))))
    assert batches(poll(member, script, lambda: [message(0, 5), message(0, 6), message(0, 8)])) == {"0": [8]}


def test_a_reader_that_goes_back_by_itself_is_not_silenced(member, script):
    """The engine sees that, closes the partition and opens it at its own position."""
    drive(member.remove([P0]))
    drive(member.add(P0, StartPosition.at(Position(7))))
    assert batches(poll(member, script, lambda: [message(0, 8)])) == {"0": [8]}
    assert batches(poll(member, script, lambda: [message(0, 3)])) == {"0": [3]}


def test_a_revoke_before_the_add_was_carried_out_takes_it_back(member, script, clock):
    poll(member, script, lambda: script.give(2) or [])
    drive(member.add(Partition("t", "2"), StartPosition.at(Position(0))))
    clock.now += 60  # a long pause: first hear what has happened, then assign
    script.calls.clear()
    poll(member, script, lambda: script.lose(2) or [])
    assert ("assign", [(2, 0)]) not in script.calls


def test_a_failing_consume_costs_no_message(member, script):
    def fail():
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    script.steps = [list, lambda: [message(0, 1)], fail]
    assert batches(drive(member.poll(BUDGET))) == {"0": [1]}
    with pytest.raises(BrokerUnavailableError):
        poll(member, script)
    assert batches(poll(member, script, lambda: [message(0, 2)])) == {"0": [2]}


@pytest.mark.parametrize(
    "code", [KafkaError._TRANSPORT, KafkaError._MAX_POLL_EXCEEDED, KafkaError.REBALANCE_IN_PROGRESS, KafkaError._TIMED_OUT]
)
def test_what_librdkafka_repairs_by_itself_is_no_event(member, script, code):
    assert batches(poll(member, script, lambda: [message(-1, 0, KafkaError(code)), message(0, 1)])) == {"0": [1]}


def test_the_end_is_caught_up_after_its_messages(member, script):
    events = poll(member, script, lambda: [message(0, 1), message(0, 2, KafkaError(KafkaError._PARTITION_EOF))])
    assert batches(events) == {"0": [1]}
    assert events[-1] == CaughtUp(P0)


def test_an_error_of_one_partition_fails_that_one_alone(member, script):
    events = poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._BAD_MSG)), message(1, 1)])
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.partition, batches(events)) == (P0, {"1": [1]})
    assert batches(poll(member, script, lambda: [message(0, 2), message(1, 2)])) == {"1": [2]}


def test_a_truncated_log_is_invalid_not_expired(member, script):
    script.watermarks = (0, 50)
    [failed] = poll(member, script, lambda: [message(0, 30, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    assert isinstance(failed.error, PositionInvalidError)


def test_a_failed_partition_is_assigned_anew_after_the_callbacks_have_been_served(member, script):
    poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    drive(member.add(P0, StartPosition.at(Position(4))))
    poll(member, script, lambda: [], lambda: [])
    assert script.calls == [("unassign", [0]), ("assign", [(0, 4)]), ("resume", [0])]


def test_a_failed_partition_that_is_revoked_first_is_left_alone(member, script):
    poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    drive(member.add(P0, StartPosition.at(Position(4))))
    poll(member, script, lambda: script.revoke(0) or [])
    assert script.calls == [("unassign", [0])]


def test_an_error_for_everybody_is_raised_after_the_batches_before_it(member, script):
    steps = [lambda: [message(0, 1), message(-1, 0, KafkaError(KafkaError._FATAL, "unsupported group protocol"))]]
    assert batches(poll(member, script, *steps)) == {"0": [1]}
    with pytest.raises(BrokerError) as caught:
        poll(member, script)
    assert "GROUP_PROTOCOL=classic" in caught.value.fix


@pytest.mark.parametrize("numbers", [(0, 0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 1, 1, 0), (0, 1, 0, 1), (1, 1, 0, 1)])
def test_each_partition_gets_all_its_messages_in_order_however_they_come_mixed(member, script, numbers):
    offsets = {0: iter(range(9)), 1: iter(range(9))}
    sent = [message(number, next(offsets[number])) for number in numbers]
    found = batches(poll(member, script, lambda: sent))
    assert found == {str(number): list(range(numbers.count(number))) for number in (0, 1)}


def test_messages_of_two_topics_with_one_number_are_kept_apart(script, clock):
    settings = KafkaSettings(bootstrap_servers="b")
    config = {"socket.timeout.ms": 1000}
    made = KafkaMembership(settings, clock, config, ["^."], lambda revoked: None, lambda topic, number: Partition(topic, str(number)))
    both = [TopicPartition("t", 0), TopicPartition("u", 0)]
    poll(made, script, lambda: script.callbacks["on_assign"](script, both) or [])
    for name in ("t", "u"):
        drive(made.add(Partition(name, "0"), StartPosition.at(Position(0))))
    mixed = [Message(topic=topic, partition=0, offset=offset, value=topic.encode()) for offset, topic in enumerate("tutu")]
    found = poll(made, script, lambda: mixed)
    assert {str(batch.partition): list(batch.values()) for batch in found} == {"t/0": [b"t", b"t"], "u/0": [b"u", b"u"]}


def claim(member, partition):
    return drive(member.checkpoints.claim(partition, "w", 0))


def save(member, partition, grant):
    return drive(member.checkpoints.save([(Checkpoint(partition, StartPosition.after(Position(9))), grant)]))[0]


def test_a_save_inside_a_revoke_is_sent_and_one_after_it_is_not(member, script):
    grant = claim(member, P0).grant
    inside = []
    member._serve = lambda revoked: inside.append(save(member, P0, grant))
    poll(member, script, lambda: script.revoke(0) or [])
    assert inside == [grant]
    assert script.calls[0] == ("commit", [(0, 10)])
    script.calls.clear()
    assert isinstance(save(member, P0, grant), FencedError)
    assert script.calls == []


def test_a_grant_of_an_earlier_assignment_is_refused_for_ever(member, script):
    old = claim(member, P0).grant
    poll(member, script, lambda: script.lose(0) or script.give(0) or [])
    script.calls.clear()
    assert isinstance(save(member, P0, old), FencedError)
    assert script.calls == []
    new = claim(member, P0).grant
    assert save(member, P0, new) == new


def test_without_an_answer_of_the_coordinator_a_save_is_in_doubt(member, script):
    grant = claim(member, P0).grant

    def silent(partitions, timeout):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    script.committed = silent
    with pytest.raises(StoreUnavailableError):
        save(member, P0, grant)


class Report:
    topic, partition, offset = "t", 1, 10

    def __init__(self, code):
        self.error = KafkaError(code)


def test_each_partition_has_its_own_answer(member, script):
    grants = {partition: claim(member, partition).grant for partition in (P0, P1)}
    script.refuses = (1,)
    many = [(Checkpoint(partition, StartPosition.after(Position(9))), grants[partition]) for partition in (P0, P1)]
    first, second = drive(member.checkpoints.save(many))
    assert first == grants[P0]
    assert isinstance(second, StoreNotReadyError)


@pytest.mark.parametrize(
    ("code", "meaning"), [(KafkaError.UNKNOWN_MEMBER_ID, FencedError), (KafkaError.REBALANCE_IN_PROGRESS, StoreNotReadyError)]
)
def test_the_clients_report_settles_a_commit_and_the_next_one_is_sent(member, script, code, meaning):
    grant = claim(member, P1).grant
    script.refuses = (1,)
    save(member, P1, grant)
    member.checkpoints._commits.on_commit(None, [Report(code)])
    assert isinstance(member.checkpoints._commits._answer(("t", 1)), meaning)
    script.refuses = ()
    script.calls.clear()
    assert save(member, P1, grant) == grant
    assert script.calls == [("commit", [(1, 10)])]


def test_no_commit_is_sent_while_an_earlier_one_may_still_overtake_it(member, script, clock):
    grant = claim(member, P1).grant
    script.refuses = (1,)
    save(member, P1, grant)
    script.calls.clear()
    assert isinstance(save(member, P1, grant), StoreNotReadyError)
    assert script.calls == []
    script.stored[1] = TopicPartition("t", 1, 10)  # it has arrived: found by reading
    assert save(member, P1, grant) == grant
    assert script.calls == []


@pytest.mark.parametrize("why", ["given up", "revoked"])
def test_an_unanswered_commit_does_not_block_saving_for_ever(member, script, clock, why):
    grant = claim(member, P1).grant
    script.refuses = (1,)
    save(member, P1, grant)
    script.refuses = ()
    script.calls.clear()
    if why == "given up":
        clock.now += 3.0
        assert save(member, P1, grant) == grant
    else:
        inside = []
        member._serve = lambda revoked: inside.append(save(member, P1, grant))
        poll(member, script, lambda: script.revoke(1) or [])
        assert inside == [grant]
    assert ("commit", [(1, 10)]) in script.calls


def test_while_leaving_nobody_is_served_and_everything_is_answered(member, script):
    served = []
    member._serve = served.append
    script.owned = (0, 1)
    drive(member.leave())
    assert not served
    assert script.calls == [("unassign", [0, 1])]
    assert isinstance(save(member, P0, 1), FencedError)


def test_that_no_broker_answers_is_said_once_with_its_own_reason_each_time(member, script):
    def out(code, reason):
        for error in (KafkaError(code, reason), KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")):
            member._core.watch(error)
        return []

    for code, reason in ((KafkaError._AUTHENTICATION, "a wrong password"), (KafkaError._TRANSPORT, "a cable")):
        with pytest.raises(BrokerUnavailableError, match=reason):
            poll(member, script, lambda code=code, reason=reason: out(code, reason))
        assert poll(member, script, lambda: []) == []


def committed_of(member, partition):
    checkpoint = drive(member.checkpoints.claim(partition, "w", 0)).checkpoint
    return None if checkpoint is None else checkpoint.at.position.sequence


def counted(script):
    """The partitions of each question to the coordinator."""
    asked, answer = [], script.committed
    script.committed = lambda partitions, timeout: asked.append([p.partition for p in partitions]) or answer(partitions, timeout)
    return asked


def test_what_was_assigned_together_is_asked_for_together(member, script):
    script.stored.update({number: TopicPartition("t", number, 10 + number) for number in (0, 1)})
    asked = counted(script)
    assert [committed_of(member, partition) for partition in (P0, P1)] == [9, 10]
    assert asked == [[0, 1]]


def test_a_second_claim_asks_anew_and_so_does_one_of_a_later_assignment(member, script):
    claim(member, P0)
    asked = counted(script)
    script.stored[0] = TopicPartition("t", 0, 20)
    assert committed_of(member, P0) == 19
    script.stored[1] = TopicPartition("t", 1, 30)
    poll(member, script, lambda: script.lose(1) or script.give(1) or [])
    assert committed_of(member, P1) == 29
    assert asked == [[0, 1], [1]]


def test_where_there_is_no_answer_at_all_each_is_asked_for_by_itself(member, script):
    sound = script.committed

    def doubtful(partitions, timeout):
        if any(p.partition == 1 for p in partitions):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return sound(partitions, timeout)

    script.committed = doubtful
    with pytest.raises(StoreUnavailableError):
        claim(member, P0)
    assert claim(member, P0).grant, "what is wrong with the other one holds it up once"
    with pytest.raises(StoreUnavailableError):
        claim(member, P1)
    script.committed = sound
    assert claim(member, P1).grant


class Doubt(Report):
    metadata = ""


def test_an_answer_in_doubt_is_that_of_its_partition_alone(member, script):
    doubt = Doubt(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    doubt.offset = -1001
    script.stored[1] = doubt
    assert claim(member, P0).grant
    with pytest.raises(StoreUnavailableError):
        claim(member, P1)
    script.stored[1] = TopicPartition("t", 1, 30)
    assert committed_of(member, P1) == 29


def test_what_was_looked_up_a_while_ago_is_not_what_a_claim_finds(member, script, clock):
    script.stored[1] = TopicPartition("t", 1, 50)
    claim(member, P0)
    script.stored[1] = TopicPartition("t", 1, 100)  # by who has it now: we have not heard yet that we lost it
    clock.now += 1.5
    assert committed_of(member, P1) == 99


# -- saves that a busy reader does not wait for --------------------------------------------------------------------------


@pytest.fixture
def busy(member, script):
    """Its polls bring all that they may."""
    poll(member, script, lambda: [message(0, offset) for offset in range(BUDGET.max_records)])
    assert member._core.is_busy
    return member


def begin(member, grants, offset=9):
    many = [(Checkpoint(partition, StartPosition.after(Position(offset))), grant) for partition, grant in grants.items()]
    return drive(member.checkpoints.begin_save(many))


def report(member, partition, offset, code=None):
    told = Report(code) if code is not None else TopicPartition("t", partition, offset)
    told.partition, told.offset = partition, offset
    member._core.on_commit(None, [told])


def look(member, begun):
    drive(member.checkpoints.look(begun))
    return begun.answers


def test_a_busy_reader_waits_for_the_report_and_asks_nobody(busy, script):
    grants = {partition: claim(busy, partition).grant for partition in (P0, P1)}
    asked = counted(script)
    begun = begin(busy, grants)
    assert begun.answers is None
    report(busy, 0, 10)
    assert look(busy, begun) is None, "the other one is not known yet"
    report(busy, 1, 10, KafkaError.UNKNOWN_MEMBER_ID)
    first, second = look(busy, begun)
    assert first == grants[P0]
    assert isinstance(second, FencedError)
    assert asked == []


def test_where_polls_bring_little_the_coordinator_is_asked_at_once(busy, script):
    grants = {P0: claim(busy, P0).grant}
    poll(busy, script, lambda: [message(0, 1000)])
    begun = begin(busy, grants)
    assert begun.answers == [grants[P0]]
    begun = begin(busy, grants, 10)
    assert begun.answers == [grants[P0]], "an earlier report that is still to come is not waited for"


def test_a_reader_that_is_not_busy_any_more_asks(busy, script):
    grants = {P0: claim(busy, P0).grant}
    begun = begin(busy, grants)
    poll(busy, script, lambda: [])
    assert look(busy, begun) == [grants[P0]]


def test_a_report_that_does_not_come_is_not_waited_for_for_ever(busy, script, clock):
    grants = {P0: claim(busy, P0).grant}
    begun = begin(busy, grants)
    assert look(busy, begun) is None
    clock.now += 1.1
    assert look(busy, begun) == [grants[P0]]


def test_the_report_of_an_earlier_commit_is_not_taken_for_that_of_a_later_one(busy, script):
    grants = {P0: claim(busy, P0).grant}
    assert save(busy, P0, grants[P0]) == grants[P0]  # found by asking: its report is still to come
    begun = begin(busy, grants)  # the same offset once more, as with other metadata
    report(busy, 0, 10)
    assert look(busy, begun) is None
    report(busy, 0, 10)
    assert look(busy, begun) == [grants[P0]]


def test_inside_a_revoke_nobody_polls_so_a_save_that_has_begun_is_asked_about(busy, script):
    grants = {P0: claim(busy, P0).grant}
    begun, inside = begin(busy, grants), []
    busy._serve = lambda revoked: inside.extend([look(busy, begun), begin(busy, grants, 10).answers])
    poll(busy, script, lambda: script.revoke(0) or [])
    assert inside == [[grants[P0]], [grants[P0]]]


def test_what_is_refused_at_once_needs_no_report(busy, script):
    old = claim(busy, P0).grant
    poll(busy, script, lambda: script.lose(0) or script.give(0) or [message(1, offset) for offset in range(BUDGET.max_records)])
    begun = begin(busy, {P0: old})
    assert isinstance(begun.answers[0], FencedError)


def test_one_that_was_not_sent_because_another_is_under_way_is_asked_about(busy, script, clock):
    grants = {P0: claim(busy, P0).grant}
    script.refuses = (0,)
    first = begin(busy, grants)
    again = begin(busy, grants, 10)
    assert look(busy, again) is None
    assert [call for call in script.calls if call[0] == "commit"] == [("commit", [(0, 10)])]
    script.stored[0] = TopicPartition("t", 0, 11)
    clock.now += 1.1
    assert look(busy, again) == [grants[P0]]
    report(busy, 0, 10)
    assert look(busy, first) == [grants[P0]]
