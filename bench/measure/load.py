"""Load from outside: wrk, idle connections, and one client that takes its time."""

import json
import pathlib
import selectors
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

from . import process

SCRIPT = pathlib.Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Load:
    """One run of wrk: what came back, and what it cost the server."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int
    cpu_seconds: float  # of the server's process tree

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def cpu_us(self):
        """CPU for each request."""
        return self.cpu_seconds * 1e6 / self.requests


def wrk(url, pid, connections, seconds, body_bytes=100):
    """POSTs `body_bytes` from one thread of wrk over and over. Any error is a failure of the benchmark."""
    if not shutil.which("wrk"):
        raise process.Failure("wrk is not installed: apt-get install wrk")
    before = process.cpu_seconds(pid)
    run = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", SCRIPT, url, str(body_bytes)],
        capture_output=True, text=True, timeout=seconds + 60)
    cpu = process.cpu_seconds(pid) - before
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    if run.returncode != 0 or not lines:
        raise process.Failure(f"wrk failed on {url}: {run.stdout}{run.stderr}")
    result = json.loads(lines[-1])
    if result["errors"] or not result["requests"]:
        raise process.Failure(f"{url}: {result['errors']} errors in {result['requests']} requests")
    return Load(result["requests"], result["duration_us"] / 1e6, result["p50_us"], result["p99_us"], result["errors"], cpu)


def request_bytes(path="/", body=b"x" * 100):
    return b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body


def read_response(connection, already=b""):
    """Status and body of one response that has a Content-Length; raises ConnectionError when the server leaves."""
    data = already
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    size = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    while len(body) < size:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        body += chunk
    return int(lines[0].split()[1]), body


class Idle:
    """Connections that have had one answer each and then say nothing. A context manager."""

    def __init__(self, port, count):
        self._port, self._count, self._sockets = port, count, []

    def __enter__(self):
        if process.raise_file_limit(self._count + 512) < self._count + 64:
            raise process.Failure(f"{self._count} connections need a limit of {self._count + 512} open files (ulimit -n)")
        request = request_bytes()
        for _ in range(self._count):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._sockets.append(connection)
            connection.sendall(request)
            if read_response(connection)[0] != 200:
                raise process.Failure("an idle connection got no 200 at its beginning")
        return self

    def closed(self):
        """How many of them the server has closed."""
        with selectors.DefaultSelector() as selector:
            for connection in self._sockets:
                selector.register(connection, selectors.EVENT_READ)
            return len(selector.select(0))

    def __exit__(self, *_):
        for connection in self._sockets:
            connection.close()


class Background:
    """Sends requests to one path, one after the other on one connection, until the end of the `with` block."""

    def __init__(self, port, path):
        self._port, self._path = port, path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = 0

    def _run(self):
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
            while not self._stop.is_set():
                connection.sendall(request_bytes(self._path))
                if read_response(connection)[0] == 200:
                    self.answers += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class Steady:
    """Requests at a fixed rate, each over a connection of its own; what became of each is noted. Several threads, so that
    one that waits delays no other. A context manager; `notes` are (start, end, outcome), in seconds of the monotonic clock."""

    def __init__(self, port, rate, threads=8):
        self._port, self._rate, self._count = port, rate, threads
        self._stop = threading.Event()
        self._threads = []
        self._lock = threading.Lock()
        self.notes = []

    def _one(self):
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "no connection"
        with connection:
            try:
                connection.sendall(request_bytes())
                return str(read_response(connection)[0])
            except OSError:
                return "cut off"

    def _run(self, index):
        start = time.monotonic()
        step = self._count / self._rate
        notes, number = [], 0
        while not self._stop.is_set():
            due = start + (number + index / self._count) * step
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            begin = time.monotonic()
            outcome = self._one()
            notes.append((begin, time.monotonic(), outcome))
            number += 1
        with self._lock:
            self.notes += notes

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(self._count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.notes.sort()
