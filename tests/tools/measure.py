"""Measures the whole embedded pipeline: start-up, events per second to rows, time from request to row, peak memory.

    python3 tests/tools/measure.py target/release/snowmelt [EVENTS]

Starts the quick start in a temporary directory, plays the web shop against it, and prints a table of Markdown.
"""

import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 300


def rows(binary, data):
    query = "select (select count(*) from atomic.events)"
    answer = subprocess.run([binary, "sql", "--data-dir", data, "-t", "-c", query], capture_output=True, text=True)
    return int(answer.stdout.strip() or 0) if answer.returncode == 0 else 0


def wait_for(condition, what):
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > PATIENCE_S:
            sys.exit(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.005)
    return time.monotonic() - started


def ready(run_file):
    try:
        url = json.loads(run_file.read_text())["operator_url"]
        return urllib.request.urlopen(f"{url}/ready", timeout=5).status == 200
    except (OSError, ValueError):
        return False


def start(binary, data):
    command = [binary, "run", "pipelines/quickstart.toml", "--data-dir", data]
    command += ["--set", "collector.listen=127.0.0.1:0", "--set", "backend.operator=127.0.0.1:0"]
    command += ["--set", "iglu.listen=127.0.0.1:0", "--log", "warn"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def status(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    with tempfile.TemporaryDirectory(prefix="snowmelt-measure-") as folder:
        pathlib.Path(folder).chmod(0o755)
        data = f"{folder}/data"
        run_file = pathlib.Path(data) / "run.json"
        process = start(binary, data)
        first_start = wait_for(lambda: ready(run_file), "first start")
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process = start(binary, data)
        second_start = wait_for(lambda: ready(run_file), "second start")

        delays = []
        for seed in range(20):
            before = rows(binary, data)
            subprocess.run([binary, "send", "--data-dir", data, "--events", "1", "--seed", str(seed)], check=True, capture_output=True)
            delays.append(wait_for(lambda: rows(binary, data) > before, "one row"))
        delays.sort()

        before, cpu = rows(binary, data), cpu_seconds(process.pid)
        started = time.monotonic()
        subprocess.run([binary, "send", "--data-dir", data, "--events", str(events), "--connections", "64"], check=True, capture_output=True)
        sent = time.monotonic() - started
        wait_for(lambda: rows(binary, data) >= before + events, "all rows")
        landed = time.monotonic() - started
        cpu = cpu_seconds(process.pid) - cpu
        peak = status(process.pid, "VmHWM") // 1024
        process.send_signal(signal.SIGINT)
        code = process.wait(120)

    print("| what | figure |\n| --- | --- |")
    print(f"| start to ready, new database cluster / existing | {first_start:.2f} s / {second_start:.2f} s |")
    print(f"| {events} events: accepted by the collector, fsynced | {events / sent:.0f} events/s |")
    print(f"| the same: all rows in Postgres, objects written, 2 shards | {events / landed:.0f} events/s |")
    print(f"| CPU of the process, collector to rows and objects, without PostgreSQL's | {cpu / events * 1e6:.0f} µs an event |")
    print(f"| answer to row seen by `snowmelt sql`, single events: median, longest of 20 | {delays[10] * 1e3:.0f} ms, {delays[-1] * 1e3:.0f} ms |")
    print(f"| peak resident memory of the process | {peak} MiB |")
    print(f"| exit code after Ctrl-C | {code} |")


if __name__ == "__main__":
    main()
