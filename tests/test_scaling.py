"""Several processes, checkpoints, and data larger than memory: what one notebook's kernel cannot show.

Whatever listens does so in a network namespace of its own with only loopback up; without the right to make one those
tests skip and say why, and fail where MNIST_SGD_NO_SKIP=1.
"""
import json, multiprocessing, os, random, re, shutil, signal, subprocess, sys, time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, safe_open
from torch.testing import assert_close

from mnist_sgd.checkpoints import Checkpoint
from mnist_sgd.processes import ShardLoader
from quick import slow

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT/'benchmarks'))
import scaling_memory  # noqa: E402
import scaling_rank  # noqa: E402

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo', 'TQDM_DISABLE': '1',
       'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])}
RANK = [sys.executable, str(HERE/'scaling_rank.py')]


@pytest.fixture(scope='session')
def alone():
    "Words before a command that put it in a network namespace of its own, only loopback up."
    words = ['unshare', '-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
    why = 'no unshare here'
    if shutil.which('unshare'):
        tried = subprocess.run([*words, 'true'], capture_output=True, text=True)
        if not tried.returncode: return words
        why = tried.stderr.strip()
    (pytest.fail if os.environ.get('MNIST_SGD_NO_SKIP') == '1' else pytest.skip)(f'cannot make a network namespace: {why}')


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    "A data set in IDX files: 3,001 training and 500 test images of real digits."
    from mnist_sgd.data import load_mnist
    (x, y), (test_x, test_y) = load_mnist(square=True)
    where = tmp_path_factory.mktemp('digits')
    for part, imgs, labels in ('train', x[:3001], y[:3001]), ('t10k', test_x[:500], test_y[:500]):
        write_idx(where, part, (imgs*255).round().byte().numpy(), labels.byte().numpy())
    return where


def write_idx(where, part, imgs, labels):
    for name, a in ('images-idx3-ubyte', imgs), ('labels-idx1-ubyte', labels):
        head = np.array([0x800 + a.ndim, *a.shape], '>i4').tobytes()
        (where/f'{part}-{name}').write_bytes(head + a.tobytes())


def torchrun(alone, *words, n=2, restarts=0):
    "Start torchrun in a namespace, in a process group of its own."
    command = [*alone, sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={n}',
               f'--max-restarts={restarts}', *map(str, words)]
    return subprocess.Popen(command, env=ENV, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)


def finish(process, seconds=400):
    "(exit status, output) of a run; one that is not done in time is ended and fails."
    try: out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)         # torchrun ends its ranks, which have sessions of their own
        pytest.fail(f'not done after {seconds} s: {process.communicate(timeout=60)[0][-2000:]}')
    return process.returncode, out


def start_rank(**job):
    "Start scaling_rank.py, a process of its own."
    return subprocess.Popen([*RANK, json.dumps(job)], env=ENV, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def fork_rank(**job):
    "Start a rank at once, forked from a server that has imported torch; (process, pipe) on which it says `ready` and waits for a word."
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['scaling_rank'])
    from multiprocessing import forkserver  # there is none on Windows
    with patch.dict(os.environ, {**ENV, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}): forkserver.ensure_running()
    ours, theirs = context.Pipe()
    process = context.Process(target=scaling_rank.forked, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def heard(pipe):
    assert pipe.poll(400), 'not a word in 400 s'
    return pipe.recv()


def last_words(out): return [line.strip() for line in out.splitlines() if re.search(r'\w', line)][-1]


def wait_for(condition, process, seconds=400):
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None and time.time() < end, process.communicate(timeout=5)[0]
        time.sleep(.02)


def rank_pid(rank, folder):
    "The process of a rank that this file started: the one with the test's own folder among its words."
    for p in Path('/proc').iterdir():
        try: words, env = [(p/name).read_bytes().split(b'\0') for name in ('cmdline', 'environ')]
        except OSError: continue                       # no process, or gone since
        if b'mnist_sgd.cli' in words and str(folder).encode() in words and b'RANK=%d' % rank in env: return int(p.name)


# rows and gradients

@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 90), bs=st.integers(1, 40), world=st.integers(1, 6), epochs=st.integers(1, 3))
def test_each_row_once_an_epoch_by_some_rank(n, bs, world, epochs):
    x, y = torch.arange(n, dtype=torch.float)[:, None], torch.arange(n)
    if world > min(n, bs):
        with pytest.raises(ValueError, match=f'{world} ranks, but {min(n, bs)} rows'): ShardLoader(x, y, bs, rank=0, world=world)
        return
    loaders = [ShardLoader(x, y, bs, seed=1, rank=r, world=world) for r in range(world)]
    orders = set()
    for _ in range(epochs):
        batches = [[yb.tolist() for _, yb in dl] for dl in loaders]
        assert len({len(b) for b in batches}) == 1, 'every rank takes part in every batch'
        assert sorted(sum(sum(batches, []), [])) == list(range(n))
        orders.add(tuple(sum(sum(batches, []), [])))
    assert len(orders) > 1 or epochs == 1 or n < 20, 'a new order in each epoch'


