"""An httpx client that repeats what fails in passing, and stops asking a server that is down."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from holdfast import Backoff, CircuitBreaker, CircuitBreakerOpenError, Pipeline, Retry, Timeout
from holdfast.integrations.httpx import ResilientTransport

pipeline = Pipeline(
    Timeout(30),
    Retry(max_attempts=3, backoff=Backoff.exponential(initial=0.01)),
    CircuitBreaker("weather", failure_threshold=4),
    Timeout(5),
)


def main(url: str) -> None:
    # For async code: httpx.AsyncClient(transport=AsyncResilientTransport(pipeline))
    with httpx.Client(transport=ResilientTransport(pipeline)) as client:
        print("flaky:", client.get(f"{url}/flaky").text)
        response = client.get(f"{url}/down")
        print("down:", response.status_code, "after all attempts, as from the bare library")
        client.get(f"{url}/down")
        try:
            client.get(f"{url}/flaky")
        except CircuitBreakerOpenError as error:
            print(f"not even asked: {error}")


class Weather(BaseHTTPRequestHandler):
    """A server of which one half is down and the other half works at every second request."""

    asked = 0

    def do_GET(self) -> None:
        Weather.asked += 1
        works = self.path == "/flaky" and Weather.asked % 2 == 0
        body = b"sunny" if works else b"sorry"
        self.send_response(200 if works else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Weather) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    main(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
