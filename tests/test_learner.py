"""Whatever is done to a Learner, it stays as a reader expects: an error is raised at each callback and at each line."""
import copy, inspect, itertools, linecache, pickle, random, sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, IterableDataset, TensorDataset

from mnist_sgd import columns, guards, learner, logbook, runner
from mnist_sgd.full_mnist import accuracy, confusion_matrix, cross_entropy, top_losses
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner, OneCycle
from mnist_sgd.linear_learner import BasicOptim, batch_accuracy, mnist_loss
from mnist_sgd.processes import ShardLoader
from mnist_sgd.scaling import HandNet
from mnist_sgd.simple_net import simple_net
from quick import slow

OURS = {m.__file__ for m in (columns, guards, learner, logbook, runner)}
CLEANING = {'_tidy', '__exit__'}     # these put things in order: whoever breaks them off has broken them off


class Stop(Exception): pass
class Net(nn.Sequential):
    "Linear, batch norm and dropout: each remembers, counts or draws."
    def __init__(self): super().__init__(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(.3), nn.Linear(6, 3))


def data(n=12):
    torch.manual_seed(0)
    return torch.randn(n, 4), torch.arange(n) % 3


def make(cbs=(), dl=None, **kwargs):
    x, y = data()
    dls = DataLoaders(DataLoader(list(zip(x, y)), bs=5, shuffle=True) if dl is None else dl, DataLoader(list(zip(x, y)), bs=5))
    return Learner(dls, Net(), cross_entropy, metrics=accuracy, cbs=cbs, **{'lr': .1, 'verbose': False, **kwargs})


class Saboteur:
    "Raise `error` at the n-th line that runs in our modules, outside of what cleans up."
    def __init__(self, n, error): self.n, self.error, self.seen = n, error, 0

    def lines(self, frame, event, arg):
        here = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == 'line' and not here.startswith('finally:'):
            self.seen += 1
            if self.seen == self.n: raise self.error
        return self.lines

    def calls(self, frame, event, arg):
        code = frame.f_code
        if code.co_filename not in OURS or code.co_name in CLEANING: return None
        if code.co_name in ('measuring', 'as_found'): return self.before_cleaning(code)
        return self.lines

    def before_cleaning(self, code):
        text, start = inspect.getsourcelines(code)
        last = start + next(i for i, line in enumerate(text) if line.strip().startswith('finally:'))
        return lambda frame, event, arg: self.lines(frame, event, arg) and self.before_cleaning(code) \
            if frame.f_lineno < last else self.before_cleaning(code)

    def __enter__(self): sys.settrace(self.calls)
    def __exit__(self, *error): sys.settrace(None)


def modes(learn): return [m.training for m in learn.model.modules()]
def states(): return torch.get_rng_state(), np.random.get_state()[1], random.getstate()
def same(a, b): return all(np.array_equal(np.asarray(p, object if isinstance(p, tuple) else None),
                                          np.asarray(q, object if isinstance(q, tuple) else None)) for p, q in zip(a, b))


def whole(learn, cbs=()):
    "It keeps no batch, graph or gradient; it can be copied, pickled, trained and asked."
    assert (learn.xb, learn.yb, learn.preds, learn.loss) == (None,)*4 and learn.cbs == list(cbs)
    assert all(p.grad is None for p in learn.model.parameters())
    for again in copy.deepcopy(learn), pickle.loads(pickle.dumps(learn)):
        again.fit(1)
        assert np.isfinite(again.recorder.values[-1]).all() and not any(modes(again))
        assert torch.equal(again.predict(data()[0]), again.predict(data()[0]))


@pytest.mark.parametrize('error', [Stop(), KeyboardInterrupt()])
@pytest.mark.parametrize('event', ['before_fit', 'before_batch', 'after_batch', 'after_epoch', 'after_fit'])
@pytest.mark.parametrize('work', [lambda learn: learn.fit(2), lambda learn: learn.fit_one_cycle(2, .1)])
def test_an_error_at_each_callback(event, work, error):
    for n in range(1, 7):
        count = itertools.count(1)
        def stop(learn, count=count, n=n):
            if next(count) == n: raise error
        cb = type('Stops', (), {event: staticmethod(stop)})()
        learn = make([cb])
        try: work(learn)
        except (Stop, KeyboardInterrupt): pass
        learn.cbs.remove(cb)
        whole(learn)


X = data()[0]
WORK = dict(fit=lambda learn: learn.fit(2), fit_one_cycle=lambda learn: learn.fit_one_cycle(1, .1),
            lr_find=lambda learn: learn.lr_find(num_it=4, show_plot=False), validate=lambda learn: learn.validate(),
            predict=lambda learn: learn.predict(X, bs=5))


