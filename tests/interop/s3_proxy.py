"""Runs moto's proxy, which answers in Amazon's place: `python -m tests.interop.s3_proxy PORT`."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer

from moto.moto_proxy.proxy3 import ProxyRequestHandler


class Handler(ProxyRequestHandler):
    """Moto's closes each connection and does not say so: 0.4.2 then sends its next request into nowhere."""

    def end_headers(self) -> None:
        """End the headers of an answer."""
        if self.command != "CONNECT":
            self.send_header("Connection", "close")
        super().end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
