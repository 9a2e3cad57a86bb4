# SPDX-License-Identifier: MIT
"""HTTP/2 as frames: clients and upstreams that may do everything, also what no honest peer does.

A `Session` reads in a thread of its own and keeps the rules of flow control; what is sent by `send_frame` keeps no rules at all. Header blocks go
through Debian's python3-hpack.
"""

import socket
import struct
import threading

import hpack

from . import http1, wait

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 2, 7, 8, 11
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_CONNECT_PROTOCOL = 3, 4, 8
FRAME_SIZE = 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in values.items()))


def literal(fields):
    """A header block without compression: its bytes do not depend on what was sent before, and nothing checks them."""
    def text(value):
        value = value.encode("latin-1")
        return hpack.hpack.encode_integer(len(value), 7) + value

    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def request_fields(method="GET", path="/", headers=(), authority="gateway.test", scheme="http"):
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *headers]


class Stream:
    """One stream: what came on it so far. `is_stalled`: nothing that comes is credited to the peer."""

    def __init__(self, session, number):
        self.session = session
        self.number = number
        self.fields = None  # of the (final) head, with the pseudo fields
        self.interim = []
        self.trailers = http1.Headers()
        self.body = bytearray()
        self.window = session.initial_window
        self.is_ended = False
        self.is_stalled = False
        self.error = None  # code of RST_STREAM

    @property
    def headers(self):
        return http1.Headers(field for field in self.fields if field[0][0] != ":")

    def pseudo(self, name):
        return dict(self.fields).get(name)

    @property
    def status(self):
        return int(self.pseudo(":status"))

    def text(self):
        return self.body.decode()

    # ------------------------------------------------------------ waiting

    def until(self, condition, what):
        """Waits until condition() holds, or the stream or the session is over; returns whether it held."""
        with self.session.changed:
            is_over = self.session.changed.wait_for(lambda: condition() or self.is_over(), wait.PATIENCE)
            assert is_over, f"waited in vain until {what} on stream {self.number}"
            return bool(condition())

    def is_over(self):
        return self.is_ended or self.error is not None or self.session.is_closed

    def wait_head(self):
        assert self.until(lambda: self.fields, "a head came"), f"no head: {self!r}"
        return self

    def wait_body(self, size):
        assert self.until(lambda: len(self.body) >= size, f"{size} bytes came"), f"too little: {self!r}"
        return self

    def wait_end(self):
        """Waits for the end of the message, which must not be broken off."""
        assert self.until(lambda: self.is_ended, "the message was complete"), f"broken off: {self!r}"
        return self

    def wait_over(self):
        """Waits for the end of the stream, in whatever way."""
        self.until(lambda: False, "the stream was over")
        return self

    def __repr__(self):
        return (f"<stream {self.number}: {self.fields} {len(self.body)} bytes, trailers {self.trailers}, ended {self.is_ended}, "
                f"reset {self.error}, session {self.session!r}>")

    # ------------------------------------------------------------ sending

    def send_head(self, fields, ends=False):
        self.session.send_headers(self.number, fields, ends)

    def send(self, data, ends=False):
        """Sends body bytes as the peer's windows allow. False when the stream is over before all went."""
        data = memoryview(bytes(data))
        while True:
            room = self.session.take_window(self, len(data)) if len(data) else 0
            if room is None:
                return False
            part, data = data[:room], data[room:]
            self.session.send_frame(DATA, END_STREAM if ends and not len(data) else 0, self.number, bytes(part))
            if not len(data):
                return True

    def end(self, trailers=()):
        if trailers:
            self.send_head(trailers, ends=True)
        else:
            self.session.send_frame(DATA, END_STREAM, self.number)

    def reset(self, code=CANCEL):
        self.session.send_frame(RST_STREAM, 0, self.number, struct.pack(">I", code))

    def resume(self):
        """Credits what came while the stream was stalled."""
        self.is_stalled = False
        self.session.credit(self.number, len(self.body))


