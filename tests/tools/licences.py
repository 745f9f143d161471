#!/usr/bin/env python3
"""Checks what is compiled in against deny.toml: licences, banned crates, sources, and crates in two versions.

It reads `cargo tree` and the same deny.toml as cargo-deny, needs nothing but Python 3.11, and takes a second. Prints every breach
at once and exits 1 if there is one.
"""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def packages(target: str) -> set[tuple[str, str, str, str]]:
    """Name, version, licence and foreign source of what is compiled for a target, with the features that are on.

    From `cargo tree`, since `cargo metadata` also lists optional crates that nothing turns on.
    """
    command = ["cargo", "tree", "--workspace", "--locked", "--target", target, "--edges", "normal,build,dev"]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"licences: cargo tree failed\n{run.stderr}")
    found = set()
    for line in set(run.stdout.splitlines()) - {""}:
        package, _, licence = line.partition("|")
        name, version, *rest = package.split(" ", 2)
        source = rest[0].replace("(proc-macro)", "").replace("(*)", "").strip(" ()") if rest else ""
        found.add((name, version.removeprefix("v"), licence, source))
    return found


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met by allowed licences alone. The old `/` means OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    at = 0

    def either() -> bool:
        nonlocal at
        result = both()
        while at < len(tokens) and tokens[at] in ("OR", "/"):
            at += 1
            result = both() or result
        return result

    def both() -> bool:
        nonlocal at
        result = one()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            result = one() and result
        return result

    def one() -> bool:
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            result = either()
            at += 1
            return result
        if at < len(tokens) and tokens[at] == "WITH":
            token = f"{token} WITH {tokens[at + 1]}"
            at += 2
        return token in allowed

    return either()


def line_of(version: str) -> str:
    """The part of a version within which cargo keeps one copy: `1.4.2` is in `1`, `0.13.4` in `0.13`."""
    major, minor, patch = re.match(r"(\d+)\.(\d+)\.(\d+)", version).groups()
    if major != "0":
        return major
    return f"0.{minor}" if minor != "0" else f"0.0.{patch}"


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    banned = {ban["crate"]: ban["reason"] for ban in rules["bans"]["deny"]}
    # "name:^0.22" names one line of versions that may stand beside a newer one.
    explained = {tuple(skip["crate"].split(":^")): skip["reason"] for skip in rules["bans"]["skip"]}
    breaches, seen, lines = set(), set(), defaultdict(set)

    for target in rules["graph"]["targets"]:
        for name, version, licence, source in packages(target):
            if source.startswith(str(ROOT)):
                continue
            seen.add((name, version))
            lines[name].add(line_of(version))
            if source:
                breaches.add(f"{name} {version}: comes from {source}, not from crates.io")
            if name in banned:
                breaches.add(f"{name} {version}: banned, {banned[name]}")
            if not licence:
                breaches.add(f"{name} {version}: names no licence")
            elif not is_allowed(licence, allowed):
                breaches.add(f"{name} {version}: licence {licence} is not on the list of deny.toml")

    for name, versions in lines.items():
        left = sorted(versions - {line for crate, line in explained if crate == name})
        if len(left) > 1:
            breaches.add(f"{name}: versions {', '.join(left)} side by side; explain all but one in deny.toml [bans] skip")
    for name, line in explained:
        if line not in lines.get(name, ()) or len(lines[name]) == 1:
            breaches.add(f"deny.toml explains {name} {line}, which is no longer a second version")

    for breach in sorted(breaches):
        print(f"licences: {breach}", file=sys.stderr)
    if not breaches:
        print(f"licences: {len(seen)} crates, all as deny.toml wants them")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
