"""Compares the collector with a bare actix-web handler that answers the same GIF or "ok": CPU time a request, and latency.

    cargo build --release -p snowmelt-collector --examples
    python3 tests/tools/collector_speed.py [--rounds 7] [--seconds 3] [--only memory/nothing,...] [--no-latency]

The client is wrk (Debian: `apt-get install wrk`) with 64 connections kept alive, and examples/open_loop.rs for latencies. Each server is a
process of its own and is all that is loaded at a time; rounds go in random order, figures are medians of rounds, and every ratio is one of
figures of the same round. CPU time is the server's own, from /proc/PID/stat, until it has written what it took. Prints Markdown.
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS_A_SECOND = 100
CONNECTIONS = 64
# Durability / what is behind it.
SERVERS = ["bare/nothing", "memory/nothing", "memory/stream", "spool/nothing", "spool/stream"]
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
COMMON = {
    "Host": "collector.acme.example",
    "Connection": "keep-alive",
    "User-Agent": AGENT,
    "Accept-Language": "en-GB,en;q=0.9",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://www.acme.example/shoes/green",
    "Cookie": "sp=8b2f6c1e-7a3d-4e5f-9c1b-2d3e4f5a6b7c; _sp_id.1fff=0f2d8f6a.1795439597.1; theme=dark",
    "X-Forwarded-For": "198.51.100.7, 10.0.0.1",
}
QUERY = (
    "e=pv&url=https%3A%2F%2Fwww.acme.example%2Fshoes%2Fgreen&page=Green%20shoes&refr=https%3A%2F%2Fwww.search.example%2F"
    "&eid=6c83a3dc-8183-4baa-aaaa-5b671a7fe037&tv=js-4.6.3&tna=sp&aid=shop&p=web&cookie=1&cs=UTF-8&lang=en-GB&res=1920x1080"
    "&cd=24&tz=Europe%2FBerlin&dtm=1795439597628&vp=1903x947&ds=1903x3210&vid=3&sid=2b6c4d8e-9f10-41b2-83d4-e5f60718293a"
    "&duid=3a7d4f1e-2b6c-4d8e-9f10-a1b2c3d4e5f6&stm=1795439597631"
)
EVENT = '{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{"e":"pv","url":"https://www.acme.example/","cx":"%s"}]}'


def requests():
    """Name to (method, target, headers, body)."""
    body = EVENT % ("c" * (2300 - len(EVENT) + 2))
    get = {**COMMON, "Accept": "image/avif,image/webp,*/*;q=0.8"}
    post = {**COMMON, "Accept": "*/*", "Origin": "https://www.acme.example", "Content-Type": "application/json; charset=UTF-8"}
    return {
        "GET pixel": ("GET", f"/i?{QUERY}", get, ""),
        "POST 2.3 KB": ("POST", "/com.snowplowanalytics.snowplow/tp2", post, body),
    }


def lua(request):
    method, _, headers, body = request
    lines = [f"wrk.method = [[{method}]]", f"wrk.body = [[{body}]]" if body else ""]
    return "\n".join(lines + [f"wrk.headers[{name!r}] = [[{value}]]" for name, value in headers.items()])


def raw(request):
    method, target, headers, body = request
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Server:
    def __init__(self, examples, name, directory):
        durability, sink = name.split("/")
        command = [examples / "speed", durability, sink, directory]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline())

    def ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def settled_ticks(self):
        """When nothing has been done for half a second: a batch may wait for 5 s, a spool drains a while after."""
        time.sleep(0.5)
        last, ticks = -1, self.ticks()
        for _ in range(40):
            if ticks == last:
                break
            time.sleep(0.5)
            last, ticks = ticks, self.ticks()
        return ticks


def closed_loop(server, request, seconds, folder):
    """CPU µs a request, and requests a second."""
    script = folder / "request.lua"
    script.write_text(lua(request))
    before = server.settled_ticks()
    url = f"http://127.0.0.1:{server.port}{request[1]}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", output).group(1))
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"not all were answered 200: {output}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    return (server.settled_ticks() - before) / TICKS_A_SECOND / count * 1e6, rate


def open_loop(examples, server, request, rate, seconds, folder):
    """The 50th, 90th and 99th percentile in µs."""
    file = folder / "request"
    file.write_bytes(raw(request))
    command = [examples / "open_loop", str(server.port), file, str(rate), str(seconds)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [int(text) for text in output[:3]]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--examples", type=pathlib.Path, default=ROOT / "target/release/examples")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--only", default=",".join(SERVERS))
    options.add_argument("--no-latency", action="store_true")
    options = options.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    names = options.only.split(",")
    if "bare/nothing" not in names:
        names.insert(0, "bare/nothing")
    with tempfile.TemporaryDirectory(prefix="collector-speed-") as folder:
        folder = pathlib.Path(folder)
        servers = {name: Server(options.examples, name, folder / name.replace("/", "-")) for name in names}
        try:
            measure(options, servers, folder)
        finally:
            for server in servers.values():
                server.process.kill()
                server.process.wait()


def measure(options, servers, folder):
    named = requests()
    pairs = [(server, request) for server in servers for request in named]
    for server, request in pairs:
        closed_loop(servers[server], named[request], 1, folder)
    cpu, rates, ratios = ({pair: [] for pair in pairs} for _ in range(3))
    for number in range(options.rounds):
        for server, request in random.sample(pairs, len(pairs)):
            micros, rate = closed_loop(servers[server], named[request], options.seconds, folder)
            cpu[server, request].append(micros)
            rates[server, request].append(rate)
        for server, request in pairs:
            ratios[server, request].append(cpu[server, request][-1] / cpu["bare/nothing", request][-1])
        print(f"round {number + 1}: " + ", ".join(f"{s} {r} {cpu[s, r][-1]:.1f}" for s, r in pairs), file=sys.stderr)
    print("| server | request | CPU µs a request, median (least) | beside bare, median (least, most) | requests/s, median (best) |")
    print("| --- | --- | --- | --- | --- |")
    for request in named:
        for server in servers:
            micros, rate, ratio = cpu[server, request], rates[server, request], ratios[server, request]
            print(
                f"| {server} | {request} | {statistics.median(micros):.1f} ({min(micros):.1f}) "
                f"| {statistics.median(ratio):.2f} ({min(ratio):.2f}, {max(ratio):.2f}) "
                f"| {statistics.median(rate):,.0f} ({max(rate):,.0f}) |"
            )
    if options.no_latency:
        return
    print("\n| server | request | at | 50th percentile µs | 90th | 99th | 99th of bare at this rate |\n| --- | --- | --- | --- | --- | --- | --- |")
    for request in named:
        for server in servers:
            if server == "bare/nothing":
                continue
            half = round(statistics.median(rates[server, request]) / 2)
            runs, bare = [], []
            for _ in range(options.rounds):
                for name in random.sample([server, "bare/nothing"], 2):
                    found = open_loop(options.examples, servers[name], named[request], half, options.seconds, folder)
                    (bare if name == "bare/nothing" else runs).append(found)
            p50, p90, p99 = (statistics.median(run[index] for run in runs) for index in range(3))
            bare = statistics.median(run[2] for run in bare)
            print(f"| {server} | {request} | {half:,}/s | {p50:.0f} | {p90:.0f} | {p99:.0f} | {bare:.0f}: {p99 / bare:.2f} of it |")


if __name__ == "__main__":
    main()
