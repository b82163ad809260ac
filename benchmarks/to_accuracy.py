"""Work F: seconds until the test images are read to 97, 98 and 99 %, recipes chosen on held-out images.

Each run has a process of its own: the seconds of training are counted in it, those from its start to its end around it.

    python benchmarks/to_accuracy.py                how the recipes do on 10,000 held-out training images, by which they were chosen
    python benchmarks/to_accuracy.py 0.98 SEED      one run: trains, measures on the test images, prints a line of JSON
"""
import json, os, statistics, subprocess, sys, time
from functools import partial

import torch
from torch import nn
from torch.utils.data import TensorDataset

from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner
from mnist_sgd.simple_net import simple_net


def convolutions(*widths, fold=1):
    "Convolutions of stride 2, channels last, which suits a CPU; `fold=2` first lays 2×2 pixels into four channels, which is cheaper."
    layers, n_in = [nn.Flatten(), nn.Unflatten(1, (1, 28, 28)), nn.PixelUnshuffle(fold)], fold**2
    for n_out, size in zip(widths, (5, 3, 3)[fold - 1:]):
        layers += [nn.Conv2d(n_in, n_out, size, stride=2, padding=size//2, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
        n_in = n_out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_in*16, 10)).to(memory_format=torch.channels_last)


RECIPES = {  # target: (what, model, epochs, highest learning rate of one cycle, bs), momentum 0.9
    .97: ('simple_net of 64 hidden units', partial(simple_net, 784, 64, 10), 3, .3, 256),
    .98: ('convolutions of 32, 32 channels over 2×2 pixels', partial(convolutions, 32, 32, fold=2), 1, .3, 128),
    .99: ('convolutions of 8, 32, 64 channels', partial(convolutions, 8, 32, 64), 3, .2, 128)}


def train(recipe, seed, x, y, vx, vy):
    "(seconds of training, accuracy on vx) of one run."
    _, make, epochs, lr, bs = recipe
    torch.manual_seed(seed)
    few = TensorDataset(vx[:1], vy[:1])                  # nothing is measured while the clock runs
    dls = DataLoaders(DataLoader(TensorDataset(x, y), bs=bs, shuffle=True), DataLoader(few, bs=1))
    learn = Learner(dls, make(), cross_entropy, partial(SGD, mom=.9), verbose=False)
    start = time.perf_counter()
    learn.fit_one_cycle(epochs, lr)
    return time.perf_counter() - start, accuracy(learn.predict(vx), vy).item()


def fresh(target, seed, threads):
    "(seconds from the start of a process to its end, seconds of training in it, test accuracy) of one run."
    start = time.perf_counter()
    r = subprocess.run([sys.executable, __file__, str(target), str(seed)], capture_output=True, text=True, timeout=1200,
                       env=os.environ | {'OMP_NUM_THREADS': str(threads)})
    if r.returncode: raise RuntimeError(f'{target:.0%}, seed {seed}: {r.stderr.strip().splitlines()[-1]}')
    return time.perf_counter() - start, *json.loads(r.stdout.splitlines()[-1])


def run(quiet, seeds=5):
    "Part F of the store."
    import peers
    work = peers.work_a()
    threads = max(1, min(2, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()))
    epochs, found = [], {target: [] for target in RECIPES}
    for seed in range(seeds):
        with quiet(): epochs.append(peers.hand(work)[0])
        for target in RECIPES: found[target].append(fresh(target, seed, threads))
    epoch = statistics.median(epochs)
    text = [f'In epochs of the hand-written loop of A, {epoch:.2f} s each on 1 thread. Each run in a fresh process; from its start, '
            f'it imports, loads, trains and measures. Test accuracy, mean ± sd of {seeds} seeds.', '',
            '| target | recipe | seconds of training | epochs of the loop | seconds from the start of the process | accuracy | '
            'seeds that reach it |', '|---|---|---|---|---|---|---|']
    rows = []
    for target, results in found.items():
        (whole, s), accs = [statistics.median(r[i] for r in results) for i in (0, 1)], [r[2] for r in results]
        name, _, n, lr, bs = RECIPES[target]
        rows.append(dict(target=target, seconds=s, epochs=s/epoch, whole=whole, accs=accs))
        text.append(f'| {target:.0%} | {name}, {n} epoch{"s"[:n > 1]} of one cycle to {lr}, bs {bs} | {s:.1f} | {s/epoch:.1f} | '
                    f'{whole:.1f} | {statistics.mean(accs):.4f} ± {statistics.stdev(accs):.4f} | '
                    f'{sum(a >= target for a in accs)} of {seeds} |')
    return dict(what='seconds to an accuracy on the test images', text=text, results=rows, epoch=epoch, threads=threads)


def main():
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    if sys.argv[1:]:
        (x, y), (vx, vy) = load_mnist()
        return print(json.dumps(train(RECIPES[float(sys.argv[1])], int(sys.argv[2]), x, y, vx, vy)))
    (x, y), _ = load_mnist()
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(42))
    rows, held = order[:50_000], order[50_000:]
    for target, recipe in RECIPES.items():
        results = [train(recipe, seed, x[rows], y[rows], x[held], y[held]) for seed in range(3)]
        print(f'{target:.0%} {recipe[0]}: held-out accuracy', *(f'{a:.4f}' for _, a in results))


if __name__ == '__main__': main()
