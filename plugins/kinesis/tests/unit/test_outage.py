"""When the service as a whole does not answer: many failures, for long, and nothing else."""

from __future__ import annotations

from streamkit_kinesis.outage import FAILURES, PATIENCE_SECONDS, Outage

from streamkit.errors import BrokerUnavailableError

ERROR = BrokerUnavailableError("no answer")


def test_failures_alone_are_an_outage_when_they_are_many_and_last() -> None:
    outage = Outage()
    for _ in range(FAILURES):
        assert outage.error(PATIENCE_SECONDS) is None
        outage.failed(0.0, ERROR)
    assert outage.error(PATIENCE_SECONDS - 0.1) is None
    assert outage.error(PATIENCE_SECONDS) is ERROR


def test_one_answer_ends_it() -> None:
    outage = Outage()
    for _ in range(100):
        outage.failed(0.0, ERROR)
    outage.answered()
    assert outage.error(1000.0) is None
    outage.failed(1000.0, ERROR)
    assert outage.error(2000.0) is None
