"""Forty and more training set-ups that carry one fault each, and the same with the mend applied.

A variant is a function of the data and of `bad`; it returns what a reader would hand to `diagnose`.
"""
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, TensorDataset

from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner
from mnist_sgd.linear_learner import BasicOptim, batch_accuracy, mnist_loss
from mnist_sgd.simple_net import simple_net

VARIANTS = []


def variant(name):
    def add(func):
        VARIANTS.append((name, func))
        return func
    return add


def loaders(x, y, vx, vy, bs=64, shuffle=True):
    return DataLoaders(DataLoader(TensorDataset(x, y), bs=bs, shuffle=shuffle),
                       DataLoader(TensorDataset(vx, vy), bs=bs))


def ten(d, model=None, lr=.3, **more):
    "A healthy set-up for ten digits; `more` replaces its pieces."
    torch.manual_seed(0)
    model = simple_net() if model is None else model
    parts = dict(model=model, dls=loaders(d.x10, d.y10, d.vx10, d.vy10), loss_func=cross_entropy, metrics=accuracy)
    if isinstance(model, nn.Module): parts['opt'] = SGD(model.parameters(), lr)
    return parts | more


def two(d, model=None, lr=.5, **more):
    "A healthy set-up for threes and sevens."
    torch.manual_seed(0)
    model = simple_net(784, 30, 1) if model is None else model
    parts = dict(model=model, dls=loaders(d.x37, d.y37, d.vx37, d.vy37), loss_func=F.binary_cross_entropy_with_logits,
                 metrics=batch_accuracy)
    if isinstance(model, nn.Module): parts['opt'] = SGD(model.parameters(), lr)
    return parts | more


def open_mnist_loss(preds, targs):
    "As printed in the sources: it does not look at shapes."
    probs = preds.sigmoid()
    return torch.where(targs == 1, 1 - probs, probs).mean()


# 1

@variant('loss-broadcast')
def weights_without_an_axis(d, bad):
    torch.manual_seed(0)
    weights, bias = (torch.randn(784 if bad else (784, 1))*.05).requires_grad_(), torch.zeros(1).requires_grad_()

    def linear1(xb): return xb@weights + bias
    return two(d, linear1, opt=BasicOptim([weights, bias], 1.), loss_func=open_mnist_loss, metrics=None)


