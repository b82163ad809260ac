"""What the fault tests share: small copies of MNIST, a judge of caches, a tally that conftest prints, child processes."""
import contextlib, gzip, hashlib, multiprocessing, os, sys, threading, time
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mnist_sgd import data, folders
from mnist_sgd.idx import idx_bytes, is_good, sha256

ROWS = []  # the tally: one dict a fault tried
LIMIT = 60  # seconds after which a call counts as hung


class Digits:
    "The first images of MNIST as four IDX files, with the facts that `mnist_sgd.data` has to know about them."
    def __init__(self, idx, n_train, n_test):
        self.files, self.facts, self.packed, counts = {}, {}, {}, []
        for part, n in (('train', n_train), ('t10k', n_test)):
            labels = data.read_idx(idx/f'{part}-labels-idx1-ubyte')[:n]
            images = data.read_idx(idx/f'{part}-images-idx3-ubyte')[:n]
            self.files[f'{part}-images-idx3-ubyte'] = idx_bytes(images)
            self.files[f'{part}-labels-idx1-ubyte'] = idx_bytes(labels)
            counts.append(tuple(np.bincount(labels, minlength=10).tolist()))
        for name, raw in self.files.items():
            # Python's gzip does not give the bytes that the mirrors serve, so the MD5 is that of our own .gz
            self.packed[f'{name}.gz'] = packed = gzip.compress(raw, 1, mtime=0)
            self.facts[name] = len(raw), hashlib.sha256(raw).hexdigest(), hashlib.md5(packed).hexdigest()
        self.facts = {name: self.facts[name] for name in data.IDX}  # in the order of `IDX`
        self.counts = tuple(counts)

    def __getstate__(self): return {'facts': self.facts, 'counts': self.counts}  # what a child process needs

    @contextlib.contextmanager
    def use(self, cache):
        "Let `mnist_sgd.data` take these digits for MNIST, with its cache in `cache`."
        with patch.dict(data.IDX, self.facts, clear=True), patch.object(folders, '_COUNTS', self.counts), \
             patch.dict(os.environ, MNIST_SGD_DATA=str(cache), TQDM_DISABLE='1'): yield

    def write(self, folder, packed=False):
        "Write the IDX files, or their .gz, in `folder`."
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in (self.packed if packed else self.files).items(): (folder/name).write_bytes(raw)
        return folder


def judge(cache, parts=True):
    "Count what is half-written in `cache`: a file or folder that stands under its own name but is not whole."
    idx = Path(cache)/'mnist_idx'
    half = [name for name in data.IDX if (idx/name).exists() and not is_good(idx/name)]
    for url, (name, *_) in folders._LAYOUT.items():
        path = Path(cache)/name
        if path.exists() and (folders._fault(path, url) or folders._wrong_picture(path, url, idx)): half.append(name)
    if parts: half += [f.name for f in Path(cache).rglob('.part-*')]
    return half


def attempt(call, limit=LIMIT):
    "Call it in a thread; return (result or exception, seconds), result 'hang' if it was not done within `limit`."
    box = []
    def work():
        try: box.append(call())
        except BaseException as e: box.append(e)
    thread, start = threading.Thread(target=work, daemon=True), time.monotonic()
    thread.start()
    thread.join(limit)
    return (box[0] if box else 'hang'), time.monotonic() - start


def record(group, fault, outcome, seconds, wrong=0, half=0, hangs=0):
    "Add a row to the tally."
    ROWS.append(dict(group=group, fault=fault, outcome=outcome, seconds=seconds, wrong=wrong, half=half, hangs=hangs))


def trial(group, fault, call, cache, wants, says=(), error=ConnectionError, limit=LIMIT):
    "Try `call` under a fault, judge its outcome ('right bytes' or 'clear error') and the cache, add a row, insist."
    result, seconds = attempt(call, limit)
    half = judge(cache)
    good = all(is_good(Path(cache)/'mnist_idx'/name) for name in data.IDX)
    wrong = isinstance(result, Path) and (not good or bool(half))
    if isinstance(result, str): outcome = 'hang'
    elif isinstance(result, BaseException):
        clear = isinstance(result, error) and all(word in str(result) for word in says)
        outcome = 'clear error' if clear else f'another error: {type(result).__name__}: {result}'
    else: outcome = 'wrong bytes' if wrong else 'right bytes'
    record(group, fault, outcome, seconds, int(wrong), len(half), int(outcome == 'hang'))
    assert outcome == wants, f'{fault}: {outcome}, wanted {wants} that says {list(says)}; {result!r}'
    assert not half, f'{fault}: half-written: {half}'
    return result


def listing(folder):
    "Everything about the files of a folder that a program could change: type, time, size, mode and bytes of each."
    def facts(p):
        s = p.lstat()
        return (p.is_dir(), s.st_mtime_ns, s.st_size, s.st_mode, s.st_ino, None if p.is_dir() else sha256(p))
    return {str(p.relative_to(folder)): facts(p) for p in [folder, *sorted(folder.rglob('*'))]}


# child processes: forked from a server that has imported the module, so each starts at once and none shares our threads

def _child(digits, cache, pipe, before, func, args):
    try:
        with digits.use(cache):
            if before: before()
            result = func(*args)
    except BaseException as e: result = type(e)(*e.args) if isinstance(e, (OSError, ValueError)) else RuntimeError(repr(e))
    pipe.send(result)


def start(digits, cache, func, *args, before=None):
    "Start `func(*args)` in a process of its own; return the process and the end of a pipe on which its result comes."
    from multiprocessing import forkserver  # there is none on Windows
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['faults'])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))): forkserver.ensure_running()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(digits, cache, theirs, before, func, args), daemon=False)
    process.start()
    theirs.close()
    return process, ours


def finish(process, pipe, limit=LIMIT):
    "The result of a process started above, 'hang' if it has none within `limit`; the process is gone afterwards."
    try: result = pipe.recv() if pipe.poll(limit) else 'hang'
    except EOFError: result = 'killed'
    if result == 'hang': process.kill()
    process.join(10)
    return result


def in_child(*args, limit=LIMIT, **kwargs): return finish(*start(*args, **kwargs), limit)


def fetch(*args): return data.fetch_mnist(*args)


def fetch_and_write(sources, barrier=None, url=data.URLs.MNIST_SAMPLE):
    if barrier: barrier.wait(60)
    return data.untar_data(url, sources)


def as_nobody():
    "Give up root's rights, if we have them."
    import PIL.PngImagePlugin, tqdm.auto  # noqa: F401 - a virtual environment in root's own folder cannot be read afterwards
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def no_file_over(size):
    "Forbid this process to write a file longer than `size` bytes, as a disk that is full would."
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
