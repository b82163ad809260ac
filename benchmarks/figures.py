#!/usr/bin/env python
"""Train every model of the course's table of reference figures anew and hold the result against it.

    OMP_NUM_THREADS=1 python benchmarks/figures.py [WORD...]

Each row: the reference (mean, sd over 5 seeds), ours over the same number of seeds, and whether the means are within
max(0.003, 3 sd). With words, only the rows whose name holds one of them. About ten minutes for all on one core.
"""
import sys, time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import DataLoader, DataLoaders, Learner
from mnist_sgd.linear_learner import batch_accuracy, mnist_loss
from mnist_sgd.simple_net import simple_net


def randn_linear(n_out):
    "A linear model whose parameters are drawn with standard deviation 1, as made by hand."
    model = nn.Linear(784, n_out)
    for p in model.parameters(): nn.init.normal_(p)
    return model


def net37(): return simple_net(784, 30, 1)
def linear37(): return nn.Linear(784, 1)
def randn37(): return randn_linear(1)
def linear10(): return nn.Linear(784, 10)
def randn10(): return randn_linear(10)


BCE = F.binary_cross_entropy_with_logits
ROWS = [  # name, task, model, loss, lr, epochs, shuffle, reference mean, sd
    ('3v7 linear randn in order', 37, randn37, mnist_loss, 1., 20, False, .9682, .0044),
    ('3v7 linear randn shuffled', 37, randn37, mnist_loss, 1., 20, True, .9712, .0027),
    ('3v7 nn.Linear in order', 37, linear37, mnist_loss, 1., 20, False, .9783, .0004),
    ('3v7 nn.Linear shuffled', 37, linear37, mnist_loss, 1., 20, True, .9824, .0004),
    ('3v7 simple_net in order', 37, net37, mnist_loss, .1, 40, False, .9824, .0004),
    ('3v7 simple_net shuffled', 37, net37, mnist_loss, .1, 40, True, .9821, .0004),
    ('3v7 simple_net shuffled BCE', 37, net37, BCE, .5, 40, True, .9926, .0005),
    ('3v7 simple_net shuffled lr 1', 37, net37, mnist_loss, 1., 40, True, .9847, .0004),
    ('ten linear randn in order', 10, randn10, cross_entropy, .1, 20, False, .6895, .0093),
    ('ten nn.Linear in order', 10, linear10, cross_entropy, .1, 20, False, .6188, .0007),
    *[(f'ten nn.Linear lr {lr}', 10, linear10, cross_entropy, lr, 20, True, mean, sd) for lr, mean, sd in
      ((.03, .9138, .0004), (.1, .9209, .0003), (.3, .9228, .0011), (.5, .9236, .0011), (1., .9228, .0028))],
    *[(f'ten linear randn lr {lr}', 10, randn10, cross_entropy, lr, 20, True, mean, sd) for lr, mean, sd in
      ((.1, .8783, .0041), (.5, .9075, .0020), (1., .9089, .0055))],
    *[(f'ten simple_net lr {lr}', 10, simple_net, cross_entropy, lr, 20, True, mean, sd) for lr, mean, sd in
      ((.001, .7851, .0212), (.1, .9548, .0018), (.3, .9670, .0020), (.5, .9689, .0018), (1., .9501, .0060))],
]


def main(words):
    torch.set_num_threads(1)
    data = {37: load_mnist(digits=(3, 7)), 10: load_mnist(digits=range(10))}
    passed = failed = 0
    for name, task, make, loss_func, lr, epochs, shuffle, mean, sd in ROWS:
        if words and not any(w in name for w in words): continue
        accs, start = [], time.time()
        for seed in range(5):
            torch.manual_seed(seed)
            train, valid = [TensorDataset(*pair) for pair in data[task]]
            dls = DataLoaders(DataLoader(train, bs=256, shuffle=shuffle), DataLoader(valid, bs=1000))
            learn = Learner(dls, make(), loss_func, metrics=batch_accuracy if task == 37 else accuracy, verbose=False)
            learn.fit(epochs, lr)
            accs.append(learn.recorder.values[-1][2])
        accs = torch.tensor(accs)
        ok = abs(accs.mean().item() - mean) <= max(.003, 3*sd)
        passed, failed = passed + ok, failed + (not ok)
        print(f'{name:30} reference {mean:.4f} ± {sd:.4f}   ours {accs.mean():.4f} ± {accs.std():.4f}   '
              f'{"within" if ok else "OUTSIDE"}   {time.time() - start:.0f} s', flush=True)
    print(f'{passed} passed, {failed} failed')
    return bool(failed or not passed)


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
