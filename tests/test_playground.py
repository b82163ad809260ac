"""The playground's arithmetic in a real browser: PyTorch's own numbers, a worker that trains, settings in an address, bad input."""
import base64
import itertools
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from browser import served
from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import cross_entropy
from mnist_sgd.generalize import WeightDecay
from mnist_sgd.learner import DataLoaders, Learner
from mnist_sgd.linear_learner import mnist_loss
from mnist_sgd.pixel_similarity import class_means
from mnist_sgd.playground import pack_digits
from mnist_sgd.sgd_basics import mse
from quick import slow

ROOT = Path(__file__).resolve().parent.parent
STEPS = 50


def packed(a, dtype): return base64.b64encode(np.ascontiguousarray(a, dtype).tobytes()).decode()
def unpacked(text, dtype='<f8'): return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype).copy())


# the same numbers as PyTorch

def combinations():
    "Every model, bend, start and loss that is offered, each with other settings drawn by a seeded chance."
    # pixels to 255 on weights of deviation 1 give sums of thousands, whose last digits in 32 bits are larger than many a loss
    chance, offered = random.Random(0), {'37': ['mnist', 'mse', 'ce'], 'ten': ['mse', 'ce']}
    for task, losses in offered.items():
        for loss, start in itertools.product(losses, ['zeros', 'normal', 'torch']):
            for model, bend in [('linear', 'none'), *itertools.product(['one', 'two'], ['none', 'relu', 'sigmoid'])]:
                yield dict(task=task, loss=loss, start=start, model=model, bend=bend, units=chance.choice([1, 2, 7, 30, 64]),
                           mom=chance.choice([0, 0, .5, .9]), wd=chance.choice([0, 0, .001, .1]), bs=chance.choice([8, 16, 32]),
                           zero=chance.choice(['on', 'on', 'off']), bias=chance.choice(['on', 'on', 'off']),
                           pixels=chance.choice(['1', '1', '1' if start == 'normal' else '255']), spoilt=0, seed=chance.randrange(1000))


def build(s):
    "The model of a setting in PyTorch, with first weights of its own."
    torch.manual_seed(s['seed'])
    bends, last = {'none': nn.Identity, 'relu': nn.ReLU, 'sigmoid': nn.Sigmoid}, 1 if s['task'] == '37' else 10
    widths = [784] + [s['units']]*['linear', 'one', 'two'].index(s['model']) + [last]
    layers = [nn.Linear(a, b, bias=s['bias'] == 'on') for a, b in zip(widths, widths[1:])]
    for p in [p for layer in layers for p in layer.parameters()]:
        if s['start'] == 'zeros': nn.init.zeros_(p)
        if s['start'] == 'normal': nn.init.normal_(p)
    return nn.Sequential(*[part for layer in layers for part in (layer, bends[s['bend']]())][:-1])


def one_hot(preds, targs): return mse(preds, F.one_hot(targs, 10).float())


LOSS = {('37', 'mnist'): mnist_loss, ('37', 'mse'): mse, ('37', 'ce'): F.binary_cross_entropy_with_logits,
        ('ten', 'mse'): one_hot, ('ten', 'ce'): cross_entropy}


class Forgetful(torch.optim.SGD):
    def zero_grad(self, set_to_none=True): pass


def optimizer(s):
    if s['zero'] == 'off': return partial(Forgetful, momentum=s['mom'], weight_decay=s['wd'])
    return partial(WeightDecay, mom=s['mom'], wd=s['wd'])


def rate(s, model, batch, chance):
    "A learning rate at which the first step is a small share of the weights, so that in fifty nothing explodes or wavers."
    loss_func = LOSS[s['task'], s['loss']]
    loss_func(model(batch[0]), batch[1]).backward()
    def size(tensors): return sum(float((t**2).sum()) for t in tensors)**.5
    weights, grads = size(p.detach() for p in model.parameters()), size(p.grad for p in model.parameters())
    model.zero_grad()
    return min(max(weights, 1)/max(grads, 1e-9)*10**chance.uniform(-3.5, -2.5), .3)/(20 if s['zero'] == 'off' else 1)*(1 - s['mom'])/(100 if s['pixels'] == '255' else 1)


