#!/usr/bin/env python3
"""A very small DNS responder: A records from a file of "address name" lines.

Known names have an A record and no AAAA record.  Other names do not exist.

    dns.py LISTEN_ADDRESS HOSTS_FILE
"""
import socket
import struct
import sys


def read_question(packet):
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("ascii", "replace"))
        at += 1 + packet[at]
    qtype = struct.unpack("!H", packet[at + 1:at + 3])[0]
    return ".".join(labels).lower(), qtype, packet[12:at + 5]


def main():
    names = {}
    with open(sys.argv[2], encoding="ascii") as f:
        for line in f:
            address, name = line.split()
            names[name] = address
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((sys.argv[1], 53))
    while True:
        packet, peer = s.recvfrom(1500)
        try:
            name, qtype, question = read_question(packet)
        except (IndexError, struct.error):
            continue
        found = names.get(name)
        answer = b""
        if found and qtype == 1:
            answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 300, 4) + socket.inet_aton(found)
        flags = 0x8180 if found else 0x8183
        head = packet[:2] + struct.pack("!HHHHH", flags, 1, 1 if answer else 0, 0, 0)
        s.sendto(head + question + answer, peer)


main()
