"""Work G: what a row costs when rows, batches or hidden units grow. Each size is measured in a process of its own.

`python benchmarks/growth.py KIND SIZE [FILE]` measures one: KIND is rows, batch or hidden.
"""
import json, shutil, subprocess, sys, tempfile, threading, time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from mnist_sgd.data import fetch_mnist, load_mnist, read_idx
from mnist_sgd.full_mnist import cross_entropy
from mnist_sgd.learner import DataLoader, DataLoaders, Learner
from mnist_sgd.simple_net import simple_net

SIZES = {'rows': (60_000, 600_000, 6_000_000), 'batch': (32, 128, 512, 2048, 8192), 'hidden': (10, 30, 100, 300, 1000, 3000)}


class Mapped:
    "Batches of a memory-mapped file, bytes to floats a batch at a time; shuffled within blocks, the blocks in random order."
    def __init__(self, x, y, bs, block=65_536):
        self.x, self.y, self.bs, self.block = x.reshape(len(x), -1), y, bs, block

    def __len__(self): return -(-len(self.x)//self.bs)

    def __iter__(self):
        for start in (torch.randperm(-(-len(self.x)//self.block))*self.block).tolist():
            order = start + torch.randperm(min(self.block, len(self.x) - start))
            for rows in order.split(self.bs):
                yield torch.from_numpy(self.x[rows.numpy()]).float().div_(255), self.y.index_select(0, rows).long()


class Memory(threading.Thread):
    "Sample the memory of this process: anonymous pages apart from those of mapped files, highest of each, in MB."
    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.done = {'RssAnon': 0., 'RssFile': 0.}, threading.Event()

    def run(self):
        while not self.done.wait(.02):
            for line in Path('/proc/self/status').read_text().splitlines():
                name = line.split(':')[0]
                if name in self.peak: self.peak[name] = max(self.peak[name], int(line.split()[1])/1024)


def seconds(dl, nh, times):
    "The shortest of `times` epochs of our Learner over `dl`."
    xb, yb = next(iter(dl))
    valid = DataLoader(TensorDataset(xb[:1], yb[:1]), bs=1)
    torch.manual_seed(0)
    learn = Learner(DataLoaders(dl, valid), simple_net(784, nh, 10), cross_entropy, verbose=False)
    best = float('inf')
    for _ in range(times):
        start = time.perf_counter()
        learn.fit(1, .01)
        best = min(best, time.perf_counter() - start)
    return best


def child(kind, size, file):
    "Measure one size; print a line of JSON."
    torch.set_num_threads(1)
    memory = Memory()
    if Path('/proc/self/status').exists(): memory.start()
    torch.manual_seed(0)
    if kind == 'rows':
        x = read_idx(file)
        y = torch.from_numpy(np.resize(read_idx(fetch_mnist()/'train-labels-idx1-ubyte'), len(x)))
        dl, nh, times, n = Mapped(x, y, bs=256), 30, max(2, 240_000//size), len(x)
    else:
        (x, y), _ = load_mnist()
        bs, nh = (size, 30) if kind == 'batch' else (256, size)
        dl, times, n = DataLoader(TensorDataset(x, y), bs=bs, shuffle=True), 3 if nh < 1000 else 1, len(x)
    result = dict(us_a_row=seconds(dl, nh, times)/n*1e6)
    if memory.is_alive():
        memory.done.set(); memory.join()
        result |= dict(anon_mb=memory.peak['RssAnon'], file_mb=memory.peak['RssFile'])
    print(json.dumps(result))


def measure(kind, size, file=''):
    r = subprocess.run([sys.executable, __file__, kind, str(size), str(file)], capture_output=True, text=True, timeout=1200)
    if r.returncode: raise RuntimeError(f'{kind} {size}: {r.stderr.strip().splitlines()[-1]}')
    return json.loads(r.stdout.splitlines()[-1])


def repeated(file, n):
    "Write an IDX file of `n` images: the training images again and again."
    x = read_idx(fetch_mnist()/'train-images-idx3-ubyte')
    with open(file, 'wb') as f:
        f.write(b'\0\0\x08\x03' + b''.join(k.to_bytes(4, 'big') for k in (n, 28, 28)))
        for _ in range(n//len(x)): f.write(x.tobytes())
    return file


def grow(kind):
    "All sizes of one kind; sizes for which there is no room are left out with a word."
    got = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp:
        for size in SIZES[kind]:
            file = ''
            if kind == 'rows':
                free, wanted = shutil.disk_usage(tmp).free, size*784
                if free < 1.1*wanted:
                    print(f'  {size:,} rows need {wanted/1e9:.1f} GB on disk, {free/1e9:.1f} are free: left out', file=sys.stderr)
                    continue
                file = repeated(Path(tmp)/'images', size)
            got.append((size, measure(kind, size, file)))
    sizes = [s for s, _ in got]
    found = {key: [m[key] for _, m in got] for key in got[0][1]}
    exponent = float(np.polyfit(np.log(sizes), np.log(found['us_a_row']), 1)[0]) if len(sizes) > 1 else float('nan')
    return dict(sizes=sizes, exponent=exponent, **found)


def run(quiet):
    "Part G of the store."
    results = {kind: grow(kind) for kind in SIZES}
    text = ['| what grows | from … to | µs a row | exponent | anonymous memory, MB | file-mapped, MB |', '|---|---|---|---|---|---|']
    def span(v): return ', '.join(f'{x:,.0f}' if x >= 100 else f'{x:.1f}' for x in v)
    for kind, g in results.items():
        memory = [span(g[k]) if k in g else '' for k in ('anon_mb', 'file_mb')]
        text.append(f'| {kind} | {", ".join(f"{s:,}" for s in g["sizes"])} | {span(g["us_a_row"])} | {g["exponent"]:.2f} | '
                    + ' | '.join(memory) + ' |')
    return dict(what='time a row and peak memory against size', text=text, results=results, threads=1)


if __name__ == '__main__': child(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else '')
