"""Servers of Weights & Biases that work, hang or die, on this machine."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["dying_server", "hanging_server", "working_server"]

_BUCKET = {
    "id": "x",
    "name": "r1",
    "displayName": "r1",
    "config": "{}",
    "historyLineCount": 0,
    "project": {"id": "p", "name": "snellen", "entity": {"id": "e", "name": "me"}},
}


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    history: list[dict[str, Any]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        reply: dict[str, Any] = {}
        if "graphql" in self.path:
            reply = {"data": self._query(json.loads(body)["query"])}
        elif "file_stream" in self.path:
            lines = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.history += [json.loads(line) for line in lines]
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET = do_PUT = _answer  # noqa: N815 - the names that http.server calls

    @staticmethod
    def _query(text: str) -> dict[str, Any]:
        if "viewer" in text:
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if "upsertBucket" in text:
            return {"upsertBucket": {"bucket": _BUCKET, "inserted": True}}
        if "createRunFiles" in text:
            return {"createRunFiles": {"runID": "r1", "uploadHeaders": [], "files": []}}
        return {"model": {"bucket": None}}

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def working_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and the lines of history it was sent so far."""
    history: list[dict[str, Any]] = []
    handler = type("Handler", (_Answers,), {"history": history})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", history
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def hanging_server() -> Iterator[str]:
    """Accepts every connection and never answers."""
    with _listening(lambda connection: None) as address:
        yield address


@contextlib.contextmanager
def dying_server() -> Iterator[str]:
    """Reads a little of every request and hangs up."""

    def hang_up(connection: socket.socket) -> None:
        connection.recv(100)
        connection.close()

    with _listening(hang_up) as address:
        yield address


@contextlib.contextmanager
def _listening(treat: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                treat(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in kept:
            connection.close()
