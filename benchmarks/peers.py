"""The same work by this package and by its peers: each function trains from one seed and returns (seconds, accuracy)."""
import importlib.util, os, random, shutil, time

os.environ['KERAS_BACKEND'] = 'torch'
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, TensorDataset

from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import accuracy, cross_entropy, log_softmax, simple_cnn
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner
from mnist_sgd.linear_learner import batch_accuracy, mnist_loss
from mnist_sgd.simple_net import simple_net


def book_loss(preds, targs):
    "The two-class loss as the book writes it, with no check."
    preds = preds.sigmoid()
    return torch.where(targs == 1, 1 - preds, preds).mean()


def book_accuracy(preds, targs): return ((preds > 0) == (targs == 1)).float().mean()


class Work:
    "One work: data, model, loss, metric, settings."
    def __init__(self, data, make, loss, metric, own_loss, own_metric, lr, epochs, shuffle, bs=256):
        (self.x, self.y), (self.vx, self.vy) = data
        self.make, self.loss, self.metric, self.own_loss, self.own_metric = make, loss, metric, own_loss, own_metric
        self.lr, self.epochs, self.shuffle, self.bs, self.two = lr, epochs, shuffle, bs, self.y.ndim == 2

    def seed(self):
        torch.manual_seed(0); np.random.seed(0); random.seed(0)
        return self.make()

    def tensors(self): return TensorDataset(self.x, self.y), TensorDataset(self.vx, self.vy)

    def pairs(self):
        "Data sets as the book makes them: lists of (picture, label)."
        if not hasattr(self, '_pairs'): self._pairs = list(zip(self.x, self.y)), list(zip(self.vx, self.vy))
        return self._pairs

    def measure(self, model, bs=10**9):
        model.eval()
        with torch.no_grad(): acc = self.metric(torch.cat([model(xb) for xb in self.vx.split(bs)]), self.vy)
        model.train()
        return float(acc)


def timed(work, fit):
    "Seconds an epoch of `fit()`, which trains and measures `work.epochs` times and returns the last accuracy."
    start = time.perf_counter()
    acc = fit()
    return (time.perf_counter() - start)/work.epochs, float(acc)


def hand(w, gather=lambda t, rows: t[rows], step=None, loss=None, threads=1, measure=None):
    "Loop over tensor slices, written by hand; the others are measured against it."
    model, loss, measure = w.seed(), loss or w.loss, measure or w.measure
    params = list(model.parameters())
    def plain_step(p): p -= p.grad*w.lr
    step = step or plain_step
    def fit():
        for _ in range(w.epochs):
            order = torch.randperm(len(w.x)) if w.shuffle else None
            for i in range(0, len(w.x), w.bs):
                if order is None: xb, yb = w.x[i:i + w.bs], w.y[i:i + w.bs]
                else: xb, yb = gather(w.x, order[i:i + w.bs]), gather(w.y, order[i:i + w.bs])
                loss(model(xb), yb).backward()
                with torch.no_grad():
                    for p in params:
                        step(p)
                        p.grad = None
            acc = measure(model)
        return acc
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try: return timed(w, fit)
    finally: torch.set_num_threads(before)


def select(t, rows): return t.index_select(0, rows)


def chained(preds, targs):
    "Cross-entropy as a chain of operations, as chapter 06 first has it."
    return -log_softmax(preds).gather(1, targs[:, None]).mean()


def distance(preds, targs):
    "Our two-class loss without its check of the labels."
    return (torch.sigmoid(preds) - targs).abs().mean()


def hand_with_a_loss_of_many_operations(w): return hand(w, loss=chained)
def hand_with_index_select(w): return hand(w, select)
def hand_with_index_select_and_a_step_of_one_operation(w): return hand(w, select, lambda p: p.sub_(p.grad, alpha=w.lr))
def hand_on_two_threads(w): return hand(w, threads=2)
def hand_with_a_step_of_one_operation(w): return hand(w, step=lambda p: p.sub_(p.grad, alpha=w.lr))
def hand_with_the_distance_as_loss(w): return hand(w, loss=distance)
def hand_with_our_loss_and_its_check(w): return hand(w, loss=w.own_loss)
def hand_without_measuring(w): return hand(w, measure=lambda model: 0.)
def hand_measuring_2048_at_a_time(w): return hand(w, measure=lambda model: w.measure(model, 2048))


