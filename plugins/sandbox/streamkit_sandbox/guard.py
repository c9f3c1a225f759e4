"""A program of its own that starts one server, obeys its owner and never lets the server outlive that owner.

The owner holds the other end of its standard input: signal numbers come in, the end of the pipe means that the owner is
gone (also by kill -9) and the server is killed. It says `pid N`, then `exit CODE` or `failed REASON`. As it is the
server's parent, a signal never meets a process id that was given away. Standard library only: it runs with -I -S.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
PARENT_CHECK_SECONDS = 0.5


def main() -> None:
    """Reads the order (argv, log, folder, owner, remove, environment) from the first argument and serves until the end of either side."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_the_guard() -> None:
        # Safe here, unlike in the owner: this program has one thread, and the signal is tied to the thread that forks.
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with open(order["log"], "ab") as log:
        try:
            child = subprocess.Popen(
                order["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=order["folder"],
                env=os.environ | order["environment"],
                preexec_fn=die_with_the_guard,
            )
        except OSError as error:
            say(f"failed {error}")
            return
    say(f"pid {child.pid}")
    if serve(child, wake, order["owner"]):
        return
    child.kill()
    child.wait()
    if order["remove"]:
        shutil.rmtree(order["remove"], ignore_errors=True)


def serve(child: subprocess.Popen[bytes], wake: int, owner: int) -> bool:
    """True when the server ended, False when the owner is gone."""
    while True:
        ready, _, _ = select.select([0, wake], [], [], PARENT_CHECK_SECONDS)
        code = child.poll()
        if code is not None:
            say(f"exit {code}")
            return True
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready:
            orders = os.read(0, 4096)
            if not orders:
                return False
            for number in orders.split():
                child.send_signal(int(number))
        # A process forked by the owner may hold the pipe open after the owner's end.
        if os.getppid() != owner:
            return False


def say(line: str) -> None:
    """Tells the owner; it may be gone."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    main()
