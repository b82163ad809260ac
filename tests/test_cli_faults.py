"""Whatever is done to the command: one line and an exit code, and what is not ours is as it was."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from mnist_sgd.cli import MODEL, PICTURE, main
from mnist_sgd.recipes import build_model
from mnist_sgd.words import clean, reason

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONDONTWRITEBYTECODE': '1',
       'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep)}
COMMAND = [sys.executable, '-m', 'mnist_sgd.cli']
unix = pytest.mark.skipif(os.name == 'nt', reason='signals, pipes and links of Unix')


def told(capsys, *words):
    "Run the command in this process; its exit code and its one line."
    try: code = main([str(w) for w in words])
    except SystemExit as e: code = e.code
    out, err = capsys.readouterr()
    assert err.startswith('mnist_sgd: ') and err.count('\n') == 1 and 'Traceback' not in err, err
    return code, err, out


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "A file of `simple_net`, untrained."
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp('model')/MODEL
    save_file({k: v.contiguous() for k, v in build_model('simple_net').state_dict().items()}, file, {'model': 'simple_net'})
    return file


@pytest.fixture
def digit(tmp_path):
    im = Image.new('L', (60, 60), 255)
    im.paste(0, (25, 10, 33, 50))
    im.save(tmp_path/'one.png')
    return tmp_path/'one.png'


# words

@settings(max_examples=2000, deadline=None)
@given(st.text() | st.text(st.characters(categories=['Cc', 'Cf', 'Cs', 'Zl', 'Zp'])))
def test_any_name_is_one_line(name):
    said = clean(name)
    assert said.isprintable() and (said == name or not name.isprintable())


@pytest.mark.parametrize('e, part', [
    (MemoryError(), 'not enough memory'), (torch.OutOfMemoryError('CUDA out of memory.\nTried'), 'not enough memory'),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), 'not enough memory'),
    (RuntimeError('Could not determine home directory.'), 'no home folder'), (KeyError('x'), "KeyError: 'x'"),
    (AssertionError(), 'AssertionError'), (ValueError(), 'ValueError'), (ValueError('a\n b\x1b'), r'a b\x1b'),
    (PermissionError(13, 'Permission denied', 'a\nb'), r'a\nb: Permission denied'), (RecursionError('deep'), 'deep')])
def test_every_accident_has_its_line(monkeypatch, capsys, e, part):
    def run(**kwargs): raise e
    monkeypatch.setattr('mnist_sgd.command_data.run_data', run)
    code, err, _ = told(capsys, 'data')
    assert code == 2 and part in err and err == f'mnist_sgd: {reason(e)}\n'


def test_a_dead_proxy_is_named(monkeypatch, capsys):
    def run(**kwargs): raise ConnectionError('MNIST could not be fetched')
    monkeypatch.setattr('mnist_sgd.command_data.run_data', run)
    monkeypatch.setenv('https_proxy', 'http://me:secret@127.0.0.1:9')
    assert main(['data']) == 2
    err = capsys.readouterr().err
    assert 'https_proxy=127.0.0.1:9' in err and 'secret' not in err and err.endswith('mnist_sgd data --offline DIR\n')


def test_no_home_no_name_no_folder(tmp_path, monkeypatch, capsys):
    def nobody(*args): raise RuntimeError('Could not determine home directory.')
    monkeypatch.setattr('os.path.expanduser', lambda path: str(path))
    monkeypatch.delenv('HOME', raising=False)
    monkeypatch.delenv('FASTAI_HOME', raising=False)
    monkeypatch.delenv('MNIST_SGD_DATA', raising=False)
    code, err, _ = told(capsys, 'data', '--check')
    assert code == 2 and 'no home folder' in err


def test_what_matplotlib_says_of_its_folders_is_no_news():
    "Where no home can be written in, it tells where it keeps its fonts instead."
    code = ('import logging, sys, mnist_sgd.cli as cli\nfrom unittest.mock import patch\n'
            'def run(**kw):\n  logging.getLogger("matplotlib").warning("a folder"); logging.getLogger("matplotlib.font_manager").warning("fonts")\n'
            'sys.argv = ["mnist_sgd", "data"]\nwith patch("mnist_sgd.command_data.run_data", run): cli.main()')
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('text', ['[DEFAULT]\ndata = /mnt/50%/x\n', 'garbage\n', '[DEFAULT]\ndata\n', '\xff\xfe'])
def test_a_broken_config(tmp_path, monkeypatch, capsys, text):
    (tmp_path/'config.ini').write_text(text, encoding='latin1')
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    monkeypatch.delenv('MNIST_SGD_DATA', raising=False)
    assert told(capsys, 'data', '--check')[0] == 2


# pictures

@unix
def test_predict_reads_the_others(model, digit, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    os.mkfifo('pipe.png')
    Path('folder').mkdir()
    Path('gone.png').symlink_to('nowhere')
    shutil.copy(digit, 'two\nlines\x1b[2J.png')
    strange = os.fsdecode(b'\xff\xfe.png')
    shutil.copy(digit, strange)
    files = ['', 'pipe.png', 'folder', '/dev/zero', '/dev/null', 'gone.png', 'absent', 'two\nlines\x1b[2J.png', strange, str(digit)]
    assert main(['predict', '--model-file', str(model), *files]) == 1
    out, err = capfd.readouterr()
    assert err.count('\n') == 7 and all(line.startswith('mnist_sgd: ') for line in err.splitlines()) and 'Traceback' not in err
    assert [line.split(': ')[0] for line in out.splitlines()] == [r'two\nlines\x1b[2J.png', r'\udcff\udcfe.png', str(digit)]


def test_predict_goes_on_when_memory_is_short(model, digit, monkeypatch, capsys):
    import mnist_sgd.own_digit as own
    real, first = own.find_digits, []
    def scarce(file):
        if not first: first.append(file); raise MemoryError
        return real(file)
    monkeypatch.setattr(own, 'find_digits', scarce)
    code, err, out = told(capsys, 'predict', '--model-file', model, digit, digit)
    assert code == 1 and 'not enough memory' in err and out.count('\n') == 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.binary(max_size=60).map(lambda b: b'\x89PNG\r\n\x1a\n' + b)
       | st.binary(max_size=60).map(lambda b: b'\xff\xd8\xff\xe0' + b) | st.binary(max_size=60).map(lambda b: b'GIF89a' + b))
def test_any_bytes_are_a_line(tmp_path_factory, raw):
    from mnist_sgd.command_predict import _digits
    from mnist_sgd.recipes import Facts
    file = tmp_path_factory.getbasetemp()/'raw.png'
    file.write_bytes(raw)
    with pytest.raises((ValueError, OSError)) as found: _digits(str(file), Facts())
    assert '\n' not in reason(found.value)


# what is not ours

def unchanged(file):
    "What a file is, but for the time when it was last looked at."
    stat = file.lstat()
    return stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@unix
@pytest.mark.parametrize('name', [MODEL, PICTURE])
@pytest.mark.parametrize('kind', ['text', 'model', 'picture', 'link', 'dangling', 'folder', 'pipe'])
def test_train_replaces_nothing_of_others(tmp_path, capsys, name, kind):
    out = tmp_path/'out'
    out.mkdir()
    file, other = out/name, tmp_path/'other'
    other.write_text('mine')
    if kind == 'text': file.write_text('mine')
    if kind == 'model': save_file({'w': torch.ones(2)}, file, {'format': 'pt'})
    if kind == 'picture': Image.new('L', (9, 9)).save(file, 'PNG')
    if kind == 'link': file.symlink_to(other)
    if kind == 'dangling': file.symlink_to(tmp_path/'nothing')
    if kind == 'folder': file.mkdir()
    if kind == 'pipe': os.mkfifo(file)
    before = unchanged(file), kind in ('text', 'model', 'picture') and file.read_bytes(), other.read_text()
    code, err, said = told(capsys, 'train', '--model', 'linear', '--epochs', 1, '--out', out)
    assert (code, said) == (2, '') and name in err
    assert before == (unchanged(file), kind in ('text', 'model', 'picture') and file.read_bytes(), other.read_text())
    assert [f.name for f in out.iterdir()] == [name]


def small_mnist(monkeypatch):
    x, y = torch.rand(40, 784), torch.arange(40) % 10
    monkeypatch.setattr('mnist_sgd.data.load_mnist', lambda: ((x, y), (x[:20], y[:20])))
    monkeypatch.setattr('mnist_sgd.data.fetch_mnist', lambda: None)


@unix
def test_train_keeps_modes_and_tells_the_truth(tmp_path, monkeypatch, capsys):
    small_mnist(monkeypatch)
    words = 'train', '--model', 'linear', '--epochs', '1', '--bs', '10', '--out', str(tmp_path)
    assert main([*words]) == 0
    assert 'accuracy on 40 training images' in capsys.readouterr().out
    for name in MODEL, PICTURE: (tmp_path/name).chmod(0o640)
    assert main([*words, '--seed', '1']) == 0
    assert [(tmp_path/name).stat().st_mode & 0o777 for name in (MODEL, PICTURE)] == [0o640, 0o640]
    assert sorted(f.name for f in tmp_path.iterdir()) == [MODEL, PICTURE]


def test_a_stray_rank_does_not_silence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    (tmp_path/'file').write_text('x')
    assert told(capsys, 'train', '--out', tmp_path/'file')[0] == 2


def test_a_killed_run_is_swept_by_the_next(tmp_path, monkeypatch, capsys):
    small_mnist(monkeypatch)
    (tmp_path/'.mnist_sgd.0123456789ab.part').write_bytes(b'half a model')
    assert main(['train', '--model', 'linear', '--epochs', '1', '--bs', '10', '--out', str(tmp_path)]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == [MODEL, PICTURE]


# the streams

@unix
@pytest.mark.parametrize('words', [['--help'], ['train', '--help'], ['--version'], ['data', '--check']])
def test_output_that_cannot_go_anywhere(words, tmp_path):
    env = {**{k: v for k, v in ENV.items() if k != 'PYTHONUNBUFFERED'}, 'MNIST_SGD_DATA': str(tmp_path)}
    closed = subprocess.Popen([*COMMAND, *words], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    closed.stdout.close()
    assert (closed.stderr.read(), closed.wait(120)) == ('', 141)
    if not Path('/dev/full').exists(): return
    with open('/dev/full', 'w') as full:
        done = subprocess.run([*COMMAND, *words], env=env, text=True, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stderr) == (2, 'mnist_sgd: No space left on device\n')


@unix
def test_a_terminal_that_cannot_write_a_name(model, digit, tmp_path):
    shutil.copy(digit, tmp_path/'sieben_七_é.png')
    done = subprocess.run([*COMMAND, 'predict', '--model-file', model, 'sieben_七_é.png', 'fehlt_七'], cwd=tmp_path, capture_output=True,
                          env={**ENV, 'PYTHONIOENCODING': 'ascii', 'LC_ALL': 'C'}, timeout=120)
    assert done.returncode == 1 and done.stdout.startswith(b'sieben_\\u4e03_\\xe9.png: ') and done.stderr.count(b'\n') == 1


@unix
def test_nohup_is_obeyed_and_signals_are_given_back():
    code = ('import os, signal, sys, mnist_sgd.cli as cli\nfrom unittest.mock import patch\n'
            'def run(**kw):\n  os.kill(os.getpid(), signal.SIGHUP)\n  os.kill(os.getpid(), signal.SIGTERM)\n'
            'signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_DFL)\n'
            'with patch("mnist_sgd.command_data.run_data", run): code = cli.main(["data"])\n'
            'print(code, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)')
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ('143 True True\n', 'mnist_sgd: stopped\n')