def _in_turn(w):
    for rows in torch.randperm(len(w.x)).split(w.bs): yield select(w.x, rows), select(w.y, rows)


def _all_at_once(w):
    order = torch.randperm(len(w.x))
    yield from zip(w.x[order].split(w.bs), w.y[order].split(w.bs))


def _of_bytes(w):
    if not hasattr(w, 'bytes'): w.bytes = (w.x*255).round().to(torch.uint8)
    for rows in torch.randperm(len(w.x)).split(w.bs): yield select(w.bytes, rows).float().div_(255), select(w.y, rows)


def _tried(w, batches=_in_turn, prepare=lambda model: model, **kwargs):
    "The loop by hand with index_select and torch's SGD, one thing changed."
    model = w.seed()
    net = prepare(model)
    opt = torch.optim.SGD(model.parameters(), w.lr, **kwargs)
    def fit():
        for _ in range(w.epochs):
            for xb, yb in batches(w):
                w.loss(net(xb), yb).backward()
                opt.step()
                opt.zero_grad()
            acc = w.measure(model)
        return acc
    return timed(w, fit)


def tried_SGD_of_torch(w): return _tried(w, foreach=False)
def tried_SGD_for_each(w): return _tried(w, foreach=True)
def tried_SGD_fused(w): return _tried(w, fused=True)
def tried_a_whole_epoch_gathered_at_once(w): return _tried(w, _all_at_once, foreach=False)
def tried_pictures_kept_as_bytes(w): return _tried(w, _of_bytes, foreach=False)


def tried_torch_compile(w):
    "The net compiled by torch.compile, which needs a C++ compiler; the time of compiling is not counted."
    def compiled(model):
        torch.compiler.reset()
        fast = torch.compile(model)
        for n in {min(w.bs, len(w.x)), len(w.x) % w.bs} - {0}: w.loss(fast(w.x[:n]), w.y[:n]).backward()
        model.zero_grad()
        return fast
    return _tried(w, prepare=compiled, foreach=False)


def ours(w, loss=None, opt_func=SGD, verbose=True, prepare=lambda learn: None):
    "This package's Learner, with metric, bar and table, as the notebooks call it."
    model = w.seed()
    train, valid = w.tensors()
    dls = DataLoaders(DataLoader(train, bs=w.bs, shuffle=w.shuffle), DataLoader(valid, bs=2048))
    learn = Learner(dls, model, loss or w.own_loss, opt_func, metrics=w.own_metric, verbose=verbose)
    prepare(learn)
    def fit():
        learn.fit(w.epochs, w.lr)
        return learn.recorder.values[-1][2]
    return timed(w, fit)


class OfTwo(SGD):
    "The step as the loop by hand takes it: a product, then a difference."
    def step(self):
        with torch.no_grad():
            for p in self.params: p -= p.grad*self.lr


def _forgetful(learn): learn.recorder.after_batch = lambda loss, lr: learn.recorder.lrs.append(lr)
def _unmeasured(learn): learn.validate = lambda: [0., 0.]
def ours_with_the_loss_of_the_book(w): return ours(w, w.loss)
def ours_with_no_check_of_labels(w): return ours(w, distance)
def ours_with_a_step_of_two_operations(w): return ours(w, opt_func=OfTwo)
def ours_with_no_record_of_losses(w): return ours(w, prepare=_forgetful)
def ours_without_bar_and_lines(w): return ours(w, verbose=False)
def ours_without_measuring(w): return ours(w, prepare=_unmeasured)


def by_hand_in_buffers(w):
    "No autograd: the backward pass of chapter 10, in buffers that are used again."
    from mnist_sgd.scaling import HandNet
    model = w.seed()
    net = HandNet(model, w.bs)
    def fit():
        for _ in range(w.epochs):
            net.train_epoch(w.x, w.y, w.lr)
            acc = w.measure(model)
        return acc
    return timed(w, fit)


