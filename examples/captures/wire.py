#!/usr/bin/env python3
"""A wire with a delay: passes Ethernet frames between two interfaces.

Not every kernel has `tc netem`, so the delay is made here.  Each far address
has its own fixed delay, as servers on the Internet do.  A fixed delay per
address also keeps the frames of one connection in order.

    wire.py IFACE_LAN IFACE_FAR [ADDRESS=MILLISECONDS ...]

The last arguments are round trips to servers that are farther away.
"""
import heapq
import select
import socket
import sys
import time
import zlib

ETH_P_ALL = 3
PACKET_OUTGOING = 4
LAN = b"\xc0\xa8\x38"  # 192.168.56.0/24
FAR_AWAY = {}  # address: round trip in seconds


def one_way_delay(frame, from_lan):
    """Half a round trip, in seconds, for the far end of this frame."""
    if frame[12:14] != b"\x08\x00":  # ARP and the like stay quick
        return 0.0002
    far = frame[30:34] if from_lan else frame[26:30]
    if far[:3] == LAN:
        return 0.0002
    if far in FAR_AWAY:
        return FAR_AWAY[far] / 2
    return 0.006 + (zlib.crc32(far) % 1000) / 1000 * 0.012  # round trip 12-36 ms


def open_port(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.bind((name, 0))
    s.setblocking(False)
    return s


def main():
    for pair in sys.argv[3:]:
        address, milliseconds = pair.split("=")
        FAR_AWAY[socket.inet_aton(address)] = float(milliseconds) / 1000
    lan, far = open_port(sys.argv[1]), open_port(sys.argv[2])
    queue, count = [], 0
    end = time.monotonic() + 1800  # never outlive a run of make.sh by much
    while time.monotonic() < end:
        wait = 1.0
        if queue:
            wait = max(0.0, min(wait, queue[0][0] - time.monotonic()))
        ready, _, _ = select.select([lan, far], [], [], wait)
        for s in ready:
            try:
                frame, addr = s.recvfrom(65535)
            except BlockingIOError:
                continue
            if addr[2] == PACKET_OUTGOING:  # our own frames come back: leave them
                continue
            due = time.monotonic() + one_way_delay(frame, s is lan)
            count += 1
            heapq.heappush(queue, (due, count, far if s is lan else lan, frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, _, out, frame = heapq.heappop(queue)
            try:
                out.send(frame)
            except OSError:
                pass  # a lost frame is what a real wire has too


main()
