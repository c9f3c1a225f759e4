"""The only place that looks at the process around it. What it finds is passed on as plain values."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["process_environment", "worker_name"]


def process_environment() -> Mapping[str, str]:
    """A copy of the environment variables of this process."""
    return dict(os.environ)


def worker_name() -> str:
    """`hostname-pid`: what a worker is called that was not given a name."""
    return f"{socket.gethostname()}-{os.getpid()}"
