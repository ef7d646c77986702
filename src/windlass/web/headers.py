"""What every answer of the site says to browsers, whoever gives it: pages, errors, redirections, files."""

from __future__ import annotations

from windlass.web.asgi import Message, Send

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _POLICY),
)
_NOT_KEPT = (b"cache-control", b"no-store")


def with_headers(send: Send, *, is_file: bool) -> Send:
    """Send with these headers, where an answer does not say otherwise; ``is_file``: browsers may keep it."""

    async def run(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = list(message.get("headers", ()))
            names = {name.lower() for name, _ in said}
            kept = is_file and message["status"] < 400
            ours = _ALWAYS if kept else (*_ALWAYS, _NOT_KEPT)
            message = {**message, "headers": said + [(name, value) for name, value in ours if name not in names]}
        await send(message)

    return run
