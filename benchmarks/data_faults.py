#!/usr/bin/env python
"""The same faults on three ways to fetch MNIST: ours, torchvision's `MNIST(download=True)`, fastai's `untar_data`.

    python benchmarks/data_faults.py [FAULT ...]

Prints a Markdown table. A server on 127.0.0.1 plays the hosts; each try runs in a process of its own with an empty
cache and is called hung after 20 seconds. A second call, once the fault is gone, tells what the first left behind; where nothing
is said of it, it brought the right bytes. The last two faults strike a cache that was filled well.
"""
import json, os, re, subprocess, sys, tarfile, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/'tests')]
HANG = 20  # seconds
FAULTS = ('none', '403', '503 with a page', '200 with a page', 'cut short', 'cut short, no length told',
          'right length, wrong bytes', 'stall before headers', 'stall in body', 'trickle in body', 'redirect loop', 'reset', 'cached file cut short', 'cached file with one bit flipped')

OURS = '''
from mnist_sgd import data, folders
from mnist_sgd.idx import have_all
data.IDX.update({k: tuple(v) for k, v in facts.items()})
folders._COUNTS = counts
data.fetch_mnist([url], timeout=5, deadline=10)
good = have_all(data.data_dir()/'mnist_idx')
'''
TORCHVISION = '''
from torchvision.datasets import MNIST
MNIST.mirrors, MNIST.resources = [url], [(name + '.gz', facts[name][2]) for name in facts]
MNIST(where, download=True)
import hashlib
def right(name): return hashlib.sha256(open(f'{where}/MNIST/raw/{name}', 'rb').read()).hexdigest() == facts[name][1]
good = all(map(right, facts))
'''
FASTAI = '''
from fastai.data.external import untar_data
folder = untar_data(url + 'mnist_sample.tgz')
import hashlib
def digest(f): return hashlib.sha256(f.read_bytes()).hexdigest()
good = {str(f.relative_to(folder)): digest(f) for f in folder.rglob('*.png')} == pictures
'''
FRAME = '''
import json, sys
url, where, facts, counts, pictures = json.loads(sys.stdin.read())
{body}
print('right bytes' if good else 'WRONG')
'''


def attempt(body, server, where, digits, pictures):
    "One word or two for what came of a call in a process of its own."
    env = {**os.environ, 'MNIST_SGD_DATA': str(where), 'FASTAI_HOME': str(where), 'PYTHONPATH': str(ROOT), 'TQDM_DISABLE': '1',
           'OMP_NUM_THREADS': '1'}
    told = json.dumps([server.url, str(where), digits.facts, digits.counts, pictures])
    try: done = subprocess.run([sys.executable, '-c', FRAME.format(body=body)], input=told, capture_output=True, text=True,
                               timeout=HANG + 8, env=env)  # 8 to import and unpack
    except subprocess.TimeoutExpired: return f'hang > {HANG} s'
    if done.returncode:
        names = re.findall(r'^(?:\w+\.)*(\w+(?:Error|Exception|Timeout))\b', done.stderr, re.M)
        print(done.stderr[-600:], file=sys.stderr)
        return f'error ({(names or ["?"])[-1]})'
    return 'right bytes' if done.stdout.strip().endswith('right bytes') else 'wrong bytes taken'


def sample(digits, folder):
    "A small mnist_sample.tgz as fastai's, and the hash of each of its pictures."
    from mnist_sgd import data
    from mnist_sgd.idx import sha256
    with digits.use(folder/'cache'): path = data.untar_data(data.URLs.MNIST_SAMPLE, digits.write(folder/'stick'))
    with tarfile.open(folder/'sample.tgz', 'w:gz') as t: t.add(path, 'mnist_sample')
    return (folder/'sample.tgz').read_bytes(), {str(f.relative_to(path)): sha256(f) for f in path.rglob('*.png')}


def damage(where, fault):
    "Do harm to the first file of the cache that holds test labels, or to the first picture."
    file = next(iter([*where.rglob('t10k-labels-idx1-ubyte'), *sorted(where.rglob('*.png'))]))
    raw = bytearray(file.read_bytes())
    if fault == 'cached file cut short': del raw[len(raw)//2:]
    else: raw[len(raw)//2] ^= 1
    file.write_bytes(raw)


def main():
    from faults import Digits
    from mirror import Mirror
    from mnist_sgd.data import fetch_mnist
    digits = Digits(fetch_mnist(), 6000, 1000)
    with tempfile.TemporaryDirectory() as tmp:
        tgz, pictures = sample(digits, Path(tmp))
        files = {**digits.packed, 'mnist_sample.tgz': tgz}
        print('| fault | ours | torchvision | fastai |\n|---|---|---|---|')
        for n, fault in enumerate(sys.argv[1:] or FAULTS):
            cells = []
            for name, body in (('ours', OURS), ('torchvision', TORCHVISION), ('fastai', FASTAI)):
                where = Path(tmp)/f'{n}{name}'
                cached = fault.startswith('cached file')
                with Mirror(files, None if fault == 'none' or cached else fault) as server:
                    first = attempt(body, server, where, digits, pictures)
                    server.fault = None
                    if cached:
                        damage(where, fault)
                        first = attempt(body, server, where, digits, pictures)
                    elif fault != 'none':
                        again = attempt(body, server, where, digits, pictures)
                        if again != 'right bytes': first += f', and {again} when the fault is gone'
                cells.append(first)
            print(f'| {fault} |', ' | '.join(cells), '|', flush=True)


if __name__ == '__main__': main()
