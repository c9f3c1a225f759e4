"""Questions to the cluster, through one AdminClient: is it there, which topics, which offsets, who is in the group.

Blocking, so called through `Adapter.blocking`. The AdminClient is kept until `close`, because its futures die with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, TimeoutError
from typing import Any, TypeAlias

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from streamkit.errors import BrokerUnavailableError, StreamGoneError, StreamkitError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit_kafka.access_errors import is_refused_tls
from streamkit_kafka.client import ErrorWatch, admin_config, new_admin
from streamkit_kafka.consumer import Key
from streamkit_kafka.errors import BROKER, SERVERS, Reading, access_error, broker_error, store_error, translated, translation
from streamkit_kafka.handshake import explain_refusal
from streamkit_kafka.settings import KafkaSettings
from streamkit_kafka.streams import is_pattern, matches

__all__ = ["EARLIEST", "LATEST", "Cluster", "Spec", "at_time"]

# The client's own class has no types.
Spec: TypeAlias = Any
_offset_spec: Any = OffsetSpec
EARLIEST: Spec = _offset_spec.earliest()
LATEST: Spec = _offset_spec.latest()

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 2.0
"""How long all brokers may be out of reach at the first contact: a name may be about to resolve, a broker about to listen."""


def at_time(milliseconds: int) -> Spec:
    """The first offset whose record is not older."""
    return _offset_spec.for_timestamp(milliseconds)


class Cluster:
    """Made without I/O; `connect` is the first contact."""

    def __init__(self, settings: KafkaSettings, context: AdapterContext) -> None:
        self._settings = settings
        self._context = context
        self._watch = ErrorWatch()
        self._seconds = settings.request_seconds
        self.cluster_id = ""
        with translated("configuring the client"):
            self._admin = new_admin(admin_config(settings, context.worker), self._watch)

    def connect(self) -> None:
        """Ask for the cluster's identity. Raises AccessDeniedError as soon as a broker says so, else BrokerUnavailableError."""
        with translated("connecting"):
            answer = self._admin.describe_cluster(request_timeout=self._seconds)
        began = self._context.monotonic()
        while not answer.done():
            self._admin.poll(_POLL_SECONDS)
            waited = self._context.monotonic() - began
            if self._watch.denied is not None or waited > self._seconds or (self._watch.down and waited > _PATIENCE_SECONDS):
                raise self._unreachable(waited)
        try:
            self.cluster_id = str(answer.result().cluster_id or "")
        except KafkaException as error:
            known = translation(error, "connecting")
            raise (self._unreachable(self._seconds) if isinstance(known, BrokerUnavailableError) else known) from error

    def _unreachable(self, waited_seconds: float) -> StreamkitError:
        servers, denied = self._settings.bootstrap_servers, self._watch.denied
        trouble = denied or self._watch.trouble
        said = "" if trouble is None or trouble.code() == KafkaError._ALL_BROKERS_DOWN else trouble.str()
        if is_refused_tls(said) or (denied is None and self._watch.down):
            known = explain_refusal(self._settings, said)
            if known is not None:
                return known
        if denied is not None:
            return access_error(denied, f"connecting to {servers}")
        last = f": {self._watch.trouble.str()}" if self._watch.trouble is not None else ""
        text = f"no Kafka broker answered at {servers} within {waited_seconds:.0f} s{last}"
        return BrokerUnavailableError(text, broker=BROKER, fix=f"check {SERVERS}={servers}, and that a broker listens there")

    # -- topics -------------------------------------------------------------------------------------------------------

    def partitions(self, streams: Sequence[str]) -> list[Partition]:
        """Every partition of these topics; patterns are matched against all names. Raises StreamGoneError."""
        names = {stream: None for stream in streams if not is_pattern(stream)}
        for stream in filter(is_pattern, streams):
            found = [name for name in self._all_names() if matches(stream, name)]
            if not found:
                fix = "create a topic that it matches, or correct STREAMKIT_STREAM"
                raise StreamGoneError(f"no topic matches {stream!r}", broker=BROKER, fix=fix)
            names.update(dict.fromkeys(sorted(found)))
        with translated("describing topics"):
            answers = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=self._seconds)
        return [partition for name, answer in answers.items() for partition in self._described(name, answer)]

    def _all_names(self) -> Iterable[str]:
        with translated("listing topics"):
            return self._admin.list_topics(timeout=self._seconds).topics

    def _described(self, name: str, answer: Future[Any]) -> list[Partition]:
        try:
            topic = self._wait(answer, f"describing topic {name}")
        except StreamGoneError as error:
            fix = "create the topic, or correct STREAMKIT_STREAM"
            raise StreamGoneError(f"there is no topic {name!r} on {self._settings.bootstrap_servers}", broker=BROKER, fix=fix) from error
        if not topic.partitions:
            raise BrokerUnavailableError(f"Kafka names no partition of topic {name!r}", broker=BROKER)
        incarnation = f"{self.cluster_id}/{topic.topic_id}"
        return [Partition(name, str(number), incarnation=incarnation) for number in sorted(p.id for p in topic.partitions)]

    def _wait(self, answer: Future[Any], doing: str, reading: Reading = broker_error) -> Any:
        try:
            with translated(doing, reading=reading):
                return answer.result(self._seconds + 1)
        except TimeoutError as error:
            late = KafkaError(KafkaError._TIMED_OUT, f"no answer within {self._seconds:g} s")
            raise reading(late, doing, "") from error
        finally:
            self._admin.poll(0)  # what librdkafka logged meanwhile

    # -- offsets ------------------------------------------------------------------------------------------------------

    def offsets(self, keys: Sequence[Key], spec: Spec, *, committed_only: bool) -> dict[Key, int]:
        """The offset that `spec` means in each; -1 where a time lies past the newest record."""
        level = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(*key): spec for key in keys}
        with translated("asking for offsets"):
            answers = self._admin.list_offsets(wanted, isolation_level=level, request_timeout=self._seconds)
        found = {}
        for where, answer in answers.items():
            found[where.topic, where.partition] = self._wait(answer, f"asking for offsets of {where.topic}/{where.partition}").offset
        return found

    # -- groups (errors as a store has them) -----------------------------------------------------------------------

    def members(self, group: str) -> int:
        """How many members the group has now; 0 for one that does not exist."""
        with translated("describing the group", reading=store_error):
            answer = self._admin.describe_consumer_groups([group], request_timeout=self._seconds)[group]
        described = self._wait_unless_absent(answer, f"describing group {group}")
        return 0 if described is None else len(described.members)

    def committed(self, group: str) -> list[TopicPartition]:
        """Every committed offset of the group, whatever its topic; each with its own error."""
        with translated("listing committed offsets", reading=store_error):
            request = [ConsumerGroupTopicPartitions(group)]
            answer = self._admin.list_consumer_group_offsets(request, request_timeout=self._seconds)[group]
        listed = self._wait_unless_absent(answer, f"listing the offsets of group {group}")
        return [] if listed is None else list(listed.topic_partitions)

    def alter(self, group: str, target: TopicPartition) -> None:
        """Commit from outside, which only an empty group allows."""
        with translated("changing committed offsets", reading=store_error):
            request = [ConsumerGroupTopicPartitions(group, [target])]
            answer = self._admin.alter_consumer_group_offsets(request, request_timeout=self._seconds)[group]
        doing = f"changing the offset of group {group}"
        written: TopicPartition = self._wait(answer, doing, store_error).topic_partitions[0]
        if written.error is not None:
            raise store_error(written.error, doing, f"{target.topic}/{target.partition}")

    def delete_group(self, group: str) -> None:
        """Forget the group with all its offsets; fine if there is none."""
        with translated("deleting the group", reading=store_error):
            answer = self._admin.delete_consumer_groups([group], request_timeout=self._seconds)[group]
        self._wait_unless_absent(answer, f"deleting group {group}")

    def _wait_unless_absent(self, answer: Future[Any], doing: str) -> Any:
        try:
            return self._wait(answer, doing, store_error)
        except StreamkitError as error:
            if _code_behind(error) == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise


def _code_behind(error: StreamkitError) -> int:
    cause = error.__cause__
    inner = cause.args[0] if isinstance(cause, KafkaException) and cause.args else None
    return inner.code() if isinstance(inner, KafkaError) else 0
