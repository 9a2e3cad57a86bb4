# SPDX-License-Identifier: MIT
"""Workers and upstreams that are killed under load: clients lose what the faults explain, and nothing else."""

import os
import random
import signal

from support import process, wait
from support.gateway import Gateway
from support.load import Load, wait_for_answers
from support.upstream import free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 4,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = {
    endpoints = { "$a", "$b", "$c" },
    balance = "ewma",
    outlier = { base_ejection_time = "200ms", interval = "100ms" },
    breaker = { max_requests = 100, max_retries = 100 },
    retries = { attempts = 2, budget = { min_concurrency = 12 } },           -- one for each client
  } },
  routes = { { match = {}, upstream = "origin" } },
}
"""

UPSTREAM = """
local perigee = require "perigee"

return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 0,
  listeners = { { address = "$address" } },
  routes = { { match = {}, handler = function(req) perigee.sleep(0.002) return reply(200, "ok") end } },
}
"""

SECONDS = 30
CLIENTS = 12


def clients_of(pid, port):
    """The client ports of the connections to `port` that the process has accepted."""
    inodes = {name[8:-1] for name in process.open_files(pid).values() if name.startswith("socket:[")}
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in list(table)[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows
            if row[9] in inodes and row[3] == "01" and int(row[1].partition(":")[2], 16) == port}


def kill_worker(gateway, dice, loads):
    """Kills one; returns how many clients had a connection to it."""
    port = int(gateway.address.rpartition(":")[2])
    pid = dice.choice(gateway.workers())
    os.kill(pid, signal.SIGSTOP)
    hit = clients_of(pid, port) & {load.port for load in loads}
    os.kill(pid, signal.SIGKILL)
    gateway.wait_replaced(pid)
    return len(hit)


def start_upstream(address):
    return Gateway(UPSTREAM, values={"address": address}).wait_ready()


def kill_upstream(upstreams, dice):
    address = dice.choice(sorted(upstreams))
    upstreams[address].kill()
    upstreams[address] = start_upstream(address)


def test_clients_lose_what_killed_workers_had_and_nothing_else():
    dice = random.Random(1)
    upstreams = {address: start_upstream(address) for address in (free_address() for _ in range(3))}
    try:
        names = dict(zip("abc", upstreams))
        with Gateway(CONFIG, values=names) as gateway:
            loads = [Load(gateway, ["/"]) for _ in range(CLIENTS)]
            wait_for_answers(loads)
            end, explained, faults = wait.Deadline(SECONDS), 0, 0
            while not end.is_over():
                if dice.random() < 0.5:
                    explained += kill_worker(gateway, dice, loads)
                else:
                    kill_upstream(upstreams, dice)
                wait_for_answers(loads, 5)
                faults += 1
            failures = [failure for load in loads for failure in load.stop()]
            assert len(failures) == explained, failures
            assert faults > 2 and sum(load.answers for load in loads) > 1000
            assert gateway.get("/").status == 200
    finally:
        for upstream in upstreams.values():
            upstream.kill()
