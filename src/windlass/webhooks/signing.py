"""Signatures as the specification Standard Webhooks says: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from windlass.core.errors import InvalidOption

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""


def decode_secret(secret: object) -> bytes:
    """The bytes of ``whsec_...``. Raises `InvalidOption`, which does not show it."""
    wanted = f"secret: expected {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64"
    if not isinstance(secret, str) or not secret.startswith(PREFIX):
        raise InvalidOption(wanted)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidOption(wanted) from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise InvalidOption(f"{wanted}, got {len(key)}")
    return key


def headers_for(key: bytes, id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of one try. ``id``: of the message, the same at each try; ``at``: seconds since the epoch."""
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature}
