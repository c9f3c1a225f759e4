"""Where Kafka's tokens come from: here a file that the platform keeps fresh."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path


def token(config: str) -> tuple[str, float]:
    """`config` is the path of the file. The second value is when the token expires, in unix seconds."""
    text = Path(config).read_text().strip()
    payload = json.loads(urlsafe_b64decode(text.split(".")[1] + "=="))
    return text, payload["exp"]
