"""A process has one provider for ever: no test may set it, or all later ones would be traced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.telemetry.instrumentation import real_meter_provider, real_tracer_provider


@pytest.fixture(autouse=True)
def nobody_sets_a_provider_for_all() -> Iterator[None]:
    yield
    assert (real_tracer_provider(), real_meter_provider()) == (None, None), "use a process of its own"