@pytest.mark.parametrize('apart', [5, slow(1)])
@pytest.mark.parametrize('error', [Stop(), KeyboardInterrupt()])
@pytest.mark.parametrize('work', WORK)
def test_an_error_at_each_line(work, error, apart):
    "The quick run takes each fifth of the lines."
    first, step = ((1, 3) if isinstance(error, Stop) else (2, 11)) if 'fit' in work else (1, 1)
    for n in itertools.count(first, step*apart):
        learn = make()
        learn.model[1].eval()                      # a part that the reader has frozen
        old, weights, random_states = modes(learn), copy.deepcopy(learn.model.state_dict()), states()
        try:
            with Saboteur(n, error): WORK[work](learn)
        except (Stop, KeyboardInterrupt): done = False
        else: done = True
        if 'fit' in work: assert modes(learn) == old or not any(modes(learn)) or learn.recorder.values == [], n
        else:
            assert modes(learn) == old, n
            assert all(torch.equal(v, weights[k]) for k, v in learn.model.state_dict().items()), n
            assert same(states(), random_states), n
        if n % 40 == 1 or done: whole(learn)
        else: assert learn.loss is None and learn.cbs == [] and all(p.grad is None for p in learn.model.parameters()), n
        if done: break
    assert n > 5


def test_old_gradients_are_not_taken_along():
    one, two = make(), make()
    two.model.load_state_dict(one.model.state_dict())
    cross_entropy(two.model.eval()(data()[0]), data()[1]).backward()
    for learn in one, two:
        torch.manual_seed(1)
        learn.fit(1)
    assert all(torch.equal(v, two.model.state_dict()[k]) for k, v in one.model.state_dict().items())


# loaders and data sets

def test_lr_find_leaves_loaders_and_random_numbers(record_property):
    x, y = data()
    own = torch.Generator().manual_seed(3)
    torchs = TorchLoader(TensorDataset(x, y), 5, shuffle=True, generator=own)
    placed = ShardLoader(x, y, 5, seed=0)
    for dl in torchs, placed, DataLoader(list(zip(x, y)), 5, shuffle=True):
        learn, before, place = make(dl=dl), states(), own.get_state()
        found = learn.lr_find(num_it=7, show_plot=False)
        assert same(states(), before) and torch.equal(own.get_state(), place) and learn.opt is None
        assert (placed.epoch, placed.first, placed.batch) == (0, 0, 0)
        assert learn.lr_find(num_it=7, show_plot=False).losses == found.losses


def test_lr_find_trains_in_training_mode_and_leaves_modes():
    learn = make()
    for prepare in lambda: None, lambda: learn.fit(1), lambda: learn.validate():
        prepare()
        seen, old = [], modes(learn)
        learn.model.register_forward_hook(lambda module, args, out, seen=seen: seen.append(module.training))
        learn.lr_find(num_it=4, show_plot=False)
        learn.model._forward_hooks.clear()
        assert seen[-4:] == [True]*4 and modes(learn) == old


class Stream(IterableDataset):
    "A data set that can only be gone through."
    def __init__(self, pairs): self.pairs, self.given = pairs, 0
    def __iter__(self):
        for pair in self.pairs: self.given += 1; yield pair


def test_one_pass_is_trained_from_its_first_batch():
    x, y = data()
    batches, seen = list(zip(x.split(5), y.split(5))), []
    cb = type('Sees', (), {'before_batch': staticmethod(lambda learn: seen.append(learn.xb))})()
    make([cb], dl=(b for b in batches)).fit(1)
    assert torch.equal(torch.cat(seen), x)
    stream = Stream(list(zip(x, y)))
    make(dl=TorchLoader(stream, 5), verbose=True).fit(1)
    assert stream.given == len(x)
    with pytest.raises(ValueError, match='0 batches in this epoch.*only once'): make(dl=(b for b in batches)).fit(2)
    with pytest.raises(ValueError, match='gave 0 batches'): make(dl=[]).fit(1)
    with pytest.raises(ValueError, match='gone through only once'): make(dl=iter(batches)).lr_find()


class Scaled(TensorDataset):
    def __getitem__(self, i): x, y = super().__getitem__(i); return x/255, y
class Short(TensorDataset):
    def __len__(self): return 3


def test_what_a_data_set_says_is_used():
    x, y = torch.full((7, 2), 255.), torch.arange(7)
    assert DataLoader(Scaled(x, y)).one_batch()[0].max() == 1
    assert DataLoader(Short(x, y)).n == 3
    assert DataLoader(TensorDataset(x, y)).one_batch()[0].data_ptr() == x.data_ptr()
    for items in list(zip(x.numpy(), y.numpy())), zip(x, y), Stream(list(zip(x, y))), tuple(zip(x.tolist(), y)):
        xb, yb = DataLoader(items).one_batch()
        assert torch.equal(yb, y)
        if isinstance(xb, torch.Tensor): assert torch.equal(xb, x) and xb.dtype == torch.float32
    assert DataLoader([np.float32(1), np.float32(2)]).one_batch().dtype == torch.float32
    assert DataLoader(np.eye(3)).one_batch().shape == (3, 3)
    with pytest.raises(ValueError, match='shapes'): DataLoader([np.ones(2), np.ones(3)])


