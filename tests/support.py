"""Starts the kaon binary for a test and talks to it."""

import contextlib
import os
import pathlib
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
KAON = os.environ.get("KAON_BINARY", str(ROOT / "build/release/bin/kaon"))


def free_port() -> int:
    """A free port of loopback whose successor is free too (for the admin listener), below those of outgoing connections."""
    while True:
        port = random.randrange(20000, 30000, 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


class Kaon:
    """One `kaon run`. Its state, control socket and output are its own."""

    def __init__(self, folder: pathlib.Path, target, *arguments, port=None, environment=None, descriptors=None, listen=True):
        self.port = port or free_port()
        self.environment = dict(os.environ, KAON_STATE_DIR=str(folder / "state"), KAON_RUN_DIR=str(folder / "run"), **(environment or {}))
        self.log_path = folder / "output.txt"
        self.log = open(self.log_path, "ab")
        command = [KAON, "run", str(target), *(["--port", str(self.port)] if listen else []), *map(str, arguments)]
        limit = descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)))
        self.process = subprocess.Popen(
            command, stderr=self.log, stdout=self.log, stdin=subprocess.DEVNULL, env=self.environment, preexec_fn=limit
        )

    def wait_ready(self, seconds=60) -> "Kaon":
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"kaon ended with {self.process.returncode}: {self.output()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port + 1), timeout=1) as admin:
                admin.settimeout(5)
                admin.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if b" 200 " in admin.recv(4096):
                    return self
            time.sleep(0.005)
        raise RuntimeError(f"kaon was not ready in {seconds} s: {self.output()}")

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")

    def command(self, *arguments, data=None) -> subprocess.CompletedProcess:
        """Another kaon command beside it."""
        return subprocess.run([KAON, *map(str, arguments)], input=data, capture_output=True, env=self.environment, timeout=60)

    def processor_pid(self) -> int:
        """The keeper's child that runs the loops."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if len(os.listdir(f"/proc/{child}/task")) > 1 or len(children) == 1:
                return int(child)
        return int(children[-1])

    def stop(self, seconds=20) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.log.close()


@contextlib.contextmanager
def running(target, *arguments, **options):
    """A ready `kaon run`, stopped at the end; the end must be clean."""
    with tempfile.TemporaryDirectory(prefix="kaon-test-") as folder:
        os.chmod(folder, 0o755)
        kaon = Kaon(pathlib.Path(folder), target, *arguments, **options)
        try:
            yield kaon.wait_ready()
        finally:
            code = kaon.stop()
        assert code == 0, kaon.output()


def raw(port: int, data: bytes, seconds=10) -> bytes:
    """Sends bytes and reads until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
        return answer
