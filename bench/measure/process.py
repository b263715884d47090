"""Processes that a benchmark starts, and what they cost, from /proc."""

import contextlib
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A message for the person who runs the benchmark."""


def raise_file_limit(wanted):
    """So many descriptors for this process and its children, or as many as there may be; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        for limit in ((wanted, max(hard, wanted)), (min(hard, wanted), hard)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port():
    """A port of loopback that is free, its successor too: Kaon's admin listener takes that."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def _stat(pid):
    """Fields of /proc/PID/stat from the third on, or None when it has gone. The name may hold anything but is in ()."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(root):
    """The root's pid and those of all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(entry)):
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, at = [root], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def cpu_seconds(root):
    """User and system time of the tree, with that of children which have been waited for."""
    return sum(sum(map(int, stat[11:15])) for pid in tree(root) if (stat := _stat(pid))) * TICK


def memory_mib(root):
    """(RSS, PSS) of the tree. Pages that processes share count once for each in the first, once in all in the second."""
    sums = {"Rss": 0, "Pss": 0}
    for pid in tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in sums:
                    sums[key] += int(value.split()[0])
    return sums["Rss"] / 1024, sums["Pss"] / 1024


class Server:
    """A server as a child process, its output in a file. A context manager: ready inside, gone after."""

    def __init__(self, name, command, port, folder, environment=None):
        self.name, self.port = name, port
        self.output = pathlib.Path(folder) / f"{name.replace(' ', '_')}-{port}.log"
        self.command = [str(word) for word in command]
        self.environment = environment or {}  # beside this process's own
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **self.environment})

    def wait_ready(self, seconds=120):
        """Until the port takes connections. Also for a side that compiles first."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with {self.process.returncode}: {self.tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise Failure(f"{self.name} did not listen on port {self.port} within {seconds} s: {self.tail()}")

    def tail(self):
        return self.output.read_text(errors="replace")[-2000:].strip()

    def stop(self):
        if not self.process or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            for pid in reversed(tree(self.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self):
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
