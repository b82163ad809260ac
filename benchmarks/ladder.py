#!/usr/bin/env python
"""Two ladders from `simple_cnn`: the same accuracy sooner, and with fewer weights; one change a rung, each over many seeds.

    python benchmarks/ladder.py                 runs what benchmarks/ladder.json lacks: an interrupted run goes on where it stopped
    python benchmarks/ladder.py --held          the rungs on 10,000 held-out training images, by which all was chosen; three seeds
    python benchmarks/ladder.py --readme        writes the stored tables into README.md beside it (no work is run)
    python benchmarks/ladder.py --device cuda   the same on a GPU, stored beside the other

Counted are seconds of training and of reading the 10,000 test images, in epochs of the loop by hand of work A, which is timed in the
same round; in a round each rung trains from the round's seed. The code of the rungs is told in nbs/08_cnn.ipynb.
"""
import argparse, contextlib, json, os, statistics, time
from datetime import date
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import readme
from mnist_sgd.cnn import predict_shifted, quick_cnn, simple_cnn, smooth_cross_entropy
from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.generalize import Bent, WeightDecay, shift_images
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner

STORE = Path(__file__).with_suffix('.json')


# Nets, as lists of layers

def conv(n_in, n_out, stride=1, pad=1, act=nn.ReLU):
    return nn.Conv2d(n_in, n_out, 3, stride, pad, bias=False), nn.BatchNorm2d(n_out), act()


def dense(n_in, nh=None, act=nn.ReLU):
    "The last layers: from n_in numbers to ten, straight or over nh hidden units."
    if nh is None: return nn.Flatten(), nn.Linear(n_in, 10)
    return nn.Flatten(), nn.Linear(n_in, nh, bias=False), nn.BatchNorm1d(nh), act(), nn.Linear(nh, 10)


def net(*layers, layout=torch.channels_last):
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 28, 28)), *layers).to(memory_format=layout)


def fold(): return nn.PixelUnshuffle(2)
def folded(): return net(fold(), *conv(4, 16), *conv(16, 32, stride=2), *conv(32, 32, stride=2), *dense(512))
def pooled(): return net(fold(), *conv(4, 16), nn.MaxPool2d(2), *conv(16, 32), *conv(32, 32, stride=2), *dense(512))
def hidden(): return net(fold(), *conv(4, 16), nn.MaxPool2d(2), *conv(16, 32), *dense(32*7*7, 64))


def frameless(*ends, widths=(16, 32), act=nn.ReLU, **kwargs):
    "Two convolutions with no padding on the inner 24×24 pixels, then `ends`; with `dense(288, 64)` it is `quick_cnn`."
    one, two = widths
    return net(nn.ZeroPad2d(-2), fold(), *conv(4, one, pad=0, act=act), nn.MaxPool2d(2), *conv(one, two, pad=0, act=act), *ends, **kwargs)


def straight(): return frameless(*dense(288))
def pooled_twice(one, two): return frameless(nn.MaxPool2d(2, ceil_mode=True), *dense(4*two), widths=(one, two))
def soft(act): return frameless(*dense(288, 64, act), act=act)


class HalfPrecision(nn.Module):
    "`quick_cnn` whose convolutions and products run in bfloat16."
    def __init__(self): super().__init__(); self.net = quick_cnn()
    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16): return self.net(x).float()


def fixed_windows():
    "`quick_cnn` whose first windows are the main directions of the patches they look at, and stay as they are."
    model = quick_cnn()
    window, (x, _) = model[4], load_mnist()[0]
    with torch.no_grad():
        patches = nn.functional.unfold(model[:4](x[:2000]), 3).transpose(1, 2).reshape(-1, 36)
        spread, ways = torch.linalg.eigh(torch.cov(patches.T))
        window.weight.copy_((ways/(spread + .01).sqrt()).T.flip(0)[:16].view(16, 4, 3, 3))
    window.weight.requires_grad_(False)
    return model


# What else a recipe can change

class Moved:
    "Batches of a loader, each moved by up to a pixel up or down and left or right."
    def __init__(self, dl): self.dl = dl
    def __len__(self): return len(self.dl)
    def __iter__(self):
        for xb, yb in self.dl: yield shift_images(xb, *(torch.randint(3, (2,)) - 1).tolist()), yb


