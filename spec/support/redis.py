# SPDX-License-Identifier: MIT
"""A real redis-server of a test's own."""

import signal
import socket
import subprocess

from . import program, wait
from .gateway import Folder
from .upstream import free_address


class Redis:
    """redis-server on a port that stays the same when it is stopped and started again; it saves nothing."""

    def __init__(self, *options):
        self.program = program.need("redis-server")
        self.folder = Folder()
        self.address = free_address()
        self.options = options
        self.process = None

    def start(self):
        port = self.address.rpartition(":")[2]
        self.process = subprocess.Popen(
            [self.program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder.path), *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait.until(self.is_there, "redis-server answers")
        return self

    def is_there(self):
        try:
            return self.ask("PING")
        except OSError:
            return None

    def read(self, *words):
        """All that comes for one command over a connection of its own."""
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), wait.PATIENCE) as connection:
            connection.sendall((" ".join(words) + "\r\nQUIT\r\n").encode())
            return connection.makefile("rb").read().decode()

    def ask(self, *words):
        """The first line of it."""
        return self.read(*words).partition("\r\n")[0]

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait(wait.PATIENCE)
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process:
            self.resume()
            self.kill()
        self.folder.remove()
