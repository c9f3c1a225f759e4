"""What a save is answered and what a claim finds, when assignments change and the coordinator is silent, in doubt or late."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from plugins.kafka.tests.unit.scripted import P0, P1, Report, claim, counted, drive, poll, save
from streamkit.errors import FencedError, StoreNotReadyError, StoreUnavailableError
from streamkit.model import Checkpoint, Position, StartPosition


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


def committed_of(member, partition):
    checkpoint = drive(member.checkpoints.claim(partition, "w", 0)).checkpoint
    return None if checkpoint is None else checkpoint.at.position.sequence


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
