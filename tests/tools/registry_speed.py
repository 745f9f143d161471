"""Compares reads of the schema registry with a bare actix-web handler that answers the same text: CPU time a request.

    cargo build --release -p snowmelt-iglu-server --example speed
    python3 tests/tools/registry_speed.py [--rounds 7] [--seconds 3]

The client is wrk (Debian: `apt-get install wrk`) with 32 connections kept alive. Each server is a process of its own, and only one is
loaded at a time; rounds go in random order, figures are medians of rounds, and every ratio is one of figures of the same round. CPU time is
the server's own, from /proc/PID/stat; that of PostgreSQL, which reads do not ask, is not in it. The registry holds ten thousand schemas.
Prints Markdown.
"""

import argparse
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS_A_SECOND = 100
CONNECTIONS = 32
KEY = "5fb4713d-73ad-4163-93a9-2b82f0177c5b"
# Name to (server, path, with a key).
READS = {
    "bare": ("bare", "/api/schemas/com.vendor1/schema_1/jsonschema/1-0-0", False),
    "a public schema": ("registry", "/api/schemas/com.vendor1/schema_1/jsonschema/1-0-0", False),
    "a private schema, with a key": ("registry", "/api/schemas/com.vendor2/schema_2/jsonschema/1-0-0", True),
    "a model's list, with a key": ("registry", "/api/schemas/com.vendor2/schema_2/jsonschema/1", True),
}


class Server:
    def __init__(self, program, mode, directory):
        self.process = subprocess.Popen([program, mode, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def load(server, path, key, seconds):
    """CPU µs a request, and requests a second."""
    headers = ["-H", f"apikey: {KEY}"] if key else []
    before = server.ticks()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *headers, server.base + path]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", output).group(1))
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"not all were answered 200: {output}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    return (server.ticks() - before) / TICKS_A_SECOND / count * 1e6, rate


def list_all(server, query):
    request = urllib.request.Request(f"{server.base}/api/schemas{query}", headers={"apikey": KEY})
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        size = len(answer.read())
    return time.perf_counter() - began, size


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/examples/speed")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=int, default=3)
    options = options.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="registry-speed-") as folder:
        # A private cluster of root's belongs to another user, who has to get there.
        pathlib.Path(folder).chmod(0o755)
        servers = {}
        try:
            for mode in ("bare", "registry"):
                servers[mode] = Server(options.program, mode, f"{folder}/{mode}")
            measure(options, servers)
        finally:
            for server in servers.values():
                server.stop()


def measure(options, servers):
    whole = [list_all(servers["registry"], "?repr=canonical") for _ in range(3)]
    uris = [list_all(servers["registry"], "") for _ in range(3)]
    print("10,000 schemas listed, ms (first, then again): "
          f"URIs {', '.join(f'{t * 1e3:.0f}' for t, _ in uris)} ({uris[0][1]:,} bytes); "
          f"whole {', '.join(f'{t * 1e3:.0f}' for t, _ in whole)} ({whole[0][1]:,} bytes)\n")
    for server, path, key in READS.values():
        load(servers[server], path, key, 1)
    cpu, rates, ratios = ({name: [] for name in READS} for _ in range(3))
    for number in range(options.rounds):
        for name in random.sample(list(READS), len(READS)):
            server, path, key = READS[name]
            micros, rate = load(servers[server], path, key, options.seconds)
            cpu[name].append(micros)
            rates[name].append(rate)
        for name in READS:
            ratios[name].append(cpu[name][-1] / cpu["bare"][-1])
        print(f"round {number + 1}: " + ", ".join(f"{name} {cpu[name][-1]:.1f}" for name in READS), file=sys.stderr)
    print("| read | CPU µs a request, median (least) | beside bare, median (least, most) | requests/s, median |")
    print("| --- | --- | --- | --- |")
    for name in READS:
        print(
            f"| {name} | {statistics.median(cpu[name]):.1f} ({min(cpu[name]):.1f}) "
            f"| {statistics.median(ratios[name]):.2f} ({min(ratios[name]):.2f}, {max(ratios[name]):.2f}) "
            f"| {statistics.median(rates[name]):,.0f} |"
        )


if __name__ == "__main__":
    main()
