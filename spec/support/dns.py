# SPDX-License-Identifier: MIT
"""DNS servers: a real one, dnsmasq, and one that fails."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading

from . import wait
from .upstream import free_address

DNSMASQ = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
SERVICE = "_http._tcp.orders.internal"


class Dns:
    """dnsmasq with records that tests change; its answers may be used for `ttl` seconds. `options` are more of its own."""

    def __init__(self, folder, *addresses, options=(), ttl=1):
        self.address = free_address()
        self.hosts = folder / "hosts"
        self.log = folder / "dns.log"
        self.options = options
        self.ttl = ttl
        self.process = None
        self.write(*addresses)
        self.start()

    def write(self, *addresses):
        self.hosts.write_text("".join(f"{address} orders.internal\n" for address in addresses))

    def start(self):
        self.process = subprocess.Popen([
            DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll", "--user=",
            "--group=", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/internal/",
            f"--local-ttl={self.ttl}", "--port=" + self.address.rsplit(":", 1)[1], f"--addn-hosts={self.hosts}", "--log-queries",
            f"--log-facility={self.log}", *self.options])
        wait.until(self.is_listening, "dnsmasq listens")

    def is_listening(self):
        with socket.socket() as probe:
            host, port = self.address.rsplit(":", 1)
            return probe.connect_ex((host, int(port))) == 0

    def set(self, *addresses):
        self.write(*addresses)
        self.process.send_signal(signal.SIGHUP)

    def restart(self, *options):
        self.stop()
        self.options = options
        self.start()

    def asked(self, question):
        return self.log.read_text().count(f"query[{question}]")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def failing_dns(address):
    """Answers every question with SERVFAIL and counts them."""
    host, port = address.rsplit(":", 1)
    asked = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, int(port)))

        def serve():
            while True:
                question, peer = sock.recvfrom(512)
                if not question:
                    return
                asked.append(question)
                sock.sendto(question[:2] + b"\x81\x82" + question[4:6] + b"\0" * 6 + question[12:], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        sock.sendto(b"", (host, int(port)))
        thread.join()


def record(port, target="a.internal", priority=0, weight=0):
    return f"--srv-host={SERVICE},{target},{port},{priority},{weight}"
