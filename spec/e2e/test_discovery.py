# SPDX-License-Identifier: MIT
"""Upstreams whose endpoints change while the proxy runs: names in DNS (a real dnsmasq) and lists in files."""

import json
import threading

import pytest

from support import wait
from support.crowd import Crowd, allow_descriptors, limit_descriptors
from support.discovery import (answer_as, config, endpoints, looks, source, two_on_one_port, wait_answers, wait_endpoints,
                               who_answers)
from support.dns import SERVICE, Dns, failing_dns, record
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Upstream

@pytest.fixture
def dns(tmp_path):
    server = Dns(tmp_path, "127.0.0.1")
    yield server
    server.stop()


def serving_dns(dns, port, balance="round_robin"):
    return Gateway(config(f'dns = "orders.internal:{port}"', f'dns = {{ servers = {{ "{dns.address}" }} }},', balance))


def test_all_addresses_of_a_name_are_endpoints(dns):
    dns.set("127.0.0.1", "127.0.0.2")
    with two_on_one_port() as (a, b, port), serving_dns(dns, port) as gateway:
        wait_endpoints(gateway, a.address, b.address)
        assert who_answers(gateway) == {"a", "b"}


@pytest.mark.parametrize("balance", ["round_robin", "ewma"])
def test_records_that_come_and_go_change_the_endpoints_when_their_time_is_over(dns, balance):
    with two_on_one_port() as (a, b, port), serving_dns(dns, port, balance) as gateway:
        wait_endpoints(gateway, a.address)
        assert who_answers(gateway) == {"a"}
        dns.set("127.0.0.1", "127.0.0.2")
        wait_endpoints(gateway, a.address, b.address)
        dns.set("127.0.0.2")
        wait_endpoints(gateway, b.address)
        wait.until(lambda: who_answers(gateway) == {"b"}, "both workers use the new endpoint")


def test_the_endpoints_stay_while_the_server_fails_and_change_again_afterwards(dns):
    with two_on_one_port() as (a, b, port), serving_dns(dns, port) as gateway:
        wait_endpoints(gateway, a.address)
        assert who_answers(gateway, 30) == {"a"}  # each worker has asked for itself
        dns.stop()
        with failing_dns(dns.address) as asked:
            wait.until(lambda: len(asked) >= 8, "the failing server was asked several times")
            assert endpoints(gateway) == [a.address]
            assert who_answers(gateway) == {"a"}
        dns.write("127.0.0.2")
        dns.start()
        wait_endpoints(gateway, b.address)


def test_endpoints_that_were_found_are_there_after_a_reload_without_the_server(dns):
    with two_on_one_port() as (a, _, port), serving_dns(dns, port) as gateway:
        wait_endpoints(gateway, a.address)
        assert who_answers(gateway, 30) == {"a"}  # each worker has asked for itself
        dns.stop()
        gateway.reload()
        assert endpoints(gateway) == [a.address]
        assert who_answers(gateway) == {"a"}


# ---- services

A, B = "--host-record=a.internal,127.0.0.1,1", "--host-record=b.internal,127.0.0.2,1"


@pytest.fixture
def service(tmp_path):
    server = Dns(tmp_path)
    yield server
    server.stop()


def serving_service(service):
    return Gateway(config(f'srv = "{SERVICE}"', f'dns = {{ servers = {{ "{service.address}" }} }},'))


def test_the_targets_of_a_service_are_endpoints_with_their_weights_and_priorities(service):
    with two_on_one_port() as (a, b, port), serving_service(service) as gateway:
        assert gateway.get("/").status == 503
        service.restart(A, B, record(port, weight=7), record(port, "b.internal", priority=5))
        wait_endpoints(gateway, a.address, b.address)
        upstream, = gateway.ask_json("/upstreams")
        assert {e["address"]: e["weight"] for e in upstream["endpoints"]} == {a.address: 7, b.address: 1}
        assert source(gateway)[0] == {"srv": SERVICE}
        wait_answers(gateway, "a")
        service.restart(A, B, record(port, priority=9), record(port, "b.internal", priority=5))
        wait_answers(gateway, "b")


