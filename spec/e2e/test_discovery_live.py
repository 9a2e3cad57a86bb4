# SPDX-License-Identifier: MIT
"""Exchanges that are under way when the endpoints change end where they began: a download and a WebSocket, with each source."""

import contextlib
import json
import threading

import pytest

from support import wait
from support.discovery import answer_as, config, endpoints, scripted, set_endpoints, wait_endpoints
from support.dns import SERVICE, Dns, record
from support.gateway import Gateway
from support.registry import Registry
from support.upstream import Upstream

CHUNK = b"x" * 65536


class Old(Upstream):
    """Sends a body in two halves, and echoes in what it takes for a WebSocket."""

    def __init__(self):
        self.may_end = threading.Event()
        super().__init__("old", answer=self.tell)

    def tell(self, wire, request):
        if request.headers.get("upgrade"):
            wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
            while data := wire.read_some():
                wire.send(data)
            return
        wire.read_request_body(request)
        if request.target != "/download":
            return answer_as("old")(wire, request)
        wire.send_head(200, [("content-length", str(2 * len(CHUNK)))])
        wire.send(CHUNK)
        self.may_end.wait(wait.PATIENCE)
        wire.send(CHUNK)


@contextlib.contextmanager
def named(old, new, folder):
    port = old.address.rsplit(":", 1)[1]
    dns = Dns(folder, "127.0.0.1")
    try:
        with Gateway(config(f'dns = "orders.internal:{port}"', f'dns = {{ servers = {{ "{dns.address}" }} }},')) as gateway:
            yield gateway, lambda *upstreams: dns.set(*(upstream.address.rsplit(":", 1)[0] for upstream in upstreams))
    finally:
        dns.stop()


@contextlib.contextmanager
def served(old, new, folder):
    hosts = ["--host-record=old.internal,127.0.0.1,1", "--host-record=new.internal,127.0.0.2,1"]
    port = old.address.rsplit(":", 1)[1]
    dns = Dns(folder, options=[*hosts, record(port, "old.internal")])
    try:
        with Gateway(config(f'srv = "{SERVICE}"', f'dns = {{ servers = {{ "{dns.address}" }} }},')) as gateway:
            yield gateway, lambda *upstreams: dns.restart(*hosts, *(record(port, f"{upstream.name}.internal") for upstream in upstreams))
    finally:
        dns.stop()


@contextlib.contextmanager
def listed(old, new, folder):
    path = folder / "endpoints.json"

    def put(*upstreams):
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps([upstream.address for upstream in upstreams]))
        beside.rename(path)

    put(old)
    with Gateway(config(f'file = "{path}"')) as gateway:
        yield gateway, put


@contextlib.contextmanager
def told(old, new, folder):
    with Registry([old.address]) as registry:
        with Gateway(config(f'http = {{ url = "http://{registry.address}/", interval = "100ms" }}')) as gateway:
            yield gateway, lambda *upstreams: registry.set([upstream.address for upstream in upstreams])


@contextlib.contextmanager
def set_by_script(old, new, folder):
    with Gateway(scripted(f'{{ "{old.address}" }}')) as gateway:
        yield gateway, lambda *upstreams: set_endpoints(gateway, *(upstream.address for upstream in upstreams))


@pytest.mark.parametrize("source", [named, served, listed, told, set_by_script])
def test_live_exchanges_end_where_they_began(source, tmp_path):
    with Old() as old, Upstream("new", address="127.0.0.2:" + old.address.rsplit(":", 1)[1], answer=answer_as("new")) as new:
        with source(old, new, tmp_path) as (gateway, change):
            wait_endpoints(gateway, old.address)
            wait.until(lambda: {gateway.get("/").headers.get("x-upstream") for _ in range(12)} == {"old"}, "both workers know it")
            with gateway.connect() as download, gateway.connect() as socket:
                download.send_request("GET", "/download")
                socket.send_request("GET", "/socket", [("connection", "upgrade"), ("upgrade", "websocket"),
                                                       ("sec-websocket-version", "13"), ("sec-websocket-key", "a" * 22 + "==")])
                assert socket.read_response().status == 101
                for upstreams in ((new,), (old, new), (new,)):
                    change(*upstreams)
                    wait_endpoints(gateway, *(upstream.address for upstream in upstreams))
                    socket.send(b"are you there?")
                    assert socket.read_exactly(14) == b"are you there?"
                wait.until(lambda: {gateway.get("/").headers.get("x-upstream") for _ in range(12)} == {"new"}, "nobody else asks it")
                gateway.reload()
                assert endpoints(gateway) == [new.address]
                old.may_end.set()
                assert download.read_response().body == 2 * CHUNK
                socket.send(b"good bye")
                assert socket.read_exactly(8) == b"good bye"
