"""An epoch of the playground in a real browser against our Learner on one thread, taking turns in one run: a ratio.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/playground.py    measure anew; kept in benchmarks/playground.json, told in README.md

10,000 digits, 784-30-10, batches of 64, measured on 2,000 others after each epoch; the page itself, which shows curves, sizes,
weights and one digit's way up to 30 times a second."""
import datetime, json, statistics, sys, tempfile, time
from pathlib import Path

import torch
from playwright.sync_api import expect
from torch.utils.data import TensorDataset

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'))
from browser import chromium, served  # noqa: E402
import readme  # noqa: E402

from mnist_sgd.data import load_mnist  # noqa: E402
from mnist_sgd.full_mnist import accuracy, cross_entropy  # noqa: E402
from mnist_sgd.learner import DataLoader, DataLoaders, Learner  # noqa: E402
from mnist_sgd.playground import write_playground  # noqa: E402
from mnist_sgd.simple_net import simple_net  # noqa: E402

EPOCHS, ROUNDS = 5, 7
RUN = '''n => new Promise(go => { const start = performance.now(), draw = showRun, told = heard.paused;
    let pictures = 0;
    window.showRun = all => { pictures++; draw(all); };
    heard.paused = message => { told(message); window.showRun = draw; heard.paused = told;
        const seconds = (performance.now() - start)/1000;
        go([seconds/n, pictures/seconds, message.measured.right/message.measured.n]); };
    train('epochs', n); })'''


def main():
    torch.set_num_threads(1)
    (x, y), _ = load_mnist()
    train, held = slice(0, 10000), slice(50000, 52000)
    dls = DataLoaders(DataLoader(TensorDataset(x[train], y[train]), bs=64, shuffle=True),
                      DataLoader(TensorDataset(x[held], y[held]), bs=1000))
    torch.manual_seed(0)
    learn = Learner(dls, simple_net(), cross_entropy, metrics=accuracy, verbose=False)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        write_playground(Path(folder)/'play')
        with served(Path(folder)/'play') as url:
            page, ratios, ours, theirs = browser.new_page(), [], [], []
            page.goto(url)
            expect(page.locator('#status')).to_contain_text('Ready', timeout=60_000)
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
