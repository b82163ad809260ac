"""Files are written whole or not at all, and what is read may be anything: ten thousand spoilt files, one answer each."""
import errno, os, random, stat, subprocess, sys, time

import pytest
import torch
from safetensors.torch import save

from mnist_sgd.files import check_source, check_target, load_tensors, save_tensors, sweep_parts, write_whole
from mnist_sgd.full_mnist import cross_entropy
from mnist_sgd.learner import Learner
from mnist_sgd.simple_net import simple_net
from quick import slow

TENSORS = {'a': torch.arange(20.).view(4, 5), 'b': torch.arange(3), 'h': torch.ones(2, dtype=torch.bfloat16)}
WORDS = [b'F32', b'I64', b'BF16', b'5', b'dtype', b'shape', b'"a"', b'data_offsets', b'__metadata__', b'm', b'{', b'}']
LIES = [b'F8_E4M3', b'C64', b'F4', b'U16', b'BOOL', b'-1', b'99999999999999999999', b'0', b'null', b'[]', b'"\xff"', b'1e9', b'']


def spoil(good, rng):
    "A safetensors file that is cut, has other bytes, another length, a lie in its header, or more than it says."
    raw, n, kind = bytearray(good), int.from_bytes(good[:8], 'little'), rng.randrange(5)
    if kind == 0: return bytes(raw[:rng.randrange(len(raw))])
    if kind == 1:
        for _ in range(rng.randrange(1, 5)): raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif kind == 2: raw[rng.randrange(8)] = rng.randrange(256)
    elif kind == 3:
        head = good[8:8 + n].replace(rng.choice(WORDS), rng.choice(LIES))
        return len(head).to_bytes(8, 'little') + head + good[8 + n:]
    else: raw += bytes(rng.randrange(1, 9))
    return bytes(raw)


@pytest.mark.parametrize('n', [1000, slow(10_000)])
def test_spoilt_files_are_refused_or_read(tmp_path, n):
    good, rng, file, read = save(TENSORS, {'m': 'x'}), random.Random(0), tmp_path/'spoilt', 0
    for _ in range(n):
        file.write_bytes(spoil(good, rng))
        try: load_tensors(file, finite=True)
        except (ValueError, OSError) as e: assert len(str(e)) < 1000 and 'spoilt' in str(e)
        else: read += 1
    assert n/100 < read < n/5


def test_a_spoilt_model_changes_no_weight(tmp_path):
    learn, rng = Learner(None, simple_net(), cross_entropy, verbose=False), random.Random(1)
    good, old = learn.save(tmp_path/'m').read_bytes(), {k: v.clone() for k, v in learn.model.state_dict().items()}
    for _ in range(300):
        (tmp_path/'m.safetensors').write_bytes(spoil(good, rng))
        try: learn.load(tmp_path/'m')
        except (ValueError, OSError):
            assert all(torch.equal(v, old[k]) for k, v in learn.model.state_dict().items())
        else: old = {k: v.clone() for k, v in learn.model.state_dict().items()}
        assert all(torch.isfinite(v).all() for v in learn.model.state_dict().values())


@pytest.mark.parametrize('change, part', [
    (lambda w: w.fill_(torch.nan), '300 of 300 numbers in 2.weight'),
    (lambda w: w.where(torch.arange(300).view(10, 30) != 7, -torch.inf), '1 of 300'),
    (lambda w: w.double(), 'type torch.float64, this model torch.float32'), (lambda w: w.long(), 'type torch.int64'),
    (lambda w: w[:5], 'shape (5, 30), this model (10, 30)')])
def test_weights_that_are_none_are_refused(tmp_path, change, part):
    learn = Learner(None, simple_net(), cross_entropy, verbose=False)
    state = {k: v.clone() for k, v in learn.model.state_dict().items()}
    save_tensors(tmp_path/'m.safetensors', {**state, '2.weight': change(state['2.weight'].clone())})
    with pytest.raises(ValueError) as refused: learn.load(tmp_path/'m')
    assert part in str(refused.value)
    assert all(torch.equal(v, state[k]) for k, v in learn.model.state_dict().items())


