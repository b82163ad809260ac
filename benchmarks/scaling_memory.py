#!/usr/bin/env python
"""Train on 6 million rows in a file of 4.7 GB and on 60,000, and compare the memory: writes scaling_memory.json.

The rows are MNIST's digits, repeated and shifted by up to four pixels. The training process reads its own figures in
/proc: RssAnon is memory of its own, RssFile are pages of files, which the system takes back when it needs them.
"""
import json, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

ROWS, STEPS, BS = 6_000_000, 300, 256
SIZE = 16 + ROWS*784


def write_rows(folder, n):
    "Write n rows as IDX files, 60,000 at a time."
    from mnist_sgd.data import fetch_mnist, read_idx
    idx = fetch_mnist()
    imgs, labels = np.array(read_idx(idx/'train-images-idx3-ubyte')), np.array(read_idx(idx/'train-labels-idx1-ubyte'))
    folder.mkdir(parents=True)
    with open(folder/'train-images-idx3-ubyte', 'wb') as x, open(folder/'train-labels-idx1-ubyte', 'wb') as y:
        x.write(np.array([0x803, n, 28, 28], '>i4').tobytes())
        y.write(np.array([0x801, n], '>i4').tobytes())
        for i in range(-(-n//len(imgs))):
            few = min(len(imgs), n - i*len(imgs))
            x.write(np.roll(imgs, (i % 9 - 4, i//9 % 9 - 4), (1, 2))[:few].tobytes())
            y.write(labels[:few].tobytes())
    for kind, a in ('images-idx3', imgs[:1000]), ('labels-idx1', labels[:1000]):
        head = np.array([0x800 + a.ndim, *a.shape], '>i4').tobytes()
        (folder/f't10k-{kind}-ubyte').write_bytes(head + a.tobytes())


def memory():
    "Bytes of anonymous memory and of file pages of this process."
    found = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
    return [int(found[k].split()[0])*1024 for k in ('RssAnon', 'RssFile')]


def train(folder):
    "Take STEPS steps over random rows; print the highest figures of memory, seen every tenth step."
    import torch
    from mnist_sgd.full_mnist import cross_entropy
    from mnist_sgd.learner import SGD
    from mnist_sgd.datasets import load_rows
    from mnist_sgd.processes import ShardLoader
    from mnist_sgd.simple_net import simple_net
    torch.manual_seed(0)
    (x, y), _ = load_rows(folder)
    net, seen, start = simple_net(), [], time.time()
    opt = SGD(net.parameters(), .1)
    batches = iter(())
    dl = ShardLoader(x, y, BS, seed=0)
    for i in range(STEPS):
        try: xb, yb = next(batches)
        except StopIteration: batches = iter(dl); xb, yb = next(batches)
        cross_entropy(net(xb), yb).backward()
        opt.step(); opt.zero_grad()
        if i % 10 == 0: seen.append(memory())
    anon, file = map(max, zip(*seen))
    print(json.dumps(dict(rows=len(x), anon=anon, file=file, seconds=round(time.time() - start, 1))))


def measure(folder, rows=ROWS):
    "Compare 60,000 rows with so many; the files are deleted afterwards."
    folder, found = Path(folder), {}
    for name, n in ('small', 60_000), ('large', rows):
        try:
            write_rows(folder/name, n)
            found['bytes'] = (folder/name/'train-images-idx3-ubyte').stat().st_size
            done = subprocess.run([sys.executable, __file__, str(folder/name)], capture_output=True, text=True, timeout=300)
            if done.returncode: raise RuntimeError(done.stderr)
            said = json.loads(done.stdout)
        finally: shutil.rmtree(folder/name, ignore_errors=True)
        found |= {'rows': said['rows'], **{f'{k}_{name}': said[k] for k in ('anon', 'file', 'seconds')}}
    return {**found, 'steps': STEPS, 'bs': BS}


if __name__ == '__main__':
    if len(sys.argv) > 1: train(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            if shutil.disk_usage(folder).free < 1.2*SIZE: sys.exit(f'{folder} has no room for {SIZE} bytes')
            found = measure(folder)
        Path(__file__).with_suffix('.json').write_text(json.dumps(found, indent=1) + '\n')
        print(found)
