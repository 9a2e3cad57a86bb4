# SPDX-License-Identifier: MIT
"""Endpoints that a script sets: in all workers, through reloads, and in workers that take the place of others."""

import json
import os
import signal

import pytest

from support import wait
from support.discovery import endpoints, looks, scripted, set_endpoints, source, two_on_one_port, wait_answers, wait_endpoints, who_answers
from support.gateway import Gateway

@pytest.fixture
def world():
    with two_on_one_port() as (a, b, _), Gateway(scripted()) as gateway:
        assert gateway.get("/").status == 503
        set_endpoints(gateway, a.address)
        wait_answers(gateway, "a")
        yield gateway, a, b


def test_what_one_worker_sets_all_use(world):
    gateway, a, b = world
    for _ in range(3):  # whichever worker it is
        set_endpoints(gateway, {"address": b.address, "weight": 3})
        wait_answers(gateway, "b")
        set_endpoints(gateway, a.address)
        wait_answers(gateway, "a")
    wait_endpoints(gateway, a.address)
    assert source(gateway)[0] == {"dynamic": True}


def test_it_stays_through_a_reload_and_in_a_worker_that_takes_the_place_of_another(world):
    gateway, a, b = world
    gateway.reload(scripted(f'{{ "{b.address}" }}'))
    assert who_answers(gateway) == {"a"}
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
        gateway.wait_replaced(pid)
    assert who_answers(gateway, 24) == {"a"}
    assert endpoints(gateway) == [a.address]


def test_the_next_proxy_begins_with_those_of_the_configuration(world):
    _, a, b = world
    with Gateway(scripted(f'{{ "{b.address}" }}')) as gateway:
        assert who_answers(gateway) == {"b"}
        assert endpoints(gateway) == [b.address]
        assert json.loads(gateway.get("/_get").body) == [{"address": b.address, "weight": 1}]
        set_endpoints(gateway)
        wait.until(lambda: {gateway.get("/").status for _ in range(8)} == {503}, "nobody is asked")
        assert endpoints(gateway) == []


def test_a_refused_list_is_answered_with_what_is_wrong(world):
    gateway, _, _ = world
    answer = gateway.request("POST", "/_set", [("content-type", "application/json")], b'["127.0.0.1:1", "127.0.0.1"]')
    assert answer.status == 400
    assert answer.body.startswith(b"endpoint 2: expected")
    assert looks(gateway) == {"success": 1, "empty": 0, "failure": 1}
    assert source(gateway)[1]["problem"] == answer.body.decode()
    assert who_answers(gateway) == {"a"}


def test_what_init_sets_is_used_once_the_generation_serves_and_not_before(world):
    gateway, _, b = world
    policy = f"""
      local perigee = require "perigee"
      local Probe = perigee.policy {{ name = "probe", stage = "traffic", schema = {{}} }}
      function Probe:init()
        assert(perigee.upstream "orders":set_endpoints {{ "{b.address}" }})
        END
      end
      return Probe
    """
    gateway.write("gateway.lua", scripted().replace("routes =", 'policies = { "probe" }, routes ='))
    gateway.write("policies/probe/init.lua", policy.replace("END", 'error "not like this"'))
    result = gateway.command("reload")
    assert result.returncode == 1 and "not like this" in result.stdout + result.stderr
    assert who_answers(gateway, 24) == {"a"}
    gateway.write("policies/probe/init.lua", policy.replace("END", ""))
    gateway.reload()
    assert who_answers(gateway, 24) == {"b"}