def torch_loop(w):
    "PyTorch's DataLoader and SGD in a plain loop."
    model = w.seed()
    train, valid = w.tensors()
    dl, valid_dl = TorchLoader(train, w.bs, shuffle=w.shuffle), TorchLoader(valid, 2048)
    opt = torch.optim.SGD(model.parameters(), w.lr)
    def fit():
        for _ in range(w.epochs):
            for xb, yb in dl:
                w.loss(model(xb), yb).backward()
                opt.step()
                opt.zero_grad()
            with torch.no_grad(): acc = sum(w.metric(model(xb), yb)*len(xb) for xb, yb in valid_dl)/len(valid)
        return acc
    return timed(w, fit)


def _fastai(w, sets):
    import fastai.vision.all as fastai
    model = w.seed()
    train, valid = sets
    dls = fastai.DataLoaders(fastai.DataLoader(train, bs=w.bs, shuffle=w.shuffle), fastai.DataLoader(valid, bs=w.bs))
    learn = fastai.Learner(dls, model, loss_func=w.loss, opt_func=fastai.SGD, metrics=w.metric)
    def fit():
        learn.fit(w.epochs, w.lr)
        return learn.recorder.values[-1][2]
    return timed(w, fit)


def fastai_as_in_the_book(w):
    "fastai's Learner over a list of (picture, label) pairs."
    return _fastai(w, w.pairs())


def fastai_over_tensors(w):
    "fastai's Learner over a TensorDataset."
    return _fastai(w, w.tensors())


