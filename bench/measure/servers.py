"""The sides of the comparisons: the floor, nginx and Kaon, each on a free port of loopback."""

import os
import pathlib
import shutil

from . import process

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "bench/functions"


class Builds:
    """Where the built programs are."""

    def __init__(self, folder=None):
        self.folder = pathlib.Path(folder or os.environ.get("KAON_BUILD_DIR", ROOT / "build/release")).resolve()

    def _program(self, path, target):
        path = self.folder / path
        if not path.exists():
            raise process.Failure(f"{path} is not there: cmake --preset release && cmake --build --preset release --target {target}")
        return path

    def kaon(self):
        return self._program("bin/kaon", "kaon")

    def tool(self, name):
        return self._program(f"bench/kaon_bench_{name}", "bench_tools")


def cores():
    return len(os.sched_getaffinity(0))


def floor(builds, folder, threads):
    port = process.free_port()
    return process.Server("floor", [builds.tool("floor"), "--port", port, "--threads", threads], port, folder)


def nginx(folder, workers, body_bytes=100):
    """A constant 200 whatever is sent, from memory."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not program:
        raise process.Failure("nginx is not installed: apt-get install nginx-light")
    port = process.free_port()
    home = pathlib.Path(folder) / f"nginx-{port}"
    home.mkdir()
    os.chmod(folder, 0o755)  # its workers may run as another user
    configuration = home / "nginx.conf"
    configuration.write_text(f"""
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_processes {workers};
worker_rlimit_nofile 16384;
events {{ worker_connections 12000; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_max_body_size 64m;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location / {{ default_type text/plain; return 200 "{'x' * body_bytes}"; }}
  }}
}}
""")
    return process.Server("nginx", [program, "-c", configuration, "-p", home, "-e", home / "error.log"], port, folder)


def kaon(builds, folder, function, name=None, arguments=()):
    """`kaon run` of a folder; its state and control socket are in `folder`."""
    port = process.free_port()
    os.chmod(folder, 0o755)  # the processor may run as another user
    environment = {"KAON_STATE_DIR": str(pathlib.Path(folder) / "state"), "KAON_RUN_DIR": str(pathlib.Path(folder) / "run")}
    command = [builds.kaon(), "run", function, "--port", port, *arguments]
    return process.Server(name or f"kaon {pathlib.Path(function).name}", command, port, folder, environment)


def exec_function(builds, folder, tool="echo"):
    """A copy of the exec function with the static program in it."""
    copy = pathlib.Path(folder) / f"exec_{tool}"
    copy.mkdir(exist_ok=True)
    text = (FUNCTIONS / "exec_echo/function.yaml").read_text()
    (copy / "function.yaml").write_text(text.replace("exec-echo", f"exec-{tool}").replace("./echo", f"./{tool}"))
    shutil.copy2(builds.tool(tool), copy / tool)
    return copy
