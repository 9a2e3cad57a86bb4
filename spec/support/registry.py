# SPDX-License-Identifier: MIT
"""A server that lists endpoints, and lets those wait who ask for news, as Consul does."""

import json
import threading
from urllib.parse import parse_qs, urlsplit

from . import wait
from .upstream import Upstream


class Registry(Upstream):
    """Lists what a test sets. A question with an index waits until there is another one, when `has_index`."""

    def __init__(self, value, has_index=False):
        self.change = threading.Condition()
        self.index = 5
        self.has_index = has_index
        self.say = None
        self.value = value
        self.waiting = 0
        super().__init__("registry", answer=self.tell)

    def set(self, value, index=None):
        with self.change:
            self.value = value
            self.index = self.index + 1 if index is None else index
            self.change.notify_all()

    def wait_for_waiting(self, count):
        wait.until(lambda: self.waiting == count, f"{count} questions wait")

    def tell(self, wire, request):
        wire.read_request_body(request)
        asked = parse_qs(urlsplit(request.target).query).get("index")
        with self.change:
            if asked and self.has_index:
                self.waiting += 1
                self.change.wait_for(lambda: self.index != int(asked[0]), wait.PATIENCE)
                self.waiting -= 1
            value, index = self.value, self.index
        if self.say:
            return self.say(wire)
        wire.respond(200, [("X-Consul-Index", str(index))] if self.has_index else [], json.dumps(value).encode())
        return None
