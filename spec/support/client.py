# SPDX-License-Identifier: MIT
"""A raw HTTP/1.1 client: it sends the very bytes that a test wants sent."""

import socket

from . import http1, wait

HOST = "gateway.test"


class Client(http1.Wire):
    """One connection to a listener ("127.0.0.1:8080" or "unix:/path")."""

    def __init__(self, address, buffers=None):
        family, target = http1.parse_address(address)
        sock = socket.socket(family, socket.SOCK_STREAM)
        http1.set_buffers(sock, buffers)
        sock.settimeout(wait.PATIENCE)
        sock.connect(target)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_request(self, method, target, headers=(), body=None, version="1.1"):
        """Sends a request; a body of bytes gets a Content-Length unless the headers say how it is framed."""
        fields = list(headers)
        names = [name.lower() for name, _ in fields]
        if "host" not in names:
            fields.insert(0, ("Host", HOST))
        if body is not None and not {"content-length", "transfer-encoding"} & set(names):
            fields.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/{version}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        self.send(head.encode("latin-1") + (body or b""))

    def read_response(self, is_head=False, until_close=None):
        """Reads the final response; the interim ones before it are in its `interim`."""
        interim = []
        while True:
            message = self.read_head()
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        if is_head or message.status in (101, 204, 304):
            return message
        has_framing = "content-length" in message.headers or "transfer-encoding" in message.headers
        return self.read_body(message, until_close=not has_framing if until_close is None else until_close)

    def request(self, method, target, headers=(), body=None, version="1.1"):
        self.send_request(method, target, headers, body, version)
        return self.read_response(is_head=method == "HEAD")

    def get(self, target, headers=()):
        return self.request("GET", target, headers)


def fetch(address, method, target, headers=(), body=None):
    """One request on a connection of its own."""
    with Client(address) as client:
        return client.request(method, target, headers, body)


def get(address, target, headers=()):
    return fetch(address, "GET", target, headers)
