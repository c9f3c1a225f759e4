"""What PutRecords says of each record. Pure. An answer that is not whole says nothing: then all of its records are in doubt."""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.errors import BrokerError, BrokerUnavailableError, ThrottledError
from streamkit_kinesis.errors import BROKER

__all__ = ["answers_of"]


def answers_of(answer: Mapping[str, object], count: int, stream: str) -> list[BrokerError | None]:
    """One for each of `count` records: None if it is in the stream, else why it is not.

    Raises BrokerUnavailableError if the answer is not whole: botocore makes `{}` of a body that was cut, and a record of which
    nothing is said may be in the stream or not.
    """
    records, failed = answer.get("Records"), answer.get("FailedRecordCount")
    if not isinstance(records, list) or not isinstance(failed, int):
        raise _doubt(stream, "it lacks Records or FailedRecordCount")
    if len(records) != count:
        raise _doubt(stream, f"it speaks of {len(records)} records, and {count} were sent")
    found = [_answer_of(one, stream) for one in records]
    if sum(1 for one in found if one is not None) != failed:
        raise _doubt(stream, f"it counts {failed} failures, and names {sum(1 for one in found if one is not None)}")
    return found


def _answer_of(one: object, stream: str) -> BrokerError | None:
    if not isinstance(one, dict):
        raise _doubt(stream, "one of its records is no object")
    if code := one.get("ErrorCode"):
        text = f"{stream} did not take a record: {code}: {one.get('ErrorMessage') or 'no reason given'}"
        if "Throttl" in str(code) or "ThroughputExceeded" in str(code):
            fix = "the stream has too few shards for what is written, or one key has too much of it"
            return ThrottledError(text, broker=BROKER, fix=fix)
        return BrokerUnavailableError(text, broker=BROKER)
    if not one.get("SequenceNumber") or not one.get("ShardId"):
        raise _doubt(stream, "a record has neither a sequence number nor an error")
    return None


def _doubt(stream: str, why: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(
        f"{stream}: the answer to PutRecords is not whole ({why}), so its records may be in the stream or not",
        broker=BROKER,
        fix="what is written again may be there twice",
    )
