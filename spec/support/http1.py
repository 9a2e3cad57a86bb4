# SPDX-License-Identifier: MIT
"""HTTP/1.1 as bytes: just enough to read what the other side really sent, strictly and without repairing anything."""

import re
import socket

from . import wait


class Closed(Exception):
    """The peer ended the connection where more bytes were needed."""


class Headers(list):
    """Pairs of name and value as they came; names are looked up without regard to case."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} comes {len(values)} times: {values}"
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        return [key.lower() for key, _ in self]


class Message:
    """A request or a response: `start` is its first line."""

    def __init__(self, start, headers):
        self.start = start
        self.headers = headers
        self.body = b""
        self.trailers = Headers()
        self.chunks = None  # sizes of the chunks when the body came in chunks
        self.interim = []  # 1xx responses that came before this one

    @property
    def status(self):
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) [^\r\n]*", self.start)
        assert match, f"no status line: {self.start!r}"
        return int(match.group(1))

    @property
    def version(self):
        return re.search(r"HTTP/(\d\.\d)", self.start).group(1)

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.start!r} {list(self.headers)} {self.body[:200]!r}>"


def parse_fields(lines):
    fields = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"no header field: {line!r}"
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value), f"control byte in a header field: {line!r}"
        fields.append((name, value.strip(" \t")))
    return fields


class Wire:
    """A connected socket with a read buffer; each call takes at most wait.PATIENCE seconds."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.received = 0  # bytes ever read from the socket
        self.is_reset = False
        sock.settimeout(wait.PATIENCE)

    def send(self, data):
        self.sock.sendall(data)

    def fill(self, size=65536):
        """Reads once more. False at the end of the stream."""
        try:
            data = self.sock.recv(size)
        except ConnectionResetError:
            self.is_reset = True
            return False
        except socket.timeout:
            raise AssertionError(f"no bytes for {wait.PATIENCE:g} s; waiting in the buffer: {bytes(self.buffer[-300:])!r}") from None
        self.received += len(data)
        self.buffer += data
        return bool(data)

    def read_until(self, mark):
        """Bytes up to and with `mark`."""
        searched = 0
        while True:
            at = self.buffer.find(mark, searched)
            if at >= 0:
                return self.take(at + len(mark))
            searched = max(0, len(self.buffer) - len(mark))
            if not self.fill():
                raise Closed(bytes(self.buffer))

    def read_exactly(self, size):
        while len(self.buffer) < size:
            if not self.fill():
                raise Closed(bytes(self.buffer))
        return self.take(size)

    def read_some(self):
        """Whatever comes next, b"" at the end of the stream."""
        if not self.buffer:
            self.fill()
        return self.take(len(self.buffer))

    def read_rest(self):
        """Everything up to the end of the stream."""
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def take(self, size):
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read_head(self):
        lines = self.read_until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        return Message(lines[0], parse_fields(lines[1:]))

    def read_chunked(self, message):
        message.chunks = []
        parts = []
        while True:
            line = self.read_until(b"\r\n")[:-2]
            assert re.fullmatch(rb"[0-9a-fA-F]+(;.*)?", line), f"no chunk size: {line!r}"
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            message.chunks.append(size)
            parts.append(self.read_exactly(size))
            assert self.read_exactly(2) == b"\r\n"
        message.body = b"".join(parts)
        lines = []
        while (line := self.read_until(b"\r\n")[:-2].decode("latin-1")):
            lines.append(line)
        message.trailers = parse_fields(lines)

    def read_body(self, message, until_close=False):
        """Reads the body by the message's framing, strictly: both framings at once are never right."""
        length, coding = message.headers.get("content-length"), message.headers.get("transfer-encoding")
        assert length is None or coding is None, f"ambiguous framing: {message}"
        if coding is not None:
            assert coding == "chunked"
            self.read_chunked(message)
        elif length is not None:
            message.body = self.read_exactly(int(length))
        elif until_close:
            message.body = self.read_rest()
        return message

    def is_at_end(self):
        """Waits for the end of the stream; False when bytes come instead."""
        return not self.buffer and not self.fill()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


def set_buffers(sock, size):
    """Makes the kernel's buffers of a socket small; None leaves them as they are."""
    if size:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def parse_address(address):
    """Address as Perigee writes it -> (family, argument of connect or bind)."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))
