"""Twenty set-ups with one fault each, written by someone who has not seen the detectors of the training doctor."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import data as tud

from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner
from mnist_sgd.linear_learner import BasicOptim, batch_accuracy, init_params, mnist_loss, sigmoid, train_epoch
from mnist_sgd.simple_net import relu, simple_net

VARIANTS = []


def variant(name):
    "Add the function to `VARIANTS` under the finding that it should lead to."
    def add(func):
        VARIANTS.append((name, func))
        return func
    return add


def _ours(x, y, vx, vy, bs=64):
    return DataLoaders(DataLoader(list(zip(x, y)), bs=bs, shuffle=True), DataLoader(list(zip(vx, vy)), bs=bs*2))


def _torch(x, y, vx, vy, bs=64):
    return (tud.DataLoader(tud.TensorDataset(x, y), batch_size=bs, shuffle=True),
            tud.DataLoader(tud.TensorDataset(vx, vy), batch_size=bs*2))


def _batches(x, y, bs=64): return list(zip(x.split(bs), y.split(bs)))


@variant('loss-broadcast')
def hinge_on_a_column(data):
    "The hinge loss takes column 0 of the predictions, (n,), but leaves the targets (n,1)."
    torch.manual_seed(1)
    model = nn.Linear(784, 1)

    def hinge(preds, yb):
        sign = 2*yb - 1
        score = preds[:, 0]
        return (1 - sign*score).clamp(min=0).mean()

    def right(preds, yb): return ((preds > 0) == (yb > .5)).float().mean()
    return dict(model=model, dls=_torch(data.x37, data.y37, data.vx37, data.vy37), loss_func=hinge,
                opt=torch.optim.SGD(model.parameters(), lr=.05), metrics=right, classes={1: 3, 0: 7})


@variant('metric-broadcast')
def top_one_keeps_its_axis(data):
    "In `validate`, topk(1) gives (n,1), which is compared with labels (n,)."
    torch.manual_seed(2)
    net = simple_net(784, 40, 10)
    train_dl, valid_dl = _torch(data.x10, data.y10, data.vx10, data.vy10)

    def validate(net, valid_dl):
        total, n = 0., 0
        net.eval()
        with torch.no_grad():
            for xb, yb in valid_dl:
                best = net(xb).topk(1, dim=1).indices
                total += (best == yb).float().mean().item()*len(yb)
                n += len(yb)
        return total/n
    return dict(model=net, dls=(train_dl, valid_dl), loss_func=nn.CrossEntropyLoss(),
                opt=torch.optim.SGD(net.parameters(), lr=.2), validate=validate)


@variant('sorted-unshuffled')
def folder_after_folder(data):
    "The digits are read folder after folder, in the order in which the disk lists these, and kept so."
    torch.manual_seed(3)
    listed = [7, 2, 0, 9, 4, 1, 8, 3, 6, 5]
    folders = [tud.TensorDataset(data.x10[data.y10 == d], data.y10[data.y10 == d]) for d in listed]
    train_dl = tud.DataLoader(tud.ConcatDataset(folders), batch_size=64)
    valid_dl = tud.DataLoader(tud.TensorDataset(data.vx10, data.vy10), batch_size=256)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    return dict(model=model, dls=(train_dl, valid_dl), loss_func=F.cross_entropy,
                opt=torch.optim.SGD(model.parameters(), lr=.1), metrics=accuracy)


@variant('gradients-not-zeroed')
def zero_without_brackets(data):
    "The loop names p.grad.zero_ but does not call it."
    torch.manual_seed(4)
    weights, bias = init_params((784, 1), std=.01), init_params(1, std=.01)
    params, lr = [weights, bias], .5

    def linear(xb): return xb@weights + bias

    def train(dl):
        for xb, yb in dl:
            loss = mnist_loss(linear(xb), yb)
            loss.backward()
            for p in params:
                p.data -= lr*p.grad
                p.grad.zero_  # noqa: B018 - the fault: no call
    train_dl = DataLoader(list(zip(data.x37, data.y37)), bs=128, shuffle=True)
    return dict(model=linear, dls=(train_dl, _batches(data.vx37, data.vy37, 250)), loss_func=mnist_loss, opt=params,
                metrics=batch_accuracy, lr=lr, train=train)


@variant('optimizer-parameters')
def layers_in_a_plain_list(data):
    "The hidden layers are in a Python list, so that parameters() gives the optimizer the last layer alone."
    torch.manual_seed(5)

    class Net(nn.Module):
        def __init__(self, sizes, n_out):
            super().__init__()
            self.hidden = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
            self.out = nn.Linear(sizes[-1], n_out)

        def forward(self, x):
            for layer in self.hidden: x = F.relu(layer(x))
            return self.out(x)
    net = Net([784, 60, 40], 10)
    return dict(model=net, dls=_torch(data.x10, data.y10, data.vx10, data.vy10), loss_func=F.cross_entropy,
                opt=torch.optim.SGD(net.parameters(), lr=.2, momentum=.5), metrics=[accuracy])


@variant('learning-rate')
def adam_at_the_rate_of_sgd(data):
    "The optimizer was changed from SGD to Adam, the rate of .5 was not."
    torch.manual_seed(6)
    net = simple_net(784, 50, 10)
    dls = DataLoaders(*_torch(data.x10, data.y10, data.vx10, data.vy10))
    optim = torch.optim.Adam(net.parameters(), lr=.5)

    def train(dls):
        for xb, yb in dls.train:
            optim.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            optim.step()
    return dict(model=net, dls=dls, loss_func=F.cross_entropy, opt=optim, metrics=accuracy, train=train)


@variant('saturated-start')
def normal_with_its_default(data):
    "Each layer of a tanh net is drawn by nn.init.normal_, whose default standard deviation is 1."
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(784, 50), nn.Tanh(), nn.Linear(50, 10))

    def start(module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.bias)
    net.apply(start)
    learn = Learner(_ours(data.x10, data.y10, data.vx10, data.vy10), net, loss_func=cross_entropy, lr=.1,
                    metrics=accuracy, verbose=False)
    return dict(model=learn)


@variant('dead-relus')
def uniform_off_centre(data):
    "Random numbers of 0 to 1 less 1, where less one half was meant: each weight is negative."
    torch.manual_seed(8)
    w1 = ((torch.rand(784, 30) - 1)*.1).requires_grad_()
    b1 = torch.zeros(30, requires_grad=True)
    w2 = ((torch.rand(30, 1) - .5)*.4).requires_grad_()
    b2 = torch.zeros(1, requires_grad=True)

    def net(xb):
        res = xb@w1 + b1
        res = res.max(torch.tensor(0.))
        return res@w2 + b2
    return dict(model=net, dls=_ours(data.x37, data.y37, data.vx37, data.vy37), loss_func=mnist_loss,
                opt=BasicOptim([w1, b1, w2, b2], lr=.3), metrics=batch_accuracy, classes=[7, 3])


@variant('probabilities-logits')
def sigmoid_before_mnist_loss(data):
    "The loss function squeezes the predictions and hands them to mnist_loss, which squeezes them again."
    torch.manual_seed(9)

    def two_class_loss(preds, targs):
        probs = sigmoid(preds)
        return mnist_loss(probs, targs)
    learn = Learner(_ours(data.x37, data.y37, data.vx37, data.vy37), nn.Linear(784, 1), loss_func=two_class_loss,
                    lr=1., metrics=batch_accuracy, verbose=False)
    return dict(model=learn, classes={1: 3, 0: 7})


@variant('labels-wrong')
def one_line_late(data):
    "The first line of a label file without a heading is skipped: each image has the label of the next."
    torch.manual_seed(10)

    def read(images, lines):
        labels = torch.tensor([int(line) for line in lines[1:]])
        return images[:len(labels)], labels
    x, y = read(data.x10, [f'{d}\n' for d in data.y10.tolist()])
    vx, vy = read(data.vx10, [f'{d}\n' for d in data.vy10.tolist()])
    model = simple_net(784, 30, 10)
    return dict(model=model, dls=(_batches(x, y, 50), _batches(vx, vy, 200)), loss_func=cross_entropy,
                opt=SGD(model.parameters(), lr=.2), metrics=accuracy, classes=list(range(10)), train=train_epoch)


@variant('pixel-scale')
def byte_statistics_on_floats(data):
    "Pixels of 0 to 1 are normalized by the mean and deviation of bytes, which leaves next to no contrast."
    torch.manual_seed(11)
    mean, std = 33.3, 78.6

    def normalize(images): return (images - mean)/std
    dls = _ours(normalize(data.x10), data.y10, normalize(data.vx10), data.vy10)
    model = simple_net(784, 30, 10)
    return dict(model=model, dls=dls, loss_func=F.cross_entropy, opt=SGD(model.parameters(), lr=.2), metrics=[accuracy])


@variant('validation-leak')
def two_permutations(data):
    "Training and validation rows come of two different permutations, so that most are in both."
    torch.manual_seed(12)
    n = len(data.x10)
    cut = int(.8*n)
    train_rows, valid_rows = torch.randperm(n)[:cut], torch.randperm(n)[cut:]
    everything = tud.TensorDataset(data.x10, data.y10)
    train_dl = tud.DataLoader(tud.Subset(everything, train_rows.tolist()), batch_size=64, shuffle=True)
    valid_dl = tud.DataLoader(tud.Subset(everything, valid_rows.tolist()), batch_size=64)
    model = nn.Linear(784, 10)
    return dict(model=model, dls=(train_dl, valid_dl), loss_func=nn.CrossEntropyLoss(),
                opt=torch.optim.SGD(model.parameters(), lr=.1), metrics=accuracy)


@variant('unweighted-metric')
def running_mean_of_batches(data):
    "A metric object keeps a running mean in which a short last batch counts as much as a full one."
    torch.manual_seed(13)

    class RunningAccuracy:
        def reset(self): self.mean, self.seen = 0., 0

        def update(self, preds, targs):
            self.seen += 1
            right = (preds.argmax(dim=-1) == targs).float().mean().item()
            self.mean += (right - self.mean)/self.seen

        def compute(self): return self.mean
    metric = RunningAccuracy()
    metric.reset()
    model = simple_net(784, 30, 10)
    train_dl = DataLoader(list(zip(data.x10, data.y10)), bs=64, shuffle=True)
    valid_dl = DataLoader(list(zip(data.vx10, data.vy10)), bs=300)
    return dict(model=model, dls=DataLoaders(train_dl, valid_dl), loss_func=cross_entropy,
                opt=SGD(model.parameters(), lr=.2), metrics=metric)


@variant('broken-graph')
def loss_from_python_numbers(data):
    "The loss is a new tensor made of Python numbers, with requires_grad=True so that backward() does not complain."
    torch.manual_seed(14)
    model = nn.Sequential(nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 1))

    def distance(preds, yb):
        parts = []
        for p, t in zip(preds.sigmoid().flatten(), yb.flatten()):
            parts.append(1 - p.item() if t == 1 else p.item())
        return torch.tensor(parts, requires_grad=True).mean()

    def train(model, dl, opt):
        for xb, yb in dl:
            opt.zero_grad()
            loss = distance(model(xb), yb)
            loss.backward()
            opt.step()
    return dict(model=model, dls=_torch(data.x37, data.y37, data.vx37, data.vy37), loss_func=distance,
                opt=torch.optim.SGD(model.parameters(), lr=.5), metrics=batch_accuracy, train=train)


@variant('train-eval-mode')
def eval_for_a_first_look(data):
    "Training begins with a look at the untrained model in eval mode, and nobody switches back."
    torch.manual_seed(15)
    model = nn.Sequential(nn.Linear(784, 60), nn.BatchNorm1d(60), nn.ReLU(), nn.Dropout(.3), nn.Linear(60, 10))
    train_dl, valid_dl = _torch(data.x10, data.y10, data.vx10, data.vy10)

    def validate(model, valid_dl):
        model.eval()
        with torch.no_grad(): right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)
        return right/len(valid_dl.dataset)

    def train(model, train_dl, loss_func, opt):
        history = [validate(model, valid_dl)]
        for xb, yb in train_dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
        history.append(validate(model, valid_dl))
        return history
    return dict(model=model, dls=(train_dl, valid_dl), loss_func=F.cross_entropy,
                opt=torch.optim.SGD(model.parameters(), lr=.1), metrics=accuracy, train=train, validate=validate)


@variant('not-finite')
def root_of_zero_biases(data):
    "A penalty takes the root of the summed squares of each parameter: at biases of 0 its gradient is 0 times inf."
    torch.manual_seed(16)
    weights, bias = init_params((784, 1), std=.05), torch.zeros(1, requires_grad=True)

    def model(xb): return xb@weights + bias

    def loss_with_penalty(preds, yb):
        penalty = sum((p**2).sum().sqrt() for p in (weights, bias))
        return mnist_loss(preds, yb) + 1e-4*penalty
    return dict(model=model, dls=(_batches(data.x37, data.y37), _batches(data.vx37, data.vy37)),
                loss_func=loss_with_penalty, opt=BasicOptim((weights, bias), lr=.5), metrics=batch_accuracy)


@variant('device-dtype')
def whole_numbers_for_bce(data):
    "The two-class labels are whole numbers (int64), where binary cross-entropy wants floats like the predictions."
    torch.manual_seed(17)
    y, vy = (torch.where(t > .5, 1, 0) for t in (data.y37, data.vy37))
    model = simple_net(784, 30, 1)

    def right(preds, yb): return ((preds > 0) == (yb == 1)).float().mean()
    return dict(model=model, dls=_torch(data.x37, y, data.vx37, vy), loss_func=nn.BCEWithLogitsLoss(),
                opt=torch.optim.SGD(model.parameters(), lr=.1), metrics=right, classes={1: 3, 0: 7})


@variant('relu-output')
def relu_after_each(data):
    "The loop over the layers of the net bends after each of them, the last one too."
    torch.manual_seed(18)

    class Net(nn.Module):
        def __init__(self, *sizes):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

        def forward(self, x):
            for layer in self.layers: x = relu(layer(x))
            return x
    learn = Learner(_ours(data.x10, data.y10, data.vx10, data.vy10), Net(784, 50, 10), loss_func=cross_entropy, lr=.2,
                    metrics=accuracy, verbose=False)
    return dict(model=learn)


@variant('zero-init')
def list_times_thirty(data):
    "A list of one drawn unit times 30 repeats that unit, where 30 draws were meant."
    torch.manual_seed(19)
    nh = 30
    w1 = torch.stack([torch.randn(784)*.05]*nh, dim=1).requires_grad_()
    w2 = torch.stack([torch.randn(1)*.2]*nh).requires_grad_()
    b1, b2 = torch.zeros(nh, requires_grad=True), torch.zeros(1, requires_grad=True)

    def net(xb): return F.relu(xb@w1 + b1)@w2 + b2
    opt = torch.optim.SGD([w1, b1, w2, b2], lr=.2)
    return dict(model=net, dls=_torch(data.x37, data.y37, data.vx37, data.vy37), loss_func=mnist_loss, opt=opt,
                metrics=[batch_accuracy], classes={0: 7, 1: 3})


@variant('class-imbalance')
def is_it_an_eight(data):
    "Eights against all the rest: who never says eight is right nine times in ten."
    torch.manual_seed(20)
    y, vy = ((t == 8).float()[:, None] for t in (data.y10, data.vy10))
    learn = Learner(_ours(data.x10, y, data.vx10, vy), simple_net(784, 30, 1),
                    loss_func=F.binary_cross_entropy_with_logits, lr=.2, metrics=batch_accuracy, verbose=False)
    return dict(model=learn)
