"""For tests of processors and adapters; nothing else in streamkit imports it.

`Harness` runs a processor on the real engine in virtual time; `VirtualRuntime` is what it runs on.
"""

from streamkit.testing.harness import Harness
from streamkit.testing.virtual import VirtualRuntime

__all__ = ["Harness", "VirtualRuntime"]
