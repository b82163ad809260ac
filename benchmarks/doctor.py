#!/usr/bin/env python
"""Count what the doctor names: by fault, over the set-ups of the tests, and how many mended twins it blames.

    python benchmarks/doctor.py             the table, in Markdown
    python benchmarks/doctor.py --cases DIR the same over a folder of cases (`CASES` and `HEALTHY` of its `common`)

Named: the fault is among the findings. Noticed: another finding. Blamed: a mended or sound set-up with a finding of
severity error.
"""
import argparse, importlib, sys, time
from collections import defaultdict
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parent.parent/'tests'


def own():
    "(kind, names that count, faulty set-up, mended set-up or None) of the tests' variants."
    sys.path.insert(0, str(TESTS))
    variants, strangers, blind = (importlib.import_module(f'doctor_{n}') for n in ('variants', 'strangers', 'blind_variants'))
    from mnist_sgd.data import load_mnist
    d = variants.digits(load_mnist)
    for module in variants, strangers:
        for name, make in module.VARIANTS: yield name, {name}, lambda m=make: m(d, True), lambda m=make: m(d, False)
    for name, make in blind.VARIANTS: yield name, {name}, lambda m=make: m(d), None


def cases(folder):
    "The same of a folder of cases."
    sys.path.insert(0, str(folder))
    common = importlib.import_module('common')
    for name in 'faults', 'published', 'healthy': importlib.import_module(name)
    def given(kw): return {k: v for k, v in kw.items() if k[0] != '_'}
    for make, source, fault, want in common.CASES.values():
        yield source, set(want), lambda m=make: given(m(True)), lambda m=make: given(m(False))
    for make, what in common.HEALTHY.values(): yield 'sound programs', set(), None, lambda m=make: given(m())


def look(make):
    "(names, errors) of a set-up."
    from mnist_sgd.doctor import diagnose
    torch.manual_seed(0)
    report = diagnose(**make())
    return report.names, {f.name for f in report.errors}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--cases', type=Path, metavar='DIR')
    args = p.parse_args()
    torch.set_num_threads(1)
    rows, start = defaultdict(lambda: [0]*6), time.perf_counter()
    for kind, want, bad, good in cases(args.cases) if args.cases else own():
        row = rows[kind]
        same, errors = look(good) if good else (set(), set())
        row[4] += good is not None; row[5] += bool(errors)
        if not bad: continue
        found = look(bad)[0] - (same if args.cases else set())
        row[0] += 1
        row[1 if found & want else 2 if found else 3] += 1
    print('| kind | faulty | named | noticed | missed | sound | blamed |', '|---|---|---|---|---|---|---|', sep='\n')
    for kind, row in sorted(rows.items()): print('|', ' | '.join(map(str, [kind, *row])), '|')
    print('| all |', ' | '.join(str(sum(r[i] for r in rows.values())) for i in range(6)), '|')
    print(f'\n{time.perf_counter() - start:.0f} s on {torch.get_num_threads()} thread, torch {torch.__version__}')


if __name__ == '__main__': main()
