# SPDX-License-Identifier: MIT
"""What bench/run and bench/instructions share: building the tools, rendering configurations, starting and stopping.

Everything is written below one directory (build/bench, or BENCH_DIR). Every process is started here, is stopped here
by its process id, and dies with its parent.
"""

import base64
import ctypes
import hashlib
import hmac
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
DIR = os.path.abspath(os.environ.get("BENCH_DIR", os.path.join(ROOT, "build", "bench")))
PERIGEE = os.path.abspath(os.environ.get("PERIGEE", os.path.join(ROOT, "build", "perigee")))
SECRET = "a-shared-secret-of-thirty-two-by"
READY_S, STOP_S, RUN_S = 30, 4, 300

CPUS = sorted(os.sched_getaffinity(0))
TESTER_CPU, PROXY_CPU = CPUS[0], CPUS[1 % len(CPUS)]

_libc = ctypes.CDLL(None)


class BenchError(Exception):
    """Something that makes the measurement impossible; its text is for the user."""


def find_program(name):
    """The path of an installed program or None; looks where Debian puts daemons too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def has_lua_module():
    return os.path.exists("/usr/lib/nginx/modules/ngx_http_lua_module.so")


def build_tools():
    """Compiles the C files here whose source is newer than what was made of it."""
    os.makedirs(DIR, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    for name, flags in (("relay", []), ("tester", []), ("exec_self", ["-shared", "-fPIC"])):
        source, program = os.path.join(HERE, name + ".c"), os.path.join(DIR, name)
        if os.path.exists(program) and os.path.getmtime(program) >= os.path.getmtime(source):
            continue
        command = [compiler, "-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", *flags, "-o", program, source]
        if subprocess.run(command).returncode != 0:
            raise BenchError(f"cannot compile {source}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bind_to_parent():
    """Run in the child before exec: the kernel ends it when this program dies, however it dies."""
    _libc.prctl(1, signal.SIGTERM)


def make_token(number, secret=SECRET, **changes):
    """A token of consumer `number`, as any HS256 issuer would make it; `changes` go into its claims."""

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": f"user-{number:03d}", "iss": "bench", "iat": now, "nbf": now - 60, "exp": now + 86400}
    claims.update({"role": "customer"}, **changes)
    header = {"alg": "HS256", "typ": "JWT"}
    signed = b".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return (signed + b"." + encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


class Tester:
    """The client and origin process. One command is one run; see tester.c."""

    def __init__(self):
        command = ["taskset", "-c", str(TESTER_CPU), os.path.join(DIR, "tester"), "--origin", "0"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=bind_to_parent
        )
        line = self.process.stdout.readline()
        if not line.startswith("origin "):
            raise BenchError("the tester does not start")
        self.origin = line.split()[1]

    def set(self, **settings):
        for name, value in settings.items():
            self.say(name, value)

    def say(self, name, value=""):
        self.process.stdin.write(f"{name} {value}\n")
        self.process.stdin.flush()

    def start(self, **settings):
        self.set(**settings)
        self.say("go")

    def finish(self):
        line = self.process.stdout.readline()
        if not line:
            raise BenchError("the tester died")
        return json.loads(line)

    def go(self, **settings):
        """Runs and returns the result of the run; a run that makes no progress ends by itself after 10 s."""
        self.start(**settings)
        return self.finish()

    def use(self, requests):
        """Sends these requests in turn: a list of (path, token or None)."""
        self.say("reset")
        for path, token in requests:
            self.say("path", path)
            if token:
                self.say("token", token)
            self.say("request")

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=STOP_S)


class Proxy:
    """One proxy process (and its children) behind `listen`, pinned to one CPU."""

    def __init__(self, name, origin):
        self.name = name
        self.listen = f"127.0.0.1:{free_port()}"
        self.origin = origin
        self.dir = tempfile.mkdtemp(prefix=f"{name}-", dir=DIR)
        self.env = dict(os.environ)
        self.command = []
        self.process = None
        self.log = os.path.join(self.dir, "output")

    def start_under(self, *tool):
        """Starts it under a tool such as valgrind, which takes longer."""
        self.env.update(LD_PRELOAD=os.path.join(DIR, "exec_self"), BENCH_BINARY=self.command[0])
        self.start(tool)

    def start(self, prefix=()):
        """Starts it and waits until it accepts."""
        command = ["taskset", "-c", str(PROXY_CPU), *prefix, *self.command]
        with open(self.log, "wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(
                command, env=self.env, cwd=self.dir, preexec_fn=bind_to_parent, **streams
            )
        deadline = time.monotonic() + READY_S * (10 if prefix else 1)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} does not start: {' '.join(command)}\n{self.read_log()}")
            time.sleep(0.02)

    def is_ready(self):
        host, port = self.listen.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            return False

    def read_log(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-4000:]

    def pids(self):
        """The process and all its descendants."""
        parents = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parents[int(entry)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it ended meanwhile
        family = [self.process.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def cpu_ns(self):
        """CPU time of all threads of the family, exact to the nanosecond while they sleep."""
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[0])
        return total

    def stop(self, patience_s=STOP_S):
        """Asks twice, then kills; only the processes that this object started."""
        if not self.process:
            return
        family = self.pids() if self.process.poll() is None else []
        for attempt in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(attempt)
            try:
                self.process.wait(timeout=patience_s)
                break
            except subprocess.TimeoutExpired:
                continue
        for pid in family[1:]:
            self.kill_orphan(pid)
        self.process = None

    def kill_orphan(self, pid):
        """Kills a descendant that outlived its parent, if the number still means a process in our directory."""
        try:
            if os.readlink(f"/proc/{pid}/cwd") == self.dir:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass  # gone, as it should be

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def render(self, **extra):
        """Copies bench/peers into the proxy's directory with every @NAME@ filled in."""
        host, port = self.listen.split(":")
        values = {"LISTEN": self.listen, "ORIGIN": self.origin, "DIR": self.dir, "SECRET": SECRET}
        values["CERTIFICATE"] = os.path.join(DIR, "site")
        values["USER"] = "user root;" if os.geteuid() == 0 else ""
        values.update(extra)
        source = os.path.join(HERE, "peers")
        for folder, _, files in os.walk(source):
            target = os.path.join(self.dir, os.path.relpath(folder, source))
            os.makedirs(target, exist_ok=True)
            for name in files:
                with open(os.path.join(folder, name)) as template:
                    text = template.read()
                for key, value in values.items():
                    text = text.replace(f"@{key}@", str(value))
                with open(os.path.join(target, name), "w") as rendered:
                    rendered.write(text)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as file:
            file.write(text)


