"""Work F: seconds until the test images are read to 97, 98 and 99 %, by the last rung of ladder.py with fewer or more of the images.

Each run has a process of its own: the seconds of training and reading are counted in it, those from its start to its end around it.

    python benchmarks/to_accuracy.py                how they do on 10,000 held-out training images, by which the shares were chosen
    python benchmarks/to_accuracy.py 0.98 SEED      one run: trains, measures on the test images, prints a line of JSON
"""
import json, os, statistics, subprocess, sys, time

import torch

import ladder
from mnist_sgd.data import load_mnist

RECIPES = {target: ladder.rungs('sooner')[-1][1] | dict(share=share) for target, share in ((.97, .25), (.98, .4), (.99, .75))}


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
    text = [f'In epochs of the hand-written loop of A, {epoch:.2f} s each on 1 thread: the last rung of the ladder below, with so many of the '
            f'60,000 images, each once. Each run in a fresh process; from its start, it imports, loads, trains and measures. Test accuracy, '
            f'mean ± sd of {seeds} seeds.', '',
            '| target | images | seconds of training and reading | epochs of the loop | seconds from the start of the process | accuracy | '
            'seeds that reach it |', '|---|---|---|---|---|---|---|']
    rows = []
    for target, results in found.items():
        (whole, s), accs = [statistics.median(r[i] for r in results) for i in (0, 1)], [r[2] for r in results]
        rows.append(dict(target=target, seconds=s, epochs=s/epoch, whole=whole, accs=accs))
        text.append(f'| {target:.0%} | {60_000*RECIPES[target]["share"]:,.0f} | {s:.2f} | {s/epoch:.1f} | {whole:.1f} | '
                    f'{statistics.mean(accs):.4f} ± {statistics.stdev(accs):.4f} | {sum(a >= target for a in accs)} of {seeds} |')
    return dict(what='seconds to an accuracy on the test images', text=text, results=rows, epoch=epoch, threads=threads)


def main():
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    if sys.argv[1:]:
        (x, y), (vx, vy) = load_mnist()
        return print(json.dumps(ladder.train(RECIPES[float(sys.argv[1])], int(sys.argv[2]), x, y, vx, vy)))
    (x, y), _ = load_mnist()
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(42))
    rows, held = order[:50_000], order[50_000:]
    for target, recipe in RECIPES.items():
        results = [ladder.train(recipe, seed, x[rows], y[rows], x[held], y[held]) for seed in range(3)]
        print(f'{target:.0%} with {recipe["share"]} of the images: held-out accuracy', *(f'{a:.4f}' for _, a in results))


if __name__ == '__main__': main()
