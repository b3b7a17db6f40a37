"""A collector of OpenTelemetry that keeps what it is sent: OTLP over HTTP, with TLS if it is given a pair."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bastide_lab.targets import Pair


class Collector(ThreadingHTTPServer):
    """`took`: path, `Authorization`, body of each call."""

    def __init__(self, pair: Pair | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.took: list[tuple[str, str, bytes]] = []
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def names(self) -> set[str]:
        """Of all spans that came."""
        read = (ExportTraceServiceRequest.FromString(body) for _, _, body in self.took)
        return {
            span.name
            for one in read
            for resource in one.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@contextmanager
def collecting(pair: Pair | None = None) -> Iterator[Collector]:
    """Until the end of the block."""
    with Collector(pair) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.took.append((self.path, self.headers.get("Authorization", ""), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""