# arguments that cannot be are refused when they are given

NAN, INF = float('nan'), float('inf')
@pytest.mark.parametrize('make_it', [
    *[lambda v=v: make(lr=v) for v in (-.1, NAN, INF, None, '1', True, [.1])],
    *[lambda v=v: make().fit(1, lr=v) for v in (-.1, NAN, '1')],
    *[lambda v=v: make().fit(v) for v in (-1, 1.5, NAN, '1', None, True)],
    *[lambda v=v: make().fit_one_cycle(v) for v in (-1, 1.5)],
    *[lambda v=v: make().fit_one_cycle(1, .1, pct_start=v) for v in (2, -.1, NAN)],
    *[lambda v=v: make().fit_one_cycle(1, v) for v in (-1, NAN)],
    *[lambda v=v: OneCycle(.1, v) for v in (-1, 2.5)], lambda: OneCycle(.1, 9, div=0), lambda: OneCycle(.1, 9, div_final=NAN),
    *[lambda v=v: make().lr_find(**v, show_plot=False) for v in
      ({'start_lr': 0}, {'start_lr': -1}, {'end_lr': NAN}, {'num_it': 0}, {'num_it': 2.5})],
    *[lambda v=v: DataLoader(range(9), bs=v) for v in (2.5, 0, -1, '64', True, NAN)],
    *[lambda v=v: SGD([], .1, mom=v) for v in (NAN, 1, -.1)], *[lambda v=v, kind=kind: kind([], v) for v in (NAN, -1, INF) for kind in (SGD, BasicOptim)],
    lambda: HandNet(simple_net(), 4).train_epoch(torch.rand(4, 784), torch.arange(4), -.1),
    *[lambda v=v: make().predict(data()[0], bs=v) for v in (0, 2.5)],
    *[lambda v=v: Learner(None, Net(), cross_entropy, metrics=v) for v in ('accuracy', ['accuracy'], [None])],
    lambda: Learner(None, Net(), 'cross_entropy'), lambda: Learner(None, Net()),
])
def test_what_cannot_be_is_refused(make_it):
    with pytest.raises(ValueError, match=' is .*wanted '): make_it()


def test_a_refused_fit_changes_nothing():
    learn = make()
    old, weights = modes(learn), copy.deepcopy(learn.model.state_dict())
    learn.model[1].eval(); before = modes(learn)
    for call in (lambda: learn.fit(1.5), lambda: learn.fit(1, lr=NAN), lambda: learn.fit_one_cycle(1, .1, 2)):
        with pytest.raises(ValueError): call()
    learn.loss_func = lambda preds, targs: preds
    with pytest.raises(ValueError, match='loss_func gave shape'): learn.fit(1)
    assert modes(learn) == before and old != before
    assert all(torch.equal(v, weights[k]) for k, v in learn.model.state_dict().items())


# numbers that are none

@pytest.mark.parametrize('bad', [NAN, INF, -INF])
def test_numbers_that_are_none_are_no_answers(bad):
    preds, targs = torch.tensor([[1., 0.], [bad, 0.]]), torch.tensor([0, 0])
    for f in accuracy, confusion_matrix, top_losses:
        with pytest.raises(ValueError, match='1 of 2 rows'): f(preds, targs)
    with pytest.raises(ValueError, match='1 of 2 preds'): batch_accuracy(preds[:, :1], torch.ones(2, 1))
    learn = make()
    x = data()[0].clone()
    x[3, 1] = bad
    with pytest.raises(ValueError, match='3 of 36 numbers in its predictions'): learn.predict(x)
    nn.init.constant_(learn.model[3].bias, bad)
    with pytest.raises(ValueError, match='predictions that are NaN or infinite'): learn.predict(data()[0])
    for other in data()[0].double(), data()[0].half(), data()[0].byte():
        with pytest.raises(ValueError, match='the inputs are'): learn.predict(other)


@pytest.mark.parametrize('bad', [NAN, INF])
def test_weights_that_are_none_are_not_saved(tmp_path, bad):
    learn = make()
    good = learn.save(tmp_path/'m').read_bytes()
    learn.model[3].weight.data[1, 2] = bad
    with pytest.raises(ValueError, match='the model has 1 of 18 numbers in 3.weight'): learn.save(tmp_path/'m')
    with pytest.raises(ValueError, match='3.weight'): learn.save(tmp_path/'new'/'m')
    assert (tmp_path/'m.safetensors').read_bytes() == good and not (tmp_path/'new').exists()


def test_mnist_loss_learns_as_before():
    x, y = data()
    torch.manual_seed(3)
    learn = Learner(DataLoaders(*[DataLoader(TensorDataset(x, (y == 1).float()[:, None]), bs=4)]*2), nn.Linear(4, 1),
                    mnist_loss, metrics=batch_accuracy, verbose=False)
    learn.fit(3, lr=1.)
    assert learn.recorder.values[-1][0] < learn.recorder.values[0][0]
