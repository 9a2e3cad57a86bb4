# SPDX-License-Identifier: MIT
"""A Perigee as a process: started on a configuration in a folder of its own, and checked when it ends."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import threading

from . import client, http1, process, wait

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PERIGEE", str(TOP / "build/perigee"))
BROKEN = re.compile(r"assertion failed|AddressSanitizer|LeakSanitizer|runtime error:|Segmentation|stack smashing", re.I)


def run(*arguments, **options):
    """Runs a Perigee command to its end; what it printed is text."""
    options = {"timeout": 3 * wait.PATIENCE, "cwd": "/", **options}
    return subprocess.run([BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", check=False, **options)


class Folder:
    """A folder with files; `$dir` in their text stands for it, other `$name`s for the values given."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="perigee-", dir="/tmp"))  # short: for unix sockets

    def write(self, name, text, **values):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
            return path
        path.write_text(string.Template(text).substitute(values, dir=self.path) if values or "$" in text else text)
        return path

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Gateway:
    """A running Perigee. Unless the configuration says otherwise its admin API is at unix:$dir/admin.sock; `options` are Popen's."""

    def __init__(self, config, files=None, values=None, name="gateway.lua", command="run", admin="unix:$dir/admin.sock", **options):
        self.folder = Folder()
        self.values = dict(values or {})
        self.name = name
        for path, text in (files or {}).items():
            self.write(path, text)
        self.write(name, config)
        self.admin = string.Template(admin).substitute(self.values, dir=self.folder.path)
        self.addresses = []
        self.lines = []
        self.output = []
        self.is_stopped = False
        self.process = subprocess.Popen([BINARY, command, str(self.folder.path / name)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", cwd="/", **options)
        self.readers = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in ((self.process.stderr, self.lines), (self.process.stdout, self.output))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def collect(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    # ------------------------------------------------------------ start

    def write(self, name, text, **values):
        return self.folder.write(name, text, **{**self.values, **values})

    @property
    def pid(self):
        return self.process.pid

    @property
    def errors(self):
        return "\n".join(self.lines)

    def ready_line(self):
        return next((line for line in self.lines if line.startswith("perigee: ready, ")), None)

    def wait_ready(self):
        wait.until(lambda: self.ready_line() or self.process.poll() is not None, "perigee was ready")
        line = self.ready_line()
        assert line, f"perigee ended with status {self.process.poll()}:\n{self.errors}"
        match = re.fullmatch(r"perigee: ready, generation \d+, listening on (.+)", line)
        assert match, line
        self.addresses = re.split(r",\s*", match.group(1))
        return self

    @property
    def address(self):
        return self.addresses[0]

    # ------------------------------------------------------------ use

    def connect(self, listener=0, **options):
        return client.Client(self.addresses[listener], **options)

    def request(self, method, target, headers=(), body=None, listener=0):
        return client.fetch(self.addresses[listener], method, target, headers, body)

    def get(self, target, headers=(), listener=0):
        return self.request("GET", target, headers, listener=listener)

    def ask(self, method, path, headers=()):
        """A request to the admin API."""
        return client.fetch(self.admin, method, path, [("Host", "localhost"), *headers])

    def ask_json(self, path):
        response = self.ask("GET", path)
        assert response.status == 200, response
        return json.loads(response.body)

    def command(self, *arguments):
        """A client command (reload, status, …) for this gateway."""
        return run(*arguments, "--admin", self.admin)

    def reload(self, config=None):
        """Writes the configuration, if given, and reloads; fails the test when that is refused."""
        if config is not None:
            self.write(self.name, config)
        result = self.command("reload")
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    def workers(self):
        return [worker["pid"] for worker in self.ask_json("/status")["workers"]]

    def wait_replaced(self, pid):
        """Waits until the worker is gone and every worker serves again; returns the workers."""
        def is_whole():
            workers = self.ask_json("/status")["workers"]
            return all(worker["state"] == "ready" and worker["pid"] != pid for worker in workers) and workers

        return wait.until(is_whole, f"worker {pid} was replaced")

    def log_lines(self, name="access.log"):
        """Lines of a JSON access log that are complete so far."""
        path = self.folder.path / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    # ------------------------------------------------------------ end

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_exit(self, seconds=wait.PATIENCE):
        status = self.process.wait(seconds)
        for reader in self.readers:
            reader.join(wait.PATIENCE)
        return status

    def stop(self):
        """Ends it in the ordinary way and checks that nothing is left behind."""
        if self.is_stopped:
            return
        self.is_stopped = True
        family = [self.pid, *process.children(self.pid)]
        try:
            if self.process.poll() is None:
                wait.until(lambda: not process.zombies(self.pid), "its ended children were reaped")
                self.signal()
            status = self.wait_exit()
            assert status == 0, f"exit status {status}:\n{self.errors}"
            self.check_left_nothing(family)
            self.check_sane()
        finally:
            self.kill(family)

    def check_left_nothing(self, family):
        wait.until(lambda: not any(map(process.is_running, family)), "its processes had ended")
        for address in self.addresses:
            kind, target = http1.parse_address(address)
            if kind == socket.AF_UNIX:
                assert not os.path.exists(target), f"{target} is left behind"
                continue
            with socket.socket(kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(target)

    def check_sane(self):
        assert not BROKEN.search(self.errors), self.errors

    def kill(self, family=()):
        """Ends what is still there, whatever state it is in."""
        self.is_stopped = True
        family = {self.pid, *family, *process.children(self.pid)} if self.process.poll() is None else set(family)
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(wait.PATIENCE)
        self.folder.remove()

    def __enter__(self):
        try:
            return self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()
