"""`mnist_sgd demo` as its users run it, and what an installation has to bring along."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mnist_sgd.cli import MODEL, build_model, main
from mnist_sgd.demo import PAGE_FILES, page_folder, page_server

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1', 'PYTHONDONTWRITEBYTECODE': '1',
       'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep)}
COMMAND = [sys.executable, '-m', 'mnist_sgd.cli', 'demo']


def run(*words, cwd):
    return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=120)


def signals_as_usual():
    "In a child before it starts: a shell's background command hands down SIGINT ignored, nohup SIGHUP."
    for name in 'SIGINT', 'SIGHUP', 'SIGTERM': signal.signal(getattr(signal, name), signal.SIG_DFL)


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


@pytest.mark.skipif(os.name != 'posix', reason='the server is stopped by SIGINT, which Windows sends to no other process')
def test_a_port_that_is_taken(saved):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = subprocess.Popen([*COMMAND, '--no-browser', '--port', str(port)], cwd=saved, env=ENV, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=signals_as_usual)
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


def test_it_serves_while_the_browser_runs_and_leaves_nothing(saved):
    "A browser that stays until it is left, as w3m, has its page; SIGTERM and a killed run before it leave no folder."
    if os.name == 'nt': pytest.skip('no such signals here')
    (saved/'tmp'/'.mnist_sgd.page.of_a_killed_run').mkdir(parents=True)
    look = f"{sys.executable} -c 'import sys, time, urllib.request as u; print(u.urlopen(sys.argv[1]).status); sys.stdout.flush(); time.sleep(60)' %s"
    demo = subprocess.Popen([*COMMAND, '--port', '8850'], cwd=saved, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**ENV, 'BROWSER': look, 'TMPDIR': str(saved/'tmp')}, preexec_fn=signals_as_usual)
    try:
        assert demo.stdout.readline().startswith('draw at ') and demo.stdout.readline() == '200\n'
        held = [f.name for f in (saved/'tmp').iterdir() if f.name.startswith('.mnist_sgd')]
        assert len(held) == 1 and held != ['.mnist_sgd.page.of_a_killed_run']
        demo.send_signal(signal.SIGTERM)
        assert (demo.wait(20), [f.name for f in (saved/'tmp').iterdir() if f.name.startswith('.mnist_sgd')]) == (143, [])
    finally: demo.kill()


def ask(server, request, host='localhost'):
    "Send a request as it stands; the first line of the answer."
    with socket.create_connection(('127.0.0.1', server.server_port), timeout=20) as s:
        s.sendall(f'{request} HTTP/1.0\r\nHost: {host}\r\n\r\n'.encode('latin1'))
        return s.makefile('rb').readline().decode('latin1').split(' ', 1)[1].strip()


def test_the_server_answers_to_its_own_names_alone_and_in_silence(tmp_path, capsys):
    (tmp_path/'index.html').write_bytes(b'x'*10_000_000)
    with page_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in 'localhost', '127.0.0.1', f'localhost:{server.server_port}', 'LocalHost:9': assert ask(server, 'GET /', host) == '200 OK'
        for host in 'evil.example', '127.0.0.1.evil.example', 'localhost@evil.example', '[::1', '192.168.0.1': assert ask(server, 'GET /', host)[0] == '4', host
        for path in '/%00', '/absent', '/..%2f..%2fetc%2fpasswd', '/%': assert ask(server, f'GET {path}')[:3] == '404', path
        for _ in range(20):                                     # browsers that break off
            s = socket.create_connection(('127.0.0.1', server.server_port))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            s.sendall(b'GET / HTTP/1.0\r\n\r\n')
            s.close()
        assert server.request_queue_size == 128 and ask(server, 'GET /') == '200 OK'
        server.shutdown()
    assert capsys.readouterr().err == ''


def own_site(folder): (folder/'index.html').write_text('my own site')
def own_script(folder): (folder/'page.js').mkdir()
def whole_site(folder): [(folder/name).write_text('mine') for name in PAGE_FILES]
def linked(folder): (folder/'index.html').symlink_to(folder.parent/'notes.html')
def more(folder): (folder/'.htaccess').write_text('mine')


@pytest.mark.parametrize('spoil', [own_site, own_script, whole_site, linked, more])
def test_what_is_not_ours_is_not_replaced(tmp_path, spoil):
    (tmp_path/'site').mkdir()
    (tmp_path/'notes.html').write_text('mine')
    spoil(tmp_path/'site')
    before = {f: f.is_file() and f.read_bytes() for f in tmp_path.rglob('*')}
    with pytest.raises(ValueError): page_folder(tmp_path/'site')
    assert before == {f: f.is_file() and f.read_bytes() for f in tmp_path.rglob('*')}
    (tmp_path/'link').symlink_to(tmp_path/'site')
    with pytest.raises(ValueError, match='is a link'): page_folder(tmp_path/'link')


def cut(file): file.write_bytes(file.read_bytes()[:1000])
def lies(file): save_file({'0.weight': torch.zeros(30, 700)}, file, {'model': 'simple_net'})
def other(file): shutil.copy(file.parent.parent/'cnn'/MODEL, file)


@pytest.mark.parametrize('spoil, part', [(cut, 'is no safetensors file'), (lies, 'this model'),
                                         (other, 'holds another model than simple_net')])
def test_broken_weights_get_one_line_and_no_page(saved, monkeypatch, capsys, spoil, part):
    spoil(saved/'mnist_sgd_out'/'simple_net'/MODEL)
    monkeypatch.chdir(saved)
    assert main(['demo', '--export', 'page']) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and part in err, err
    assert not (saved/'page').exists()


def test_a_folder_of_other_things_is_left_alone_and_nothing_trained(tmp_path, monkeypatch, capsys):
    (tmp_path/'notes.txt').write_text('mine')
    monkeypatch.chdir(tmp_path)
    assert main(['demo', '--export', '.']) == 2
    assert 'holds notes.txt, which is no part of a page' in capsys.readouterr().err
    assert os.listdir(tmp_path) == ['notes.txt']


def test_the_wheel_brings_the_page(built_wheel):
    held = set(zipfile.ZipFile(built_wheel).namelist())
    assert {f'mnist_sgd/page/{name}' for name in PAGE_FILES[:-1]} <= held
