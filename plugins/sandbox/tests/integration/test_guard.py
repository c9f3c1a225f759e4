"""A guarded process ends with its owner, however the owner ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.errors import ServerStartError
from streamkit_sandbox.process import GuardedProcess, log_tail

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes through pidfd")

SLEEPER = [sys.executable, "-c", "import signal; print('hello', flush=True); signal.pause()"]
OWNER = """
import os, sys, time
from pathlib import Path
from streamkit_sandbox.process import GuardedProcess
folder = Path(sys.argv[1])
guarded = GuardedProcess([sys.executable, "-c", "import signal; signal.pause()"], log=folder / "log", folder=folder, remove=folder)
if "forks" in sys.argv and os.fork() == 0:
    time.sleep(60)
print(guarded.pid, flush=True)
sys.stdin.readline()
"""


def ended(pidfd: int, seconds: float = 30.0) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedProcess]:
    process = GuardedProcess(SLEEPER, log=tmp_path / "log", folder=tmp_path)
    yield process
    process.end()


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_dies_with_its_killed_owner_and_its_folder_goes(tmp_path: Path, signal_number: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        (guard,) = {int(line.split()[3]) for line in [Path(f"/proc/{pid}/stat").read_text()]}
        watched = [os.pidfd_open(pid), os.pidfd_open(guard)]
        owner.send_signal(signal_number)
        assert all(ended(pidfd) for pidfd in watched)
    for pidfd in watched:
        os.close(pidfd)
    assert not folder.exists()


def test_a_fork_of_the_owner_does_not_keep_the_server_alive(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    command = [sys.executable, "-c", OWNER, str(folder), "forks"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        assert owner.stdout is not None
        watched = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
        assert ended(watched)
        os.killpg(owner.pid, signal.SIGKILL)  # the fork
    os.close(watched)


def test_a_server_dies_with_its_killed_guard(guarded: GuardedProcess) -> None:
    watched = os.pidfd_open(guarded.pid)
    guarded._guard.kill()
    assert ended(watched)
    os.close(watched)
    assert guarded.exit_code(30) == -signal.SIGKILL


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[GuardedProcess] = []
    thread = threading.Thread(target=lambda: started.append(GuardedProcess(SLEEPER, log=tmp_path / "log", folder=tmp_path)))
    thread.start()
    thread.join()
    assert started[0].exit_code(0.5) is None
    started[0].end()
    assert started[0].exit_code() == -signal.SIGKILL


def test_a_signal_reaches_the_server_and_its_exit_code_is_known(guarded: GuardedProcess) -> None:
    assert guarded.exit_code() is None
    guarded.signal(signal.SIGTERM)
    assert guarded.exit_code(30) == -signal.SIGTERM
    guarded.signal(signal.SIGTERM)  # nobody is left to receive it
    guarded.end()


def test_a_stopped_server_is_ended_all_the_same(guarded: GuardedProcess) -> None:
    guarded.signal(signal.SIGSTOP)
    guarded.end()
    assert guarded.exit_code() == -signal.SIGKILL


def test_a_program_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="no-such-program"):
        GuardedProcess([str(tmp_path / "no-such-program")], log=tmp_path / "log", folder=tmp_path)


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_text("\n".join(f"line {number}" for number in range(10_000)))
    assert log_tail(log, 2) == "line 9998\nline 9999"
