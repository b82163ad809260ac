"""What Unix alone has is not asked for on Windows: not while a module is loaded, and inside functions only behind a question."""
import ast
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
UNIX_MODULES = {'fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog'}
UNIX_NAMES = {
    'os': {'fork', 'forkpty', 'getuid', 'geteuid', 'getgid', 'getegid', 'setuid', 'setgid', 'seteuid', 'killpg', 'getpgid', 'setsid', 'mkfifo', 'mknod',
           'sysconf', 'statvfs', 'uname', 'getloadavg', 'chown', 'chroot', 'nice', 'openpty', 'sched_getaffinity', 'sched_setaffinity', 'wait3', 'wait4',
           'O_NOFOLLOW', 'O_DIRECTORY', 'O_NONBLOCK', 'O_CLOEXEC', 'pread', 'posix_fadvise', 'sendfile', 'register_at_fork'},
    'signal': {'SIGKILL', 'SIGHUP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2', 'SIGSTOP', 'SIGCONT', 'SIGPIPE', 'SIGCHLD', 'alarm', 'setitimer', 'pthread_kill'},
    'select': {'poll', 'epoll', 'kqueue', 'POLLIN', 'POLLOUT'},
    'socket': {'AF_UNIX', 'socketpair'}, 'time': {'tzset'}, 'multiprocessing': {'get_context'}}
PLACES = '/proc/', '/dev/null', '/dev/zero', '/dev/full', '/dev/shm', '/sys/'
ASKS = ("os.name", "sys.platform", "hasattr(", "fcntl")     # a condition with one of these is a question about the system


def is_unix(node):
    "The name that Unix alone has, where the node asks for one; `O_BINARY` and its like are Windows' and none of ours."
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in UNIX_NAMES.get(node.value.id, ()):
        return f'{node.value.id}.{node.attr}'
    if isinstance(node, ast.Constant) and isinstance(node.value, str): return next((f'{place} in a text' for place in PLACES if place in node.value), None)
    if isinstance(node, ast.keyword) and node.arg in ('preexec_fn', 'start_new_session'): return node.arg
    return None


def asks(node):
    "Does a condition ask for the system?"
    return any(word in ast.unparse(node) for word in ASKS)


def uses(tree, inside):
    "(line, what) of each use of Unix's own: those while the module is loaded, and with `inside` those in functions too, where nothing asks before."
    def walk(node):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or '']
            yield from ((node.lineno, name) for name in names if name.split('.')[0] in UNIX_MODULES)
        if name := is_unix(node): yield node.lineno, name
        if isinstance(node, ast.Try) and any('ImportError' in ast.unparse(h.type or ast.Constant('')) for h in node.handlers): return
        if isinstance(node, (ast.If, ast.IfExp)) and asks(node.test): return
        if isinstance(node, ast.BoolOp) and asks(node): return
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            if isinstance(node, ast.FunctionDef):
                for d in node.decorator_list: yield from walk(d)
            questions = [n.iter if isinstance(n, ast.For) else n.test for n in ast.walk(node) if isinstance(n, (ast.If, ast.IfExp, ast.For))]
            if not inside or any(map(asks, questions)): return
        for child in ast.iter_child_nodes(node): yield from walk(child)
    return sorted(set(walk(tree)))


def parse(path): return ast.parse(path.read_text(encoding='utf-8'))


@pytest.mark.parametrize('path', [p for p in sorted((ROOT/'tests').glob('*.py')) if p.name != 'test_machines.py'], ids=lambda p: p.stem)
def test_a_test_file_is_collected_where_unix_is_not(path):
    assert uses(parse(path), inside=False) == []


@pytest.mark.parametrize('path', sorted((ROOT/'tests').glob('test_*.py')), ids=lambda p: p.stem)
def test_a_test_that_needs_unix_is_marked_or_asks(path):
    for node in parse(path).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith('test_') or path.stem == Path(__file__).stem: continue
        told = any(word in ast.unparse(d) for d in node.decorator_list for word in ('skipif', 'unix', 'posix', 'marks='))
        found = uses(ast.Module([node], []), inside=True)
        assert told or 'importorskip' in ast.unparse(node) or not found, f'{path.name}, {node.name}: {found} is not there on Windows: mark it, with the reason'


# Named here with the reason; whoever adds a use to the package asks first, or names it too.
KNOWN = {('exercises/running.py', 'select.poll'): 'called by _kept_files alone, which is entered where select has a poll',
         ('exercises/running.py', 'select.POLLIN'): 'as above'}


@pytest.mark.parametrize('path', sorted((ROOT/'mnist_sgd').rglob('*.py')), ids=lambda p: p.stem)
def test_the_package_asks_before_it_takes_what_unix_alone_has(path):
    name = path.relative_to(ROOT/'mnist_sgd').as_posix()
    found = [(line, what) for line, what in uses(parse(path), inside=True) if (name, what) not in KNOWN]
    assert found == [], f'{name}: not there on Windows: {found}'


@pytest.mark.parametrize('code, n', [
    ('import fcntl', 1), ('try: import fcntl\nexcept ImportError: fcntl = None', 0), ('x = os.geteuid()', 1), ('def f(): return os.fork()', 1),
    ('def f():\n    if os.name == "posix": os.mkfifo("x")', 0), ('def f(): open("/proc/self/status")', 1), ('def f(): signal.alarm(1)', 1),
    ('import os\ndef f(): return os.getpid()', 0), ('@mark(os.getuid())\ndef f(): pass', 1)])
def test_a_use_is_seen(code, n):
    assert len(uses(ast.parse(code), inside=True)) == n, code


def test_text_is_written_and_read_as_utf_8():
    "Elsewhere text without a word of its encoding is in the machine's code page."
    for path in sorted((ROOT/'mnist_sgd').rglob('*.py')):
        lines = path.read_text(encoding='utf-8').splitlines()
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in ('read_text', 'write_text'): continue
            told = any(k.arg == 'encoding' for k in node.keywords) or 'json.' in lines[node.lineno - 1]    # JSON is written in ASCII
            assert told, f'{path.name}:{node.lineno}: no encoding'


@pytest.mark.parametrize('gpu, nccl, wanted', [(False, False, 'gloo'), (True, True, 'cpu:gloo,cuda:nccl'), (True, False, 'gloo')])
def test_processes_with_gpus_meet_by_gloo_where_there_is_no_nccl(monkeypatch, gpu, nccl, wanted):
    from mnist_sgd import processes
    told = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)
    monkeypatch.setattr(processes.dist, 'is_nccl_available', lambda: nccl)
    monkeypatch.setattr(processes.dist, 'init_process_group', lambda backend, **kwargs: told.append(backend))
    monkeypatch.setattr(processes, 'rendezvous', lambda *args, **kwargs: iter([(processes.dist.HashStore(), 0, 1)]))
    processes._meet(1)
    assert told == [wanted]