def test_a_vast_file_takes_no_time(tmp_path):
    with (tmp_path/'vast').open('wb') as f: f.truncate(2**40)
    start = time.monotonic()
    with pytest.raises(ValueError, match='is no safetensors file'): load_tensors(tmp_path/'vast')
    assert time.monotonic() - start < 5


unix = pytest.mark.skipif(os.name != 'posix', reason='Windows has no pipes among its files, and links for the privileged alone')


@pytest.mark.parametrize('make, kind', [pytest.param(lambda p: os.mkfifo(p), 'pipe', marks=unix), (os.mkdir, 'folder'),
                                        pytest.param(lambda p: p.symlink_to('/dev/null'), 'link', marks=unix)])
def test_only_a_file_is_a_target(tmp_path, make, kind):
    make(tmp_path/'there')
    for write in (lambda: write_whole(tmp_path/'there', b''), lambda: save_tensors(tmp_path/'there', TENSORS),
                  lambda: check_target(tmp_path/'there')):
        with pytest.raises(ValueError, match=f'there is a {kind}, wanted a file or a free name'): write()
    with pytest.raises(ValueError, match='wanted a file'): check_source(tmp_path/'there')
    with pytest.raises(ValueError, match='wanted a file'): load_tensors(tmp_path/'there')
    assert os.listdir(tmp_path) == ['there']


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='root may read and write everything, and Windows forbids reading by no mode')
def test_what_may_not_be_read_or_written_is_said(tmp_path):
    file = save_tensors(tmp_path/'m', TENSORS)
    file.chmod(0o444)
    with pytest.raises(OSError, match='write-protected'): write_whole(file, b'')
    file.chmod(0)
    with pytest.raises(OSError, match='cannot read .*Permission denied'): load_tensors(file)


@pytest.mark.skipif(os.name != 'posix', reason='a mode of Windows knows read-only and nothing else')
@pytest.mark.parametrize('mode', [0o600, 0o640, 0o664])
def test_modes_are_kept(tmp_path, mode):
    (tmp_path/'f').touch()
    (tmp_path/'f').chmod(mode)
    write_whole(tmp_path/'f', b'new')
    assert stat.S_IMODE((tmp_path/'f').stat().st_mode) == mode


@pytest.mark.parametrize('place', ['os.fsync', 'os.replace', 'os.chmod', 'pathlib.Path.exists'])
@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt(), MemoryError()])
def test_an_error_anywhere_leaves_the_old_file(tmp_path, monkeypatch, place, error):
    (tmp_path/'f').write_bytes(b'old')
    def fail(*args): raise error
    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        with pytest.raises(type(error)): write_whole(tmp_path/'f', b'new')
    assert (tmp_path/'f').read_bytes() == b'old'
    sweep_parts(tmp_path)
    assert os.listdir(tmp_path) == ['f']


def test_kills_at_any_time_leave_a_whole_file_and_the_next_writer_sweeps(tmp_path):
    code = (f'from mnist_sgd.files import write_whole\n'
            f'for i in range(10**6): write_whole({str(tmp_path/"f")!r}, bytes([i % 256])*300_000)')
    for wait in .02, .07, .13:
        writer = subprocess.Popen([sys.executable, '-c', code])
        while not (tmp_path/'f').exists(): time.sleep(.01)
        time.sleep(wait)
        writer.kill()
        writer.wait()
        content = (tmp_path/'f').read_bytes()
        assert len(content) == 300_000 and len(set(content)) == 1
    write_whole(tmp_path/'f', b'last')
    assert os.listdir(tmp_path) == ['f']


def test_two_writers_and_no_torn_read(tmp_path):
    code = ('import sys; from mnist_sgd.files import write_whole\n'
            'for i in range(40): write_whole(sys.argv[1], sys.argv[2].encode()*400_000)')
    write_whole(tmp_path/'f', b'A'*400_000)
    writers = [subprocess.Popen([sys.executable, '-c', code, str(tmp_path/'f'), c]) for c in 'AB']
    while any(w.poll() is None for w in writers): assert (tmp_path/'f').read_bytes() in (b'A'*400_000, b'B'*400_000)
    assert [w.returncode for w in writers] == [0, 0] and os.listdir(tmp_path) == ['f']
