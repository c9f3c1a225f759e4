"""Everything that a plugin author imports, and only that. Begin with `Plugin`, then the seam that you implement."""

from streamkit.plugin.adapter import Adapter, AdapterContext
from streamkit.plugin.broker import Broker, GroupBroker
from streamkit.plugin.event import Assigned, CaughtUp, Ended, Event, Failed, Idle, Lost, Revoked
from streamkit.plugin.exchange import Exchange, Exported, Foreign
from streamkit.plugin.membership import Membership
from streamkit.plugin.observer import Observer
from streamkit.plugin.plugin import Plugin, hookimpl, register
from streamkit.plugin.producer import NewRecord, Producer
from streamkit.plugin.reader import Budget, Reader
from streamkit.plugin.store import BegunSave, CheckpointStore, Claim, Grant, LeaseStore, PolledStore
from streamkit.settings import Duration, Size

__all__ = [
    "Adapter",
    "AdapterContext",
    "Assigned",
    "BegunSave",
    "Broker",
    "Budget",
    "CaughtUp",
    "CheckpointStore",
    "Claim",
    "Duration",
    "Ended",
    "Event",
    "Exchange",
    "Exported",
    "Failed",
    "Foreign",
    "Grant",
    "GroupBroker",
    "Idle",
    "LeaseStore",
    "Lost",
    "Membership",
    "NewRecord",
    "Observer",
    "Plugin",
    "PolledStore",
    "Producer",
    "Reader",
    "Revoked",
    "Size",
    "hookimpl",
    "register",
]
