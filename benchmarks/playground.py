"""An epoch of the playground in a real browser against our Learner on one thread, taking turns in one run: a ratio.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/playground.py    measure anew; kept in benchmarks/playground.json, told in README.md

10,000 digits, 784-30-10, batches of 64, measured on 2,000 others after each epoch; the worker sends all its weights 30 times a
second, and the page draws 30 of them as pictures."""
import datetime, json, statistics, sys, tempfile, time
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'))
from browser import chromium, served  # noqa: E402
import readme  # noqa: E402

from mnist_sgd.data import load_mnist  # noqa: E402
from mnist_sgd.full_mnist import accuracy, cross_entropy  # noqa: E402
from mnist_sgd.learner import DataLoader, DataLoaders, Learner  # noqa: E402
from mnist_sgd.playground import pack_digits  # noqa: E402
from mnist_sgd.simple_net import simple_net  # noqa: E402

EPOCHS, ROUNDS = 5, 7
PAGE = '''<!doctype html><title>x</title><body><script>
function picture(weights, unit, nOut, canvas) {
  const image = new ImageData(28, 28), most = .2;
  for (let p = 0; p < 784; p++) {
    const grey = 127.5 - 127.5*Math.max(-1, Math.min(1, weights[p*nOut + unit]/most));
    image.data.set([grey, grey, grey, 255], 4*p);
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}
const canvases = Array.from({length: 30}, () => Object.assign(document.body.appendChild(document.createElement('canvas')), {width: 28, height: 28}));
const worker = new Worker('worker.js');
let pictures = 0, wake = {};
worker.onmessage = ({data: told}) => {
  if (told.kind === 'look') { canvases.forEach((canvas, unit) => picture(told.weights[0], unit, 30, canvas)); pictures++; worker.postMessage({task: 'drawn'}); }
  else if (wake[told.kind]) wake[told.kind](told);
};
function ask(words, kind) { return new Promise(go => { wake = {[kind]: go}; words.forEach(word => worker.postMessage(word)); }); }
</script>'''
LOAD = '''async () => {
    const bytes = new Uint8Array(await new Response((await fetch('digits.gz')).body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer());
    const n = bytes.length/785;
    await ask([{task: 'data', labels: bytes.slice(0, n), pixels: bytes.slice(n)}], 'ready');
    await ask([{task: 'begin', setting: {task: 'ten', images: 10000, model: 'one', units: 30, bend: 'relu', start: 'torch', loss: 'ce',
        lr: .1, mom: 0, wd: 0, bs: 64, order: 'shuffled', spoilt: 0, pixels: '1', zero: 'on', bias: 'on', seed: 0}}], 'begun');
}'''
RUN = '''async n => { const start = performance.now(), before = pictures, end = await ask([{task: 'epochs', n}], 'paused');
    return [(performance.now() - start)/1000/n, (pictures - before)/(performance.now() - start)*1000, end.measured.right/end.measured.n]; }'''


def main():
    torch.set_num_threads(1)
    (x, y), _ = load_mnist()
    train, held = slice(0, 10000), slice(50000, 52000)
    dls = DataLoaders(DataLoader(TensorDataset(x[train], y[train]), bs=64, shuffle=True),
                      DataLoader(TensorDataset(x[held], y[held]), bs=1000))
    torch.manual_seed(0)
    learn = Learner(dls, simple_net(), cross_entropy, metrics=accuracy, verbose=False)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        folder = Path(folder)
        for name in 'net.js', 'worker.js': (folder/name).write_bytes((ROOT/'mnist_sgd'/'page'/name).read_bytes())
        (folder/'index.html').write_text(PAGE)
        (folder/'digits.gz').write_bytes(pack_digits(torch.cat([x[train], x[held]]), torch.cat([y[train], y[held]])))
        with served(folder) as url:
            page, ratios, ours, theirs = browser.new_page(), [], [], []
            page.goto(url)
            page.evaluate(LOAD)
            learn.fit(1, .1); page.evaluate(RUN, 1)                           # both warm
            for _ in range(ROUNDS):
                start = time.perf_counter()
                learn.fit(EPOCHS, .1)
                ours.append((time.perf_counter() - start)/EPOCHS)
                seconds, rate, right = page.evaluate(RUN, EPOCHS)
                theirs.append(seconds)
                ratios.append(seconds/ours[-1])
    told = statistics.median
    store = dict(date=str(datetime.date.today()), learner=told(ours), page=told(theirs), ratio=told(ratios), lowest=min(ratios),
                 highest=max(ratios), rounds=ROUNDS, pictures=rate)
    (ROOT/'benchmarks'/'playground.json').write_text(json.dumps(store, indent=0) + '\n')
    text = (f'{store["date"]}: Learner {told(ours):.3f} s, page {told(theirs):.3f} s, ratio {told(ratios):.2f} ({min(ratios):.2f} to '
            f'{max(ratios):.2f}) of {ROUNDS} rounds, {rate:.0f} redrawings a second.')
    readme.write('playground', text)
    print(f'{text} Right on {right:.3f} and {learn.recorder.values[-1][2]:.3f}')


if __name__ == '__main__': main()
