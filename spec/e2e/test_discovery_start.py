# SPDX-License-Identifier: MIT
"""Before a proxy, or a new generation, serves: every upstream that is discovered has been looked for, within a time."""

import json
import os
import signal
import threading

import pytest

from support import wait
from support.discovery import config, endpoints, two_on_one_port, wait_endpoints, who_answers
from support.dns import SERVICE, Dns, record
from support.gateway import Gateway
from support.registry import Registry
from support.upstream import free_address


class Slow(Registry):
    """Answers nobody before it is opened."""

    def __init__(self, *addresses):
        self.opened = threading.Event()
        super().__init__(list(addresses))
        self.say = self.wait_and_say

    def wait_and_say(self, wire):
        self.opened.wait(3 * wait.PATIENCE)
        wire.respond(200, body=json.dumps(self.value).encode())

    def wait_asked(self, count):
        wait.until(lambda: len(self.heads) >= count, f"it was asked {count} times")


def source(registry, timeout="8s"):
    return f'http = {{ url = "http://{registry.address}/", interval = "100ms", timeout = "{timeout}" }}'


@pytest.mark.parametrize("workers", [0, 2])
def test_a_proxy_is_not_ready_before_its_registry_has_answered(workers):
    with two_on_one_port() as (a, _, _), Slow(a.address) as registry:
        gateway = Gateway(config(source(registry)).replace("workers = 2", f"workers = {workers}"))
        try:
            registry.wait_asked(workers or 1)
            assert gateway.ask("GET", "/readyz").status == 503
            assert gateway.ready_line() is None
            registry.opened.set()
            gateway.wait_ready()
            assert gateway.ask("GET", "/readyz").status == 200
            assert who_answers(gateway, 24) == {"a"}
            assert "no answer yet" not in gateway.errors
            gateway.stop()
        finally:
            gateway.kill()


def test_a_registry_that_does_not_answer_holds_a_start_up_for_a_while_only():
    with two_on_one_port() as (a, _, _), Slow(a.address) as registry, Gateway(config(source(registry))) as gateway:
        assert gateway.get("/").status == 503
        assert "upstream orders: no answer yet for its endpoints" in gateway.errors
        registry.opened.set()
        wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {200}, "both workers use what came late")


def test_a_proxy_that_is_told_to_end_while_it_waits_ends():
    with Slow() as registry:
        gateway = Gateway(config(source(registry)))
        try:
            registry.wait_asked(2)
            gateway.signal()
            assert gateway.wait_exit() == 0
            assert gateway.ready_line() is None
            gateway.check_sane()
        finally:
            gateway.kill()


@pytest.mark.parametrize("text", [
    lambda folder: config(f'http = "http://{free_address()}/"'),
    lambda folder: config(f'srv = "{SERVICE}"', f'dns = {{ servers = {{ "{free_address()}" }} }},'),
    lambda folder: config(f'file = "{folder}/nowhere.json"'),
], ids=["http", "srv", "file"])
def test_a_source_that_fails_at_once_holds_nobody_up_and_requests_are_refused(text, tmp_path):
    with Gateway(text(tmp_path)) as gateway:
        assert {gateway.get("/").status for _ in range(8)} == {503}
        assert "no answer yet" not in gateway.errors
        assert "the endpoints stay as they are" in gateway.errors


def test_a_name_and_a_service_are_known_when_the_proxy_is_ready(tmp_path):
    with two_on_one_port() as (_, b, port):
        dns = Dns(tmp_path, "127.0.0.1", options=["--host-record=b.internal,127.0.0.2,1", record(port, "b.internal")])
        try:
            for asked, found in ((f'dns = "orders.internal:{port}"', "127.0.0.1:" + port), (f'srv = "{SERVICE}"', b.address)):
                with Gateway(config(asked, f'dns = {{ servers = {{ "{dns.address}" }} }},')) as gateway:
                    assert endpoints(gateway) == [found]
                    assert gateway.get("/").status == 200
        finally:
            dns.stop()


def test_a_reload_that_adds_an_upstream_serves_with_the_old_generation_until_it_is_known():
    with two_on_one_port() as (a, b, _), Slow(b.address) as registry:
        with Gateway(config(f'endpoints = {{ "{a.address}" }}')) as gateway:
            gateway.write("gateway.lua", config(source(registry)))
            reload = threading.Thread(target=gateway.reload)
            reload.start()
            registry.wait_asked(2)
            assert who_answers(gateway) == {"a"}
            assert gateway.ask_json("/status")["generation"] == 1
            registry.opened.set()
            reload.join()
            assert who_answers(gateway, 24) == {"b"}


def test_a_reload_does_not_wait_again_for_a_source_that_fails():
    with Slow() as registry, Gateway(config(source(registry))) as gateway:
        for _ in range(2):  # each would take three seconds
            gateway.reload()
        assert gateway.errors.count("no answer yet") == 2, "each worker said so at the start"


def test_a_worker_that_takes_the_place_of_another_waits_for_what_nobody_has_found():
    with two_on_one_port() as (a, _, _), Registry([a.address]) as registry, Gateway(config(source(registry))) as gateway:
        registry.set([{"address": a.address, "labels": {f"label{i:04}": "x" * 120 for i in range(64)}},
                      *({"address": f"127.0.1.{i}:1", "priority": 15, "labels": {f"label{k}": "x" * 120 for k in range(60)}} for i in range(1, 10))])
        wait.until(lambda: len(endpoints(gateway)) == 10, "the list, which is too long to be remembered, is used")
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
        assert who_answers(gateway, 24) == {"a"}


def test_a_reload_that_names_other_dns_servers_does_not_stay_with_what_the_old_ones_say(tmp_path):
    hosts = ["--host-record=a.internal,127.0.0.1,300", "--host-record=b.internal,127.0.0.2,300"]
    with two_on_one_port() as (a, b, port):
        for name in "ab":
            (tmp_path / name).mkdir()
        first, second = (Dns(tmp_path / name, options=[*hosts, record(port, f"{name}.internal")], ttl=300) for name in "ab")
        try:
            with Gateway(config(f'srv = "{SERVICE}"', f'dns = {{ servers = {{ "{first.address}" }} }},')) as gateway:
                assert endpoints(gateway) == [a.address]
                gateway.reload(config(f'srv = "{SERVICE}"', f'dns = {{ servers = {{ "{second.address}" }} }},'))
                wait_endpoints(gateway, b.address)
        finally:
            first.stop()
            second.stop()