@variant('loss-broadcast')
def squeezed_predictions(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = simple_net(784, 30, 1)

        def forward(self, x): return self.body(x).squeeze(-1) if bad else self.body(x)

    def own_cross_entropy(preds, y): return (F.softplus(preds) - preds*y).mean()
    return two(d, Net(), .3, loss_func=own_cross_entropy, metrics=None)


# 2

@variant('metric-broadcast')
def labels_of_rank_two(d, bad):
    def batch_accuracy(preds, y): return (preds.argmax(1) == (y if bad else y[:, 0])).float().mean()

    def loss(preds, y): return F.cross_entropy(preds, y.squeeze())
    return ten(d, dls=loaders(d.x10, d.y10[:, None], d.vx10, d.vy10[:, None]), loss_func=loss, metrics=batch_accuracy)


@variant('metric-broadcast')
def inside_validate(d, bad):
    kw = two(d, metrics=None)
    valid_dl, right = kw['dls'].valid, 1 - bad

    def validate(model):
        hits = n = 0
        with torch.no_grad():
            for xb, yb in valid_dl:
                said = model(xb).squeeze() > 0 if not right else model(xb) > 0
                hits, n = hits + (said == yb.bool()).float().mean()*len(xb), n + len(xb)
        return hits/n
    return kw | dict(validate=validate)


# 3

@variant('sorted-unshuffled')
def in_order_of_folders(d, bad):
    order = d.y10.argsort(stable=True)
    return ten(d, nn.Linear(784, 10), .5, dls=loaders(d.x10[order], d.y10[order], d.vx10, d.vy10, shuffle=not bad))


@variant('sorted-unshuffled')
def sevens_after_threes_in_torch(d, bad):
    order = d.y37[:, 0].argsort(descending=True, stable=True)
    dset = [(d.x37[i], d.y37[i]) for i in order]
    return two(d, nn.Linear(784, 1),
               dls=(TorchLoader(dset, batch_size=64, shuffle=not bad), TorchLoader([*zip(d.vx37, d.vy37)], 64)))


# 4

@variant('gradients-not-zeroed')
def loop_without_zero_grad(d, bad):
    kw = ten(d, nn.Linear(784, 10), .5)

    def train_epoch(model, dl, loss_func, opt):
        for xb, yb in dl:
            loss_func(model(xb), yb).backward()
            opt.step()
            if not bad: opt.zero_grad()
    return kw | dict(train=train_epoch)


@variant('gradients-not-zeroed')
def zero_grad_that_forgets_to(d, bad):
    class Optim(BasicOptim):
        def zero_grad(self):
            for p in self.params: p.grad = p.grad.detach() if bad else None
    torch.manual_seed(0)
    model = simple_net()
    return ten(d, model, opt=Optim(model.parameters(), .3))


@variant('gradients-not-zeroed')
def globals_and_data(d, bad):
    torch.manual_seed(0)
    weights, bias = (torch.randn(784, 1)*.05).requires_grad_(), torch.zeros(1).requires_grad_()
    params = weights, bias

    def linear1(xb): return xb@weights + bias
    kw = two(d, linear1, opt=list(params), lr=1., loss_func=open_mnist_loss)

    def train_epoch(lr):
        for xb, yb in kw['dls'].train:
            open_mnist_loss(linear1(xb), yb).backward()
            for p in params:
                p.data -= p.grad*lr
                if not bad: p.grad.zero_()
    return kw | dict(train=train_epoch, lr=1.)


# 5

@variant('optimizer-parameters')
def another_model(d, bad):
    torch.manual_seed(0)
    model, other = simple_net(), simple_net()
    return ten(d, model, opt=torch.optim.SGD((other if bad else model).parameters(), .3))


@variant('optimizer-parameters')
def layer_replaced_afterwards(d, bad):
    torch.manual_seed(0)
    model = simple_net()
    opt = SGD(model.parameters(), .3)
    model[0] = nn.Linear(784, 30)
    return ten(d, model, opt=opt if bad else SGD(model.parameters(), .3))


@variant('optimizer-parameters')
def nothing_asks_for_a_gradient(d, bad):
    torch.manual_seed(0)
    model = simple_net()
    model.requires_grad_(not bad)
    return ten(d, model, opt=torch.optim.Adam(model.parameters(), 3e-3))


@variant('optimizer-parameters')
def a_generator_kept(d, bad):
    class Optim:
        def __init__(self, params, lr): self.params, self.lr = params, lr

        def step(self):
            for p in self.params: p.data -= self.lr*p.grad

        def zero_grad(self):
            for p in self.params: p.grad = None
    torch.manual_seed(0)
    model = simple_net()
    return ten(d, model, opt=Optim(model.parameters() if bad else list(model.parameters()), .3))


# 6

@variant('learning-rate')
def far_too_high(d, bad): return ten(d, lr=30. if bad else .3)


@variant('learning-rate')
def a_thousandth(d, bad):
    torch.manual_seed(0)
    model = nn.Linear(784, 10)
    return ten(d, model, opt=torch.optim.SGD(model.parameters(), 5e-4 if bad else .5))


@variant('learning-rate')
def bounces(d, bad):
    torch.manual_seed(0)
    model = simple_net(784, 30, 1)
    return two(d, model, opt=torch.optim.Adam(model.parameters(), 3. if bad else 3e-3))


@variant('learning-rate')
def default_of_the_learner(d, bad):
    kw = ten(d)
    return dict(model=Learner(kw['dls'], kw['model'], cross_entropy, metrics=accuracy, lr=1e-3 if bad else .3,
                              verbose=False))


# 7

@variant('saturated-start')
def randn_weights(d, bad):
    torch.manual_seed(0)
    model = nn.Linear(784, 10)
    with torch.no_grad(): model.weight.normal_(0, 3 if bad else .03)
    return ten(d, model, .5)


@variant('saturated-start')
def hidden_sigmoid(d, bad):
    torch.manual_seed(0)
    w1, w2 = torch.randn(784, 30)*(1 if bad else .05), torch.randn(30, 10)*.2
    b1, b2 = torch.zeros(30), torch.zeros(10)
    params = [p.requires_grad_() for p in (w1, b1, w2, b2)]

    def net(xb): return torch.sigmoid(xb@w1 + b1)@w2 + b2
    return ten(d, net, opt=BasicOptim(params, 1.))


# 8

@variant('dead-relus')
def bias_far_below(d, bad):
    kw = ten(d)
    if bad: nn.init.constant_(kw['model'][0].bias, -50.)
    return kw


@variant('dead-relus')
def clamp_of_negative_weights(d, bad):
    torch.manual_seed(0)
    w1 = torch.randn(784, 30)*.05
    w1 = (-w1.abs() if bad else w1).requires_grad_()
    w2, b = (torch.randn(30, 1)*.2).requires_grad_(), torch.zeros(1, requires_grad=True)

    def net(xb): return (xb@w1).clamp(min=0)@w2 + b
    return two(d, net, opt=torch.optim.SGD([w1, w2, b], .3))


# 9

@variant('probabilities-logits')
def softmax_before_cross_entropy(d, bad):
    return ten(d, nn.Sequential(*simple_net(), *[nn.Softmax(dim=1)]*bad), loss_func=nn.CrossEntropyLoss())


@variant('probabilities-logits')
def sigmoid_before_mnist_loss(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(784, 1)

        def forward(self, x): return torch.sigmoid(self.lin(x)) if bad else self.lin(x)
    return two(d, Net(), 1., loss_func=mnist_loss)


@variant('probabilities-logits')
def nll_of_logits(d, bad):
    return ten(d, nn.Sequential(*simple_net(), *[nn.LogSoftmax(1)]*(1 - bad)), .1, loss_func=F.nll_loss)


@variant('probabilities-logits')
def mnist_loss_without_sigmoid(d, bad):
    def loss(preds, y):
        if not bad: preds = preds.sigmoid()
        return torch.where(y == 1, 1 - preds, preds).mean()
    return two(d, nn.Linear(784, 1), 1., loss_func=loss)


# 10

@variant('labels-wrong')
def shuffled_apart(d, bad):
    torch.manual_seed(0)
    order = torch.randperm(len(d.x10))
    x = d.x10[order]
    y = d.y10[torch.randperm(len(d.y10)) if bad else order]
    return ten(d, dls=loaders(x, y, d.vx10, d.vy10))


@variant('labels-wrong')
def swapped_throughout(d, bad):
    y, vy = (1 - d.y37, 1 - d.vy37) if bad else (d.y37, d.vy37)
    return two(d, dls=loaders(d.x37, y, d.vx37, vy), classes={1: 3, 0: 7})


@variant('labels-wrong')
def validation_labels_one_row_off(d, bad):
    return ten(d, dls=loaders(d.x10, d.y10, d.vx10, d.vy10.roll(1) if bad else d.vy10))


# 11

@variant('pixel-scale')
def bytes_as_floats(d, bad):
    k = 255 if bad else 1
    return ten(d, dls=loaders(d.x10*k, d.y10, d.vx10*k, d.vy10))


@variant('pixel-scale')
def only_training_normalised(d, bad):
    def norm(x): return (x - .1307)/.3081
    return ten(d, lr=.1, dls=loaders(norm(d.x10), d.y10, d.vx10 if bad else norm(d.vx10), d.vy10))


@variant('pixel-scale')
def divided_twice(d, bad):
    k = 255 if bad else 1
    return two(d, nn.Linear(784, 1), 1., dls=loaders(d.x37/k, d.y37, d.vx37/k, d.vy37))


# 12

@variant('validation-leak')
def split_after_copying(d, bad):
    x, y = (torch.cat([d.x10, d.vx10]), torch.cat([d.y10, d.vy10])) if bad else (d.x10, d.y10)
    return ten(d, dls=loaders(x, y, d.vx10, d.vy10))


@variant('validation-leak')
def drawn_with_replacement(d, bad):
    torch.manual_seed(0)
    rows = torch.randperm(4000)
    held = torch.randint(4000, (500,)) if bad else rows[:500]
    dl = TorchLoader([(d.x37[i], d.y37[i]) for i in rows[500:]], batch_size=64, shuffle=True)
    return two(d, dls=(dl, [(d.x37[held], d.y37[held])]))


# 13

@variant('unweighted-metric')
def mean_of_batch_means(d, bad):
    def validate_epoch(model, dl, metric):
        accs = [(metric(model(xb), yb), len(xb)) for xb, yb in dl]
        if bad: return torch.stack([a for a, _ in accs]).mean().item()
        return float(sum(a*n for a, n in accs)/sum(n for _, n in accs))
    return ten(d, validate=validate_epoch)


@variant('unweighted-metric')
def over_a_loader_of_its_own(d, bad):
    kw = two(d)
    model, valid_dl = kw['model'], TorchLoader(TensorDataset(d.vx37, d.vy37), batch_size=300)
    kw['dls'] = (kw['dls'].train, valid_dl)

    def validate():
        total = n = 0
        with torch.no_grad():
            for xb, yb in valid_dl:
                a = batch_accuracy(model(xb), yb)
                total, n = (total + a, n + 1) if bad else (total + a*len(xb), n + len(xb))
        return round(float(total/n), 4)
    return kw | dict(validate=validate)


@variant('unweighted-metric')
def metric_object(d, bad):
    class Accuracy:
        name = 'accuracy'

        def reset(self): self.total = self.n = 0

        def accumulate(self, learn):
            n = 1 if bad else len(learn.yb[0])
            self.total, self.n = self.total + accuracy(learn.pred, *learn.yb)*n, self.n + n

        @property
        def value(self): return self.total/self.n
    return ten(d, metrics=Accuracy())


# 14

@variant('broken-graph')
def loss_of_data(d, bad):
    def loss(preds, y): return F.cross_entropy(preds.data.requires_grad_() if bad else preds, y)
    return ten(d, loss_func=loss)


@variant('broken-graph')
def detached_half_way(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(784, 30), nn.Linear(30, 10)

        def forward(self, x):
            x = self.one(x).relu()
            return self.two(x.detach() if bad else x)
    return ten(d, Net())


@variant('broken-graph')
def sum_of_losses_with_their_graphs(d, bad):
    def train_epoch(model, train_dl, loss_func, opt):
        total = 0
        for xb, yb in train_dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            total += loss if bad else loss.item()
        return total/len(train_dl)
    return ten(d, train=train_epoch)


@variant('broken-graph')
def loss_as_a_number(d, bad):
    def loss(preds, y): return cross_entropy(preds, y).item() if bad else cross_entropy(preds, y)
    return ten(d, loss_func=loss)


@variant('broken-graph')
def a_history_in_the_loss(d, bad):
    class Loss:
        def __init__(self): self.history = []

        def __call__(self, preds, y):
            loss = cross_entropy(preds, y)
            self.history.append(loss if bad else loss.item())
            return loss
    return ten(d, loss_func=Loss())


# 15

def with_dropout():
    return nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.BatchNorm1d(30), nn.Dropout(.3), nn.Linear(30, 10))


@variant('train-eval-mode')
def trains_in_eval_mode(d, bad):
    def train_epoch(model, dl, loss_func, opt):
        model.train(not bad)
        for xb, yb in dl:
            loss_func(model(xb), yb).backward()
            opt.step(); opt.zero_grad()
    return ten(d, with_dropout(), train=train_epoch)


@variant('train-eval-mode')
def measures_in_training_mode(d, bad):
    def validate(model, valid_dl):
        if not bad: model.eval()
        with torch.no_grad():
            hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)
        model.train()
        return hits/len(d.vx10)
    return ten(d, with_dropout(), validate=validate)


@variant('train-eval-mode')
def dropout_of_the_functional_kind(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(784, 100), nn.Linear(100, 10)

        def forward(self, x):
            return self.two(F.dropout(self.one(x).relu(), .3, training=True if bad else self.training))
    return ten(d, Net())


@variant('train-eval-mode')
def handed_over_in_eval_mode(d, bad):
    kw = ten(d, with_dropout())
    kw['model'].train(not bad)
    return kw


# 16

@variant('not-finite')
def one_pixel(d, bad):
    x = d.x10.clone()
    if bad: x[1234, 300] = torch.nan
    return ten(d, dls=loaders(x, d.y10, d.vx10, d.vy10, shuffle=False))


@variant('not-finite')
def pixels_that_never_change(d, bad):
    mean, sd = d.x10.mean(0), d.x10.std(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = simple_net()

        def forward(self, x): return self.body((x - mean)/(sd if bad else sd + .3))
    return ten(d, Net(), .1)


@variant('not-finite')
def root_of_zero(d, bad):
    kw = ten(d)
    bias = kw['model'][2].bias
    nn.init.zeros_(bias)

    def loss(preds, y): return cross_entropy(preds, y) + .01*((bias**2).sum() + (0 if bad else 1e-4)).sqrt()
    return kw | dict(loss_func=loss)


# 17

@variant('device-dtype')
def doubles(d, bad):
    dtype = torch.float64 if bad else torch.float32
    return ten(d, dls=loaders(d.x10.to(dtype), d.y10, d.vx10.to(dtype), d.vy10))


@variant('device-dtype')
def labels_as_floats(d, bad):
    y, vy = (d.y10.float(), d.vy10.float()) if bad else (d.y10, d.vy10)
    return ten(d,
               dls=(TorchLoader(TensorDataset(d.x10, y), 64, shuffle=True),
                    TorchLoader(TensorDataset(d.vx10, vy), 64)),
               loss_func=F.cross_entropy, metrics=None)


@variant('device-dtype')
def model_elsewhere(d, bad):
    torch.manual_seed(0)
    model = simple_net().to('meta') if bad else simple_net()
    return ten(d, model)


# 18

@variant('relu-output')
def relu_as_last_layer(d, bad): return ten(d, nn.Sequential(*simple_net(), *[nn.ReLU()]*bad))


@variant('relu-output')
def relu_in_forward(d, bad):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(784, 30), nn.Linear(30, 1)])

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                x = layer(x)
                if bad or i == 0: x = F.relu(x)
            return x
    return two(d, Net())


# 19

@variant('zero-init')
def zeros_in_the_hidden_layer(d, bad):
    kw = ten(d)
    if bad:
        for p in kw['model'].parameters(): nn.init.zeros_(p)
    return kw


@variant('zero-init')
def one_number_everywhere(d, bad):
    torch.manual_seed(0)
    w1 = torch.full((784, 30), .01) if bad else torch.randn(784, 30)*.05
    w2, b = torch.full((30, 10), .1) if bad else torch.randn(30, 10)*.2, torch.zeros(10)
    params = [p.requires_grad_() for p in (w1, w2, b)]

    def net(xb): return torch.relu(xb@w1)@w2 + b
    return ten(d, net, opt=BasicOptim(params, .3))


# 20

@variant('class-imbalance')
def is_it_a_three(d, bad):
    threes, sevens = (d.y37[:, 0] == 1).nonzero()[:, 0], (d.y37[:, 0] == 0).nonzero()[:, 0]
    vthrees, vsevens = (d.vy37[:, 0] == 1).nonzero()[:, 0], (d.vy37[:, 0] == 0).nonzero()[:, 0]
    rows, vrows = torch.cat([threes[:60 if bad else None], sevens]), torch.cat([vthrees[:15 if bad else None],
                                                                                vsevens])
    return two(d, dls=loaders(d.x37[rows], d.y37[rows], d.vx37[vrows], d.vy37[vrows]))


@variant('class-imbalance')
def hardly_any_eights(d, bad):
    keep = (d.y10 != 8) | (torch.arange(len(d.y10)) < (200 if bad else len(d.y10)))
    return ten(d, dls=(TorchLoader(TensorDataset(d.x10[keep], d.y10[keep]), 64, shuffle=True), [(d.vx10, d.vy10)]))


def digits(load):
    "Subsets of the real digits: 4,000 to train on and 1,000 to measure on, for each task, in a random order."
    (x37, y37), (vx37, vy37) = load(digits=(3, 7))
    (x10, y10), (vx10, vy10) = load()
    g = torch.Generator().manual_seed(0)
    rows, vrows = torch.randperm(len(x37), generator=g)[:4000], torch.randperm(len(vx37), generator=g)[:1000]
    return SimpleNamespace(x37=x37[rows], y37=y37[rows], vx37=vx37[vrows], vy37=vy37[vrows],
                           x10=x10[:4000].clone(), y10=y10[:4000].clone(),
                           vx10=vx10[:1000].clone(), vy10=vy10[:1000].clone())
