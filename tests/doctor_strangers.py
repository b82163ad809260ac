"""Faults of other people's programs: for each kind of check one small set-up that has the fault, and its mended twin.

A variant is a function of the digits and of `bad`; it returns what a reader would hand to `diagnose`.
"""
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from doctor_variants import loaders, ten

VARIANTS = []


def variant(name):
    "Enter a variant of the fault `name`."
    def add(f):
        VARIANTS.append((name, f))
        return f
    return add


def net(*layers, n=60): return nn.Sequential(nn.Linear(784, n), *layers, nn.Linear(n, 10))


def step(model, xb, yb, loss_func, opt): loss_func(model(xb), yb).backward(); opt.step(); opt.zero_grad()


def hits(model, dl):
    with torch.no_grad(): return [(int((model(xb).argmax(1) == yb).sum()), len(xb)) for xb, yb in dl]


# measures

@variant('untrue-metric')
def argmax_of_the_whole_batch(d, bad):
    def error(preds, targs): return ((preds.argmax() if bad else preds.argmax(1)) != targs).float().mean()
    return ten(d, metrics=error)


@variant('untrue-validate')
def divided_by_the_wrong_length(d, bad):
    def validate(model, valid_dl):
        found = hits(model, valid_dl)
        return sum(h for h, _ in found)/(4000 if bad else sum(n for _, n in found))
    return ten(d, validate=validate)


@variant('untrue-validate')
def prints_what_the_first_batch_says(d, bad):
    def validate(model, valid_dl):
        found = hits(model, valid_dl)[:1 if bad else None]
        print(f'accuracy {sum(h for h, _ in found)/sum(n for _, n in found):.4f}')
    return ten(d, validate=validate)


class Items(Dataset):
    "Digits that are shifted by up to three pixels: by torch's generator, by one of their own, or not at all."
    def __init__(self, x, y, shift=True, own=False):
        self.x, self.y, self.shift = x.view(-1, 28, 28), y, shift
        self.g = torch.Generator().manual_seed(1) if own else None
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        a, b = torch.randint(-3, 4, (2,), generator=self.g).tolist() if self.shift else (0, 0)
        return self.x[i].roll((a, b), (0, 1)).flatten(), self.y[i]


@variant('random-validation')
def shifted_validation(d, bad):
    return ten(d, dls=(loaders(d.x10, d.y10, d.vx10, d.vy10).train, DataLoader(Items(d.vx10, d.vy10, bad), 64)))


@variant('same-random-numbers')
def a_generator_of_its_own(d, bad):
    train_dl = DataLoader(Items(d.x10[:1000], d.y10[:1000], True, bad), 64, shuffle=True, num_workers=2)
    return ten(d, dls=(train_dl, loaders(d.x10, d.y10, d.vx10, d.vy10).valid))


# losses

@variant('wrong-loss')
def without_its_minus(d, bad):
    def loss(preds, targs): return F.log_softmax(preds, 1)[range(len(targs)), targs].mean()*(1 if bad else -1)
    return ten(d, loss_func=loss)


@variant('loss-skips-class')
def a_weight_of_zero(d, bad):
    weight = torch.ones(10)
    if bad: weight[3] = 0.
    return ten(d, loss_func=nn.CrossEntropyLoss(weight=weight))


# models

@variant('mixes-batch')
def softmax_over_the_batch(d, bad):
    def loss(preds, targs): return F.nll_loss((preds + 1e-7).log(), targs)
    return ten(d, nn.Sequential(net(nn.ReLU()), nn.Softmax(dim=0 if bad else 1)), loss_func=loss)


@variant('linear-model')
def no_bend(d, bad): return ten(d, net(nn.Dropout(.1) if bad else nn.ReLU()), .1)


@variant('constant-output')
def one_unit_in_the_middle(d, bad):
    return ten(d, nn.Sequential(nn.Linear(784, 1 if bad else 30), nn.Softmax(1) if bad else nn.ReLU(),
                                nn.Linear(1 if bad else 30, 10)))


@variant('unregistered-layer')
def made_anew(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(784, 60), nn.Linear(60, 60), nn.Linear(60, 10)

        def forward(self, x): return self.c((nn.Linear(60, 60) if bad else self.b)(self.a(x).relu()).relu())
    model = Net()
    if bad: del model.b
    return ten(d, model)


# images

@variant('turned-images')
def transposed(d, bad):
    x = d.x10.view(-1, 28, 28).transpose(1, 2).flatten(1) if bad else d.x10
    return ten(d, dls=loaders(x, d.y10, d.vx10, d.vy10))


@variant('scrambled-images')
def reshape_for_permute(d, bad):
    def rgb(x):
        t = x.view(-1, 28, 28, 1)*torch.tensor([1., .6, .3])
        return t.reshape(-1, 3, 28, 28) if bad else t.permute(0, 3, 1, 2).contiguous()
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8*13*13, 10))
    return ten(d, model, .1, dls=loaders(rgb(d.x10[:2000]), d.y10[:2000], rgb(d.vx10), d.vy10))


