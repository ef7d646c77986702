"""A receiver of webhooks on this machine, which verifies their signatures by hand."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATIENCE = 20


class Receiver:
    """An HTTP server that keeps what was sent to it and is signed well; ``answers`` are the statuses of its next
    answers, then 204."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.paths: list[str] = []
        self.forged = 0
        self.answers: list[int] = []
        self.news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks?token=hunter2"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        message, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        digest = hmac.new(KEY, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
        good = request.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        with self.news:
            status = self.answers.pop(0) if self.answers else 204
            self.ids.append(message)
            self.paths.append(request.path)
            if not good or abs(time.time() - int(at)) > 60:
                self.forged += 1
            elif status == 204:
                self.taken.append(json.loads(body))
            self.news.notify_all()
        request.send_response(status)
        if status in (301, 307):
            request.send_header("location", self.url + "&elsewhere=1")
        request.send_header("content-length", "0")
        request.end_headers()

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many were taken."""

        def wait() -> bool:
            with self.news:
                return self.news.wait_for(lambda: len(self.taken) >= count, PATIENCE)

        assert await asyncio.to_thread(wait), f"{len(self.taken)} of {count} were taken, of {len(self.ids)} tries"
        return self.taken

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
