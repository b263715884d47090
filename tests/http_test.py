"""The server as clients of other makers see it, before a native and an exec function."""

import concurrent.futures
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from support import KAON, Kaon, ROOT, free_port, raw, running

FUNCTIONS = ROOT / "tests/functions"


@pytest.fixture(scope="module")
def native():
    with running(FUNCTIONS / "native") as kaon:
        yield kaon


@pytest.fixture(scope="module")
def shell():
    with running(FUNCTIONS / "shell") as kaon:
        yield kaon


def ask(kaon, path="/", body=None, method="POST", headers=None, timeout=20):
    connection = http.client.HTTPConnection("127.0.0.1", kaon.port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response
    finally:
        connection.close()


def pgrep(*arguments):
    return subprocess.run(["pgrep", *arguments], capture_output=True).stdout


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


# --- clients ---


def test_curl_http_client_and_node(native):
    curl = subprocess.run(["curl", "-sS", "--data-binary", "from curl", f"http://127.0.0.1:{native.port}/x"], capture_output=True, timeout=20)
    assert curl.stdout == b"from curl"
    assert ask(native, body=b"from python")[:2] == (200, b"from python")
    script = (
        f"const r=require('http').request({{port:{native.port},host:'127.0.0.1',method:'POST'}},s=>{{let b='';s.on('data',d=>b+=d);"
        "s.on('end',()=>console.log(s.statusCode,b))});r.write('from ');r.end('node');"
    )
    node = subprocess.run(["node", "-e", script], capture_output=True, timeout=20)
    assert node.stdout == b"200 from node\n", node.stderr


def test_keep_alive_and_unique_ids(native):
    connection = http.client.HTTPConnection("127.0.0.1", native.port, timeout=10)
    seen = set()
    for _ in range(200):
        connection.request("POST", "/id", body=b"")
        seen.add(connection.getresponse().read())
    assert len(seen) == 200


def test_pipelined_requests_are_answered_in_order(native):
    requests = b"".join(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % i for i in range(50))
    answer = raw(native.port, requests + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200")[1:51]]
    assert bodies == [b"%02d" % i for i in range(50)]


def test_chunked_request_and_expect_continue(native):
    answer = raw(
        native.port,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    )
    assert answer.endswith(b"hello world")
    with socket.create_connection(("127.0.0.1", native.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert connection.recv(1000).endswith(b"abc")


def test_head_has_no_body(native):
    status, body, response = ask(native, method="HEAD")
    assert status == 200 and body == b""


def test_a_large_body_is_echoed_whole(native):
    body = os.urandom(8 << 20)
    assert ask(native, body=body)[:2] == (200, body)


# --- bad input ---

HOST = b"Host: a\r\n"


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: x\ry\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 70000 + b"\r\n\r\n", 431),
        (b"G\0T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    ],
)
def test_malformed_requests(native, request_bytes, status):
    answer = raw(native.port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert ask(native, body=b"still here")[:2] == (200, b"still here")


def test_a_handler_that_throws_fails_its_own_event(native):
    status, body, _ = ask(native, "/throw")
    assert status == 500 and b"user_code" in body and b"own words" not in body
    assert "own words" in native.output()
    assert ask(native, body=b"next")[:2] == (200, b"next")


def test_a_blocking_handler_does_not_stall_others(native):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, native, "/sleep")
        time.sleep(0.1)
        begin = time.monotonic()
        assert ask(native, body=b"quick")[0] == 200
        assert not slow.done(), f"took {time.monotonic() - begin}"
        assert slow.result()[0] == 200


def test_a_deadline_may_be_shortened_by_the_request(native):
    status, body, _ = ask(native, "/sleep", headers={"X-Kaon-Timeout-Ms": "50"})
    assert status == 504 and b"timeout" in body


def test_a_client_that_leaves_half_way(native):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", native.port), timeout=5) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    assert ask(native, body=b"unharmed")[:2] == (200, b"unharmed")


def test_a_port_in_use_is_an_error_that_names_the_next_free_one(native):
    with tempfile.TemporaryDirectory() as folder:
        second = Kaon(pathlib.Path(folder), FUNCTIONS / "shell", port=native.port)
        code = second.process.wait(20)
        assert code == 65 and str(native.port) in second.output() and "free" in second.output(), second.output()


# --- exec ---


def test_exec_echo_and_streaming(shell):
    assert ask(shell, body=b"through a pipe")[:2] == (200, b"through a pipe")
    body = os.urandom(20 << 20)  # by a client that reads while it sends: nothing between holds 20 MiB
    command = ["curl", "-sS", "--data-binary", "@-", f"http://127.0.0.1:{shell.port}/"]
    assert subprocess.run(command, input=body, capture_output=True, timeout=30).stdout == body


def test_exec_context_is_in_the_environment(shell):
    headers = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/s", "ce-type": "t", "ce-good": "yes"}
    status, body, _ = ask(shell, "/environment", headers=headers)
    lines = dict(line.split("=", 1) for line in body.decode().splitlines() if "=" in line)
    assert lines["CE_ID"] == "7" and lines["CE_SOURCE"] == "/s" and lines["CE_TYPE"] == "t" and lines["CE_GOOD"] == "yes"
    assert lines["KAON_FUNCTION"] == "shell" and lines["KAON_ATTEMPT"] == "1"
    assert not any(name.startswith(("LD_", "PYTHON")) for name in lines)
    assert set(lines) <= {name for name in lines if name.startswith(("CE_", "KAON_"))} | {"PATH", "TRACEPARENT", "PWD", "SHLVL", "_", "OLDPWD"}


def test_exec_attributes_that_are_no_environment_names_are_left_out(shell):
    event = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/s", "ce-type": "t", "ce-a.b": "x", "ce-a~b": "x", "ce-a'b": "x"}
    status, body, _ = ask(shell, "/environment", headers=event)
    assert status == 200 and {line.split("=")[0] for line in body.decode().splitlines() if line.startswith("CE_")} == {
        "CE_SPECVERSION", "CE_ID", "CE_SOURCE", "CE_TYPE", "CE_SUBJECT", "CE_TIME"
    }  # fmt: skip


def test_exec_descriptors_are_three(shell):
    _, body, _ = ask(shell, "/descriptors")
    numbers = [line.split()[-3] for line in body.decode().splitlines() if "->" in line]
    assert numbers == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


def test_exec_has_no_new_privileges(shell):
    _, body, _ = ask(shell, "/status")
    status = dict(line.split(":\t", 1) for line in body.decode().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0


@pytest.mark.parametrize("code, status", [(1, 500), (65, 400), (75, 503)])
def test_exec_exit_codes(shell, code, status):
    answer = ask(shell, f"/exit/{code}")
    assert answer[0] == status
    if status == 503:
        assert answer[2].getheader("Retry-After")


def test_exec_that_does_not_read(shell):
    assert ask(shell, "/never-reads", body=os.urandom(1 << 20))[:2] == (200, b"unread\n")


def test_exec_that_does_not_end_is_killed_at_the_deadline(shell):
    assert ask(shell, "/never-ends")[0] == 504
    wait_for(lambda: not pgrep("-f", "^sleep 60$"))


def test_exec_background_process_goes_with_its_group(shell):
    assert ask(shell, "/background")[:2] == (200, b"started\n")
    wait_for(lambda: not pgrep("-f", "^sleep 61$"))


def test_exec_that_exits_by_a_signal(shell):
    assert ask(shell, "/signal")[0] == 500


def test_exec_truncated_results_never_look_whole(shell):
    assert ask(shell, "/closes-early")[0] == 500
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(shell, "/fails-late")


def test_exec_that_writes_for_ever_ends_with_its_client(shell):
    with socket.create_connection(("127.0.0.1", shell.port), timeout=5) as connection:
        connection.sendall(b"POST /writes-for-ever HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert len(connection.recv(65536)) > 0
    wait_for(lambda: not pgrep("-x", "yes"), 10)


def test_exec_logs_are_records_of_their_event(shell):
    result = shell.command("invoke", "shell", "--output", "json", "--header", "x: y", data=b"abc")
    assert result.returncode == 0, result.stderr
    ask(shell, "/log")
    assert "structured" in shell.output() and "plain" in shell.output()


# --- the process ---


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_the_processor_has_no_privileges(native):
    status = status_of(native.processor_pid())
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0 and int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split()


def test_readiness_and_metrics(native):
    ask(native, body=b"x")
    connection = http.client.HTTPConnection("127.0.0.1", native.port + 1, timeout=10)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    assert 'kaon_events_total{function="native"' in text and "kaon_event_duration_seconds_bucket" in text


def test_tls_from_files_and_other_listeners():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        subprocess.run([*openssl, "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        os.chmod(key, 0o644)
        function = pathlib.Path(folder) / "function"
        shutil.copytree(FUNCTIONS / "shell", function)
        port, tls, other = free_port(), free_port(), free_port()
        (function / "function.yaml").write_text(
            "name: shell\nruntime: exec\ncommand: [./handle.sh]\ntriggers:\n"
            f'  plain: {{kind: http, listen: "127.0.0.1:{port}"}}\n'
            f'  secure: {{kind: http, listen: "127.0.0.1:{tls}", tls: {{certificate_file: {certificate}, key_file: {key}}}}}\n'
            f'  six: {{kind: http, listen: "[::1]:{other}", path: "/six/{{id}}", methods: [PUT],'
            f' cors: {{allow_origins: ["https://example.org"]}}}}\n'
            f'  local: {{kind: http, listen: "unix:{folder}/web.sock"}}\n'
        )
        kaon = Kaon(pathlib.Path(folder), function, "--admin", f"127.0.0.1:{port + 1}", port=port, listen=False)
        try:
            kaon.wait_ready()
            curl = ["curl", "-sS", "--max-time", "20", "--data-binary", "x"]

            def fetch(*arguments):
                return subprocess.run([*curl, *arguments], capture_output=True).stdout

            assert fetch(f"http://127.0.0.1:{port}/") == b"x"
            assert fetch("--cacert", certificate, f"https://localhost:{tls}/", "--resolve", f"localhost:{tls}:127.0.0.1") == b"x"
            assert fetch("-X", "PUT", f"http://[::1]:{other}/six/7") == b"x"
            assert b"405" in fetch("-i", f"http://[::1]:{other}/six/7")
            preflight = ["-i", "-X", "OPTIONS", "-H", "Origin: https://example.org", "-H", "Access-Control-Request-Method: PUT"]
            assert b"ccess-" in fetch(*preflight, f"http://[::1]:{other}/six/7")
            assert b"404" in fetch("-i", f"http://[::1]:{other}/seven")
            assert fetch("--unix-socket", f"{folder}/web.sock", "http://local/") == b"x"
        finally:
            assert kaon.stop() == 0, kaon.output()


def test_ps_and_invoke(native):
    listed = native.command("ps")
    assert b"native" in listed.stdout and listed.returncode == 0
    result = native.command("invoke", "native", "--quiet", data=b"by hand")
    assert (result.returncode, result.stdout) == (0, b"by hand"), result.stderr
    assert native.command("invoke", "nobody", "x").returncode == 66


def test_the_control_socket_is_its_owners(native):
    (control,) = pathlib.Path(native.environment["KAON_RUN_DIR"]).glob("*.sock")
    assert control.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:  # opened to all, it still answers to its owner and root only
        control.chmod(0o666)
        os.chmod(control.parent, 0o755)
        command = ["curl", "-sS", "--max-time", "5", "--unix-socket", str(control), "http://a/v1/functions"]
        assert b"native" in subprocess.run(command, capture_output=True).stdout
        assert subprocess.run(command, capture_output=True, user=65534, group=65534).stdout == b""


def test_a_killed_processor_is_replaced_and_nobody_is_refused():
    with running(FUNCTIONS / "native") as kaon:
        first = kaon.processor_pid()
        os.kill(first, signal.SIGSEGV)
        end = time.monotonic() + 10
        answered = False
        while time.monotonic() < end and not answered:
            try:
                answered = ask(kaon, body=b"again")[:2] == (200, b"again")
            except ConnectionRefusedError:
                raise
            except (ConnectionError, http.client.HTTPException):
                continue  # it was on the processor that died
        assert answered and kaon.processor_pid() != first


def test_everything_dies_with_the_keeper():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        kaon = Kaon(pathlib.Path(folder), FUNCTIONS / "shell").wait_ready()
        processor = kaon.processor_pid()
        threading.Thread(target=_answers, args=(kaon, "/never-ends")).start()
        time.sleep(0.3)
        kaon.process.kill()
        kaon.process.wait()
        end = time.monotonic() + 5
        while pathlib.Path(f"/proc/{processor}").exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert not pathlib.Path(f"/proc/{processor}").exists()
        kaon.log.close()


def test_sigterm_loses_nothing_in_flight():
    with running(FUNCTIONS / "native") as kaon, concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(ask, kaon, "/sleep") for _ in range(2)]
        time.sleep(0.3)
        kaon.process.send_signal(signal.SIGTERM)
        assert [each.result()[0] for each in slow] == [200, 200]
        assert kaon.process.wait(20) == 0


def test_a_handler_that_does_not_end_does_not_keep_the_process():
    with running(FUNCTIONS / "native", "--drain-ms", "100") as kaon, concurrent.futures.ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(_answers, kaon, "/hang")
        time.sleep(0.3)
        kaon.process.send_signal(signal.SIGTERM)
        assert kaon.process.wait(20) == 0
        assert not stuck.result()


def test_watch_takes_over_without_dropping_a_request():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        function = pathlib.Path(folder) / "native"
        shutil.copytree(FUNCTIONS / "native", function)
        with running(function, "--watch") as kaon:
            stop, answers, failures = threading.Event(), [], []

            def load():
                connection = http.client.HTTPConnection("127.0.0.1", kaon.port, timeout=10)
                while not stop.is_set():
                    connection.request("POST", "/version", body=b"")
                    response = connection.getresponse()
                    body = response.read()
                    (answers if response.status == 200 else failures).append(body)

            thread = threading.Thread(target=load)
            thread.start()
            try:
                source = function / "handler.cc"
                good = source.read_text()
                source.write_text(good.replace('"one"', '"one" +'))
                wait_for(lambda: "keeps serving" in kaon.output())
                source.write_text(good.replace('"one"', '"two"'))
                wait_for(lambda: answers and answers[-1] == b"two")
                source.write_text(good)  # back again
                wait_for(lambda: answers[-1] == b"one")
                configuration = function / "function.yaml"
                configuration.write_text(configuration.read_text().replace("kind: http,", "kind: http, path: /other,"))
                wait_for(lambda: "takes a restart" in kaon.output())
            finally:
                stop.set()
                thread.join()
            assert failures == [] and b"one" in answers


def test_no_descriptors_left_is_survived():
    with running(FUNCTIONS / "native", descriptors=80) as kaon:
        idle = []
        for _ in range(100):
            connection = socket.socket()
            connection.settimeout(1)
            connection.connect(("127.0.0.1", kaon.port))
            idle.append(connection)
        for connection in idle:
            connection.close()
        wait_for(lambda: _answers(kaon), 20)


def _answers(kaon, path="/"):
    try:
        return ask(kaon, path, body=b"back", timeout=2)[:2] == (200, b"back")
    except (OSError, http.client.HTTPException):
        return False


# --- the settings ---


def test_the_reference_pages_are_current(tmp_path):
    assert subprocess.run([KAON, "docs", str(tmp_path)]).returncode == 0
    (tmp_path / "function.schema.json").write_bytes(subprocess.run([KAON, "schema"], capture_output=True).stdout)
    kept = ROOT / "docs/reference"
    assert {page.name: page.read_text() for page in tmp_path.iterdir()} == {page.name: page.read_text() for page in kept.iterdir()}, (
        "write them anew: kaon docs docs/reference; kaon schema > docs/reference/function.schema.json"
    )


def test_lint_names_the_place_and_the_nearest_key(tmp_path):
    (tmp_path / "function.yaml").write_text("name: a\nruntime: exec\ncommand: [cat]\ntrigers: {}\n")
    result = subprocess.run([KAON, "lint", str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 65
    assert "function.yaml:4:1: error: " in result.stdout and "`triggers`" in result.stdout
    refused = subprocess.run([KAON, "run", str(tmp_path)], capture_output=True, text=True, env=dict(os.environ, KAON_STATE_DIR=f"{tmp_path}/s"))
    assert refused.returncode == 65 and "`triggers`" in refused.stderr


def test_init_makes_functions_that_run(tmp_path):
    os.chmod(tmp_path, 0o755)
    for template, answer in (("shell", b"HELLO"), ("native", b"hello, hello\n")):
        folder = tmp_path / f"my-{template}"
        assert subprocess.run([KAON, "init", template, str(folder)]).returncode == 0
        assert subprocess.run([KAON, "init", template, str(folder)], capture_output=True).returncode == 65
        with running(folder) as kaon:
            assert ask(kaon, body=b"hello")[:2] == (200, answer)


def test_missing_things_are_named(tmp_path):
    for target, words in (
        (tmp_path / "nothing", "No such file"),
        (tmp_path, "no function.yaml"),
        (ROOT / "README.md", "not executable"),
    ):
        result = subprocess.run([KAON, "run", str(target)], capture_output=True, text=True)
        assert result.returncode in (65, 66) and words in result.stderr, result.stderr
