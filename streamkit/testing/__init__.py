"""For tests of processors and adapters; nothing else in streamkit imports it.

`Harness` runs a processor on the real engine in virtual time, as a test commands; `simulate` lets it live through crashes, failures and
changes of owner by the hundred; `VirtualRuntime` is what both run on.
"""

from streamkit.testing.harness import Harness
from streamkit.testing.simulation import SimulationFailed, simulate
from streamkit.testing.virtual import VirtualRuntime

__all__ = ["Harness", "SimulationFailed", "VirtualRuntime", "simulate"]