class Session:
    """One side of a connection. `on_stream` is called in a thread for each stream that the peer opens."""

    def __init__(self, sock, is_client, values=None, on_stream=None):
        self.sock = sock
        self.is_client = is_client
        self.on_stream = on_stream
        self.changed = threading.Condition(threading.RLock())
        self.sending = threading.Lock()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.streams = {}
        self.settings = {}  # the peer's
        self.window, self.initial_window = 65535, 65535
        self.next = 1
        self.goaways = []  # (last stream, code)
        self.frames = []  # kinds of the frames that came
        self.is_closed = False
        self.reads = threading.Event()
        self.reads.set()
        sock.settimeout(None)
        self.send_bytes((PREFACE if is_client else b"") + settings(values or {}))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __repr__(self):
        return f"<goaways {self.goaways}, closed {self.is_closed}>"

    # ------------------------------------------------------------ reading

    def read(self):
        wire = http1.Wire(self.sock)
        self.sock.settimeout(None)
        try:
            if not self.is_client:
                assert wire.read_exactly(len(PREFACE)) == PREFACE
            while True:
                self.reads.wait()
                head = wire.read_exactly(9)
                payload = wire.read_exactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                if kind == HEADERS:
                    while not flags & END_HEADERS:
                        head = wire.read_exactly(9)
                        payload += wire.read_exactly(int.from_bytes(head[:3], "big"))
                        flags |= head[4] & END_HEADERS
                with self.changed:
                    self.frames.append(kind)
                    self.take(kind, flags, stream, payload)
                    self.changed.notify_all()
        except (http1.Closed, OSError):
            pass
        finally:
            with self.changed:
                self.is_closed = True
                self.changed.notify_all()

    def take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == HEADERS:
            self.take_headers(number, self.decoder.decode(payload), flags & END_STREAM)
        elif kind == DATA and stream:
            stream.body += payload
            stream.is_ended = bool(flags & END_STREAM)
            if payload:
                self.credit(0, len(payload))
            if payload and not stream.is_stalled and not stream.is_ended:
                self.credit(number, len(payload))
        elif kind == RST_STREAM and stream:
            stream.error = int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self.take_settings({key: value for key, value in struct.iter_unpack(">HI", payload)})
        elif kind == WINDOW_UPDATE and number == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE and stream:
            stream.window += int.from_bytes(payload, "big")
        elif kind == PING and not flags & ACK:
            self.send_frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaways.append(struct.unpack(">II", payload[:8]))

    def take_headers(self, number, fields, ends):
        fields = [(str(name), str(value)) for name, value in fields]
        is_new = number not in self.streams
        stream = self.streams.setdefault(number, Stream(self, number))
        status = dict(fields).get(":status", "200")
        if stream.fields:
            stream.trailers = http1.Headers(fields)
        elif status[0] == "1":
            stream.interim.append((int(status), http1.Headers(fields[1:])))
        else:
            stream.fields = fields
        stream.is_ended = bool(ends)
        if is_new and self.on_stream:
            threading.Thread(target=self.on_stream, args=(stream,), daemon=True).start()

    def take_settings(self, values):
        self.settings.update(values)
        grown = values.get(INITIAL_WINDOW_SIZE, self.initial_window) - self.initial_window
        self.initial_window += grown
        for stream in self.streams.values():
            stream.window += grown
        self.send_frame(SETTINGS, ACK)

    # ------------------------------------------------------------ sending

    def send_bytes(self, data):
        with self.sending:
            try:
                self.sock.sendall(data)
            except OSError:
                return False  # the reader sees the end
        return True

    def send_frame(self, kind, flags=0, stream=0, payload=b""):
        return self.send_bytes(frame(kind, flags, stream, payload))

    def send_headers(self, number, fields, ends=False):
        with self.sending:  # blocks must go in the order in which they were made
            block = self.encoder.encode(fields)
            flags = END_HEADERS | (END_STREAM if ends else 0)
            try:
                self.sock.sendall(frame(HEADERS, flags, number, block))
            except OSError:
                pass

    def credit(self, number, size):
        self.send_frame(WINDOW_UPDATE, 0, number, struct.pack(">I", size))

    def take_window(self, stream, size):
        """Bytes that may be sent now; waits while there are none. None when the stream is over."""
        with self.changed:
            def room():
                return min(size, self.window, stream.window, FRAME_SIZE)

            def is_over():
                return stream.error is not None or self.is_closed

            assert self.changed.wait_for(lambda: room() > 0 or is_over(), wait.PATIENCE), f"no window on stream {stream.number}"
            if is_over():
                return None
            part = room()
            self.window -= part
            stream.window -= part
            return part

    # ------------------------------------------------------------ requests of a client

    def open(self, fields, ends=True):
        with self.changed:
            stream = Stream(self, self.next)
            self.streams[self.next] = stream
            self.next += 2
            self.send_headers(stream.number, fields, ends)
            return stream

    def request(self, method, path, headers=(), body=None, trailers=(), **options):
        """Opens a stream, sends the whole request and returns the stream."""
        stream = self.open(request_fields(method, path, headers, **options), ends=body is None)
        if body is not None:
            is_whole = stream.send(body, ends=not trailers)
            if trailers and is_whole:
                stream.end(trailers)
        return stream

    def get(self, path, headers=()):
        return self.request("GET", path, headers).wait_end()

    def wait_settings(self):
        wait.until(lambda: self.settings or self.is_closed, "the peer's settings came")
        return self.settings

    def wait_closed(self):
        """Waits until the peer closed the connection; returns the code of its last GOAWAY, None without one."""
        wait.until(lambda: self.is_closed, "the connection was closed")
        return self.goaways[-1][1] if self.goaways else None

    def close(self):
        self.reads.set()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(wait.PATIENCE)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(address, values=None, sock=None):
    """A client's session with a listener; `values` are its settings."""
    if sock is None:
        family, target = http1.parse_address(address)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(wait.PATIENCE)
        sock.connect(target)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Session(sock, True, values)


class Upstream:
    """A server with prior knowledge. Each stream is answered by `answer(stream)` in a thread."""

    def __init__(self, answer, values=None):
        self.answer = answer
        self.values = values
        self.sessions = []
        self.failures = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sessions.append(Session(sock, False, self.values, self.serve))

    def serve(self, stream):
        try:
            self.answer(stream)
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(failure)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for session in self.sessions:
            session.close()
        self.thread.join(wait.PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
