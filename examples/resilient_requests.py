"""A requests session with a pipeline mounted for one host."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from holdfast import Backoff, Bulkhead, Pipeline, Retry, Timeout
from holdfast.events import Event, RetryScheduled, listen
from holdfast.integrations.requests import ResilientAdapter

pipeline = Pipeline(
    Timeout(30),
    Retry(max_attempts=4, backoff=Backoff.exponential(initial=0.01)),
    Bulkhead(8, max_queue=100),
)


def main(url: str) -> None:
    def tell(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            print(f"attempt {event.attempt}: {event.error}; again in {event.delay:.2f} s")

    with requests.Session() as session, listen(tell):
        session.mount(url, ResilientAdapter(pipeline))
        response = session.get(f"{url}/stock", timeout=(3, 10))
        print(response.status_code, response.json())


class Shop(BaseHTTPRequestHandler):
    """A server that asks to wait, hangs up, and answers at last."""

    asked = 0

    def do_GET(self) -> None:
        Shop.asked += 1
        if Shop.asked == 2:
            return
        body = b'{"apples": 12}'
        self.send_response(429 if Shop.asked == 1 else 200)
        self.send_header("Retry-After", "0.05")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    main(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