@settings(max_examples=30, deadline=None)
@given(n=st.integers(5, 40), world=st.integers(1, 5))
def test_the_mean_over_ranks_is_the_gradient_of_the_batch(n, world):
    grads = []
    for w in (1, world):
        total = 0
        for rank in range(w):
            learn = scaling_rank.make(rank, w, bs=40, n=n)
            learn.model.eval()
            xb, yb = next(iter(learn.dls.train))
            learn.loss_func(learn.model(xb), yb).backward()
            total = total + learn.model[0].weight.grad/w
        grads.append(total)
    assert_close(grads[1], grads[0], atol=1e-6, rtol=1e-5)


# two processes that meet by a file

@pytest.fixture(scope='session')
def two_ranks(tmp_path_factory):
    "Weights and records of one epoch on two ranks."
    at = tmp_path_factory.mktemp('ranks')
    for p in [start_rank(store=str(at/'store'), rank=rank, world=2, out=str(at/'net')) for rank in (0, 1)]:
        status, out = finish(p)
        assert status == 0, out
    return [(load_file(at/f'net.{r}'), json.loads((at/f'net.{r}.json').read_text())) for r in (0, 1)]


def test_ranks_agree_to_the_bit(two_ranks):
    (a, seen_a), (b, seen_b) = two_ranks
    assert all(torch.equal(a[k], b[k]) for k in a) and seen_a == seen_b


def test_half_batches_on_two_ranks_are_whole_batches_on_one(two_ranks):
    learn = scaling_rank.make()
    learn.model[3].p = 0.
    learn.fit_one_cycle(1, .05)
    assert len(learn.recorder.losses) == 51
    weights, seen = two_ranks[0]
    for k, v in learn.model.state_dict().items(): assert_close(weights[k], v, atol=1e-5, rtol=0)
    assert_close(torch.tensor(seen), torch.tensor(learn.recorder.values), atol=1e-5, rtol=0)


# checkpoints

