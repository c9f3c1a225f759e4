"""How long the end of a program waits for telemetry."""

from __future__ import annotations

import pytest

from streamkit.assembly.telemetry import flush_seconds


@pytest.mark.parametrize(
    ("drain", "so_far", "left"),
    [(25.0, 0.0, 5.0), (25.0, 24.0, 1.0), (25.0, 30.0, 0.5), (1.0, 0.0, 1.0), (0.1, 0.0, 0.5)],
)
def test_it_may_take_what_the_drain_has_left_within_bounds(drain: float, so_far: float, left: float) -> None:
    assert flush_seconds(drain, so_far) == left
