"""The benchmark tools: their statistics say what they should, the floor is a correct server, and the scripts run."""

import importlib.util
import random
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
import support

BENCH = support.ROOT / "bench"
spec = importlib.util.spec_from_file_location("measure", BENCH / "measure/__init__.py")
measure = importlib.util.module_from_spec(spec)
sys.modules["measure"] = measure
spec.loader.exec_module(measure)
from measure import load, process, servers, stats  # noqa: E402


# --- statistics ---


def test_an_interval_holds_the_median_and_repeats():
    rng = random.Random(7)
    values = [rng.gauss(1.1, 0.02) for _ in range(15)]
    first = stats.interval(values)
    assert first.low <= first.median <= first.high
    assert first.high - first.low < 0.06
    assert first == stats.interval(values)
    assert stats.interval([3.0]) == stats.Interval(3.0, 3.0, 3.0, 1)


@pytest.mark.parametrize("low, high, at_most, at_least", [(0.9, 1.0, "met", "not resolved"), (1.01, 1.2, "missed", "met"), (0.9, 1.1, "not resolved", "not resolved"),
                                                          (0.8, 0.9, "met", "missed")])
def test_a_goal_is_met_by_the_whole_interval_only(low, high, at_most, at_least):
    interval = stats.Interval((low + high) / 2, low, high, 15)
    assert stats.Goal(1.0).verdict(interval) == at_most
    assert stats.Goal(1.0, at_least=True).verdict(interval) == at_least


def test_ratios_are_of_pairs():
    assert stats.ratios([2, 20, 200], [1, 10, 100]).median == 2
    assert stats.differences([3, 13, 103], [1, 11, 101]).median == 2
    with pytest.raises(ValueError):
        stats.ratios([1, 2], [1])


def test_sides_take_turns_forwards_and_backwards():
    seen = []
    results = stats.abba({"a": lambda: seen.append("a") or 1, "b": lambda: seen.append("b") or 2}, 3)
    assert "".join(seen) == "abbaab"
    assert results == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_cpu_counts_children_that_were_waited_for():
    script = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'for i in range(6_000_000): pass']); print('done', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"done\n"
            assert process.cpu_seconds(child.pid) > 0.05
        finally:
            child.kill()


# --- the floor ---


@pytest.fixture(scope="module")
def floor():
    with tempfile.TemporaryDirectory() as folder, servers.floor(servers.Builds(), folder, 2) as server:
        yield server


def test_floor_echoes_pipelined_requests_however_they_are_cut(floor):
    rng = random.Random(3)
    for _ in range(20):
        bodies = [rng.randbytes(rng.choice([0, 1, 100, 3000, 20_000, 100_000, 300_000])) for _ in range(rng.randint(1, 20))]
        data = b"".join(load.request_bytes(body=body) for body in bodies)
        with socket.create_connection(("127.0.0.1", floor.port), timeout=20) as connection:

            def send():
                at = 0
                while at < len(data):
                    size = rng.choice([1, 10, 1000, 70_000, 500_000])
                    connection.sendall(data[at : at + size])
                    at += size

            sender = threading.Thread(target=send)
            sender.start()
            answers = connection.makefile("rb")
            for body in bodies:
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = dict(line.rstrip().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
                assert int(headers[b"Content-Length"]) == len(body)
                assert answers.read(len(body)) == body
            sender.join()


@pytest.mark.parametrize("request_text, status", [
    (b"nonsense\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400), (b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200), (b"GET / HTTP/1.0\r\n\r\n", 200)])
def test_floor_answers_and_closes(floor, request_text, status):
    assert support.raw(floor.port, request_text).startswith(b"HTTP/1.1 %d " % status)


def test_floor_waits_for_a_client_that_does_not_read(floor):
    request = load.request_bytes(body=b"z" * 100_000)
    with socket.create_connection(("127.0.0.1", floor.port), timeout=0.3) as connection:
        sent = 0
        with pytest.raises(TimeoutError):  # it stops to read, rather than to buffer without end
            while sent < 200_000_000:
                sent += connection.send(request[sent % len(request) :])
        connection.settimeout(10)
        answers = connection.makefile("rb")
        for _ in range(sent // len(request)):
            for _ in iter(answers.readline, b"\r\n"):
                pass
            assert answers.read(100_000) == b"z" * 100_000


def test_bare_spawn_checks_what_it_spawns():
    tool = servers.Builds().tool
    good = subprocess.run([tool("spawn"), "--count", "5", "--body", "300000", tool("echo")], capture_output=True, timeout=30)
    assert good.returncode == 0 and b'"p50_us"' in good.stdout
    for program in ("/bin/false", "/nonexistent"):
        assert subprocess.run([tool("spawn"), "--count", "1", program], capture_output=True, timeout=30).returncode == 1


# --- the scripts ---


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=200)
    return done.returncode, done.stdout, done.stderr


def test_compare_of_commands_reaches_a_verdict():
    code, out, error = run(BENCH / "compare", "--pairs", "3", "--seconds", "0.05", "--goal", "0.5", "/bin/true", "sleep 0.3")
    assert (code, error) == (0, "") and out.endswith("goal ≤ 0.5: met\n")
    code, out, _ = run(BENCH / "compare", "--pairs", "3", "--seconds", "0.05", "--goal", "0.5", "sleep 0.3", "/bin/true")
    assert code == 3 and out.endswith("goal ≤ 0.5: missed\n")
    code, _, error = run(BENCH / "compare", "--pairs", "1", "/bin/false", "/bin/true")
    assert code == 1 and "/bin/false ended with 1" in error


def test_http_puts_the_sides_beside_each_other():
    code, out, error = run(BENCH / "http", "--quick", "--quiet", "--only", "small,exec,kill")
    assert code == 0, error
    for text in ("floor", "nginx", "native", "exec", "CPU per request / floor's", "connections refused"):
        assert text in out


def test_start_measures_both_sides():
    code, out, error = run(BENCH / "start", "--quick", "--only", "exec,start")
    assert code == 0, error
    for text in ("bare spawn and wait", "exec call over HTTP", "from exec to the first 200", "idle PSS"):
        assert text in out


def test_a_warm_native_request_makes_three_system_calls():
    code, out, error = run(BENCH / "count", "--count", "300")
    assert code == 0, error
    counts = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()[1:]}
    # A timer that falls into the measurement adds a little.
    assert counts == {"floor": pytest.approx(3.0, abs=0.1), "native": pytest.approx(3.0, abs=0.1)}
