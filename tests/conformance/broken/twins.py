"""Each broken adapter with the rule that must catch it, and the sound twin beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.memory import MemoryBroker, MemoryProducer, MemoryStore
from streamkit.builtin.memory.membership import MemoryMembership
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import BrokerKit, StoreKit
from tests.conformance.broken import brokers, readers, stores
from tests.conformance.memory_kits import SESSION_SECONDS, MemoryKit, MemoryStoreKit, SplittingKit

__all__ = ["TWINS", "Twin"]

PATIENCE_SECONDS = 0.7
RULE_SECONDS = 3.0
SILENT = ("B13",)
"""Rules that wait until a session has run out."""
LINEAGE = ("B70", "B71", "B72", "B75")


@dataclass(frozen=True, slots=True)
class Twin:
    """`broken` is a class that takes the place of the sound one of its kind."""

    rule: str
    broken: type

    def __str__(self) -> str:
        return f"{self.broken.__name__} {self.rule}"

    def kit(self, folder: Path, *, sound: bool) -> BrokerKit | StoreKit:
        """A kit of the broken one, or of its sound twin. `folder` has nothing in it."""
        if issubclass(self.broken, MemoryStore):
            return _store_kit(MemoryStore if sound else self.broken)
        if issubclass(self.broken, FileStore):
            return FileTwinKit(FileStore if sound else self.broken, folder)
        kit: BrokerKit = _broker_kit(self.rule in LINEAGE, *_parts(self.broken, sound))
        if not sound:
            longer = SESSION_SECONDS if self.rule in SILENT else 0.0
            kit.patience_seconds, kit.rule_seconds = PATIENCE_SECONDS + longer, RULE_SECONDS + 2 * longer
        return kit


def _parts(broken: type, sound: bool) -> tuple[type[MemoryBroker], type[MemoryProducer]]:
    if sound:
        return (brokers.RefusesTime if broken is brokers.DeclaresNoTime else MemoryBroker), MemoryProducer
    if issubclass(broken, MemoryReader):
        return type("Broken", (brokers.ReaderIs,), {"kind": broken}), MemoryProducer
    if issubclass(broken, MemoryMembership):
        return type("Broken", (brokers.OfGroup,), {"member": broken}), MemoryProducer
    if issubclass(broken, MemoryProducer):
        return MemoryBroker, broken
    assert issubclass(broken, MemoryBroker)
    return broken, MemoryProducer


def _broker_kit(splitting: bool, broker: type[MemoryBroker], producer: type[MemoryProducer]) -> BrokerKit:
    class Kit(SplittingKit if splitting else MemoryKit):  # type: ignore[misc]
        def broker(self, context: AdapterContext) -> MemoryBroker:
            return broker(self.settings, context)

        def producer(self, context: AdapterContext) -> MemoryProducer:
            return producer(self.settings, context)

    return Kit("kinesis" if splitting else "kafka")  # type: ignore[no-any-return]


class FileTwinKit(StoreKit):
    """For rules about several processes; so it can be pickled."""

    def __init__(self, kind: type[FileStore], folder: Path) -> None:
        self.kind = kind
        self.folder = folder

    def store(self, context: AdapterContext) -> FileStore:
        return self.kind(FileSettings(path=self.folder / "checkpoints"), context)


def _store_kit(store: type[MemoryStore]) -> StoreKit:
    class Kit(MemoryStoreKit):
        def store(self, context: AdapterContext) -> MemoryStore:
            return store(self.settings, context)

    return Kit()


TWINS = [
    Twin("B01", brokers.LeaksAThread),
    Twin("B03", brokers.NotClosableUnopened),
    Twin("B05", readers.HangsInClose),
    Twin("B07", brokers.KeepsRevoked),
    Twin("B08", brokers.AssignsToEverybody),
    Twin("B09", brokers.ForgetsToLeave),
    Twin("B10", brokers.DealsOutAtOnce),
    Twin("B11", brokers.GoesOnAtInsteadOfAfter),
    Twin("B12", brokers.GroupWithoutFence),
    Twin("B13", brokers.NeverSaysLost),
    Twin("B13", brokers.GroupWithoutFence),
    Twin("B14", brokers.GoesOnAtInsteadOfAfter),
    Twin("B16", readers.FirstOwnerWins),
    Twin("B17", brokers.ReadsAtOnce),
    Twin("B18", brokers.MemberIgnoresPause),
    Twin("B20", brokers.CutsDiscovery),
    Twin("B20", brokers.ChangesIncarnation),
    Twin("B21", brokers.UnknownIsEmpty),
    Twin("B22", brokers.ListsTwice),
    Twin("B23", brokers.PatternOfNothing),
    Twin("B24", brokers.DeclaresNoGroup),
    Twin("B25", brokers.StaticWithoutReader),
    Twin("B26", brokers.TipsReversed),
    Twin("B27", brokers.UnknownIsEmpty),
    Twin("B30", readers.SkipsOne),
    Twin("B30", readers.Reverses),
    Twin("B31", readers.RepeatsLast),
    Twin("B32", readers.FirstPartitionOnly),
    Twin("B33", readers.StopsAtTheTip),
    Twin("B34", readers.CaughtUpFirst),
    Twin("B34", readers.NeverCaughtUp),
    Twin("B35", readers.ForgetsHeaders),
    Twin("B36", readers.NaiveTime),
    Twin("B37", readers.StripsValues),
    Twin("B38", readers.NoneIsEmpty),
    Twin("B39", readers.CountsPositions),
    Twin("B40", readers.SkipsTheOldest),
    Twin("B41", brokers.KeepsLatest),
    Twin("B42", brokers.LatestBehindNothing),
    Twin("B43", readers.StartsAfterAt),
    Twin("B44", readers.StartsAtAfter),
    Twin("B45", brokers.TimeIsEarliest),
    Twin("B46", brokers.DeclaresNoTime),
    Twin("B47", readers.StartsAtAfter),
    Twin("B49", brokers.ClampsBeyondTheTip),
    Twin("B50", readers.IgnoresPause),
    Twin("B51", readers.DropsWhatWasPrefetched),
    Twin("B52", readers.IgnoresRemove),
    Twin("B54", readers.AddsWhereItWas),
    Twin("B55", readers.IgnoresRecords),
    Twin("B56", readers.NeverAdmitsLarge),
    Twin("B57", readers.IdlesBesideRecords),
    Twin("B57", readers.BlocksWhenIdle),
    Twin("B59", readers.IgnoresBytes),
    Twin("B60", readers.WrongLast),
    Twin("B61", readers.BatchOnceOnly),
    Twin("B62", readers.SlicesWrong),
    Twin("B64", readers.FirstHeaderWins),
    Twin("B70", readers.EndsWithoutChildren),
    Twin("B71", readers.OrphansChildren),
    Twin("B73", readers.EndsAtTheTip),
    Twin("B74", readers.EndsWhenDeleted),
    Twin("P01", brokers.AcknowledgesBeforeWriting),
    Twin("P02", brokers.WritesInReverse),
    Twin("P03", brokers.KeyWins),
    Twin("P04", brokers.AnswersTogether),
    Twin("P06", brokers.SwallowsForNobody),
    Twin("P08", brokers.LosesHeaders),
    Twin("S04", stores.DeclaresNoLeases),
    Twin("S06", stores.TrustsAnyGrant),
    Twin("S10", stores.AbsentIsEarliest),
    Twin("S11", stores.LowersTheEpoch),
    Twin("S12", stores.KeepsEpoch),
    Twin("S13", stores.TrustsAnyGrant),
    Twin("S14", stores.MovesBack),
    Twin("S15", stores.SavesTheUnknown),
    Twin("S16", stores.RefusesEqual),
    Twin("S17", stores.AllOrNothing),
    Twin("S19", stores.IgnoresIncarnation),
    Twin("S30", stores.ForgetsPending),
    Twin("S31", stores.MixesGroups),
    Twin("S32", stores.OverwritesSoftly),
    Twin("S33", stores.DeletesTheEpoch),
    Twin("S34", stores.AnswersAnyRequest),
    Twin("S37", stores.CutsMetadata),
    Twin("S38", stores.KeepsUntilClosed),
    Twin("S39", stores.EpochFromTheClock),
    Twin("S40", stores.ClaimsWithoutLock),
    Twin("S41", stores.LocksItsOwnProcess),
    Twin("S42", stores.WritesWhenClosed),
    Twin("L01", stores.ForgetsLineage),
    Twin("L02", stores.CreatesWithoutCheckpoint),
    Twin("L04", stores.CreatesAnew),
    Twin("L05", stores.CreatesAnew),
    Twin("L12", stores.GrantsToBoth),
    Twin("L13", stores.TakesByEpochAlone),
    Twin("L15", stores.TrustsAnyGrant),
    Twin("L20", stores.RenewsNothing),
    Twin("L21", stores.FencesItsOwnRenewal),
    Twin("L30", stores.RequestIsASign),
    Twin("L36", stores.ReleasesWithoutFence),
    Twin("L50", stores.ForgetsChildren),
    Twin("L53", stores.RemovesAnyway),
    Twin("L60", stores.OverwritesSoftly),
    Twin("L61", stores.KeepsEpoch),
    Twin("L70", stores.TakesWithoutLock),
]
