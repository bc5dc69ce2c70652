#!/usr/bin/env python3
"""Draws what an observer sees of answers at each setting of `wires.shape`, an SVG.

  cargo test --release -p lethe-appliance --test server traffic -- --nocapture --test-threads 1 | tests/bench/traffic.py > docs/traffic.svg

Reads the lines `series SHAPE NAME: MS,BYTES …` of the test.
"""

import re
import sys

WIDE, HIGH, LEFT, TOP, GAP = 250, 100, 90, 58, 16
COLOURS = {"Off": "#dc2626", "Padded": "#d97706", "Paced": "#15803d"}
# Bytes below which nothing is drawn: without a shape every event has the same frame, and the token's length is what is above it.
BASE = {"Off": 265, "Padded": 0, "Paced": 0}


def panel(x, y, chunks, longest, base, largest, colour):
    """One answer: a bar for each chunk, at its time and as high as it is long."""
    bars = [f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" fill="#f8fafc" stroke="#cbd5e1"/>']
    for time, size in chunks:
        tall = max(2, HIGH * 0.9 * (size - base) / (largest - base))
        bars.append(f'<rect x="{x + 4 + (WIDE - 12) * time / longest:.1f}" y="{y + HIGH - tall:.1f}" width="4" height="{tall:.1f}" fill="{colour}"/>')
    return "".join(bars)


def main():
    series = {}
    for line in sys.stdin:
        if found := re.search(r"series (\w+) ([^:]+): (.*)", line):
            shape, name, chunks = found.groups()
            time, drawn = 0, []
            for chunk in chunks.split():
                after, size = map(int, chunk.split(","))
                time += after
                drawn.append((time, size))
            # from the first token on: what came before is the wait for it
            series.setdefault(shape, {})[name] = [(time - drawn[0][0], size) for time, size in drawn]
    if set(series) != set(COLOURS):
        sys.exit(__doc__)
    names = list(series["Off"])
    longest = max(chunks[-1][0] for row in series.values() for chunks in row.values())
    wide, high = LEFT + len(names) * (WIDE + GAP), TOP + len(COLOURS) * (HIGH + GAP) + 24
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="14" '
          'fill="#0f172a" role="img" aria-label="Sizes and times of the sealed chunks of four answers at each setting of wires.shape">')
    print(f'<rect width="{wide}" height="{high}" fill="#ffffff"/>')
    print(f'<text x="{LEFT}" y="22" font-weight="bold">What an observer sees: a bar for each sealed chunk, as high as it is long, at its time</text>')
    for column, name in enumerate(names):
        print(f'<text x="{LEFT + column * (WIDE + GAP) + WIDE / 2}" y="{TOP - 12}" text-anchor="middle" fill="#475569">{name}</text>')
    for row, (shape, colour) in enumerate(COLOURS.items()):
        y = TOP + row * (HIGH + GAP)
        largest = max(size for chunks in series[shape].values() for _, size in chunks)
        print(f'<text x="12" y="{y + HIGH / 2 + 5}" font-weight="bold" fill="{colour}">{shape.lower()}</text>')
        if BASE[shape]:
            print(f'<text x="12" y="{y + HIGH / 2 + 23}" font-size="11" fill="#475569">above {BASE[shape]} B</text>')
        for column, name in enumerate(names):
            print(panel(LEFT + column * (WIDE + GAP), y, series[shape][name], longest, BASE[shape], largest, colour))
    print(f'<text x="{LEFT}" y="{high - 8}" fill="#475569">0 to {longest} ms; in each row the highest bar is the longest chunk of that setting</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
