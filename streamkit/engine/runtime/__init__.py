"""What carries the engine: clock, randomness, and the threads and loops on which its coroutines run.

The only folder of the engine that may import threading, time, random or asyncio. The engine's parts are coroutines that wait
only for the primitives below. A *carrier* runs them: a loop carrier as tasks of an asyncio loop; a thread carrier in a thread of
its own, where every wait blocks that thread and the coroutine never suspends. So the same code runs on threads in
production and, with every carrier on one virtual loop, in a simulation.
"""

from streamkit.engine.runtime.carriers import BlockingCalls, Carrier, Runtime
from streamkit.engine.runtime.loops import LoopCarrier
from streamkit.engine.runtime.primitives import Lock, Mailbox, OnEnd, Promise, Signal, Task, is_being_stopped, taking_turns
from streamkit.engine.runtime.production import LoopThread, ThreadRuntime
from streamkit.engine.runtime.stacks import stack_of, stacks, this_thread

__all__ = [
    "BlockingCalls",
    "Carrier",
    "Lock",
    "LoopCarrier",
    "LoopThread",
    "Mailbox",
    "OnEnd",
    "Promise",
    "Runtime",
    "Signal",
    "Task",
    "ThreadRuntime",
    "is_being_stopped",
    "stack_of",
    "stacks",
    "taking_turns",
    "this_thread",
]