def in_rows(model):
    "The parameters as net.js keeps them: for each layer a row an input, then the biases."
    for layer in model:
        if isinstance(layer, nn.Linear):
            bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
            yield torch.cat([layer.weight.t(), bias[None]]).detach().flatten()


PROOF = '''([setting, weights, rows]) => {
    const number = base64 => new Float64Array(Uint8Array.from(atob(base64), c => c.charCodeAt(0)).buffer);
    const set = inkSet(PIXELS_TOLD, LABELS_TOLD, Uint32Array.from(rows.flat()), setting), net = makeNet(setting), losses = [];
    net.layers.forEach((layer, i) => weights.length && layer.p.set(number(weights[i])));
    let first = 0;
    for (const batch of rows) {
        losses.push(trainBatch(net, set, batch.map(() => first++), setting).loss);
    }
    const text = p => { let all = ''; for (const byte of new Uint8Array(p.buffer)) all += String.fromCharCode(byte); return btoa(all); };
    return [losses, net.layers.map(layer => text(layer.p))];
}'''


@pytest.fixture(scope='module')
def proof(chromium):
    "A page that has the arithmetic and 2,000 images, and the images as tensors."
    (x, y), _ = load_mnist()
    page = chromium.new_page()
    page.add_script_tag(path=ROOT/'mnist_sgd'/'page'/'net.js')
    page.evaluate('''([pixels, labels]) => { const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
        window.PIXELS_TOLD = bytes(pixels); window.LABELS_TOLD = bytes(labels); }''',
                  [packed((x[:2000]*255).round(), np.uint8), packed(y[:2000], np.uint8)])
    yield page, x[:2000], y[:2000]
    page.close()


def batches_of(s, y, chance):
    "Rows for fifty batches, of threes and sevens alone if that is the task."
    rows = [i for i, label in enumerate(y.tolist()) if s['task'] == 'ten' or label in (3, 7)]
    return [chance.sample(rows, s['bs']) for _ in range(STEPS)]


def as_tensors(s, x, y, rows):
    xb, yb = x[rows]*(255 if s['pixels'] == '255' else 1), y[rows]
    return xb, (yb == 3).float()[:, None] if s['task'] == '37' else yb


def by_torch(s, model, batches, lr):
    "Train by the Learner; the loss of each step."
    class Note:
        def after_batch(self, learn): losses.append(learn.loss.item())
    losses = []
    learn = Learner(DataLoaders(batches, batches[:1]), model, LOSS[s['task'], s['loss']], optimizer(s), cbs=[Note()], verbose=False)
    learn.fit(1, lr)
    return losses


