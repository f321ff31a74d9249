#!/usr/bin/env python3
"""How far tshark and we agree, in one table: `agreement.md`, out of the lists of differences beside it.

    agreement.py [--run ../shared/data --veilwatch target/release/veilwatch --cache /tmp/veilwatch-oracle]

With `--run` the lists are written anew first: tshark is asked (some hours on one core without a cache, minutes with one), the
command and the tests of the workspace are run. Without it they are taken as they are, and nothing but Python is needed.

Compared is what tshark says of a stream, a pair of endpoints or a connection, but for differences of a class that is a
matter of definition (`DEFINED`): there both are right, each by what it counts. What only we say is counted beside it. The
run ends with 1 where less than 999 of a thousand are equal, and with 2 where a difference has no class.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
WANTED = 99.9
# What is compared: name, list, names of the values there.
WHAT = [
    ("TLS: ClientHello (its version)", "tls", "version offered"),
    ("TLS: server name", "tls", "SNI"),
    ("TLS: ALPN", "tls", "ALPN"),
    ("TLS: versions offered", "tls", "versions offered"),
    ("TLS: cipher suites offered", "tls", "ciphers offered"),
    ("TLS: JA3", "tls", "JA3"),
    ("TLS: version chosen", "tls", "version chosen"),
    ("TLS: cipher suite chosen", "tls", "cipher chosen"),
    ("TLS: JA3S", "tls", "JA3S"),
    ("TLS: certificate's serial", "tls", "certificate serial"),
    ("TLS: certificate's subject", "tls", "certificate subject"),
    ("QUIC: server name and JA4", "quic", None),
    ("DNS: name", "names", "dns.rrname"),
    ("DNS: type", "names", "dns.rrtype"),
    ("DNS: code", "names", "dns.rcode"),
    ("DNS: addresses answered", "names", "dns.addresses"),
    ("HTTP: method", "clear", "HTTP method"),
    ("HTTP: host", "clear", "HTTP Host"),
    ("HTTP: user agent", "clear", "HTTP User-Agent"),
    ("HTTP: status", "clear", "HTTP status"),
    ("SSH: banners", "names", "ssh.banners"),
    ("SMTP: greeting", "clear", "SMTP greeting"),
    ("FTP: greeting", "clear", "FTP greeting"),
    ("IMAP: greeting", "clear", "IMAP greeting"),
    ("POP3: greeting", "clear", "POP3 greeting"),
]
# Classes that are a matter of definition: (list, class) → what each of both counts.
DEFINED = {
    ("tls", "old-form"): "a ClientHello in SSL 2.0 form: tshark tells its version alone",
    ("tls", "frames"): "inside the frames of OpenVPN or of Android's debug bridge, which is what the flow is to us",
    ("tls", "client's"): "tshark has the client's certificate, where the server's is missing; ours is the server's own",
    ("tls", "long"): "a name longer than either keeps",
    ("clear", "answer"): "an answer in HTTP to a record of TLS: to us the flow is TLS",
    ("clear", "scanner"): "a scanner says something else first: ours is the protocol of who speaks first, tshark's that of the port",
    ("clear", "hole"): "the first response is missing from the capture: tshark shows the second one",
    ("clear", "evader"): "status lines that are none by RFC 9112, and that browsers take all the same",
    ("clear", "null"): "inside TLS with a cipher that encrypts nothing: we read no application data of TLS",
    ("names", "no-question"): "no question is asked: we give the first name there is",
    ("names", "guess"): "no packet begins as the protocol must: tshark goes by the port",
}


def cells(line):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def section(text, title):
    """The rows of the table behind a heading, as lists of cells."""
    part = text.split(title, 1)[1].split("\n## ", 1)[0]
    rows = [cells(line) for line in part.split("\n") if line.startswith("|")]
    return rows[2:]


class List:
    """A list of differences."""

    def __init__(self, name):
        self.name, self.file = name, f"{name}-differences.md"
        text = (HERE / self.file).read_text()
        classes = section(text, "## Classes")
        heading = next(line for line in text.split("\n") if re.match(r"## All (\d+ )?differences", line))
        rows = section(text, heading)
        totals = [cells(line) for line in text.split("\n## ", 1)[0].split("\n") if line.startswith("|")][2:]
        if name == "names":
            self.right = {}
            # capture, pair, what, tshark, we, class, right, why
            self.rows = [(r[0], r[1], r[2], r[3].replace("–", ""), r[4].replace("–", ""), r[5], r[6], r[7]) for r in rows]
            self.totals = {r[0].strip("`"): int(r[1]) for r in totals}
            self.why = {r[0].strip("`"): r[3] for r in classes}
        elif name == "quic":
            numbers = {r[0]: r[1] for r in totals}
            self.rows, self.totals = [], {None: int(numbers["ClientHellos that tshark reads"])}
            for capture, ports, sni, ja4, by, kind in rows:
                # tshark's of such rows stand in its own.
                who = ("", f"{sni} {ja4}") if by == "us" else (f"{sni} {ja4}", "")
                self.rows.append((capture, ports, None, *who, kind, "", ""))
            self.right = {r[0]: r[2] for r in classes}
            self.why = {r[0]: r[3] for r in classes}
        else:
            # capture, packet, field, tshark, we, class
            self.rows = [(r[0], f"packet {r[1]}", r[2], r[3], r[4], r[5], "", "") for r in rows]
            self.totals = {r[0]: int(r[1]) for r in totals}
            self.right = {r[0]: r[2] for r in classes}
            self.why = {r[0]: r[3] for r in classes}

    def of(self, value):
        return [row for row in self.rows if row[2] == value]


def run(command):
    print("+", *command, file=sys.stderr)
    subprocess.run(list(map(str, command)), check=True, cwd=HERE.parents[2])


def write_lists(args):
    """Every list anew."""
    data, cache = args.run.resolve(), args.cache
    for name in ("tls", "clear"):
        run([HERE / f"{name}.py", data, HERE / f"{name}-tshark.tsv.gz", "--cache", cache])
    run([HERE / "quic.py", data, HERE / "quic-tshark.tsv", "--cache", cache])
    run([HERE / "names.py", data, args.veilwatch, HERE, "--cache", cache])
    tests = [part for name in ("tls", "clear", "quic") for part in ("--test", f"{name}_oracle")]
    run(["env", "VEILWATCH_WRITE_ORACLE=1", "cargo", "test", "-p", "veilwatch", *tests])


def cell(text):
    text = text if len(text) <= 80 else text[:80] + "…"
    return text.replace("|", "\\|")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=pathlib.Path, help="writes the lists anew, over this data with `train` and `badinput`")
    parser.add_argument("--veilwatch", default="target/release/veilwatch", help="the command")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("/tmp/veilwatch-oracle"), help="keeps tshark's output")
    args = parser.parse_args()
    if args.run:
        write_lists(args)
    lists = {name: List(name) for name in ("tls", "quic", "names", "clear")}
    lines = [
        "# Agreement with tshark", "",
        "Written by `agreement.py` out of the lists beside it, over the captures of `train` and `badinput`; do not edit. How to",
        "write it again stands in [README.md](README.md). *Compared* is what tshark says, without differences that are a matter of",
        "definition (below); a difference counts as one even where we are right.", "",
        "| what | compared | equal | share | left out | only we | tshark right | we right | both |", "|---|---|---|---|---|---|---|---|---|",
    ]
    short, unexplained, differing, defined = [], 0, [], collections.Counter()
    for what, name, value in WHAT:
        found = lists[name]
        rows = found.of(value)
        right = lambda row: row[6] or found.right.get(row[5], "?")
        unexplained += sum(right(row) == "?" for row in rows)
        only = [row for row in rows if not row[3]]
        said = [row for row in rows if row[3]]
        out = [row for row in said if (name, row[5]) in DEFINED]
        left = [row for row in said if (name, row[5]) not in DEFINED]
        for row in out:
            defined[name, row[5], what] += 1
        compared = found.totals[value] - len(out)
        equal = compared - len(left)
        share = 100 * equal / compared
        who = collections.Counter(right(row) for row in left)
        lines.append(
            f"| {what} | {compared} | {equal} | {share:.2f} % | {len(out)} | {len(only)} | {who['tshark']} | {who['we']} | {who['both']} |"
        )
        if share < WANTED:
            short.append(what)
        differing += [(what, row, right(row), row[7] or found.why.get(row[5], "")) for row in left]
    lines += ["", "## Left out: a matter of definition", "", "| what | rows | class | why |", "|---|---|---|---|"]
    for (name, kind, what), count in sorted(defined.items()):
        lines.append(f"| {what} | {count} | `{kind}` of [{name}]({lists[name].file}) | {DEFINED[name, kind]} |")
    lines += ["", f"## The {len(differing)} differences of what is compared", ""]
    lines += ["What only we say stands in the lists.", "", "| what | capture | where | tshark says | we say | right | why |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for what, row, right, why in differing:
        parts = (what, row[0].rsplit("__")[-1], row[1], row[3], row[4] or "–", right, why)
        lines.append("| " + " | ".join(map(cell, parts)) + " |")
    (HERE / "agreement.md").write_text("\n".join(lines) + "\n")
    print("\n".join(line for line in lines[7 : 9 + len(WHAT)]))
    if unexplained:
        print(f"{unexplained} differences without a class")
        return 2
    print("under the bar: " + ", ".join(short) if short else f"all at {WANTED} % or above")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