@pytest.mark.skipif(os.name == 'nt', reason='a rank that is forked, and killed by a signal, is Unix\'s')
@pytest.mark.parametrize('kills, epochs, most', [(4, 30, 1), slow(20, 100, 8)], ids=['four', 'twenty'])
def test_kills_lose_no_checkpoint_and_change_no_bit(tmp_path, kills, epochs, most):
    chance, file, places = random.Random(0), tmp_path/'run.safetensors', []
    job = dict(epochs=epochs, checkpoint=str(file), out=str(tmp_path/'killed'))
    for i in range(kills):
        p, pipe = fork_rank(**job)
        assert heard(pipe) == 'ready'
        pipe.send('go')
        if i % 4: assert heard(pipe) == 'begun'        # each fourth one is killed earlier
        time.sleep(chance.uniform(0, .4))
        p.kill()
        p.join(60)
        assert p.exitcode == -signal.SIGKILL
        if not file.exists(): continue                 # killed before its first write
        with safe_open(file, 'pt') as f: run = json.loads(f.metadata()['run'])
        places.append((run['epoch'], run['batch']))
    assert places == sorted(places) and len(set(places)) > most and places[-1] < (epochs, 0), places
    left = {f.name for f in tmp_path.iterdir()} - {file.name}
    assert len(left) <= 1 and all(re.fullmatch(r'\.mnist_sgd\.\w+\.part', name) for name in left), left
    status, said = finish(start_rank(**job, every=50))   # a fresh process reaches the end
    assert status == 0, said
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    learn = scaling_rank.make()
    learn.fit_one_cycle(epochs, .05)
    torch.set_num_threads(threads)
    killed = load_file(tmp_path/'killed.0')
    assert all(torch.equal(killed[k], v) for k, v in learn.model.state_dict().items())
    assert json.loads((tmp_path/'killed.0.json').read_text()) == learn.recorder.values


