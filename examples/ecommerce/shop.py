# SPDX-License-Identifier: MIT
"""The whole shop, started by its own script on free ports, for test_ecommerce.py. Whatever happens, nothing is left behind."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from support import client, process, wait
from support.gateway import BINARY, BROKEN

HERE = pathlib.Path(__file__).resolve().parent
KEY = (HERE / "jwt.key").read_bytes()
PARTS = [name for service in ("user", "product", "payment1", "payment2", "order") for name in (service, f"{service}-sidecar")] + ["gateway"]
OFFSETS = [0, 363, 1033, 1821, *range(921, 926), *range(1021, 1026), *range(1831, 1836)]  # of all ports, see addresses.lua


def can_bind(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_base():
    """A port for the gateway with which all others are free too. Below those that the system gives to outgoing connections, so
    that none of them is taken between now and the start."""
    for _ in range(100):
        base = random.randrange(10000, 30000)
        if all(can_bind(base + offset) for offset in OFFSETS):
            return base
    raise AssertionError("no free range of ports found")


def environment(base):
    return {**os.environ, "PERIGEE": str(BINARY), "ECOMMERCE_PORT_BASE": str(base)}


def run_to_end(base, **variables):
    """Runs the script where it is expected to end by itself."""
    return subprocess.run([HERE / "run"], env={**environment(base), **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=3 * wait.PATIENCE, check=False)


def token(changes=None, key=KEY, alg="HS256"):
    """A token as the user service makes it, but for `changes`; None leaves a claim out."""
    claims = {"iss": "shop", "sub": "ada", "role": "customer", "exp": int(time.time()) + 3600, **(changes or {})}
    claims = {name: value for name, value in claims.items() if value is not None}

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT"}, claims))
    signature = hmac.new(key, signed.encode(), hashlib.sha256).digest() if alg == "HS256" else b""
    return f"{signed}.{encode(signature)}"


def bearer(text):
    return [("Authorization", f"Bearer {text}")]


class Shop:
    def __init__(self, **variables):
        self.base = free_base()
        self.address = f"127.0.0.1:{self.base}"
        self.output, self.errors = [], []
        self.tokens = {}
        self.extra = []
        # SIGINT is heard even where the tests run with it ignored: a shell cannot trap what was ignored before it.
        self.process = subprocess.Popen([HERE / "run"], env={**environment(self.base), **variables}, cwd="/", stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.readers = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.output), (self.process.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def collect(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.output)

    @property
    def error_text(self):
        return "\n".join(self.errors)

    def wait_open(self):
        wait.until(lambda: "More to try" in self.text or self.process.poll() is not None, "the shop was open", 3 * wait.PATIENCE)
        assert self.process.poll() is None, self.text + self.error_text
        return self

    # ------------------------------------------------------------ what it printed

    def pids(self):
        """Process ids by name of the part."""
        return {name: int(pid) for name, pid in re.findall(r"^  ([a-z0-9-]+) +(\d+) +127\.0\.0\.1:", self.text, re.M)}

    @property
    def logs(self):
        return pathlib.Path(re.search(r"Logs of every part: (\S+)", self.text).group(1))

    def exchanges(self, part):
        """The access log of a part so far."""
        text = (self.logs / f"{part}.access").read_text()
        return [json.loads(line) for line in text.split("\n")[:-1]]

    # ------------------------------------------------------------ a customer

    def request(self, method, target, headers=(), body=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return client.fetch(self.address, method, target, headers, body)

    def get(self, target, headers=()):
        return self.request("GET", target, headers)

    def login(self, user, password):
        return self.request("POST", "/login", body={"user": user, "password": password})

    def logged_in(self, user="ada"):
        """Headers of a user who has logged in (once: attempts are limited)."""
        if user not in self.tokens:
            response = self.login(user, {"ada": "lovelace", "root": "toor"}[user])
            assert response.status == 200, response
            self.tokens[user] = json.loads(response.body)["token"]
        return bearer(self.tokens[user])

    def order(self, product="3", quantity=1, user="ada"):
        return self.request("POST", "/orders", self.logged_in(user), {"items": [{"product": product, "quantity": quantity}]})

    # ------------------------------------------------------------ disasters

    def kill_part(self, name):
        """Kills a part, and waits until the script has noticed."""
        os.kill(self.pids()[name], signal.SIGKILL)
        wait.until(lambda: f"{name} has ended" in self.error_text, f"the end of {name} was reported")

    def start_again(self, instance):
        """Starts a service by hand, as the README says."""
        started = subprocess.Popen([BINARY, "run", HERE / f"{instance.rstrip('12')}.lua"], stdin=subprocess.DEVNULL,
                                   env={**environment(self.base), "INSTANCE": instance}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.extra.append(started)
        line = next((line for line in started.stderr if line.startswith("perigee: ready")), None)
        assert line, f"{instance} did not start again"

    # ------------------------------------------------------------ the end

    def send(self, number):
        """Sends a signal to the script; SIGINT to its whole process group, as a terminal does on Ctrl-C."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def family(self):
        parts = list(self.pids().values())
        return parts + [child for pid in parts for child in process.children(pid)]

    def wait_end(self):
        """Waits until the script has ended; returns its status."""
        status = self.process.wait(3 * wait.PATIENCE)
        for reader in self.readers:
            reader.join(wait.PATIENCE)
        return status

    def check_left_nothing(self, family):
        wait.until(lambda: not any(map(process.is_running, family)), "all processes had ended")
        taken = [self.base + offset for offset in OFFSETS if not can_bind(self.base + offset)]
        assert not taken, f"still taken: {taken}"
        assert not self.logs.exists(), f"{self.logs} is left behind"

    def check_sane(self):
        for path in self.logs.glob("*.log"):
            assert not BROKEN.search(path.read_text()), path.read_text()

    def stop(self):
        """Closes the shop in the ordinary way and checks that nothing is left."""
        self.check_sane()
        for started in self.extra:
            started.terminate()
            assert started.wait(wait.PATIENCE) == 0
        family = self.family()
        self.send(signal.SIGTERM)
        assert self.wait_end() == 0, self.error_text
        self.check_left_nothing(family)

    def kill(self):
        """Ends what is still there, whatever state it is in: the parts first, which would begin to end by themselves without
        the script."""
        family = [*self.family(), *(started.pid for started in self.extra if started.poll() is None)]
        if self.process.poll() is None:
            family.append(self.process.pid)
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for started in [self.process, *self.extra]:
            started.wait(wait.PATIENCE)
        for reader in self.readers:
            reader.join(wait.PATIENCE)
        if "Logs of" in self.text:
            shutil.rmtree(self.logs, ignore_errors=True)
