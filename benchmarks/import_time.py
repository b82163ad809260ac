#!/usr/bin/env python
"""Time the import of each module beside that of torch and pyplot, each in a fresh process, interleaved.

    python benchmarks/import_time.py [ROUNDS]
"""
import statistics, subprocess, sys, time
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent/'mnist_sgd'
PEER = 'import torch, matplotlib.pyplot'


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(rounds=5):
    modules = [f'import mnist_sgd.{p.stem}' for p in sorted(PACKAGE.glob('[a-z]*.py'))]
    times = {code: [] for code in (PEER, *modules)}
    for code in times: seconds(code)                      # warm the disk cache
    for _ in range(rounds):
        for code in times: times[code].append(seconds(code))
    peer = statistics.median(times[PEER])
    print(f'{PEER}: {peer:.2f} s, median of {rounds}')
    for code in modules:
        ratios = [t/p for t, p in zip(times[code], times[PEER])]
        print(f'{code:32} ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})')


if __name__ == '__main__': main(*map(int, sys.argv[1:]))
