#!/usr/bin/env python
"""Time the doctor: seconds of `diagnose` on three set-ups, and what a training step costs while `watch` looks on.

    python benchmarks/doctor_time.py           measure anew; kept in benchmarks/doctor_time.json
    python benchmarks/doctor_time.py --readme  write the tables into README.md beside it (nothing is measured)

Steps are told as a ratio of the processor's seconds on one thread: the same loop bare and watched, taking turns. The report at
the end of a watched block is not counted with its steps. About three minutes on two cores.
"""
import argparse, datetime, json, os, statistics, time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader as TorchLoader, TensorDataset

import readme
from mnist_sgd.cnn import simple_cnn
from mnist_sgd.data import load_mnist
from mnist_sgd.doctor import diagnose
from mnist_sgd.doctor.watch import Watched, hooked
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import SGD, DataLoader, DataLoaders
from mnist_sgd.simple_net import simple_net

STORE = Path(__file__).resolve().parent/'doctor_time.json'


def resnet():
    "An untrained resnet18 for ten classes, of three colours."
    from torchvision.models import resnet18
    return resnet18(num_classes=10)


def set_ups(digits):
    "(name, arguments of diagnose, seconds wanted)."
    (x, y), (vx, vy) = digits
    for name, make, n, m, lr, most in (('simple_net, 60,000 pictures', simple_net, 60_000, 10_000, .3, 10),
                                       ('simple_cnn, 60,000 pictures', simple_cnn, 60_000, 10_000, .1, 20),
                                       ('resnet18, 1,400 pictures', resnet, 1000, 400, .01, 60)):
        def given(t, make=make): return t.view(-1, 1, 28, 28).expand(-1, 3, -1, -1).contiguous() if make is resnet else t
        torch.manual_seed(0)
        model = make()
        dls = DataLoaders(DataLoader(TensorDataset(given(x[:n]), y[:n]), 64, shuffle=True),
                          DataLoader(TensorDataset(given(vx[:m]), vy[:m]), 64))
        yield name, dict(model=model, dls=dls, loss_func=cross_entropy, opt=SGD(model.parameters(), lr), metrics=accuracy), most


def train(make, dl, lr=.1):
    "The processor's seconds for one pass through a loader."
    torch.manual_seed(0)
    model = make()
    opt = torch.optim.SGD(model.parameters(), lr=lr)
    start = time.process_time()
    for xb, yb in dl:
        F.cross_entropy(model(xb), yb).backward()
        opt.step()
        opt.zero_grad()
    return time.process_time() - start


def watched_ratios(digits, rounds):
    "(name, ratios watched to bare), 300 batches of 64 a pass."
    torch.set_num_threads(1)
    (x, y), _ = digits
    dl = TorchLoader(TensorDataset(x[:19_200], y[:19_200]), 64, shuffle=True)
    for name, make in ('simple_net', simple_net), ('simple_cnn', simple_cnn):
        train(make, dl)
        ratios = []
        for _ in range(rounds):
            bare = train(make, dl)
            with hooked(Watched(None)): ratios.append(train(make, dl)/bare)
        yield name, ratios


def table(store):
    "Both tables as Markdown."
    lines = [f'{store["date"]}; torch {store["torch"]}, {store["threads"]} threads.', '',
             '| `diagnose` of | seconds | wanted |', '|---|---|---|',
             *(f'| {name} | {seconds:.1f} | at most {most} |' for name, (seconds, most) in store['seconds'].items()), '',
             '| a step of, on one thread | watched, bare = 1 (lowest to highest) | wanted |', '|---|---|---|',
             *(f'| {name}, batches of 64 | {statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f}) | at most 2 |'
               for name, r in store['steps'].items())]
    return '\n'.join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=7)
    p.add_argument('--readme', action='store_true', help='only write the stored tables into benchmarks/README.md')
    args = p.parse_args()
    if args.readme: return readme.write('doctor time', table(json.loads(STORE.read_text())))
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    digits, store = load_mnist(), {'date': str(datetime.date.today()), 'torch': torch.__version__, 'threads': torch.get_num_threads(), 'seconds': {}}
    for name, kw, most in set_ups(digits):
        start = time.perf_counter()
        report = diagnose(**kw)
        store['seconds'][name] = time.perf_counter() - start, most
        print(f'{name}: {store["seconds"][name][0]:.1f} s, errors: {[f.name for f in report.errors] or "none"}', flush=True)
    store['steps'] = dict(watched_ratios(digits, args.rounds))
    STORE.write_text(json.dumps(store, indent=0) + '\n')
    print(table(store))


if __name__ == '__main__': main()
