"""Where Kafka's tokens come from."""

import time


def token(config: str) -> tuple[str, float]:
    """Ask your identity provider here. The second value is when the token expires, in unix seconds."""
    return "header.payload.signature", time.time() + 300
