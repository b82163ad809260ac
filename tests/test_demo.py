"""`mnist_sgd demo` as its users run it, and what an installation has to bring along."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mnist_sgd.cli import MODEL, build_model
from mnist_sgd.demo import PAGE_FILES

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1', 'PYTHONDONTWRITEBYTECODE': '1',
       'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep)}
COMMAND = [sys.executable, '-m', 'mnist_sgd.cli', 'demo']


def run(*words, cwd):
    return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=120)


@pytest.fixture
def saved(tmp_path):
    "A folder in which both models are saved, untrained, where `demo` saves them."
    torch.manual_seed(0)
    for name in 'simple_net', 'cnn':
        file = tmp_path/'mnist_sgd_out'/name/MODEL
        file.parent.mkdir(parents=True)
        state = {k: v.contiguous() for k, v in build_model(name).state_dict().items()}
        save_file(state, file, {'model': name})
    return tmp_path


def test_export_writes_the_whole_page(saved):
    done = run('--export', 'page', cwd=saved)
    assert (done.returncode, done.stderr) == (0, '') and done.stdout.startswith('wrote page/index.html')
    assert sorted(os.listdir(saved/'page')) == sorted(PAGE_FILES)


def test_a_port_that_is_taken(saved):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = subprocess.Popen([*COMMAND, '--no-browser', '--port', str(port)], cwd=saved, env=ENV, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            url = re.match(r'draw at (http://127\.0\.0\.1:(\d+)/) ', demo.stdout.readline())
            assert port < int(url[2]) < port + 100
            with urllib.request.urlopen(url[1], timeout=20) as answer: page = answer.read()
            assert page == (ROOT/'mnist_sgd'/'page'/'index.html').read_bytes()
            demo.send_signal(signal.SIGINT)
            assert (demo.wait(20), demo.stderr.read()) == (130, 'mnist_sgd: stopped\n')
        finally:
            demo.kill()
            demo.communicate()


def cut(file): file.write_bytes(file.read_bytes()[:1000])
def lies(file): save_file({'0.weight': torch.zeros(30, 700)}, file, {'model': 'simple_net'})
def other(file): shutil.copy(file.parent.parent/'cnn'/MODEL, file)


@pytest.mark.parametrize('spoil, part', [(cut, 'is no safetensors file'), (lies, 'this model'),
                                         (other, 'holds another model than simple_net')])
def test_broken_weights_get_one_line_and_no_page(saved, spoil, part):
    spoil(saved/'mnist_sgd_out'/'simple_net'/MODEL)
    done = run('--export', 'page', cwd=saved)
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and part in done.stderr, done.stderr
    assert not (saved/'page').exists()


def test_a_folder_of_other_things_is_left_alone_and_nothing_trained(tmp_path):
    (tmp_path/'notes.txt').write_text('mine')
    done = run('--export', '.', cwd=tmp_path)
    assert done.returncode == 2 and 'holds notes.txt, which is no part of a page' in done.stderr
    assert os.listdir(tmp_path) == ['notes.txt']


def test_the_wheel_brings_the_page(tmp_path):
    for name in 'setup.py', 'settings.ini', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff':
        shutil.copy(ROOT/name, tmp_path)
    shutil.copytree(ROOT/'mnist_sgd', tmp_path/'mnist_sgd', ignore=shutil.ignore_patterns('__pycache__'))
    done = subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp_path/'dist', tmp_path],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    wheel, = (tmp_path/'dist').glob('*.whl')
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f'mnist_sgd/page/{name}' for name in PAGE_FILES[:-1]} <= held