class LateMean:
    "A callback: at the end the parameters are the mean of those after each fifth step of the last third."
    def before_fit(self, learn): self.k, self.steps, self.n, self.means = 0, len(learn.dls.train), 0, [p.detach().clone() for p in learn.model.parameters()]

    def after_batch(self, learn):
        self.k += 1
        if self.k < self.steps*2/3 or self.k % 5: return
        self.n += 1
        for m, p in zip(self.means, learn.model.parameters()): m.lerp_(p.detach(), 1/self.n)

    def after_fit(self, learn):
        with torch.no_grad():
            for p, m in zip(learn.model.parameters(), self.means): p.copy_(m)


class Momentum:
    "A callback: momentum falls from 0.95 to 0.85 while the rate rises, and rises again, as in fastai."
    def before_fit(self, learn): self.k, self.steps = 0, len(learn.dls.train)

    def before_batch(self, learn):
        self.k += 1
        at = self.k/self.steps
        learn.opt.mom = .95 - .1*(at/.4 if at < .4 else (1 - at)/.6)


# The ladders

START = dict(model=simple_cnn, epochs=3, lr=.1, bs=128, pct_start=.25, smooth=0., share=1., sure=0., wrap=None, opt=partial(SGD, mom=.9),
             cbs=(), threads=2)
SOONER = [  # (what changes, to what)
    ('`simple_cnn` as this chapter trains it, for three epochs', {}),
    ('2×2 pixels as four channels, windows of 3×3 over them', dict(model=folded)),
    ('the largest of 2×2 answers in place of a stride', dict(model=pooled)),
    ('64 hidden units in place of the third convolution', dict(model=hidden)),
    ('no frame: not the outer two pixels, and no padding', dict(model=quick_cnn)),
    ('smooth labels, by 0.1', dict(smooth=.1)),
    ('one epoch', dict(epochs=1)),
    ('a rate up to 0.5, not 0.1', dict(lr=.5)),
    ('the rate rises for 0.4 of the run, not 0.25', dict(pct_start=.4)),
    ('images read without a sure answer are read again, moved by a pixel', dict(sure=.8)),
    ('three quarters of the images, each once', dict(share=.75)),
    ('batches of 96, not 128', dict(bs=96))]
FEWER = [
    ('`simple_cnn` as this chapter trains it, six epochs', dict(epochs=6, threads=1)),
    ('the net of the ladder above, with no hidden units', dict(model=straight)),
    ('the largest of 2×2 answers at the end too', dict(model=partial(pooled_twice, 16, 32))),
    ('half as many channels, 8 and 16', dict(model=partial(pooled_twice, 8, 16))),
    ('twenty epochs, at a rate up to 0.3', dict(epochs=20, lr=.3)),
    ('each batch moved by up to a pixel each way', dict(wrap=Moved)),
    ('images read without a sure answer are read again, moved by a pixel', dict(sure=.8))]
TRIES = [  # one change of the first ladder's last rung: a rung taken back, to see what it is worth there; then what was kept out
    ('the last rung without smooth labels', dict(smooth=0.)), ('with a rate up to 0.1', dict(lr=.1)),
    ('with a rate that rises for 0.25 of the run', dict(pct_start=.25)), ('with nothing read again', dict(sure=0.)),
    ('bfloat16', dict(model=HalfPrecision)), ('batches of 64', dict(bs=64)), ('batches of 256, at twice the rate', dict(bs=256, lr=1.)),
    ('channels not last', dict(model=lambda: quick_cnn().to(memory_format=torch.contiguous_format))),
    ('GELU for ReLU', dict(model=partial(soft, nn.GELU))), ('SiLU for ReLU', dict(model=partial(soft, nn.SiLU))),
    ('first windows that are fixed, the main directions of patches', dict(model=fixed_windows)),
    ('the mean of the weights of the last third', dict(cbs=(LateMean,))),
    ('momentum that falls from 0.95 to 0.85 and rises again', dict(cbs=(Momentum,))),
    ('weight decay of 0.001', dict(opt=partial(WeightDecay, mom=.9, wd=.001))),
    ("bent images, chapter 07's", dict(wrap=Bent)), ('one thread', dict(threads=1))]
LADDERS = {'sooner': (SOONER, 10, 30), 'tries': (TRIES, 10, 10), 'fewer': (FEWER, 10, 10)}  # seeds of each rung, of the last