def median_interval(values):
    """The median, with its 95 % interval by bootstrap."""
    picker = random.Random(1)
    medians = sorted(statistics.median(picker.choices(values, k=len(values))) for _ in range(1000))
    return {"median": statistics.median(values), "low": medians[25], "high": medians[974]}


def route_names():
    return [f"svc{number:02d}" for number in range(100)]


def nginx(name, origin, config, is_single=False):
    """nginx with one of the configurations of bench/peers; `is_single`: one process without a master."""
    proxy = Proxy(name, origin)
    proxy.render()
    os.makedirs(os.path.join(proxy.dir, "tmp"))
    location = 'location /%s/ { add_header X-Route %s; proxy_pass http://origin; }\n'
    proxy.write("nginx-routes.conf", "".join(location % (route, route) for route in route_names()))
    proxy.command = [find_program("nginx"), "-p", proxy.dir + "/", "-c", os.path.join(proxy.dir, config + ".conf")]
    if is_single:
        proxy.command += ["-g", "master_process off;"]
    return proxy


def haproxy(name, origin, config, is_master=False):
    """HAProxy with one of the configurations of bench/peers; `is_master`: with the process that reloads."""
    proxy = Proxy(name, origin)
    proxy.render()
    proxy.write("routes.map", "".join(f"{route} {route}\n" for route in route_names()))
    files = [os.path.join(proxy.dir, f"haproxy-{part}.cfg") for part in ("common", config)]
    proxy.command = [find_program("haproxy"), "-W" if is_master else "-db", "-f", files[0], "-f", files[1]]
    return proxy


def relay(name, origin):
    proxy = Proxy(name, origin)
    proxy.command = [os.path.join(DIR, "relay"), proxy.listen, origin]
    return proxy


def make_certificate():
    """The path of a certificate for 127.0.0.1, without its .pem and .key; made once."""
    path = os.path.join(DIR, "site")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
    command += ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path + ".key", "-out", path + ".pem"]
    if not os.path.exists(path + ".pem"):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return path


def perigee(name, origin, config, workers=1):
    """Perigee with one of the configurations of bench/perigee."""
    proxy = Proxy(name, origin)
    proxy.env.update(BENCH_CERTIFICATE=os.path.join(DIR, "site"))
    proxy.env.update(BENCH_LISTEN=proxy.listen, BENCH_ORIGIN=origin, BENCH_WORKERS=str(workers), BENCH_SECRET=SECRET)
    proxy.command = [PERIGEE, "run", os.path.join(HERE, "perigee", config + ".lua")]
    return proxy


def run_main(main):
    """Runs `main` so that every way out, signals included, goes through its clean-up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