def test_targets_that_come_and_go_change_the_endpoints_when_their_time_is_over(service):
    with two_on_one_port() as (a, b, port), serving_service(service) as gateway:
        service.restart(A, record(port))
        wait_endpoints(gateway, a.address)
        service.restart(A, B, record(port), record(port, "b.internal"))
        wait_endpoints(gateway, a.address, b.address)
        wait_answers(gateway, "a", "b")
        service.restart(A, "--host-record=b.internal,127.0.0.3,1", record(port, "b.internal"))
        wait_endpoints(gateway, "127.0.0.3:" + port)


def test_an_address_is_not_asked_for_again_before_its_time_is_over(service):
    with two_on_one_port() as (a, _, port), serving_service(service) as gateway:
        service.restart("--host-record=a.internal,127.0.0.1,300", record(port))
        wait.until(lambda: service.asked("A") >= 2, "both workers asked for the address")
        wait_answers(gateway, "a")
        service.restart("--host-record=a.internal,127.0.0.2,300", record(port))
        before = service.asked("SRV")
        wait.until(lambda: service.asked("SRV") >= before + 6, "both workers asked for the records several times")
        assert endpoints(gateway) == [a.address]


def test_the_targets_stay_while_the_server_fails_or_does_not_know_the_service(service):
    with two_on_one_port() as (a, b, port), serving_service(service) as gateway:
        service.restart(A, record(port))
        wait_answers(gateway, "a")
        service.stop()
        with failing_dns(service.address) as asked:
            wait.until(lambda: len(asked) >= 8, "the failing server was asked several times")
            assert endpoints(gateway) == [a.address]
            assert who_answers(gateway) == {"a"}
        assert "the endpoints stay as they are" in gateway.errors
        service.restart(A)
        before = service.asked("SRV")
        wait.until(lambda: service.asked("SRV") >= before + 6, "the name does not exist")
        assert who_answers(gateway) == {"a"}
        service.restart(B, record(port, "b.internal"))
        wait_endpoints(gateway, b.address)
        wait.until(lambda: "the endpoints can be found again" in gateway.errors, "the log says so")


def test_looks_for_names_are_counted_and_the_last_problem_is_told(service):
    with two_on_one_port() as (_, _, port), serving_service(service) as gateway:
        before = looks(gateway)
        assert before["failure"] >= 2 and before["success"] == before["empty"] == 0
        assert source(gateway)[1]["problem"] == "The upstream's name could not be resolved."
        service.restart(A, record(port))
        wait_answers(gateway, "a")
        wait.until(lambda: looks(gateway)["success"] >= 2, "each worker's look was counted")
        told = source(gateway)[1]
        assert told["looks"] > told["failed"] >= before["failure"]
        assert told["looked_s_ago"] == told["succeeded_s_ago"] <= told["failed_s_ago"]
        service.restart(f"--srv-host={SERVICE}")
        wait.until(lambda: looks(gateway)["empty"] >= 2, "an empty answer is no failure")


def test_a_service_that_is_said_not_to_be_there_has_no_endpoints(service):
    with two_on_one_port() as (a, _, port), serving_service(service) as gateway:
        service.restart(A, record(port))
        wait_answers(gateway, "a")
        service.restart(f"--srv-host={SERVICE}")
        wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {503}, "nobody is asked")


# ---- files

def replace(path, value):
    """As tools do: written beside, renamed into place."""
    text = value if isinstance(value, str) else json.dumps(value)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "endpoints.json"
    with two_on_one_port() as (a, b, _):
        replace(path, [a.address])
        with Gateway(config(f'file = "{path}"')) as gateway:
            wait_endpoints(gateway, a.address)
            yield path, gateway, a, b


def test_a_file_that_is_replaced_changes_the_endpoints(listed):
    path, gateway, a, b = listed
    assert who_answers(gateway) == {"a"}
    replace(path, [{"address": b.address, "weight": 3, "zone": "z", "labels": {"version": "v2"}}])
    wait_endpoints(gateway, b.address)
    wait.until(lambda: who_answers(gateway) == {"b"}, "both workers use the new endpoint")
    upstream, = gateway.ask_json("/upstreams")
    assert upstream["endpoints"][0]["weight"] == 3
    assert source(gateway)[0] == {"file": str(path)}