@pytest.mark.parametrize('nets', [21, slow(105)])
def test_every_net_trains_as_the_learner_does(proof, record_property, nets):
    "Same first weights, same batches: after 50 steps the weights within 1e-4, the first ten losses within 1e-5 of themselves."
    page, x, y = proof
    worst, worst_loss, every = 0, 0, [*enumerate(combinations())]
    assert len(every) == 105
    some = every[::105//nets]               # each fifth has every task, loss, start, model and bend among them
    assert all({s[key] for _, s in some} == {s[key] for _, s in every} for key in ('task', 'loss', 'start', 'model', 'bend', 'zero', 'bias', 'pixels'))
    for n, s in some:
        chance, model = random.Random(n), build(s)
        rows = batches_of(s, y, chance)
        batches = [as_tensors(s, x, y, r) for r in rows]
        s['lr'] = rate(s, model, batches[0], chance)
        first = [packed(p, np.float64) for p in in_rows(model)]
        told, theirs = page.evaluate(PROOF, [s, first, rows])
        losses = by_torch(s, model, batches, s['lr'])
        assert np.isfinite(losses).all(), s
        for a, b in zip(told[:10], losses[:10]):
            worst_loss = max(worst_loss, abs(a - b)/max(abs(b), 1e-3))
            assert abs(a - b) <= 1e-5*abs(b) + 1e-9, (a, b, s)
        for a, b in zip(theirs, in_rows(model)):
            gap = (unpacked(a) - b).abs().max().item()
            assert gap < 1e-4, (gap, s)
            worst = max(worst, gap)
    record_property('measured', f'{nets} nets of the playground, {STEPS} steps each: weights at most {worst:.1e} from the Learner\'s, '
                                f'first ten losses {worst_loss:.1e} of themselves')


@pytest.mark.parametrize('task', ['37', 'ten'])
@pytest.mark.parametrize('bias', ['on', 'off'])
def test_the_nearest_mean_is_that_of_chapter_01(proof, task, bias):
    page, x, y = proof
    s = dict(task=task, model='mean', loss='ce', start='zeros', bend='none', units=1, pixels='1', bias=bias, bs=16, seed=0)
    rows = batches_of(s, y, random.Random(1))
    _, (told,) = page.evaluate(PROOF, [s, [], rows])
    flat = [i for r in rows for i in r]
    seen = torch.tensor(flat)
    if task == '37':
        m7, m3 = class_means(x[seen], (y[seen] == 3).long(), 2)
        weight, shift = (m3 - m7)[:, None], ((m7**2).sum() - (m3**2).sum())[None]/2
    else:
        means = class_means(x[seen], y[seen], 10)
        weight, shift = means.t(), -(means**2).sum(1)/2
    wanted = torch.cat([weight, shift[None]*(bias == 'on')]).flatten()
    assert (unpacked(told) - wanted).abs().max() < 1e-4


DRAWN = """([seed, start]) => { const net = makeNet({task: 'ten', model: 'one', units: 20, bend: 'relu', start, bias: 'on', seed});
    const order = shuffled(Uint32Array.from({length: 50}, (_, i) => i), chance(seed, 'order'));
    const set = spoil({label: new Uint8Array(10000).fill(3)}, {task: 'ten', spoilt: .3, seed});
    return [Array.from(net.layers[0].p), Array.from(order), Array.from(set.spoilt)]; }"""


def test_chance_is_the_seeds_and_as_pytorchs_in_kind(proof):
    "The same seed gives the same numbers, another one others; starts have PyTorch's ranges, orders every row, spoilt labels their share."
    page = proof[0]
    for start in 'torch', 'normal', 'zeros':
        (p, order, labels), again, other = (page.evaluate(DRAWN, [seed, start]) for seed in (5, 5, 6))
        assert [p, order, labels] == again and order != other[1] and labels != other[2] and (p != other[0]) == (start != 'zeros')
        assert sorted(order) == list(range(50)) and order != sorted(order)
        mean, sd = np.mean(p), np.std(p)
        wanted = {'torch': 1/28/3**.5, 'normal': 1, 'zeros': 0}[start]
        assert abs(mean) < 4*wanted/len(p)**.5 + 1e-9 and abs(sd - wanted) < .02*wanted + 1e-9
        if start == 'torch': assert .99/28 < max(np.abs(p)) <= 1/28 + 1e-6
        wrong = np.array(labels)[np.array(labels) != 3]
        assert abs(len(wrong)/10000 - .3) < .02 and abs(np.bincount(wrong, minlength=10)/len(wrong) - 1/9)[[0, 1, 2, *range(4, 10)]].max() < .02


SPOILT_RUN = """([lr, scale]) => { const setting = {task: 'ten', model: 'two', units: 5, bend: 'relu', start: 'normal', bias: 'on', seed: 1, lr,
        mom: 0, wd: 0, loss: 'mse', zero: 'on', pixels: '255', spoilt: 0}, net = makeNet(setting);
    const set = inkSet(PIXELS_TOLD, LABELS_TOLD, Uint32Array.from({length: 64}, (_, i) => i), setting);
    if (scale) net.layers[1].p.fill(NaN);
    for (let i = 0; i < 60; i++) { const told = trainBatch(net, set, set.rows, setting); if (told.trouble) return [i, told.trouble]; } }"""


def test_where_a_number_first_was_none_is_told(proof):
    page = proof[0]
    step, trouble = page.evaluate(SPOILT_RUN, [1e3, 0])
    assert step < 60 and trouble['layer'] in (0, 1, 2) and trouble['what'] in ('the gradient', 'the weights', 'the numbers that come out')
    assert page.evaluate(SPOILT_RUN, [1e-12, 1]) == [0, {'layer': 1, 'what': 'the numbers that come out'}]
    assert page.evaluate(SPOILT_RUN, [1e-12, 0]) is None


# the address

SET = 'address => settingOf(address)'


def test_an_address_gives_its_setting_back(proof):
    page = proof[0]
    page.add_script_tag(path=ROOT/'mnist_sgd'/'page'/'setting.js')
    plain = page.evaluate(SET, '')
    assert plain['told'] == [] and plain['setting'] | {'task': 'ten', 'lr': .1, 'bs': 64, 'units': 30} == plain['setting']
    chance = random.Random(0)
    choices = page.evaluate('CHOICES')
    for _ in range(100):
        s = {name: chance.choice(some) for name, some in choices.items()} | {'seed': chance.randrange(10**9)}
        if s['task'] == 'ten' and s['loss'] == 'mnist': s['loss'] = 'mse'
        if s['model'] == 'mean': s['loss'] = 'ce'
        assert page.evaluate('s => settingOf(addressOf(s))', s) == {'setting': s, 'told': []}


@pytest.mark.parametrize('address, name, taken, says', [
    ('#lr=1e99', 'lr', 500, 'lr cannot be 1e99: 500 is taken.'), ('#lr=-1', 'lr', 1e-5, 'lr cannot be -1: 0.00001 is taken.'),
    ('#lr=0.26', 'lr', .3, 'lr cannot be 0.26: 0.3 is taken.'), ('#units=1000', 'units', 200, 'units cannot be 1000: 200 is taken.'),
    ('#lr=Infinity', 'lr', 500, 'lr cannot be Infinity: 500 is taken.'), ('#lr=NaN', 'lr', .1, 'lr cannot be NaN: 0.1 is taken.'),
    ('#units=', 'units', 30, 'units cannot be : 30 is taken.'), ('#model=cnn', 'model', 'one', 'model cannot be cnn: one is taken.'),
    ('#seed=-7.4', 'seed', 0, 'seed cannot be -7.4: 0 is taken.'), ('#task=ten&loss=mnist', 'loss', 'ce', 'loss cannot be mnist for ten digits: ce is taken.'),
    ('#model=mean&loss=mse', 'loss', 'ce', 'loss plays no part for the nearest mean: ce stands for mse.'),
    ('#rate=3', 'lr', .1, 'rate is nothing that can be chosen.'), ('#__proto__=3', 'lr', .1, '__proto__ is nothing that can be chosen.'),
    ('#bs=3%', 'bs', 64, 'bs cannot be 3%: 64 is taken.'), ('#lr=0.10', 'lr', .1, None)])
def test_nonsense_gets_the_nearest_setting_and_is_told(proof, address, name, taken, says):
    page = proof[0]
    page.add_script_tag(path=ROOT/'mnist_sgd'/'page'/'setting.js')
    told = page.evaluate(SET, address)
    assert (told['setting'][name], told['told']) == (taken, [says] if says else [])


# training in a worker

@pytest.fixture(scope='module')
def training(chromium, tmp_path_factory):
    "A page with a worker that has the digits; `ask` sends it words and gives what it tells, up to a kind."
    folder = tmp_path_factory.mktemp('worker')
    for name in 'net.js', 'worker.js': (folder/name).write_bytes((ROOT/'mnist_sgd'/'page'/name).read_bytes())
    (folder/'index.html').write_text('<!doctype html><title>x</title>')
    (x, y), _ = load_mnist()
    rows = torch.cat([torch.arange(10000), torch.arange(50000, 52000)])
    (folder/'digits.gz').write_bytes(pack_digits(x[rows], y[rows]))
    with served(folder) as url:
        page = chromium.new_page()
        page.goto(url)
        page.evaluate("""async () => {
            const packed = (await fetch('digits.gz')).body.pipeThrough(new DecompressionStream('gzip'));
            const bytes = new Uint8Array(await new Response(packed).arrayBuffer()), n = bytes.length/785;
            const worker = new Worker('worker.js'), told = [];
            let wake = () => {};
            worker.onmessage = e => { told.push(e.data); if (e.data.kind === 'look') worker.postMessage({task: 'drawn'}); wake(); };
            window.ask = async (words, kind) => {
                told.length = 0;
                for (const word of words) worker.postMessage(word);
                while (!told.some(t => t.kind === kind)) await new Promise(go => { wake = go; });
                return told.map(({weights, ...t}) => t);
            };
            await ask([{task: 'data', labels: bytes.slice(0, n), pixels: bytes.slice(n)}], 'ready');
        }""")
        yield lambda words, kind: page.evaluate('([words, kind]) => ask(words, kind)', [words, kind]), y[rows]
        page.close()


PLAIN = dict(task='ten', images=10000, model='one', units=30, bend='relu', start='torch', loss='ce', lr=.1, mom=0, wd=0, bs=64,
             order='shuffled', spoilt=0, pixels='1', zero='on', bias='on', seed=0)


def begin(**other): return {'task': 'begin', 'setting': PLAIN | other}


def test_in_order_one_epoch_says_three_to_every_digit(training):
    "Chapter 03, \"Trained in order\": right on just the share of threes."
    ask, y = training
    *_, end = ask([begin(task='37', model='linear', loss='mnist', lr=1, bs=256, order='sorted'), {'task': 'epochs', 'n': 1}], 'paused')
    held = y[10000:]
    threes, sevens = int((held == 3).sum()), int((held == 7).sum())
    table = end['measured']['table']
    assert [table[str(i)] if isinstance(table, dict) else table[i] for i in range(4)] == [0, sevens, 0, threes]
    assert end['measured']['right'] == threes and abs(threes/(threes + sevens) - .4956) < .03
    *_, mended = ask([begin(task='37', model='linear', loss='mnist', lr=1, bs=256), {'task': 'epochs', 'n': 1}], 'paused')
    assert mended['measured']['right'] > .95*(threes + sevens)


def test_the_same_seed_gives_the_same_run_whatever_is_looked_at(training):
    ask, _ = training
    runs = [ask([begin(seed=seed, units=10), {'task': 'epochs', 'n': 1}], 'paused')[-1]['measured'] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2] and runs[0]['right'] > 1600
    *_, half = ask([begin(seed=3, units=10), {'task': 'steps', 'n': 50}], 'paused')
    assert half['step'] == 50 and half['measured'] != runs[0]
    *_, end = ask([{'task': 'epochs', 'n': 1}], 'paused')
    assert end['measured'] == runs[0] and (end['step'], end['epoch']) == (157, 1)


def test_a_pause_is_heard_and_a_change_of_rate_obeyed(training):
    ask, _ = training
    ask([begin(), {'task': 'epochs', 'n': 10000}], 'look')
    *_, end = ask([{'task': 'pause'}], 'paused')
    assert 0 < end['step'] < 157*10000
    told = ask([{'task': 'change', 'setting': {'lr': 0}}, {'task': 'steps', 'n': 10}], 'paused')
    assert told[-1]['measured'] == end['measured'] and told[-1]['step'] == end['step'] + 10


def test_no_number_stops_the_run_and_it_goes_back(training):
    ask, _ = training
    begun, *_, trouble = ask([begin(model='two', start='normal', loss='mse', lr=500), {'task': 'epochs', 'n': 1}], 'trouble')
    assert trouble['layer'] in (0, 1, 2) and trouble['what'].startswith('the ')
    *_, again = ask([{'task': 'back'}], 'back')
    assert again['measured'] == begun['measured'] and (again['step'], again['epoch']) == (0, 0)
