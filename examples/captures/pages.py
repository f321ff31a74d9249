#!/usr/bin/env python3
"""Writes the web pages that the servers hand out: plain made-up text.

    pages.py FOLDER SEED name=bytes ...
"""
import os
import random
import sys

WORDS = ("harbour ledger meadow parcel window garden report minute copper signal "
         "river letter market folder season bridge lantern carbon silver orchard "
         "the a of and to in for with from at by on is was were has new old").split()


def main():
    folder, seed = sys.argv[1], sys.argv[2]
    for spec in sys.argv[3:]:
        name, size = spec.split("=")
        r = random.Random(seed + name)
        text = "<!doctype html><title>%s</title><p>" % name
        while len(text) < int(size):
            text += r.choice(WORDS) + (". <p>" if r.random() < 0.03 else " ")
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text[:int(size)])


main()
