#!/usr/bin/env python
"""Do the same work by this package and by its peers, in one run, and tell the ratios.

    python benchmarks/speed.py                    every work, table printed and written to benchmarks/speed.json
    python benchmarks/speed.py A E --rounds 3     some works; their part of speed.json is replaced
    python benchmarks/speed.py --readme           write the tables of speed.json into README.md beside it (no work is run)

A, B, C train; D loads, E imports, F trains to 97, 98 and 99 % in fresh processes, G grows rows, batches and hidden
units, H is what one waits for. With no letter the ladders of ladder.py are climbed too.
Peers take turns within each round; a ratio is taken within a round, and the median of the rounds is told with
the lowest and highest.
A peer that is not installed is left out with a word: `pip install -e '.[bench]'` brings them all.
"""
import argparse, contextlib, io, json, os, platform, re, statistics, subprocess, sys, time, warnings
from datetime import date
from importlib import metadata
from pathlib import Path

import ladder, readme

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT/'benchmarks'/'speed.json'
WORKS = 'ABCDEFGH'
os.environ.update(PYTHONWARNINGS='ignore', TQDM_MININTERVAL='0.1')


def quiet():
    "Keep bars and tables of whoever trains out of ours; they are still made."
    warnings.simplefilter('ignore')
    stack = contextlib.ExitStack()
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    return stack


def interleave(tasks, rounds):
    "Run each task once a round, in turns: {name: [(seconds, what else it said), …]}."
    found = {name: [] for name in tasks}
    for k in range(-1, rounds):                                   # round -1 warms up and does not count
        for name, task in tasks.items():
            with quiet(): result = task()
            if k >= 0: found[name].append(result)
    return found


def rows(found, against):
    "A table row for each name: median seconds, median ratio with lowest and highest, the last other thing said."
    out = []
    for name, results in found.items():
        seconds = [r[0] for r in results]
        ratios = [s/r[0] for s, r in zip(seconds, found[against])]
        out.append(dict(name=name, seconds=statistics.median(seconds), ratio=statistics.median(ratios),
                        low=min(ratios), high=max(ratios), accuracy=results[-1][1]))
    return out


def title(func): return func.__name__.replace('_', ' ')


def train_work(letter, rounds):
    "Works A, B, C: seconds an epoch with validation."
    import peers
    make, funcs = peers.PEERS[letter]
    work = make()
    for f in funcs:
        if not peers.is_there(f): print(f'  {title(f)} is not installed and left out')
    found = interleave({title(f): (lambda f=f: f(work)) for f in funcs if peers.is_there(f)}, rounds)
    table = rows(found, 'hand')
    if letter == 'A': table += floor(work, found, rounds)
    return dict(what=make.__doc__, unit='seconds an epoch with validation', against='hand', rows=table)


def floor(work, found, rounds):
    "What no program that computes the same can go below, as rows of work A; measured right after the peers."
    import floors
    parts = interleave({name: (lambda f=f: (f(work), None)) for name, f in floors.PARTS.items()}, rounds)
    parts['floor'] = [(sum(parts[k][i][0] for k in floors.FLOOR), None) for i in range(rounds)]
    hand = {'hand': found['hand']}
    return [r for r in rows(hand | parts, 'hand') if r['name'] != 'hand']


def load_work(rounds):
    "Work D: 70,000 images as float32 tensors."
    import loads
    found = interleave({name: (lambda f=f: loads.timed(f)) for name, f in loads.QUICK.items() if loads.is_there(name)}, rounds)
    table = rows(found, 'torchvision MNIST')
    for name, f in loads.SLOW.items():
        if not loads.is_there(name): print(f'  {name} is not installed and left out'); continue
        with quiet(): seconds, n = loads.timed(f)
        ratio = seconds/statistics.median(r[0] for r in found['torchvision MNIST'])
        table.append(dict(name=f'{name} (once)', seconds=seconds, ratio=ratio, low=ratio, high=ratio, accuracy=n))
    return dict(what='70,000 images to float32 tensors', unit='seconds', against='torchvision MNIST', rows=table)


