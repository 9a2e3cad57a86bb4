# SPDX-License-Identifier: MIT
"""One way to write a client and an upstream for both versions of HTTP: a test says what happens, the version is a parameter.

An upstream's answer is a function of a call: `method`, `path`, `headers`, `read()` -> (body, trailers), `interim()`, `begin()`, `send()`, `finish()`,
`reset()`. A client's `ask()` returns a response with `status`, `headers`, `body`, `trailers` and `interim`.
"""

import threading

from . import client, http1, http2, upstream


class Call1:
    """A request at an upstream of HTTP/1.1."""

    version = 1

    def __init__(self, wire, request):
        self.wire = wire
        self.method, self.path, self.headers = request.method, request.target, request.headers
        self.request = request
        self.is_chunked = False

    def read(self):
        self.wire.read_request_body(self.request)
        return self.request.body, self.request.trailers

    def read_some(self):
        return self.wire.read_some()

    def interim(self, status, headers=()):
        self.wire.send_head(status, headers)

    def begin(self, status=200, headers=(), length=None):
        has_body = self.method != "HEAD" and status not in (101, 204, 304)
        self.is_chunked = has_body and length is None
        framing = [("Transfer-Encoding", "chunked")] if self.is_chunked else [] if length is None else [("Content-Length", str(length))]
        self.wire.send_head(status, [*headers, *framing])

    def send(self, data):
        self.wire.send(http1.chunk(data) if self.is_chunked else data)

    def finish(self, trailers=()):
        if self.is_chunked:
            self.wire.send(b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n")

    def reset(self):
        self.wire.reset()
        raise OSError("reset")

    def wait_broken(self):
        """Waits until the gateway broke the request off."""
        while self.wire.fill():
            pass


class Call2:
    """A request at an upstream of HTTP/2."""

    version = 2

    def __init__(self, stream):
        self.stream = stream
        self.method, self.path, self.headers = stream.pseudo(":method"), stream.pseudo(":path"), stream.headers

    def read(self):
        self.stream.wait_end()
        return bytes(self.stream.body), self.stream.trailers

    def interim(self, status, headers=()):
        self.stream.send_head([(":status", str(status)), *headers])

    def begin(self, status=200, headers=(), length=None):
        has_body = self.method != "HEAD" and status not in (204, 304)
        framing = [] if length is None else [("content-length", str(length))]
        self.has_end = not has_body
        self.stream.send_head([(":status", str(status)), *((name.lower(), value) for name, value in headers), *framing], ends=not has_body)

    def send(self, data):
        self.stream.send(data)

    def finish(self, trailers=()):
        if not self.has_end:
            self.stream.end(trailers)

    def reset(self):
        self.stream.reset(http2.INTERNAL_ERROR)

    def wait_broken(self):
        self.stream.until(lambda: self.stream.error is not None or self.stream.session.is_closed, "the request was broken off")


class Upstream:
    """An upstream of either version that answers with `answer(call)`."""

    def __init__(self, version, answer=None):
        self.version = version
        self.answer = answer
        self.calls = []
        if version == 1:
            self.server = upstream.Upstream(answer=lambda wire, request: self.serve(Call1(wire, request)))
        else:
            self.server = http2.Upstream(lambda stream: self.serve(Call2(stream)))
        self.address = self.server.address

    def serve(self, call):
        self.calls.append(call)
        self.answer(call)

    @property
    def failures(self):
        return self.server.failures

    def close(self):
        self.server.close()


class Response:
    def __init__(self, status, headers, body, trailers, interim):
        self.status, self.headers, self.body, self.trailers, self.interim = status, headers, body, trailers, interim


class Broken(Exception):
    """The response was broken off."""


class Client:
    """A client of either version; of HTTP/2 all requests share one connection."""

    def __init__(self, version, address, values=None):
        self.version = version
        self.address = address
        self.session = http2.connect(address, values) if version == 2 else None

    def ask(self, method, path, headers=(), body=None, trailers=()):
        return self.ask2(method, path, headers, body, trailers) if self.session else self.ask1(method, path, headers, body, trailers)

    def ask1(self, method, path, headers, body, trailers):
        with client.Client(self.address) as wire:
            if trailers:
                wire.send_request(method, path, [*headers, ("Transfer-Encoding", "chunked")])
                wire.send((http1.chunk(body) if body else b"") + b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode() + b"\r\n")
            elif body is not None:
                self.send_behind(wire, method, path, headers, body)
            else:
                wire.send_request(method, path, headers)
            try:
                got = wire.read_response(is_head=method == "HEAD")
            except http1.Closed as closed:
                raise Broken(str(closed)) from None
            interim = [(message.status, message.headers) for message in got.interim]
            return Response(got.status, got.headers, got.body, got.trailers, interim)

    @staticmethod
    def send_behind(wire, method, path, headers, body):
        """Sends the body in a thread: the response may come first."""
        wire.send_request(method, path, [*headers, ("Content-Length", str(len(body)))])

        def run():
            try:
                wire.send(body)
            except OSError:
                pass  # the gateway wants no more of it

        threading.Thread(target=run, daemon=True).start()

    def ask2(self, method, path, headers, body, trailers):
        headers = [(name.lower(), value) for name, value in headers]
        if body is not None and not trailers:
            headers.append(("content-length", str(len(body))))
        stream = self.session.request(method, path, headers, body, trailers)
        stream.wait_over()
        if not stream.is_ended:
            raise Broken(repr(stream))
        return Response(stream.status, stream.headers, bytes(stream.body), stream.trailers, stream.interim)

    def close(self):
        if self.session:
            self.session.close()
