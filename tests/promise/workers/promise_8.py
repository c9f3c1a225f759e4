"""What an app of given settings prints at its start: nothing is connected to."""

from __future__ import annotations

from streamkit.app import App
from streamkit.engine.runtime import ThreadRuntime
from streamkit.processing import record_processor

__all__ = ["contract_of"]


def contract_of(**settings: object) -> list[str]:
    """The lines of the contract. Raises what refuses the start."""

    @record_processor
    def handle(record: object, context: object) -> None: ...

    runtime = ThreadRuntime()
    try:
        assembled = App(handle, **settings).assemble(runtime)
        assembled.stop()
    finally:
        runtime.stop()
    return assembled.contract.splitlines()
