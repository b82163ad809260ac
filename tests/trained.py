"""Nets that several files of tests look at: trained once a run, by whichever process asks first."""
from functools import partial

import torch
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import cross_entropy
from mnist_sgd.generalize import augment
from mnist_sgd.learner import SGD, DataLoader, DataLoaders, Learner
from mnist_sgd.recipes import MODEL, build_model, write_facts, Facts


def split():
    "Training images and labels for the nets, and 10,000 held-out ones that they were not trained on."
    (x, y), _ = load_mnist()
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(42))
    return x[order[:50_000]], y[order[:50_000]], x[order[50_000:]].view(-1, 28, 28), y[order[50_000:]]


class Bent:
    "Batches of a loader, each image bent anew."
    def __init__(self, dl): self.dl = dl
    def __len__(self): return len(self.dl)
    def __iter__(self): return ((augment(xb), yb) for xb, yb in self.dl)


def train(folder):
    "Train both nets, half a minute in all, the cnn on images that are bent a little; save each as the command does, where `demo` looks."
    x, y, *_ = split()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, epochs, lr in ('simple_net', 4, .2), ('cnn', 2, .3):
        torch.manual_seed(0)
        dl = DataLoader(TensorDataset(x, y), bs=128, shuffle=True)
        learn = Learner(DataLoaders(Bent(dl) if name == 'cnn' else dl, [(x[:99], y[:99])]), build_model(name), cross_entropy,
                        partial(SGD, mom=.9), verbose=False)
        learn.fit_one_cycle(epochs, lr)
        (folder/name).mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in learn.model.state_dict().items()}, folder/name/MODEL, write_facts(name, Facts()))
    torch.set_num_threads(threads)
