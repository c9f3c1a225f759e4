"""The first processor through fifty simulated lives: `pytest test_first.py`."""

from first import handle

from streamkit.testing import simulate


def test_it_lives_through_whatever_happens() -> None:
    simulate(handle, seeds=50)