# what comes of training

@variant('over-regularised')
def a_strong_penalty(d, bad):
    model = net(nn.ReLU())
    opt = torch.optim.SGD(model.parameters(), .2, weight_decay=.3 if bad else 1e-5)
    return ten(d, model, opt=opt)


@variant('uphill')
def a_rate_below_zero(d, bad):
    model = net(nn.ReLU())
    opt = torch.optim.SGD(model.parameters(), .2)
    if bad: opt.param_groups[0]['lr'] = -.2
    return ten(d, model, opt=opt)


@variant('vanishing-gradient')
def many_sigmoids(d, bad):
    act, sizes = nn.Sigmoid if bad else nn.ReLU, [784] + [40]*8
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), act())]
    model = nn.Sequential(*layers, nn.Linear(40, 10))
    for layer in layers[::2]: nn.init.kaiming_normal_(layer.weight)
    return ten(d, model, .1)


@variant('exploding-gradient')
def loud_weights(d, bad):
    sizes = [784] + [60]*5
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
    if bad:
        for layer in layers[::2]: nn.init.normal_(layer.weight, 0, 1.5)
    return ten(d, nn.Sequential(*layers, nn.Linear(60, 10)), .1)


@variant('batch-norm-statistics')
def momentum_of_zero(d, bad): return ten(d, net(nn.BatchNorm1d(60, momentum=0. if bad else .1), nn.ReLU()), .1)


@variant('does-not-learn')
def drawn_anew_each_epoch(d, bad):
    def train(model, train_dl, loss_func, opt):
        if bad: model.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
        for xb, yb in train_dl: step(model, xb, yb, loss_func, opt)
    return ten(d, train=train)


# loops

@variant('same-batch')
def next_iter(d, bad):
    def train(model, train_dl, loss_func, opt):
        batches = iter(train_dl)
        for _ in range(30): step(model, *next(iter(train_dl) if bad else batches), loss_func, opt)
    return ten(d, train=train, dls=loaders(d.x10, d.y10, d.vx10, d.vy10, shuffle=False))


@variant('stops-early')
def return_inside_the_loop(d, bad):
    def train(model, train_dl, loss_func, opt):
        for xb, yb in train_dl:
            step(model, xb, yb, loss_func, opt)
            if bad: return model
        return model
    return ten(d, train=train)


@variant('frozen')
def gradients_that_go_away(d, bad):
    def train(model, train_dl, loss_func, opt):
        for i, (xb, yb) in enumerate(train_dl):
            loss_func(model(xb), yb).backward()
            if bad and i: opt.zero_grad()
            opt.step(); opt.zero_grad()
    model = net(nn.ReLU())
    return ten(d, model, train=train, opt=torch.optim.SGD(model.parameters(), .2))


@variant('kept-by-reference')
def best_weights(d, bad):
    def train(model, train_dl, loss_func, opt):
        for epoch in range(2):
            for xb, yb in train_dl: step(model, xb, yb, loss_func, opt)
            if not epoch: best = model.state_dict() if bad else copy.deepcopy(model.state_dict())
        model.load_state_dict(best)
    return ten(d, train=train)


@variant('vanishing-step')
def a_schedule_by_the_batch(d, bad):
    model = net(nn.ReLU())
    opt = torch.optim.SGD(model.parameters(), .2)
    schedule = torch.optim.lr_scheduler.StepLR(opt, 1, .5)
    def train(model, train_dl, loss_func, opt):
        for xb, yb in train_dl:
            step(model, xb, yb, loss_func, opt)
            if bad: schedule.step()
        schedule.step()
    return ten(d, model, opt=opt, train=train)


# weights from elsewhere

@variant('validation-known')
def trained_on_what_measures_them(d, bad):
    model = net(nn.ReLU())
    opt = torch.optim.Adam(model.parameters(), 3e-3)
    x, y = (d.vx10, d.vy10) if bad else (d.x10, d.y10)
    for _ in range(20 if bad else 5):
        for xb, yb in zip(x.split(64), y.split(64)): step(model, xb, yb, F.cross_entropy, opt)
    return ten(d, model, .1)
