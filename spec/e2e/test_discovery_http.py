# SPDX-License-Identifier: MIT
"""Upstreams whose endpoints a server lists: asked again and again, or kept waiting until there is news, as Consul does."""

import json
import os
import signal

import pytest

from support import wait
from support.discovery import config, endpoints, looks, source, two_on_one_port, wait_answers, wait_endpoints, who_answers
from support.gateway import Gateway
from support.registry import Registry, consul
from support.tls import Authority, TlsUpstream


def asking(registry, interval="100ms", **more):
    settings = "".join(f", {name} = {value}" for name, value in more.items())
    return config(f'http = {{ url = "http://{registry.address}/list?a=1", interval = "{interval}"{settings} }}')


def polling(registry, interval="100ms", **more):
    return Gateway(asking(registry, interval, **more))


@pytest.fixture
def found():
    with two_on_one_port() as (a, b, _), Registry([a.address]) as registry, polling(registry) as gateway:
        wait_endpoints(gateway, a.address)
        wait_answers(gateway, "a")
        yield registry, gateway, a, b


def test_a_list_that_changes_changes_the_endpoints(found):
    registry, gateway, a, b = found
    registry.set([a.address, {"address": b.address, "weight": 3, "labels": {"version": "v2"}}])
    wait_endpoints(gateway, a.address, b.address)
    wait_answers(gateway, "a", "b")
    upstream, = gateway.ask_json("/upstreams")
    assert {e["address"]: e["weight"] for e in upstream["endpoints"]} == {a.address: 1, b.address: 3}
    assert source(gateway)[0] == {"http": f"http://{registry.address}/list"}
    registry.set([])
    wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {503}, "nobody is asked")


def test_the_question_is_the_url_with_the_headers_which_nobody_is_shown():
    with two_on_one_port() as (a, _, _), Registry([a.address]) as registry:
        with polling(registry, headers='{ ["X-Consul-Token"] = "very-secret" }') as gateway:
            wait_endpoints(gateway, a.address)
            request = registry.heads[0]
            assert (request.method, request.target) == ("GET", "/list?a=1")
            assert request.headers.get("x-consul-token") == "very-secret"
            assert request.headers.get("host") == registry.address
            assert "very-secret" not in json.dumps(gateway.ask_json("/upstreams"))
            registry.say = lambda wire: wire.respond(500)
            wait.until(lambda: "it answers 500" in gateway.errors, "the log says what is wrong")
            assert "very-secret" not in gateway.errors
            wait.until(lambda: looks(gateway)["failure"] >= 2, "failures are counted")
            told = source(gateway)
            assert told[1]["problem"] == "it answers 500"
            assert told[1]["failed_s_ago"] <= told[1]["succeeded_s_ago"]
            assert "very-secret" not in json.dumps(told)


@pytest.mark.parametrize("say, why", [
    (lambda wire: wire.respond(503), "it answers 503"),
    (lambda wire: wire.respond(200, body=b"<html>"), "line 1"),
    (lambda wire: wire.respond(200, body=b'["127.0.0.1"]'), "endpoint 1: expected"),
    (lambda wire: wire.respond(200, body=b'[{"Service": {"Port": 80}}]'), "item 1: expected a service"),
    (lambda wire: wire.respond(200, body=b" " * (1024 * 1024 + 1)), "large"),
    (lambda wire: wire.close(), "the connection"),
    (lambda wire: None, "in time"),
], ids=["503", "no json", "no list", "no address", "too large", "closed", "no answer"])
def test_an_answer_that_cannot_be_used_changes_nothing_and_is_logged(say, why):
    with two_on_one_port() as (a, b, _), Registry([a.address]) as registry:
        with polling(registry, timeout='"200ms"') as gateway:
            wait_answers(gateway, "a")
            registry.say = say
            wait.until(lambda: why in gateway.errors, f"the log says {why}, not {gateway.errors}")
            assert "the endpoints stay as they are" in gateway.errors
            assert who_answers(gateway) == {"a"}
            registry.say = None
            registry.set([b.address])
            wait_endpoints(gateway, b.address)
            wait.until(lambda: "the endpoints can be found again" in gateway.errors, "the log says so")