def rungs(name):
    "[(what changes, the whole recipe)] of a ladder, or of the tries, each of which starts from the last rung."
    found, recipe = [], START if name != 'tries' else rungs('sooner')[-1][1]
    for what, change in LADDERS[name][0]:
        found.append((what, recipe | change))
        if name != 'tries': recipe = found[-1][1]
    return found


def multiply_adds(model):
    "Products on the way of one image through the convolutions and linear layers of a model."
    total = []
    def count(layer, _, out): total.append(out.numel()*layer.weight[0].numel())
    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with torch.no_grad(): model.eval()(torch.zeros(1, 784))
    for hook in hooks: hook.remove()
    return sum(total)


def can(recipe, device):
    "Why a recipe cannot run here, or nothing."
    lacking = recipe['model'] is HalfPrecision and device == 'cpu' and not has_bfloat16()
    return 'this processor has no bfloat16' if lacking else ''


def has_bfloat16():
    try: return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError): return False


def cores(): return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def train(recipe, seed, x, y, vx, vy):
    "(seconds of training and reading, accuracy on vx) of one run on the device of x."
    r = argparse.Namespace(**recipe)
    torch.manual_seed(seed)
    model, rows = r.model().to(x.device), torch.randperm(len(x))[:int(len(x)*r.share)].to(x.device)
    if r.share < 1: x, y = x[rows], y[rows]
    dl, few = DataLoader(TensorDataset(x, y), bs=r.bs, shuffle=True), DataLoader(TensorDataset(x[:1], y[:1]), bs=1)
    loss_func = partial(smooth_cross_entropy, smooth=r.smooth) if r.smooth else cross_entropy
    learn = Learner(DataLoaders(r.wrap(dl) if r.wrap else dl, few), model, loss_func, r.opt, cbs=[cb() for cb in r.cbs], verbose=False)
    with threads(r.threads):
        start = now(x.device)
        learn.fit_one_cycle(r.epochs, r.lr, r.pct_start)
        answers = predict_shifted(learn.predict, vx, r.sure) if r.sure else learn.predict(vx)
        return now(x.device) - start, accuracy(answers, vy.cpu()).item()


@contextlib.contextmanager
def threads(n):
    "As many threads, or as many as there are cores if these are fewer."
    before = torch.get_num_threads()
    torch.set_num_threads(min(n, cores()))
    try: yield
    finally: torch.set_num_threads(before)


def now(device):
    "The clock, when all that was asked of the device is done."
    if device.type == 'cuda': torch.cuda.synchronize(device)
    return time.perf_counter()


def held_out(names, seeds=3):
    "Print how each rung does on 10,000 training images that are held out."
    (x, y), _ = load_mnist()
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(42))
    rows, held = order[:50_000], order[50_000:]
    for name in names:
        for what, recipe in rungs(name):
            if why := can(recipe, 'cpu'): print(f'left out, {why}: {what}'); continue
            found = [train(recipe, seed, x[rows], y[rows], x[held], y[held]) for seed in range(seeds)]
            print(f'{mean_sd([a for _, a in found])} {statistics.median(s for s, _ in found):6.2f} s  {what}', flush=True)


# Rounds and tables

def climb(names, device, store):
    "Run what the store lacks, round after round; it is written after each round."
    import peers
    from speed import machine, quiet, versions
    work, (x, y), (vx, vy) = peers.work_a(), *load_mnist()
    data = [t.to(device) for t in (x, y, vx, vy)]
    part = store.setdefault(device, {})
    if torch.device(device).type == 'cuda': part['card'] = torch.cuda.get_device_name(device)
    for name in names:
        _, seeds, last = LADDERS[name]
        steps, runs = rungs(name), part.setdefault(name, {})
        for _, recipe in steps:                          # the first call of a kind of layer prepares it
            if not can(recipe, device): train(recipe, 0, data[0][:600], data[1][:600], data[2][:600], data[3][:600])
        for seed in range(last):
            asked = [s for k, s in enumerate(steps) if (seed < seeds or k == len(steps) - 1) and len(runs.get(s[0], [])) <= seed]
            if not asked: continue
            with quiet(): loop = peers.hand(work)[0]
            for what, recipe in asked:
                if why := can(recipe, device):
                    if not seed: print(f'left out, {why}: {what}')
                    continue
                seconds, acc = train(recipe, seed, *data)
                runs.setdefault(what, []).append([round(seconds, 4), round(seconds/loop, 4), round(acc, 4)])
            part |= dict(date=str(date.today()), machine=machine(), versions=versions())
            STORE.write_text(json.dumps(store, indent=1) + '\n')
            print(f'{name}: round {seed + 1} of {last}', flush=True)


