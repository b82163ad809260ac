"""Checkpoints that are damaged, of another run, or written by two: refused with one sentence, and nothing changes."""
import json, os, random, time
from functools import partial

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save
from torch import nn

from mnist_sgd.checkpoints import Checkpoint, _seal
from mnist_sgd.files import load_tensors
from mnist_sgd.learner import SGD, DataLoaders
from mnist_sgd.processes import ShardLearner, ShardLoader
from quick import slow


def make(file=None, resume=True, opt=partial(SGD, mom=.9), n=20, x=None, **changed):
    "A small run: 20 rows of 4 numbers, 3 batches an epoch, dropout, momentum."
    g = torch.Generator().manual_seed(0)
    rows, y = torch.rand(n, 4, generator=g), torch.arange(n) % 3
    dl = ShardLoader(rows if x is None else x, y, 8, seed=0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(.1), nn.Linear(5, 3))
    cbs = [Checkpoint(file, every=2, resume=resume)] if file else []
    learn = ShardLearner(DataLoaders(dl, ShardLoader(rows, y, 8)), net, nn.functional.cross_entropy, opt, lr=.1, verbose=False, cbs=cbs)
    for k, v in changed.items(): setattr(learn, k, v)
    return learn


class Stop:
    "A callback: stop in the second epoch, after two batches of three."
    def after_batch(self, learn):
        if learn.epoch == 1 and learn.dls.train.batch == 2: raise KeyboardInterrupt


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    "The bytes of a checkpoint in the middle of an epoch."
    file = tmp_path_factory.mktemp('run')/'c'
    learn = make(file, resume=False)
    learn.cbs.append(Stop())
    with pytest.raises(KeyboardInterrupt): learn.fit(3)
    return file.read_bytes()


def parts(content, tmp_path):
    "Tensors, run and words of a checkpoint."
    (tmp_path/'whole').write_bytes(content)
    tensors, said = load_tensors(tmp_path/'whole')
    return tensors, json.loads(said['run'])


def state(learn):
    "All that a refused file may not change."
    return [*(p.clone() for p in learn.model.parameters()), *[s for s in learn.opt.sums if s is not None], torch.get_rng_state(),
            torch.tensor([learn.start, learn.dls.train.epoch, learn.dls.train.first, len(learn.recorder.lrs), len(learn.recorder.values)])]


def same(a, b): return len(a) == len(b) and all(map(torch.equal, a, b))


def test_a_run_that_stopped_goes_on_to_the_bit(content, tmp_path):
    (tmp_path/'c').write_bytes(content)
    (resumed := make(tmp_path/'c')).fit(3)
    (undisturbed := make()).fit(3)
    assert all(map(torch.equal, resumed.model.parameters(), undisturbed.model.parameters()))
    assert resumed.recorder.values == undisturbed.recorder.values


# ten thousand damaged files, a thousand in the quick run

def damage(content, chance):
    "The bytes with something done to them, and what it was."
    kind, data = chance.choice(['bit', 'bytes', 'cut', 'grown', 'moved', 'header', 'zeros']), bytearray(content)
    at = chance.randrange(len(data))
    if kind == 'bit': data[at] ^= 1 << chance.randrange(8)
    elif kind == 'bytes':
        for _ in range(chance.randrange(1, 30)): data[chance.randrange(len(data))] = chance.randrange(256)
    elif kind == 'cut': del data[at:]
    elif kind == 'grown': data[at:at] = chance.randbytes(chance.randrange(1, 50))
    elif kind == 'moved': data = data[at:] + data[:at]
    elif kind == 'zeros': data[at:at + 64] = bytes(len(data[at:at + 64]))
    else:
        head = 8 + int.from_bytes(data[:8], 'little')
        for _ in range(chance.randrange(1, 4)): data[chance.randrange(head)] = chance.choice(b'0123456789-+eE"{}[],:.\\ \x00\xffNatul')
    return bytes(data), kind


