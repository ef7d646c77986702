"""Who may read figures: this machine, or whoever shows a token."""

from __future__ import annotations

import hmac

from windlass.core.errors import InvalidOption
from windlass.core.hosts import is_loopback

TOKEN = "WINDLASS_METRICS_TOKEN"  # noqa: S105 - the variable's name
SHORTEST_TOKEN = 16


def check_token(host: str, token: str | None) -> None:
    """Raise `InvalidOption` if figures must not be served at this address with this token; ``None``: with none."""
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise InvalidOption(f"the token has {len(token)} characters; expected {SHORTEST_TOKEN} or more")
    if token is None and not is_loopback(host):
        raise InvalidOption(
            f"{host} can be reached by others, who could see all figures: set {TOKEN}, or listen on 127.0.0.1"
        )


def is_welcome(token: str | None, authorization: str | None) -> bool:
    """Whether a visitor shows the token, as ``Authorization: Bearer``. Takes as long for a wrong one as for the right
    one."""
    if token is None:
        return True
    shown = (authorization or "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(shown, f"Bearer {token}".encode())
