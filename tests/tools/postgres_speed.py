"""Compares the Postgres loader with `psql \\copy` of the very same rows into the same tables: rows a second, and CPU a row of the client.

    cargo build --release -p snowmelt
    python3 tests/tools/postgres_speed.py target/release/snowmelt [--rows 60000] [--rounds 5] [--entities] [--socket]

Starts a PostgreSQL server of its own (1 GB of shared buffers, 8 GB of WAL, everything synced) and takes turns in random order, with
`truncate` and `checkpoint` before each: psql copying one file a table over one connection; `snowmelt load postgres-writer` with one
connection; two of them at once with half of the rows each. The rows are what the loader wrote in a first run. Without --entities
events have none, so that all goes into `events`; with it the tables of entities are loaded too, and a row is an event with its
entities. Ratios are of one round, figures are medians. Prints Markdown.
"""

import argparse
import json
import pathlib
import pwd
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

SCHEMA = "snowmelt_load"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


def programs():
    for folder in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        return folder
    found = shutil.which("initdb")
    if not found:
        sys.exit("PostgreSQL's server programs are missing: apt-get install postgresql-15")
    return pathlib.Path(found).parent


class Server:
    """A server of its own; root runs it as `postgres`, which PostgreSQL insists on."""

    def __init__(self, folder):
        self.bin, self.folder = programs(), folder
        self.user = "postgres" if os.getuid() == 0 else None
        self.data = folder / "data"
        if self.user:
            os.chown(folder, pwd.getpwnam(self.user).pw_uid, -1)
        folder.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run([self.bin / "initdb", "-D", self.data, "-U", "snowmelt", "--auth=trust", "-E", "UTF8", "--locale=C"])
        with open(self.data / "postgresql.conf", "a") as config:
            config.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n"
                "shared_buffers = 1GB\nmax_wal_size = 8GB\ncheckpoint_timeout = 1h\nautovacuum = off\n"
            )
        self.run([self.bin / "pg_ctl", "-D", self.data, "-w", "-l", folder / "log", "start"])

    def run(self, command):
        done = subprocess.run([str(part) for part in command], cwd="/", user=self.user, stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"{command[0]} failed")

    def stop(self):
        self.run([self.bin / "pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop"])

    def url(self, by_socket):
        url = f"postgres://snowmelt:none@127.0.0.1:{self.port}/postgres?sslmode=disable"
        return url + (f"&host={str(self.folder).replace('/', '%2F')}" if by_socket else "")

    def psql(self, script, by_socket=True):
        host = str(self.folder) if by_socket else "127.0.0.1"
        command = [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", self.port]
        command += ["-U", "snowmelt", "-d", "postgres", "-f", "-"]
        done = subprocess.run([str(part) for part in command], input=script, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.split()


def events(count):
    """Enriched page views without entities, each different."""
    draw = random.Random(7)
    for number in range(count):
        fields = [""] * 131
        stamp = f"2026-03-05 10:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}"
        path = f"/shop/{draw.choice(['shoes', 'hats', 'coats'])}/{draw.randrange(10**6)}"
        values = {
            0: "shop", 1: "web", 2: stamp, 3: stamp, 4: stamp, 5: "page_view", 6: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            8: "sp", 9: "js-4.6.3", 10: "snowmelt-0.1.0", 11: "snowmelt-enrich-0.1.0", 12: f"user{draw.randrange(9999)}", 13: "198.51.100.7",
            14: str(draw.getrandbits(31)), 15: str(uuid.UUID(int=draw.getrandbits(128), version=4)), 16: "3",
            17: str(uuid.UUID(int=draw.getrandbits(128), version=4)), 18: "DE", 19: "BE", 20: "Berlin", 21: "10115", 22: "52.5196",
            23: "13.4069", 24: "Land Berlin", 29: f"https://www.acme.example{path}?utm_source=mail&utm_campaign=spring", 30: "Green shoes – Acme",
            31: "https://www.search.example/results?q=green+shoes", 32: "https", 33: "www.acme.example", 34: "443", 35: path,
            36: "utm_source=mail&utm_campaign=spring", 38: "https", 39: "www.search.example", 40: "443", 41: "/results", 42: "q=green+shoes",
            44: "search", 45: "Search", 46: "green shoes", 47: "email", 48: "mail", 51: "spring", 77: AGENT, 78: "Chrome", 79: "Chrome",
            80: "131.0.0.0", 81: "Browser", 82: "BLINK", 83: "en-GB", 93: "1", 94: "24", 95: "1903", 96: "947", 97: "Linux", 98: "Linux",
            99: "Other", 100: "Europe/Berlin", 101: "Computer", 102: "0", 103: "1920", 104: "1080", 105: "UTF-8", 106: "1903", 107: "3210",
            115: "Europe/Berlin", 119: stamp, 123: str(uuid.UUID(int=draw.getrandbits(128), version=4)), 124: stamp,
            125: "com.snowplowanalytics.snowplow", 126: "page_view", 127: "jsonschema", 128: "1-0-0", 129: f"{draw.getrandbits(128):032x}",
        }
        for place, value in values.items():
            fields[place] = value
        yield "\t".join(fields)


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Comparison:
    def __init__(self, args, folder, server):
        self.args, self.folder, self.server = args, folder, server
        self.input = []
        if not args.entities:
            file = folder / "events.tsv"
            file.write_text("".join(line + "\n" for line in events(args.rows)))
            self.input = ["--input", str(file)]
        # The tables, and the rows that all turns write.
        self.load([args.rows])
        listed = "select tablename from pg_tables where schemaname = '%s' order by tablename <> 'events', 1" % SCHEMA
        self.tables = server.psql(listed)
        self.files = [folder / f"{table}.copy" for table in self.tables]
        for table, file in zip(self.tables, self.files):
            server.psql(f"\\copy {SCHEMA}.\"{table}\" to '{file}'")
        self.events = int(server.psql(f"select count(*) from {SCHEMA}.events")[0])
        self.rows = sum(int(server.psql(f'select count(*) from {SCHEMA}."{table}"')[0]) for table in self.tables)
        self.bytes = sum(file.stat().st_size for file in self.files)

    def empty(self):
        tables = ", ".join(f'{SCHEMA}."{table}"' for table in self.tables)
        self.server.psql(f"truncate {tables}; checkpoint;")

    def psql(self):
        copies = "".join(f"\\copy {SCHEMA}.\"{table}\" from '{file}'\n" for table, file in zip(self.tables, self.files))
        before, began = children(), time.monotonic()
        self.server.psql(copies, self.args.socket)
        seconds = time.monotonic() - began
        return self.events / seconds, (children() - before) / self.events * 1e6, 0

    def load(self, parts):
        """One process a part, at once; rows a second, CPU a row, and the most memory of one."""
        running = []
        for number, rows in enumerate(parts):
            report = self.folder / f"report-{number}.json"
            command = [self.args.snowmelt, "load", "postgres-writer", *self.input, "--records", str(rows), "--batch", str(self.args.batch)]
            command += ["--postgres", self.server.url(self.args.socket), "--json", str(report)]
            running.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), report))
        for process, _ in running:
            if process.wait():
                sys.exit("snowmelt load failed")
        reports = [json.loads(report.read_text()) for _, report in running]
        measured = [report["measured"] for report in reports]
        rate = sum(one["records"] for one in measured) / max(one["seconds"] for one in measured)
        cpu = statistics.mean(one["cpu_micros_per_record"] for one in measured)
        return rate, cpu, max(report["peak_memory_bytes"] for report in reports)

    def turns(self):
        half = self.args.rows // 2
        ways = {"psql": self.psql, "one": lambda: self.load([self.args.rows]), "two": lambda: self.load([half, half])}
        rounds = []
        for _ in range(self.args.rounds):
            order, found = list(ways), {}
            random.shuffle(order)
            for way in order:
                self.empty()
                found[way] = ways[way]()
            rounds.append(found)
            print(f"  load average {os.getloadavg()[0]:.1f}: " + ", ".join(f"{way} {rate:.0f}/s" for way, (rate, _, _) in found.items()), file=sys.stderr)
        return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snowmelt")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=6_000, help="records of a batch; 6000 of these make the default's 8 MiB")
    parser.add_argument("--entities", action="store_true")
    parser.add_argument("--socket", action="store_true", help="over the Unix socket instead of TCP")
    args = parser.parse_args()
    args.snowmelt = str(pathlib.Path(args.snowmelt).resolve())
    with tempfile.TemporaryDirectory(prefix="snowmelt-speed-", dir="/tmp") as folder:
        server = Server(pathlib.Path(folder))
        try:
            comparison = Comparison(args, pathlib.Path(folder), server)
            rounds = comparison.turns()
        finally:
            server.stop()
    what = "events with their entities" if args.entities else "events without entities"
    print(f"{comparison.events} {what} ({comparison.rows} rows of {len(comparison.tables)} tables, {comparison.bytes / comparison.events:.0f} bytes an event), "
          f"over {'the socket' if args.socket else 'TCP'}, {args.rounds} rounds, load average {os.getloadavg()[0]:.1f}\n")
    print("| client | events/s | beside psql (lowest to highest) | client's CPU an event | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    names = {"psql": "`psql \\copy`, one connection", "one": "the loader, one connection", "two": "two loaders, a connection each"}
    for way, name in names.items():
        rates, cpus, memory = zip(*(found[way] for found in rounds))
        ratios = sorted(found[way][0] / found["psql"][0] for found in rounds)
        beside = f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        peak = f"{max(memory) / 2**20:.0f} MiB" if max(memory) else ""
        print(f"| {name} | {statistics.median(rates):,.0f} | {beside} | {statistics.median(cpus):.1f} µs | {peak} |")


if __name__ == "__main__":
    main()
