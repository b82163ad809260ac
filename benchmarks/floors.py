"""The floor under an epoch of work A, in parts: products of the same shapes, one read of the rows, dispatch of the steps."""
import time

import torch
import torch.nn.functional as F

from mnist_sgd.simple_net import simple_net


def seconds(func):
    start = time.perf_counter()
    func()
    return time.perf_counter() - start


def products(w):
    "Seconds of the matrix products of an epoch with validation, and of nothing else."
    w1, w2, d1, d2 = torch.randn(30, 784), torch.randn(10, 30), torch.randn(w.bs, 30), torch.randn(w.bs, 10)
    xb = w.x[:w.bs].clone()
    h, z, g1, g2, dh = (torch.empty(s) for s in ((w.bs, 30), (w.bs, 10), (30, 784), (10, 30), (w.bs, 30)))
    def epoch():
        for _ in range(-(-len(w.x)//w.bs)):
            torch.mm(xb, w1.t(), out=h); torch.mm(h, w2.t(), out=z)                    # forward
            torch.mm(d2.t(), h, out=g2); torch.mm(d2, w2, out=dh); torch.mm(d1.t(), xb, out=g1)   # backward
        (w.vx@w1.t())@w2.t()
    with torch.inference_mode(): return seconds(epoch)


def one_read(w):
    "Seconds to copy as many bytes as an epoch gathers, batch by batch, in order."
    buffer = torch.empty(w.bs, *w.x.shape[1:])
    def epoch():
        for xb in w.x.split(w.bs): buffer[:len(xb)].copy_(xb)
    return seconds(epoch)


def gather(w):
    "Seconds to gather every row once in random order into one buffer."
    buffer = torch.empty(w.bs, *w.x.shape[1:])
    def epoch():
        for rows in torch.randperm(len(w.x)).split(w.bs): torch.index_select(w.x, 0, rows, out=buffer[:len(rows)])
    return seconds(epoch)


def dispatch(w):
    "Seconds of the same steps on pictures of one pixel and one hidden unit: the cost of calling, not of computing."
    model = simple_net(1, 1, 10)
    params, xb, yb = list(model.parameters()), w.x[:w.bs, :1].clone(), w.y[:w.bs]
    def epoch():
        for _ in range(-(-len(w.x)//w.bs)):
            F.cross_entropy(model(xb), yb).backward()
            with torch.no_grad():
                for p in params:
                    p.sub_(p.grad, alpha=.1)
                    p.grad = None
    return seconds(epoch)


PARTS = {'products alone': products, 'one read of the rows': one_read, 'gather in random order': gather,
         'dispatch (one pixel)': dispatch}
FLOOR = ['products alone', 'one read of the rows']
