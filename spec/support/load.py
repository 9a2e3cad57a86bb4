# SPDX-License-Identifier: MIT
"""Clients that keep asking while something happens to the gateway."""

import threading

from . import http1, wait


class Load(threading.Thread):
    """A client that sends requests over one kept connection until it is stopped, and notes what goes wrong."""

    def __init__(self, gateway, targets):
        super().__init__(daemon=True)
        self.gateway, self.targets = gateway, targets
        self.answers, self.failures = 0, []
        self.port = None  # of the present connection
        self.is_over = threading.Event()
        self.start()

    def connect(self):
        client = self.gateway.connect()
        self.port = client.sock.getsockname()[1]
        return client

    def run(self):
        client = self.connect()
        while not self.is_over.is_set():
            try:
                response = client.get(self.targets[self.answers % len(self.targets)])
                if response.status != 200:
                    self.failures.append(response)
                is_kept = response.headers.get("connection") != "close"
            except (http1.Closed, OSError, AssertionError) as failure:
                self.failures.append(failure)
                is_kept = False
            if not is_kept:
                client.close()
                client = self.connect()
            self.answers += 1
        client.close()

    def stop(self):
        self.is_over.set()
        self.join(wait.PATIENCE)
        return self.failures


def wait_for_answers(loads, more=1):
    """Waits until each of them got `more` answers from now on."""
    before = [load.answers for load in loads]
    wait.until(lambda: all(load.answers >= count + more for load, count in zip(loads, before)), "every client got another answer")