def test_the_endpoints_outlive_a_registry_that_is_gone_in_reloads_and_new_workers(found):
    registry, gateway, a, _ = found
    registry.close()
    wait.until(lambda: "the endpoints stay as they are" in gateway.errors, "the log says so")
    gateway.reload(asking(registry, "200ms", timeout='"1s"'))
    assert endpoints(gateway) == [a.address]
    assert who_answers(gateway) == {"a"}
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
        gateway.wait_replaced(pid)
    assert who_answers(gateway, 24) == {"a"}


def test_consul_is_asked_to_wait_and_its_news_come_at_once():
    with two_on_one_port() as (a, b, _), Registry([consul(a.address)], has_index=True) as registry:
        with polling(registry, "10m", wait='"30s"') as gateway:
            wait_answers(gateway, "a")
            registry.wait_for_waiting(2)  # workers
            assert registry.targets[-1] == "/list?a=1&index=5&wait=30000ms"
            registry.set([consul(a.address, status="critical"), consul(b.address, 7, Tags=["canary", "version=v2"])])
            wait_endpoints(gateway, b.address)
            registry.wait_for_waiting(2)
            assert registry.targets[-1] == "/list?a=1&index=6&wait=30000ms"
            wait_answers(gateway, "b")
            registry.set([consul(a.address)], index=2)  # it began anew
            wait_answers(gateway, "a")
            wait.until(lambda: registry.targets.count("/list?a=1") == 4, "both workers ask without an index again")
            registry.wait_for_waiting(2)
            assert registry.targets[-1] == "/list?a=1&index=2&wait=30000ms"


def test_a_question_whose_time_is_over_is_asked_again_and_changes_nothing():
    with two_on_one_port() as (a, _, _), Registry([consul(a.address)], has_index=True) as registry:
        with polling(registry, "10m", wait='"1s"') as gateway:
            wait.until(lambda: registry.targets.count("/list?a=1&index=5&wait=1000ms") >= 4, "both workers asked again")
            assert who_answers(gateway) == {"a"}
            assert looks(gateway)["failure"] == 0
            assert gateway.errors.count("endpoints are known now") == 2


def test_a_service_without_an_address_is_at_its_node_and_a_consul_without_a_leader_changes_nothing():
    with two_on_one_port() as (a, _, _), Registry([consul(a.address, Address="")], has_index=True) as registry:
        with polling(registry, wait='"30s"') as gateway:
            assert endpoints(gateway) == [a.address]
            registry.say = lambda wire: wire.respond(500, body=b"No cluster leader", reason="Internal Server Error")
            registry.set([])
            wait.until(lambda: "it answers 500" in gateway.errors, "the log says what is wrong")
            assert endpoints(gateway) == [a.address]
            registry.say = None
            wait_endpoints(gateway)


def test_questions_that_wait_hold_up_neither_a_reload_nor_the_end():
    with two_on_one_port() as (a, _, _), Registry([consul(a.address)], has_index=True) as registry:
        with polling(registry, "10m", wait='"10m"') as gateway:
            wait_answers(gateway, "a")
            registry.wait_for_waiting(2)
            before = list(registry.connections)
            gateway.reload()
            registry.wait_for_waiting(4)
            registry.set([consul(a.address)])  # those of the old generation find nobody
            wait.until(lambda: all(connection.is_closed.is_set() for connection in before), "the old questions were given up")
            assert who_answers(gateway) == {"a"}
            registry.wait_for_waiting(2)
            gateway.signal()
            assert gateway.wait_exit() == 0


def test_a_registry_is_asked_over_tls_and_must_show_its_name():
    authority = Authority()
    try:
        files = {"ca.pem": authority.cert}
        with two_on_one_port() as (a, _, _):
            for name, is_good in (("IP:127.0.0.1", True), ("DNS:other.test", False)):
                say = lambda wire, request: wire.respond(200, body=json.dumps([a.address]).encode())
                with TlsUpstream(authority.issue(name), answer=say) as registry:
                    source = f'http = {{ url = "https://{registry.address}/", interval = "100ms", tls = {{ ca = "ca.pem" }} }}'
                    with Gateway(config(source), files=files) as gateway:
                        if is_good:
                            wait_endpoints(gateway, a.address)
                        else:
                            wait.until(lambda: "the endpoints stay as they are" in gateway.errors, "it is refused")
                            assert registry.heads == []
    finally:
        authority.remove()
