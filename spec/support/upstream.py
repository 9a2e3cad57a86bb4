# SPDX-License-Identifier: MIT
"""Upstreams that do what a test tells them, and remember every byte that reached them.

An upstream answers each request with its `answer`, a function (wire, request head) that may do anything with the wire.
"""

import hashlib
import json
import os
import socket
import threading

from . import http1, wait


class Connection(http1.Wire):
    """One accepted connection; `log` keeps everything that was read from it."""

    def __init__(self, sock, upstream, number):
        super().__init__(sock)
        self.upstream = upstream
        self.number = number
        self.log = bytearray()
        self.is_closed = threading.Event()

    def fill(self, size=65536):
        before = len(self.buffer)
        is_more = super().fill(size)
        self.log += self.buffer[before:]
        return is_more

    def respond(self, status=200, headers=(), body=b"", reason="Testing"):
        """Sends a response with a Content-Length."""
        fields = [*headers, ("Content-Length", str(len(body)))]
        self.send_head(status, fields, reason)
        self.send(body)

    def send_head(self, status=200, headers=(), reason="Testing"):
        head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        self.send(head.encode("latin-1"))

    def read_request_body(self, request):
        """Reads the rest of the request and notes that it was complete."""
        self.read_body(request)
        self.upstream.note_complete(request)
        return request

    def close(self):
        """Ends the connection even where another thread is reading from it."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def describe(wire, request):
    """The default answer: what the upstream saw, as JSON."""
    wire.read_request_body(request)
    seen = {
        "upstream": wire.upstream.name,
        "connection": wire.number,
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": [[name.lower(), value] for name, value in request.headers],
        "trailers": [[name.lower(), value] for name, value in request.trailers],
        "is_chunked": request.chunks is not None,
        "length": len(request.body),
        "sha256": hashlib.sha256(request.body).hexdigest(),
    }
    body = json.dumps(seen).encode()
    wire.respond(200, [("Content-Type", "application/json")], b"" if request.method == "HEAD" else body)


class Gate:
    """An upstream's answer that waits until it is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, wire, request):
        wire.read_request_body(request)
        assert self.opened.wait(wait.PATIENCE)
        describe(wire, request)


class Silence:
    """Never answers, until the test is over."""

    def __init__(self):
        self.over = threading.Event()

    def __call__(self, wire, request):
        wire.read_request_body(request)
        self.over.wait(wait.PATIENCE)


class Seen:
    """What `describe` answered, with the headers as http1.Headers."""

    def __init__(self, response):
        assert response.status == 200, response
        self.__dict__.update(json.loads(response.body))
        self.headers = http1.Headers(map(tuple, self.headers))
        self.trailers = http1.Headers(map(tuple, self.trailers))


class Upstream:
    """A server on a port that the system chose, or on `address`; one thread for each connection."""

    def __init__(self, name="origin", address=None, answer=describe, buffers=None):
        self.name = name
        self.answer = answer
        self.connections = []
        self.heads = []  # every request head that came
        self.complete = []  # every request whose body was read to its end
        self.failures = []  # what the answers raised beyond the end of their connection
        self.lock = threading.Lock()
        self.listener = self.listen(address, buffers)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def listen(self, address, buffers):
        family, target = http1.parse_address(address or "127.0.0.1:0")
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        http1.set_buffers(listener, buffers)
        listener.bind(target)
        listener.listen(256)
        bound = listener.getsockname()
        self.address = address if family == socket.AF_UNIX else f"{bound[0]}:{bound[1]}"
        return listener

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, self, len(self.connections))
            connection.sock.settimeout(None)  # an idle connection in the gateway's pool may wait for the whole test
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while True:
                request = connection.read_head()
                with self.lock:
                    self.heads.append(request)
                self.answer(connection, request)
        except (http1.Closed, OSError):
            pass
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            connection.close()
            connection.is_closed.set()

    def note_complete(self, request):
        with self.lock:
            self.complete.append(request)

    def forget(self):
        """Begins a new test: what came before is no longer of interest."""
        with self.lock:
            self.answer = describe
            self.heads.clear()
            self.complete.clear()
            self.failures.clear()
            self.mark = len(self.connections)

    @property
    def targets(self):
        with self.lock:
            return [request.target for request in self.heads]

    @property
    def complete_targets(self):
        with self.lock:
            return [request.target for request in self.complete]

    def wait_for_heads(self, count):
        wait.until(lambda: len(self.heads) >= count, f"{self.name} got {count} request heads, has {self.targets}")
        return self.heads[:count]

    def wait_for_connections(self, count):
        wait.until(lambda: len(self.connections) >= count, f"{self.name} got {count} connections")

    def close_connections(self):
        """Ends every connection that is still open."""
        for connection in self.connections:
            connection.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        if self.address.startswith("unix:"):
            os.unlink(self.address[5:])
        self.close_connections()
        self.thread.join(wait.PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def free_address():
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]
