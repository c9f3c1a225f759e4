"""The whole way once: join, claim, add, read, save, leave, and go on where it stood."""


def test_a_member_reads_saves_and_the_next_one_goes_on(kafka, protocol):
    topic = kafka.topic(2)
    kafka.produce(topic, [b"%d" % i for i in range(100)], 0)
    kafka.produce(topic, [b"%d" % i for i in range(50)], 1)
    first = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: sum(map(len, first.values.values())) == 150, first)
    assert all(not isinstance(answer, Exception) for answer in first.save())
    first.leave()
    kafka.produce(topic, [b"new"], 1)
    second = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: second.values, second)
    assert list(second.values.values()) == [[b"new"]]
