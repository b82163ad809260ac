"""One rank of a run for tests/test_scaling.py, a process of its own: scaling_rank.py OPTIONS as JSON, or `forked`.

It trains a net with momentum on 3,201 rows, 64 in a batch: 51 batches, the last of one row, so that rank 1 has none.
"""
import json, sys
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from mnist_sgd.checkpoints import Checkpoint
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import SGD, DataLoaders
from mnist_sgd.processes import ShardLearner, ShardLoader, ranks
from mnist_sgd.simple_net import simple_net


class Begun:
    "A callback: tell that training has begun."
    def __init__(self, pipe): self.pipe, self.told = pipe, False

    def before_batch(self, learn):
        if not self.told: self.pipe.send('begun')
        self.told = True


class Raise:
    "A callback: one rank gives up in the second epoch."
    def before_batch(self, learn):
        if learn.epoch == 1 and learn.dls.train.rank == 1: raise RuntimeError('rank 1 gives up on purpose')


def make(rank=0, world=1, cbs=(), bs=64, n=3201):
    "The Learner of this run."
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3701, 28, 28), generator=g, dtype=torch.uint8)
    y = x.flatten(1)[:, ::79].float().argmax(1)
    dls = DataLoaders(ShardLoader(x[:n], y[:n], bs, seed=3, rank=rank, world=world),
                      ShardLoader(x[3200:], y[3200:], 100, rank=rank, world=world))
    torch.manual_seed(0)
    net = torch.nn.Sequential(*simple_net(), torch.nn.Dropout(0. if world > 1 else .1))   # its masks need the random state
    return ShardLearner(dls, net, cross_entropy, partial(SGD, mom=.9), metrics=accuracy, verbose=False, cbs=cbs)


def main(epochs=1, store=None, rank=0, world=1, out=None, checkpoint=None, every=1, pipe=None, fail=False):
    if pipe:
        pipe.send('ready')
        pipe.recv()
    if store: dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=world)
    with ranks() as (rank, world):
        keep = [Checkpoint(checkpoint, every, resume=True)] if checkpoint else []
        learn = make(rank, world, [*keep, *[Begun(pipe)][:pipe is not None], *[Raise()][:fail]])
        learn.fit_one_cycle(epochs, .05)
    if out:
        save_file(learn.model.state_dict(), f'{out}.{rank}')
        Path(f'{out}.{rank}.json').write_text(json.dumps(learn.recorder.values))


def forked(job, pipe):
    "The same in a process that was forked from one which has imported torch; a word through the pipe lets it begin."
    torch.set_num_threads(1)
    main(**job, pipe=pipe)


if __name__ == '__main__':
    from torch.distributed.elastic.multiprocessing.errors import record
    torch.set_num_threads(1)
    record(main)(**json.loads(sys.argv[1]))