def lightning(w):
    "Lightning's Trainer, without bar, logs and checkpoints."
    import lightning as pl
    model = w.seed()
    class Module(pl.LightningModule):
        def __init__(self): super().__init__(); self.net, self.accs = model, []
        def training_step(self, batch, _): return w.loss(self.net(batch[0]), batch[1])
        def validation_step(self, batch, _): self.accs.append((w.metric(self.net(batch[0]), batch[1]), len(batch[0])))
        def on_validation_epoch_start(self): self.accs = []
        def configure_optimizers(self): return torch.optim.SGD(self.parameters(), w.lr)
    train, valid = w.tensors()
    module = Module()
    trainer = pl.Trainer(max_epochs=w.epochs, accelerator='cpu', logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    def fit():
        trainer.fit(module, TorchLoader(train, w.bs, shuffle=w.shuffle), TorchLoader(valid, 2048))
        return sum(a*n for a, n in module.accs)/len(valid)
    return timed(w, fit)


def skorch(w):
    "skorch's NeuralNet over tensors, with validation, no printing."
    from skorch import NeuralNet
    from skorch.callbacks import EpochScoring
    from skorch.helper import predefined_split
    model = w.seed()
    class Loss(nn.Module):
        def forward(self, preds, targs): return w.loss(preds, targs)
    def score(net, ds, y=None):
        preds = net.forward(ds)
        return float(w.metric(preds, w.vy))
    net = NeuralNet(model, Loss, optimizer=torch.optim.SGD, lr=w.lr, batch_size=w.bs, max_epochs=w.epochs, verbose=0,
                    iterator_train__shuffle=w.shuffle, iterator_valid__batch_size=2048,
                    train_split=predefined_split(TensorDataset(w.vx, w.vy)),
                    callbacks=[EpochScoring(score, name='acc', lower_is_better=False, use_caching=False)])
    def fit():
        net.fit(w.x, w.y)
        return net.history[-1, 'acc']
    return timed(w, fit)


def scikit_learn(w):
    "scikit-learn's MLPClassifier; for two classes SGDClassifier, a step a picture and another loss."
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier
    w.seed()
    x, y, vx, vy = (np.asarray(t) for t in (w.x, w.y.flatten(), w.vx, w.vy.flatten()))
    if w.two: net = SGDClassifier('log_loss', alpha=0, learning_rate='constant', eta0=.01, shuffle=w.shuffle, random_state=0)
    else: net = MLPClassifier((30,), solver='sgd', alpha=0, batch_size=w.bs, learning_rate_init=w.lr, momentum=0,
                              nesterovs_momentum=False, shuffle=w.shuffle, random_state=0)
    def fit():
        for _ in range(w.epochs):
            net.partial_fit(x, y, classes=np.unique(y))
            acc = net.score(vx, vy)
        return acc
    return timed(w, fit)


def keras(w):
    "Keras 3 on torch, no printing; for two classes with our loss."
    import keras as K
    w.seed()
    K.utils.set_random_seed(0)
    if w.two:
        layers, loss = [K.layers.Dense(1)], lambda targs, preds: book_loss(preds, targs)
        metric = K.metrics.BinaryAccuracy(threshold=0.)
    else:
        layers, loss = [K.layers.Dense(30, 'relu'), K.layers.Dense(10)], K.losses.SparseCategoricalCrossentropy(True)
        metric = 'accuracy'
    net = K.Sequential([K.Input((784,)), *layers])
    net.compile(K.optimizers.SGD(w.lr), loss, metrics=[metric])
    x, y, vx, vy = (np.asarray(t) for t in (w.x, w.y, w.vx, w.vy))
    def fit():
        history = net.fit(x, y, w.bs, w.epochs, verbose=0, validation_data=(vx, vy), validation_batch_size=2048,
                          shuffle=w.shuffle).history
        return next(v[-1] for k, v in history.items() if k.startswith('val_') and k != 'val_loss')
    return timed(w, fit)


NEEDS = {fastai_as_in_the_book: 'fastai', fastai_over_tensors: 'fastai', lightning: 'lightning', skorch: 'skorch',
         scikit_learn: 'sklearn', keras: 'keras'}


def is_there(peer):
    if peer is tried_torch_compile: return any(map(shutil.which, (os.environ.get('CXX', 'g++'), 'clang++')))
    return peer not in NEEDS or importlib.util.find_spec(NEEDS[peer]) is not None


def work_a():
    "Ten digits: simple_net, cross-entropy, SGD lr 0.1, bs 256, shuffled, 5 epochs."
    return Work(load_mnist(), simple_net, F.cross_entropy, lambda p, t: (p.argmax(1) == t).float().mean(),
                cross_entropy, accuracy, .1, 5, True)


def work_b():
    "Threes and sevens: linear, mnist_loss, lr 1, bs 256, in order, 20 epochs."
    return Work(load_mnist(digits=(3, 7)), lambda: nn.Linear(784, 1), book_loss, book_accuracy, mnist_loss,
                batch_accuracy, 1., 20, False)


def work_c():
    "Ten digits: simple_cnn, cross-entropy, SGD lr 0.1, bs 256, shuffled, 1 epoch."
    return Work(load_mnist(), simple_cnn, F.cross_entropy, lambda p, t: (p.argmax(1) == t).float().mean(),
                cross_entropy, accuracy, .1, 1, True)


VARIANTS = [hand_with_a_loss_of_many_operations, hand_with_index_select,
            hand_with_index_select_and_a_step_of_one_operation, tried_SGD_of_torch, tried_SGD_for_each, tried_SGD_fused,
            tried_a_whole_epoch_gathered_at_once, tried_pictures_kept_as_bytes, tried_torch_compile]
if len(os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else range(os.cpu_count() or 1)) > 1:
    VARIANTS.append(hand_on_two_threads)
PEERS = {'A': (work_a, [hand, *VARIANTS, hand_without_measuring, ours, ours_with_the_loss_of_the_book,
                        ours_with_no_record_of_losses, ours_without_bar_and_lines, ours_without_measuring, by_hand_in_buffers,
                        scikit_learn, torch_loop, skorch, fastai_as_in_the_book, lightning, keras, fastai_over_tensors]),
         'B': (work_b, [hand, hand_with_a_step_of_one_operation, hand_with_the_distance_as_loss, hand_with_our_loss_and_its_check,
                        hand_without_measuring, ours, ours_with_the_loss_of_the_book, ours_with_no_check_of_labels,
                        ours_with_a_step_of_two_operations, ours_with_no_record_of_losses, ours_without_bar_and_lines,
                        ours_without_measuring, scikit_learn, torch_loop, skorch, fastai_as_in_the_book, lightning, keras,
                        fastai_over_tensors]),
         'C': (work_c, [hand, hand_measuring_2048_at_a_time, hand_without_measuring, ours, ours_without_measuring, torch_loop,
                        fastai_as_in_the_book])}
