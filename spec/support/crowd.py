# SPDX-License-Identifier: MIT
"""Many clients at once, on one thread: each sends what it is told and keeps what it is answered."""

import resource
import selectors
import socket

from . import http1, wait


def allow_descriptors(count):
    """Lets this process open `count` descriptors, or as many as it may; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def limit_descriptors(count):
    """For Popen's preexec_fn: the process may open `count` descriptors, whatever it does."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


class Member:
    """One client: `rest` is still to be sent, `answer` is what came, `is_over` when nothing more will."""

    def __init__(self, rest):
        self.rest = rest
        self.answer = b""
        self.is_over = False

    @property
    def status(self):
        """Of a response whose head came; None for none."""
        head = self.answer.split(b" ", 2)
        return int(head[1]) if len(head) == 3 and head[0] == b"HTTP/1.1" else None


class Crowd:
    """Clients that connect at once. `pace` bytes are sent by each in a round; without it all that the kernel takes."""

    def __init__(self, address, count, request, pace=None):
        self.kind, self.target = http1.parse_address(address)
        self.pace = pace
        self.selector = selectors.DefaultSelector()
        self.members = [Member(request) for _ in range(count)]
        self.socks = {}
        for member in self.members:
            self.open(member)

    def open(self, member):
        sock = socket.socket(self.kind, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex(self.target)
        self.socks[member] = sock
        self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, member)

    def end(self, member):
        member.is_over = True
        sock = self.socks.pop(member)
        self.selector.unregister(sock)
        sock.close()

    def read(self, member, sock):
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        member.answer += data
        if not data:
            self.end(member)

    def write(self, member, sock):
        try:
            sent = sock.send(member.rest[:self.pace])
        except BlockingIOError:
            return
        except OSError:
            self.end(member)
            return
        member.rest = member.rest[sent:]
        if not member.rest:
            self.selector.modify(sock, selectors.EVENT_READ, member)

    def round(self):
        """Everybody who can goes on once."""
        for key, events in self.selector.select(0.01):
            if events & selectors.EVENT_READ:
                self.read(key.data, key.fileobj)
            if events & selectors.EVENT_WRITE and not key.data.is_over:
                self.write(key.data, key.fileobj)

    def fill(self):
        """Everybody sends at once all that the kernel takes, while nobody reads it."""
        self.pace, before = None, None
        while (left := sum(len(member.rest) for member in self.members)) != before:
            before = left
            self.round()

    def run_until(self, condition, what, seconds=3 * wait.PATIENCE):
        """Goes on until condition() is true; fails the test with `what` when it is not in time."""
        deadline = wait.Deadline(seconds)
        while not condition():
            assert not deadline.is_over(), f"waited {seconds:g} s in vain until {what}; {self.statuses()}"
            self.round()

    def statuses(self):
        """{status: how many}; None stands for those without an answer."""
        counts = {}
        for member in self.members:
            counts[member.status] = counts.get(member.status, 0) + 1
        return counts

    def count(self, status):
        return self.statuses().get(status, 0)

    def close(self):
        for member in list(self.socks):
            self.end(member)
        self.selector.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