def import_work(rounds):
    "Work E: imports, each in a fresh process."
    base = 'import torch, matplotlib.pyplot'
    codes = [base] + [f'import mnist_sgd.{p.stem}' for p in sorted((ROOT/'mnist_sgd').glob('[a-z]*.py'))]
    codes += ['import fastai.vision.all'] if has('fastai') else []
    def task(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-c', code], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        return time.perf_counter() - start, None
    found = interleave({code: (lambda c=code: task(c)) for code in codes}, rounds)
    return dict(what='import in a fresh process', unit='seconds', against=base, rows=rows(found, base))


def has(name):
    try: metadata.version(name)
    except metadata.PackageNotFoundError: return False
    return True


def run(letter, rounds, store):
    "One work's part of the store."
    import torch
    if letter in 'ABC': part = train_work(letter, rounds)
    elif letter == 'D': part = load_work(rounds)
    elif letter == 'E': part = import_work(rounds)
    elif letter == 'F': import to_accuracy; part = to_accuracy.run(quiet)
    elif letter == 'G': import growth; part = growth.run(quiet)
    else: import waits; part = waits.run(rounds, store.get('H', {}))
    threads = part.pop('threads', torch.get_num_threads())
    return dict(part, threads=threads, rounds=rounds, date=str(date.today()), machine=machine(), versions=versions())


def machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    model = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').exists() else None
    return f'{model[1].strip() if model else platform.machine()}, {cores} of {os.cpu_count()} cores'


def versions():
    names = 'torch numpy torchvision fastai lightning skorch scikit-learn keras'.split()
    return {'python': platform.python_version()} | {n: metadata.version(n) for n in names if has(n)}


def markdown(letter, part):
    "One work as a table for benchmarks/README.md."
    run = f'{part["date"]}; {part["threads"]} thread{"s"[:part["threads"] > 1]}; {part.get("machine", "")}'
    if 'text' in part: return [f'**{letter}. {part["what"]}** ({run})', '', *part['text']]
    head = f'**{letter}. {part["what"]}** ({run}; {part["rounds"]} rounds)'
    lines, found = [head], [(words, [r for r in part['rows'] if kind(r['name']) == words]) for words in KINDS]
    for words, told in [(words, told) for words, told in found if told]:
        lines += ['', *([words, ''] if part['against'] == 'hand' else []), f'| | {part["unit"]} | ratio (lowest to highest) |', '|---|---|---|']
        lines += [f'| {r["name"]} | {r["seconds"]:.3g} | {r["ratio"]:.2f} ({r["low"]:.2f} to {r["high"]:.2f}) |' for r in told]
    return lines + ['', *level(letter, found[0][1])]


KINDS = ('Whoever does the work:', 'The loop by hand with one thing changed, to see what costs:',
         'Our Learner with one thing changed, to see the same:', 'What no program can go below, and parts of it:')
FLOORS = {'products alone', 'one read of the rows', 'gather in random order', 'dispatch (one pixel)', 'floor'}
WHY = {  # why somebody is level with us or ahead, and what it costs to be so
    ('A', 'scikit learn'): 'its backward pass is written out for this one kind of net, so no graph is built; nets of other kinds it does not train.',
    ('A', 'by hand in buffers'): 'the backward pass of chapter 10, without autograd, in buffers that are made once; for this net alone.',
    ('B', 'hand'): 'the product and its gradient are the same calls, and measuring takes both about as long. The rows with one thing '
                   'changed tell the rest by cause: the distance as loss and a step of one operation save time; the check of the '
                   'labels, the record of losses, the bar and the lines take much of it back.',
    ('C', 'hand'): 'convolutions and norms, nearly all of a step, are the same calls for all. Most of what differs lies in measuring: '
                   'the loop takes all test images at once, the Learner 2,048 at a time; a row has the loop do so too.',
    ('C', 'torch loop'): 'as above; loading a row at a time, which costs most in A, is small beside convolutions.',
    ('C', 'fastai as in the book'): 'as above.'}


def kind(name):
    "Under which words a row stands: rivals, tries of our own, or floors."
    if name in FLOORS: return KINDS[3]
    return KINDS[1] if name.startswith(('hand ', 'tried ')) else KINDS[2] if name.startswith('ours ') else KINDS[0]


def level(letter, rivals):
    "A sentence on each rival that is level with us (within a twentieth) or ahead."
    ours = next((r['ratio'] for r in rivals if r['name'] == 'ours'), None)
    for r in rivals:
        if ours is None or r['name'] == 'ours' or r['ratio'] > 1.05*ours: continue
        how = 'ahead of us' if r['ratio'] < .95*ours else 'level with us'
        yield f'- {r["name"]} is {how}: {WHY.get((letter, r["name"]), "why has not been looked into.")}'


def report(store):
    "All tables, with machine, date and versions, as benchmarks/README.md shows them."
    first = next(iter(store.values()))
    said = ', '.join(f'{k} {v}' for k, v in first['versions'].items())
    lines = [f'{said}. The cores are those that a run was allowed to use. Accuracies stand in F alone: in A to C each '
             'peer trained from one seed, to be timed, and one seed says little.', '']
    for letter in sorted(store): lines += [*markdown(letter, store[letter]), '']
    return '\n'.join(lines).strip()


def front(store, climbed):
    "The lines of the README above: what matters of all tables."
    ratio = {r['name']: r['ratio'] for r in store['A']['rows']}
    soon, few = [climbed['cpu'][name][ladder.LADDERS[name][0][-1][0]] for name in ('sooner', 'fewer')]
    seconds, epochs, accs = [[r[k] for r in soon] for k in range(3)]
    weights = sum(p.numel() for p in ladder.rungs('fewer')[-1][1]['model']().parameters())
    return '\n'.join([
        f'- On two cores, {ladder.mean_sd(accs)} of the test images after {statistics.median(seconds):.1f} seconds of training and reading, '
        f'{statistics.median(epochs):.1f} epochs of a loop by hand',
        f'  over `simple_net` ({len(soon)} seeds); and {ladder.mean_sd([r[2] for r in few])} with {weights:,} weights ({len(few)} seeds).',
        f'- An epoch of `simple_net` takes our `Learner` {ratio["ours"]:.2f} of the time of that loop, PyTorch\'s loader and optimizer '
        f'{ratio["torch loop"]:.1f}, fastai {ratio["fastai as in the book"]:.1f}.'])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('works', nargs='*', metavar='WORK', help='letters of A to H; default: all, and the ladders')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--readme', action='store_true', help='only write the stored tables into benchmarks/README.md')
    p.add_argument('--no-store', action='store_true', help='print alone, leave benchmarks/speed.json as it is')
    args = p.parse_args()
    if args.readme:
        store, climbed = [json.loads(file.read_text()) for file in (STORE, ladder.STORE)]
        readme.write('speed', report(store))
        readme.write('ladder', ladder.report(climbed))
        return readme.write('speed', front(store, climbed), readme.FRONT)
    if bad := [w for w in args.works if w not in list(WORKS)]: p.error(f'no work {bad[0]!r}: choose from {" ".join(WORKS)}')
    if args.rounds < 1: p.error(f'{args.rounds} rounds, wanted at least 1')
    import torch
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    if (os.cpu_count() or 1) < 2: print('this machine has 1 core: nothing runs beside the work, and F uses 1 thread')
    store = json.loads(STORE.read_text()) if STORE.exists() else {}
    for letter in args.works or WORKS:
        print(f'{letter} …', file=sys.stderr, flush=True)
        store[letter] = run(letter, args.rounds, store)
        print(*markdown(letter, store[letter]), '', sep='\n', flush=True)
        if not args.no_store: STORE.write_text(json.dumps(store, indent=1, sort_keys=True) + '\n')
    if not args.works and not args.no_store:
        kept = json.loads(ladder.STORE.read_text()) if ladder.STORE.exists() else {}
        ladder.climb(list(ladder.LADDERS), 'cpu', {device: part for device, part in kept.items() if device != 'cpu'})


if __name__ == '__main__': main()