@pytest.mark.parametrize('n', [1000, slow(10_000)])
def test_damaged_files_are_refused_and_change_nothing(content, tmp_path, n):
    chance, file, refused, start = random.Random(0), tmp_path/'c', 0, time.time()
    learn = make()
    learn._prepare(None)
    keep, before = Checkpoint(file, resume=True), state(learn)
    for i in range(n):
        data, kind = damage(content, chance)
        if data == content: continue
        file.write_bytes(data)
        try: keep.load(learn)
        except (ValueError, OSError) as e:
            refused += 1
            assert str(file) in str(e), e
        else: pytest.fail(f'damage {i} ({kind}) was taken for the run')
        if not i % 100: assert same(state(learn), before), kind
    assert same(state(learn), before) and refused > .98*n
    file.write_bytes(content)
    keep.load(learn)
    assert not same(state(learn), before), 'the whole file is taken'
    assert time.time() - start < 300


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(), st.text(max_size=5), st.lists(st.integers(-9, 9), max_size=3),
                   st.lists(st.lists(st.floats(), max_size=3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(['epoch', 'batch', 'values', 'iters', 'facts', 'all']), value=VALUES)
def test_fields_of_any_kind_are_refused_though_sealed(content, tmp_path_factory, field, value):
    tmp_path = tmp_path_factory.mktemp('fields')
    tensors, run = parts(content, tmp_path)
    text = json.dumps(value if field == 'all' else {**run, field: value})
    if json.loads(text) == run: return
    if field == 'values' and isinstance(value, list) and [len(r) for r in value if isinstance(r, list)] == [2]: return    # a record like any
    (tmp_path/'c').write_bytes(save(tensors, {'run': text, 'seal': _seal(tensors, text)}))
    learn = make(tmp_path/'c')
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(ValueError, match='c (is no whole checkpoint|was written with)'): learn.fit(3)
    assert all(map(torch.equal, learn.model.parameters(), before))


@pytest.mark.parametrize('name, change, message', [
    ('rank.rng', lambda t: t*0, 'no whole checkpoint'), ('rank.rng', lambda t: t[:, :-1].contiguous(), 'rank.rng has shape'),
    ('rank.avg', lambda t: t.repeat(2), 'rank.avg has shape'), ('losses', lambda t: t[:-1].clone(), 'losses has shape'),
    ('lrs', lambda t: t[None].clone(), 'lrs has shape'), ('opt.0.sum', lambda t: t[:1].clone(), 'opt.0.sum has shape'),
    ('model.0.bias', lambda t: t*torch.nan, 'NaN or infinite'),
    ('model.0.bias', lambda t: t.double(), 'type torch.float64'), ('model.0.bias', lambda t: t[:2].clone(), r'shape \(2,\), this net \(5,\)'),
    ('model.0.bias', None, 'shape None'), ('losses', None, 'no whole checkpoint'), ('opt.77.sum', lambda _: torch.ones(2), '4 parameters'),
    ('opt.x.sum', lambda _: torch.ones(2), 'no whole checkpoint'), ('opt.0', lambda _: torch.ones(2), 'no whole checkpoint')])
def test_tensors_that_do_not_fit_are_refused_though_sealed(content, tmp_path, name, change, message):
    tensors, run = parts(content, tmp_path)
    if change: tensors[name] = change(tensors.get(name))
    else: del tensors[name]
    text = json.dumps(run)
    (tmp_path/'c').write_bytes(save(tensors, {'run': text, 'seal': _seal(tensors, text)}))
    learn = make(tmp_path/'c')
    learn._call = lambda event: None            # an optimizer, no file read yet
    learn._prepare(None)
    before = state(learn)
    with pytest.raises(ValueError, match=message): Checkpoint(tmp_path/'c', resume=True).load(learn)
    assert same(state(learn), before)


@pytest.mark.parametrize('what', ['weight', 'momentum'])
def test_a_run_that_has_lost_its_numbers_keeps_the_last_good_checkpoint(tmp_path, what):
    class Spoil:
        def after_batch(self, learn):
            if learn.epoch != 1: return
            t = learn.model[0].bias.data if what == 'weight' else learn.opt.sums[1]
            t.fill_(torch.nan)
    learn = make(tmp_path/'c', resume=False)
    learn.cbs.insert(0, Spoil())
    with pytest.raises(ValueError, match='this run has .* that are NaN or infinite'): learn.fit(3)
    (again := make(tmp_path/'c')).fit(3)
    assert again.start == 1 and all(torch.isfinite(p).all() for p in again.model.parameters())


# another run

OTHER = {
    'digest of the data': dict(x=torch.rand(20, 4)), 'digest of the data, one pixel': None, 'rows': dict(n=21),
    'optimizer': dict(opt=partial(SGD, mom=.8)), 'optimizer, another kind': dict(opt=lambda p, lr: torch.optim.Adam(p, lr=lr)),
    'optimizer, decay': dict(opt=lambda p, lr: torch.optim.SGD(p, lr=lr, weight_decay=.1)), 'rate': dict(lr=.2),
    'loss': dict(batch_loss=nn.functional.multi_margin_loss),
    'net': dict(model=nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(.1), nn.Linear(5, 3))),
    'net, dropout': dict(model=nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(.2), nn.Linear(5, 3))), 'schedule': 'one cycle'}


