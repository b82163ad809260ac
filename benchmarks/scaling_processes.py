#!/usr/bin/env python
"""Time a training step in 1 and in 2 processes, and the sum over processes alone: writes scaling_processes.json.

The processes meet by a file and talk over loopback, one thread each; medians of STEPS steps, the first ones left out,
and of ROUNDS rounds in which 1 and 2 take turns.
"""
import json, os, statistics, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path

STEPS, BS, ROUNDS = 60, 256, 5
SIZES = [10_000, 100_000, 1_000_000, 10_000_000]   # bytes to sum


def seconds(func, steps, ready=lambda: None):
    "Median time of a call, the first tenth left out."
    times = []
    for _ in range(steps):
        ready()
        start = time.perf_counter()
        func()
        times.append(time.perf_counter() - start)
    return statistics.median(times[steps//10:])


def work(rank, world, store):
    "Measure as one rank; rank 0 prints."
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from mnist_sgd.full_mnist import cross_entropy, simple_cnn
    from mnist_sgd.learner import SGD
    from mnist_sgd.simple_net import simple_net
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=world)
    found = {'models': {}, 'sums': {}}
    for name, make, steps in ('simple_net', simple_net, 4*STEPS), ('simple_cnn', simple_cnn, STEPS//2):
        torch.manual_seed(0)
        net = make()
        model = DistributedDataParallel(net) if world > 1 else net
        opt, xb, yb = SGD(net.parameters(), .01), torch.rand(BS//world, 784), torch.randint(0, 10, (BS//world,))
        def step(model=model, opt=opt, xb=xb, yb=yb):
            cross_entropy(model(xb), yb).backward()
            opt.step(); opt.zero_grad()
        found['models'][name] = dict(seconds=seconds(step, steps, dist.barrier),
                                     bytes=4*sum(p.numel() for p in net.parameters()))
    for size in SIZES if world > 1 else ():
        values = torch.ones(size//4)
        found['sums'][size] = seconds(partial(dist.all_reduce, values), 30, dist.barrier)
    if rank == 0: print(json.dumps(found))
    dist.destroy_process_group()


def launch(world, env):
    "What rank 0 of so many processes found."
    with tempfile.TemporaryDirectory() as at:
        ranks = [subprocess.Popen([sys.executable, __file__, str(r), str(world), f'{at}/store'], env=env, text=True,
                                  stdout=subprocess.PIPE) for r in range(world)]
        return json.loads([p.communicate(timeout=150)[0] for p in ranks][0])


def middle(results):
    "The median of each number, kept in its place."
    if isinstance(results[0], dict): return {k: middle([r[k] for r in results]) for k in results[0]}
    return statistics.median(results)


def main():
    import torch
    env = {**os.environ, 'GLOO_SOCKET_IFNAME': 'lo', 'OMP_NUM_THREADS': '1'}
    found = {'bs': BS, 'torch': torch.__version__.split('+')[0], 'cores': os.cpu_count(), 'date': time.strftime('%B %Y')}
    rounds = [{str(world): launch(world, env) for world in (1, 2)} for _ in range(ROUNDS)]      # in turns
    for world in '1', '2': found[world] = middle([r[world] for r in rounds])
    Path(__file__).with_suffix('.json').write_text(json.dumps(found, indent=1) + '\n')
    print(json.dumps(found, indent=1))


if __name__ == '__main__':
    if len(sys.argv) > 1: work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else: main()
