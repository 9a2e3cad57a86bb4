# SPDX-License-Identifier: MIT
"""A server that lists endpoints, and lets those wait who ask for news, as Consul does: heads and bodies are those of an agent 1.11."""

import json
import re
import threading
from urllib.parse import parse_qs, urlsplit

from . import wait
from .upstream import Upstream


CHUNKED_FROM = 2048  # bytes of a body whose length Consul does not tell
UNITS = {"ms": 0.001, "s": 1, "m": 60}


def check(check_id, status, kind="", service=""):
    return {"Node": "vm", "CheckID": check_id, "Name": f"check {check_id}", "Status": status, "Notes": "", "Output": "", "ServiceID": service,
            "ServiceName": "orders" if service else "", "ServiceTags": [], "Type": kind, "Interval": "", "Timeout": "", "ExposedPort": 0,
            "Definition": {}, "CreateIndex": 5, "ModifyIndex": 5}


def consul(address, weight=1, status="passing", **service):
    """An item of Consul's health API: a service at `address` with two checks, of which the second is in `status`."""
    host, port = address.rsplit(":", 1)
    name = "orders-" + port
    at = {"Address": host, "Port": int(port)}
    return {"Node": {"ID": "540e27a4-3751-c01d-a20a-e8e9a36ba338", "Node": "vm", "Address": "127.0.0.1", "Datacenter": "dc1",
                     "TaggedAddresses": {"lan": "127.0.0.1", "lan_ipv4": "127.0.0.1", "wan": "127.0.0.1", "wan_ipv4": "127.0.0.1"},
                     "Meta": {"consul-network-segment": ""}, "CreateIndex": 5, "ModifyIndex": 7},
            "Service": {"ID": name, "Service": "orders", "Tags": [], **at, "TaggedAddresses": {"lan_ipv4": at, "wan_ipv4": at}, "Meta": None,
                        "Weights": {"Passing": weight, "Warning": 3}, "EnableTagOverride": False,
                        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "CreateIndex": 9, "ModifyIndex": 9, **service},
            "Checks": [check("serfHealth", "passing"), check("http", status, "ttl", name)]}


def seconds(text):
    """A duration as Go writes it, with one unit."""
    number, unit = re.fullmatch(r"([0-9]+)(ms|s|m)", text).groups()
    return int(number) * UNITS[unit]


class Registry(Upstream):
    """Lists what a test sets. With `has_index` it answers as Consul does: a question with the present index waits until there is another one, or
    for as long as it asked to."""

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
        asked = parse_qs(urlsplit(request.target).query)
        with self.change:
            if "index" in asked and self.has_index:
                self.waiting += 1
                self.change.wait_for(lambda: self.index != int(asked["index"][0]), seconds(asked["wait"][0]))
                self.waiting -= 1
            value, index = self.value, self.index
        if self.say:
            return self.say(wire)
        body = json.dumps(value).encode()
        if self.has_index:
            self.answer_as_consul(wire, index, "index" in asked, body)
        else:
            wire.respond(200, body=body)
        return None

    @staticmethod
    def answer_as_consul(wire, index, is_streamed, body):
        head = [("Content-Type", "application/json"), ("Vary", "Accept-Encoding"), ("X-Consul-Default-Acl-Policy", "allow"),
                ("X-Consul-Effective-Consistency", "leader"), ("X-Consul-Index", str(index)),
                ("X-Consul-Knownleader", "false" if is_streamed else "true"), ("X-Consul-Lastcontact", "0"),
                ("X-Consul-Query-Backend", "streaming" if is_streamed else "blocking-query"), ("Date", "Mon, 23 Nov 2026 18:51:34 GMT")]
        if len(body) < CHUNKED_FROM:
            wire.respond(200, head, body, "OK")
            return
        wire.send_head(200, [*head, ("Transfer-Encoding", "chunked")], "OK")
        for part in (body[:CHUNKED_FROM], body[CHUNKED_FROM:]):
            if part:
                wire.send(b"%x\r\n%b\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")
