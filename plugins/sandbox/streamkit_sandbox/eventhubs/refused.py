"""How the state says no: an AMQP error condition and a description, which the link's detach carries to the client."""

from __future__ import annotations

__all__ = ["ARGUMENT_ERROR", "LIMIT_EXCEEDED", "LINK_STOLEN", "Refused"]

LINK_STOLEN = "amqp:link:stolen"
LIMIT_EXCEEDED = "amqp:resource-limit-exceeded"
ARGUMENT_ERROR = "com.microsoft:argument-error"


class Refused(Exception):
    """A link that the service would not open."""

    def __init__(self, condition: str, description: str) -> None:
        self.condition, self.description = condition, description
        super().__init__(f"{condition}: {description}")