@pytest.mark.parametrize('what', OTHER)
def test_a_run_goes_on_only_with_what_it_began_with(content, tmp_path, what):
    (tmp_path/'c').write_bytes(content)
    other = OTHER[what]
    if other is None:
        x = make().dls.train.x.clone()
        x[11, 2] += .01
        other = dict(x=x)
    learn = make(tmp_path/'c', **({} if other == 'one cycle' else other))
    before = [p.clone() for p in learn.model.parameters()]
    word = {'rate': 'optimizer', 'rows': 'rows'}.get(what, 'optimizer' if other == 'one cycle' else what.split(',')[0])
    with pytest.raises(ValueError, match=f'was written with {word} .* this run has {word} '):
        learn.fit_one_cycle(3) if other == 'one cycle' else learn.fit(3)
    assert all(map(torch.equal, learn.model.parameters(), before))
    assert (tmp_path/'c').read_bytes() == content


def test_the_same_rows_from_a_file_are_the_same_data(tmp_path):
    "Bytes in a file and the floats made of them have one digest: a run may go on with either."
    imgs = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8)
    def run(x, epochs):
        learn = make(tmp_path/'c', x=x)
        torch.manual_seed(0)
        learn.model = nn.Linear(784, 3)
        learn.dls.valid.x = x
        learn.fit(epochs)
        return learn
    run(imgs.float().div(255).flatten(1), 1)
    assert run(imgs.numpy(), 2).start == 1


# two runs on one file

def test_the_second_of_two_runs_on_one_file_is_told(tmp_path):
    one, two = make(tmp_path/'c'), make(tmp_path/'c')
    one._prepare(None)
    two.fit(1)
    kept = (tmp_path/'c').read_bytes()
    with pytest.raises(ValueError, match='was written by another run: give each run a file of its own'): one.cbs[0].after_epoch(one)
    assert (tmp_path/'c').read_bytes() == kept


def test_a_checkpoint_never_writes_over_what_it_did_not_read(tmp_path):
    keep = Checkpoint(tmp_path/'c')
    (tmp_path/'c').write_text('somebody else came first')
    learn = make()
    learn._prepare(None)
    with pytest.raises(ValueError, match='written by another run'): keep.save(learn)
    assert (tmp_path/'c').read_text() == 'somebody else came first'


@pytest.mark.parametrize('kind', ['folder', 'pipe', 'link'])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind):
    file = tmp_path/'c'
    if kind == 'folder': file.mkdir()
    elif os.name != 'posix': pytest.skip('Windows has no pipes among its files, and links for the privileged alone')
    elif kind == 'pipe': os.mkfifo(file)
    else: file.symlink_to(tmp_path/'elsewhere')
    with pytest.raises(ValueError, match=f'is a {kind}'): make(file).fit(1)
    assert not (tmp_path/'elsewhere').exists()
