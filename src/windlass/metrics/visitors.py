"""Who may read figures: this machine, or whoever shows a token."""

from __future__ import annotations

import hmac
import os

from windlass.core.errors import InvalidOption
from windlass.core.hosts import is_loopback

TOKEN = "WINDLASS_METRICS_TOKEN"  # noqa: S105 - the variable's name
SHORTEST_TOKEN = 16


def token_here() -> str | None:
    """The token that visitors of this process have to show, without the white space around it (a file's last line has
    its end); ``None``: none."""
    return os.environ.get(TOKEN, "").strip() or None


def check_token(host: str, token: str | None) -> None:
    """Raise `InvalidOption` if figures must not be served at this address with this token; ``None``: with none."""
    if token is not None and not (token.isascii() and token.isprintable()):
        raise InvalidOption("the token has characters that no header can carry: expected printable ASCII")
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
    scheme, _, shown = (authorization or "").strip().partition(" ")
    right = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), token.encode())
    return scheme.lower() == "bearer" and right