def test_a_file_that_is_written_in_place_changes_the_endpoints(listed):
    path, gateway, a, b = listed
    path.write_text(json.dumps([a.address, b.address]))
    wait_endpoints(gateway, a.address, b.address)


@pytest.mark.parametrize("broken, why", [
    ('["127.0.0.1:1"', "line 1"),
    ('{"endpoints": []}', "expected a list"),
    ('["127.0.0.1"]', "endpoint 1: expected"),
    ('["127.0.0.1:1", {"address": "127.0.0.1:2", "weight": 0}]', "endpoint 2, weight: expected a whole number"),
    ('["127.0.0.1:1", "127.0.0.1:1"]', "is there twice"),
])
def test_a_broken_file_changes_nothing_and_is_logged(listed, broken, why):
    path, gateway, a, _ = listed
    replace(path, broken)
    wait.until(lambda: why in gateway.errors, "the log says what is wrong")
    assert "the endpoints stay as they are" in gateway.errors
    assert endpoints(gateway) == [a.address]
    assert who_answers(gateway) == {"a"}
    wait.until(lambda: looks(gateway) == {"success": 2, "empty": 0, "failure": 2}, "both workers looked twice")
    assert why in source(gateway)[1]["problem"]


def test_a_file_that_is_gone_changes_nothing_until_it_is_back(listed):
    path, gateway, a, b = listed
    path.unlink()
    wait.until(lambda: "No such file" in gateway.errors, "the log says what is wrong")
    assert who_answers(gateway) == {"a"}
    replace(path, [b.address])
    wait_endpoints(gateway, b.address)


def test_a_change_that_could_not_be_read_for_want_of_descriptors_is_read_when_there_are_some(tmp_path):
    path = tmp_path / "endpoints.json"
    allow_descriptors(4096)
    with two_on_one_port() as (a, b, _):
        replace(path, [a.address])
        text = config(f'file = "{path}"', "overload = { fds = 0, connections = 0 },").replace("workers = 2", "workers = 1")
        with Gateway(text, preexec_fn=limit_descriptors(64)) as gateway:
            with Crowd(gateway.address, 100, b""):
                wait.until(lambda: Metrics(gateway.ask("GET", "/metrics").body.decode()).sum("perigee_accept_rests_total"),
                           "descriptors were out")
                replace(path, [b.address])
                wait.until(lambda: "Too many open files" in gateway.errors, "the log says what is wrong")
                assert endpoints(gateway) == [a.address]
            wait_endpoints(gateway, b.address)


def test_an_empty_list_leaves_nobody_to_ask(listed):
    path, gateway, _, b = listed
    replace(path, [])
    wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {503}, "nobody is asked")
    replace(path, [b.address])
    wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {200}, "the new endpoint is asked")


def test_an_exchange_ends_at_the_endpoint_that_was_removed_meanwhile(tmp_path):
    may_end = threading.Event()

    def slow(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("content-length", "5")])
        wire.send(b"be")
        may_end.wait(wait.PATIENCE)
        wire.send(b"gan")

    path = tmp_path / "endpoints.json"
    with Upstream("old", answer=slow) as old, Upstream("new", answer=answer_as("new")) as new:
        replace(path, [old.address])
        with Gateway(config(f'file = "{path}"')) as gateway:
            client = gateway.connect()
            client.send_request("GET", "/")
            old.wait_for_heads(1)
            for _ in range(3):  # sets are freed and made while the exchange goes on
                replace(path, [new.address])
                wait_endpoints(gateway, new.address)
                wait.until(lambda: {gateway.get("/").headers.get("x-upstream") for _ in range(6)} == {"new"}, "only the new one is asked")
                replace(path, [new.address, "127.0.0.1:1"])
                wait_endpoints(gateway, new.address, "127.0.0.1:1")
            may_end.set()
            assert client.read_response().body == b"began"
            client.close()