def test_a_checkpoint_cut_anywhere_is_refused_and_nothing_changes(tmp_path):
    file = tmp_path/'c'
    scaling_rank.make(cbs=[Checkpoint(file)]).fit(1, .05)
    content = file.read_bytes()
    for size in [0, 7, 8, 100, len(content)//2, len(content) - 1]:
        file.write_bytes(content[:size])
        learn = scaling_rank.make(cbs=[Checkpoint(file, resume=True)])
        before = learn.model[0].weight.clone()
        with pytest.raises(ValueError, match='no whole checkpoint'): learn.fit(1, .05)
        assert torch.equal(learn.model[0].weight, before)
        assert len(file.read_bytes()) == size, 'the file is left for a person to judge'


# torchrun

@pytest.fixture(scope='session')
def undisturbed(alone, folder, tmp_path_factory):
    "A run of the command on two ranks, its words without --out and --checkpoint, and its folder."
    out = tmp_path_factory.mktemp('undisturbed')
    words = ['-m', 'mnist_sgd.cli', 'train', '--model', 'simple_net', '--data', folder, '--epochs', 6, '--every', 1, '--bs', 64]
    status, said = finish(torchrun(alone, *words, '--out', out, '--checkpoint', out/'c'))
    assert status == 0, said
    assert said.count('test accuracy') == 1 and said.count('saved') == 1, 'one rank speaks'
    return words, out


def kill_rank_1(process, checkpoint):
    "Kill a rank that this run started, once the first epoch is over."
    def second_epoch():
        if not checkpoint.exists(): return False
        with safe_open(checkpoint, 'pt') as f: return json.loads(f.metadata()['run'])['epoch'] >= 1
    wait_for(second_epoch, process)
    os.kill(rank_pid(1, checkpoint.parent), signal.SIGKILL)


def test_a_killed_rank_ends_the_job_and_a_resumed_one_reaches_the_same(alone, undisturbed, tmp_path):
    words, out = undisturbed
    p = torchrun(alone, *words, '--out', tmp_path, '--checkpoint', tmp_path/'c')
    kill_rank_1(p, tmp_path/'c')
    status, said = finish(p)
    assert status and re.search(r'Signal 9 \(SIGKILL\)', last_words(said)), said
    assert not (tmp_path/'model.safetensors').exists()
    status, said = finish(torchrun(alone, *words, '--out', tmp_path, '--checkpoint', tmp_path/'c', '--resume'))
    assert status == 0, said
    assert (tmp_path/'model.safetensors').read_bytes() == (out/'model.safetensors').read_bytes()


@pytest.mark.slow                                      # what is resumed above by hand is resumed by torchrun
def test_elastic_restart_goes_on_by_itself(alone, undisturbed, tmp_path):
    words, out = undisturbed
    p = torchrun(alone, *words, '--out', tmp_path, '--checkpoint', tmp_path/'c', '--resume', restarts=1)
    kill_rank_1(p, tmp_path/'c')
    status, said = finish(p)
    assert status == 0, said
    assert (tmp_path/'model.safetensors').read_bytes() == (out/'model.safetensors').read_bytes()


def test_a_rank_that_raises_ends_the_job_with_its_cause(alone, tmp_path):
    job = json.dumps(dict(epochs=3, checkpoint=str(tmp_path/'c'), fail=True))
    status, said = finish(torchrun(alone, HERE/'scaling_rank.py', job))
    assert status and last_words(said) == 'RuntimeError: rank 1 gives up on purpose', said
    with safe_open(tmp_path/'c', 'pt') as f: assert json.loads(f.metadata()['run'])['epoch'] >= 1


@pytest.mark.slow                                      # half batches are whole ones, as above on fewer rows
def test_a_full_run_on_two_ranks_is_as_good_as_on_one(alone, tmp_path):
    status, said = finish(torchrun(alone, '-m', 'mnist_sgd.cli', 'train', '--model', 'simple_net', '--out', tmp_path), 300)
    assert status == 0, said
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    mean, sd = map(float, re.search(r'ten digits \| simple_net \| ([\d.]+) ± ([\d.]+)', readme).groups())
    assert abs(float(re.search(r'test accuracy ([\d.]+)', said)[1]) - mean) < 3*sd


# bad input

def test_bad_input_is_told_once_and_ends_every_rank(alone, undisturbed, folder, tmp_path):
    _, out = undisturbed
    cut, locked = tmp_path/'cut', tmp_path/'a_file'/'c'
    cut.write_bytes((out/'c').read_bytes()[:-100])
    locked.parent.touch()
    train = ['train', '--model', 'simple_net', '--data', str(folder), '--out', str(tmp_path/'out')]
    at = ['--checkpoint', str(out/'c'), '--resume']
    same = ['--epochs', '6', '--bs', '64']
    jobs = {'2 ranks, but 1 rows in a batch': dict(words=[*train, '--bs', '1']),
            'with model simple_net, this run has model linear': dict(words=[*train, *at, *same, '--model', 'linear']),
            'with ranks 2, this run has ranks 3': dict(words=[*train, *at, *same], world=3),
            'no whole checkpoint': dict(words=[*train, *same, '--checkpoint', str(cut), '--resume']),
            'cannot write': dict(words=[*train, '--checkpoint', str(locked)]),
            'EADDRINUSE': dict(words=train, taken=True)}
    done = subprocess.run([*alone, sys.executable, HERE/'scaling_launch.py', json.dumps([*jobs.values()])], env=ENV,
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    for message, ranks in zip(jobs, json.loads(done.stdout)):
        told = [[line for line in err.splitlines() if 'mnist_sgd:' in line] for _, _, err in ranks]
        assert all(status for status, *_ in ranks), (message, ranks)
        assert len(told[0]) == 1 and message in told[0][0] and not any(told[1:]), (message, ranks)
    assert not (tmp_path/'out'/'model.safetensors').exists()


# data

@pytest.mark.parametrize('rows', [600_000, slow(scaling_memory.ROWS)])
def test_millions_of_rows_at_constant_memory(tmp_path, rows):
    wanted = 16 + rows*784
    if shutil.disk_usage(tmp_path).free < 1.2*wanted:
        (pytest.fail if os.environ.get('MNIST_SGD_NO_SKIP') == '1' else pytest.skip)(f'{tmp_path} has no room for {wanted} bytes')
    found = scaling_memory.measure(tmp_path, rows)
    assert found['rows'] == rows and found['bytes'] == wanted
    assert found['anon_large'] - found['anon_small'] < 100*2**20, found   # the order of 6 million rows takes 48 of them
    assert found['file_large'] > found['file_small']