def mean_sd(values, digits=4):
    sd = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''     # an interrupted run may have one seed
    return f'{statistics.mean(values):.{digits}f}{sd}'


def apart(before, after, digits=2):
    "The difference of two means with its standard error."
    if min(len(before), len(after)) < 2: return f'{statistics.mean(after) - statistics.mean(before):+.{digits}f}'
    error = (statistics.variance(before)/len(before) + statistics.variance(after)/len(after))**.5
    return f'{statistics.mean(after) - statistics.mean(before):+.{digits}f} ± {error:.{digits}f}'


def table(name, runs):
    "A ladder's rows, or the tries', each beside the step before, or beside the last rung."
    columns = 'what changes, multiply-adds, weights, epochs of the loop, against the step before, accuracy in %, against the step before, seeds'.split(', ')
    if name == 'fewer': columns[3:5] = []                # its seconds are of no interest: it may run beside other work
    lines = [f'| {" | ".join(columns)} |', '|'.join(['', *('---' for _ in columns), ''])]
    if name == 'tries': lines[0] = lines[0].replace('the step before', 'the last rung')
    before = runs.get('last')
    for what, recipe in rungs(name):
        if not (found := runs.get(what)): lines.append(f'| {what}, not run here {"| "*len(columns)}'.rstrip()); continue
        (loops, accs), model = [[r[k]*(1 if k == 1 else 100) for r in found] for k in (1, 2)], recipe['model']()
        told = ['', '']
        if before: told = [apart(b, a) for b, a in zip(before, (loops, accs))]
        cells = [what, f'{multiply_adds(model):,}', f'{sum(p.numel() for p in model.parameters()):,}', mean_sd(loops, 2), told[0],
                 mean_sd(accs, 2), told[1], str(len(found))]
        if name == 'fewer': cells[3:5] = []
        lines.append(f'| {" | ".join(cells)} |')
        if name != 'tries': before = loops, accs
    return lines


WORDS = {'sooner': '**As right, sooner.** Two threads; training, and reading the test images.',
         'tries': '**The last rung with one thing changed.** First some rungs taken back, to see what each is worth at the end; then what was tried and kept out. '
                  'Half the size first (14×14) is no try of its own: folded pictures have that size, and four channels.',
         'fewer': '**As right, with fewer weights.**'}


def report(store):
    "The tables of each device."
    lines = []
    for part in store.values():
        lines += [f'{part["date"]}; {part.get("card", part["machine"])}; torch {part["versions"]["torch"]}. ± after a mean is the sd over seeds, '
                  'after a difference its standard error.', '']
        for name in LADDERS:
            if name not in part: continue
            runs = dict(part[name])
            if name == 'tries':
                last = part['sooner'][SOONER[-1][0]]
                runs['last'] = [r[1] for r in last], [100*r[2] for r in last]
            lines += [WORDS[name], '', *table(name, runs), '']
    return '\n'.join(lines).strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('ladders', nargs='*', metavar='LADDER', help=f'{", ".join(LADDERS)}; default: all')
    p.add_argument('--device', default='cpu')
    p.add_argument('--held', action='store_true', help='measure on held-out training images, store nothing')
    p.add_argument('--anew', action='store_true', help='forget what is stored of these ladders on this device')
    p.add_argument('--readme', action='store_true', help='only write the stored tables into benchmarks/README.md')
    args = p.parse_args()
    store = json.loads(STORE.read_text()) if STORE.exists() else {}
    if args.readme: return readme.write('ladder', report(store))
    names = args.ladders or list(LADDERS)
    if bad := [n for n in names if n not in LADDERS]: p.error(f'no ladder {bad[0]!r}: choose from {", ".join(LADDERS)}')
    if torch.device(args.device).type == 'cuda' and not torch.cuda.is_available(): p.error('0 GPUs are here, wanted 1: leave out --device')
    if cores() < 2: print('this machine has 1 core: all run on 1 thread')
    if args.held: return held_out(names)
    if args.anew:
        for n in names: store.get(args.device, {}).pop(n, None)
    torch.set_num_threads(1)
    climb(names, args.device, store)


if __name__ == '__main__': main()
