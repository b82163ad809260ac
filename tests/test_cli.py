"""The command `mnist_sgd`, run as its users run it: results, exit codes, and what is kept when something fails."""
import errno
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnist_sgd.cli import MODEL, PICTURE, main
from quick import slow

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONDONTWRITEBYTECODE': '1',
       'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep)}
COMMAND = [sys.executable, '-m', 'mnist_sgd.cli']


def run(*words, cwd, **kwargs):
    "Run the command in a process of its own."
    return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, **kwargs)


def signals_as_usual():
    "In a child before it starts: a shell's background command hands down SIGINT ignored, nohup SIGHUP."
    for name in 'SIGINT', 'SIGHUP', 'SIGTERM': signal.signal(getattr(signal, name), signal.SIG_DFL)


def inside(*words):
    "Run the command in this process; return its exit code."
    try: return main([str(w) for w in words])
    except SystemExit as e: return e.code


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A folder with a simple net of three epochs in mnist_sgd_out, and what the command said."
    folder = tmp_path_factory.mktemp('trained')
    done = run('train', '--model', 'simple_net', '--epochs', 3, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope='module')
def drawings(tmp_path_factory):
    "Twenty test digits as people would hand them in, by file, with their labels."
    from mnist_sgd.data import load_mnist
    _, (x, y) = load_mnist(square=True)
    folder, digits = tmp_path_factory.mktemp('drawings'), {}
    for i in range(20):
        big = Image.fromarray((x[i]*255).byte().numpy()).resize((160, 160), Image.BICUBIC)
        sheet = Image.new('RGB', (200, 300), (250, 245, 230))
        sheet.paste((20, 30, 90), (10 + i, 20 + 5*i), big)
        if i % 2: sheet = ImageOps.invert(sheet)
        file = folder/f'digit{i}.{"jpg" if i % 3 else "png"}'
        sheet.save(file)
        digits[file] = int(y[i])
    return digits


# help

@pytest.mark.parametrize('words', [(), ('data',), ('train',), ('predict',)], ids=lambda words: ' '.join(words) or 'main')
def test_help_loads_nothing_heavy(words):
    code = ('import sys\nfrom mnist_sgd.cli import main\ntry: main([*sys.argv[1:], "--help"])\nexcept SystemExit: pass\n'
            'print("heavy:", {"torch", "numpy", "matplotlib", "PIL", "mnist_sgd.data"} & set(sys.modules))')
    done = subprocess.run([sys.executable, '-c', code, *words], env=ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ''
    assert done.stdout.endswith('heavy: set()\n') and 'examples:' in done.stdout
    if not words: assert all(part in done.stdout for part in ('exit codes:', 'files:', 'MNIST_SGD_DATA', 'FASTAI_HOME'))


def test_version(capsys):
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    assert inside('--version') == 0
    assert capsys.readouterr().out == f'mnist_sgd {config["DEFAULT"]["version"]}\n'


def test_installed_command_is_this_one():
    script = shutil.which('mnist_sgd', path=Path(sys.executable).parent)
    if not script: pytest.skip('mnist_sgd is not installed in this environment')
    done = subprocess.run([script, '--version'], env=ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.fullmatch(r'mnist_sgd [\d.]+\n', done.stdout)


# train

def test_train_tells_and_leaves_what_it_promises(trained):
    folder, done = trained
    lines = done.stdout.splitlines()
    assert re.match(r'epoch +train loss +accuracy on 10,000 training images', lines[2])
    assert [line.split()[0] for line in lines[3:6]] == ['1', '2', '3']
    assert float(re.match(r'test accuracy (0\.\d{4}): [\d,]+ of 10,000 test images', lines[6])[1]) > .92
    assert lines[7] == f'saved {Path("mnist_sgd_out", MODEL)} and {Path("mnist_sgd_out", PICTURE)}'
    assert sorted(f.name for f in (folder/'mnist_sgd_out').iterdir()) == [MODEL, PICTURE]
    with Image.open(folder/'mnist_sgd_out'/PICTURE) as im: assert im.size == (960, 540)
    assert (folder/'mnist_sgd_out'/PICTURE).stat().st_size < 150_000
    assert done.stderr == ''


def test_same_seed_same_bits(tmp_path):
    said = [run('train', '--model', 'linear', '--epochs', 1, '--seed', 3, '--threads', 1, '--device', 'cpu', '--out', out,
                cwd=tmp_path).stdout for out in 'ab']
    assert (tmp_path/'a'/MODEL).read_bytes() == (tmp_path/'b'/MODEL).read_bytes()
    assert (tmp_path/'a'/PICTURE).read_bytes() == (tmp_path/'b'/PICTURE).read_bytes()
    assert said[0].splitlines()[:-1] == said[1].splitlines()[:-1] and 'test accuracy 0.9' in said[0]


@pytest.mark.parametrize('sign, code', [('SIGINT', 130), ('SIGTERM', 143), slow('SIGHUP', 129), slow('SIGKILL', -9)])
def test_a_stopped_run_keeps_the_old_model(trained, tmp_path, sign, code):
    if not hasattr(signal, sign) or os.name == 'nt': pytest.skip(f'no {sign} here')
    shutil.copytree(trained[0]/'mnist_sgd_out', tmp_path/'out')
    old = (tmp_path/'out'/MODEL).read_bytes()
    process = subprocess.Popen([*COMMAND, 'train', '--model', 'simple_net', '--epochs', '500', '--out', 'out'], cwd=tmp_path, env=ENV, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=signals_as_usual)
    for line in process.stdout:
        if line.startswith('    1 '): break
    process.send_signal(getattr(signal, sign))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr == ('' if sign == 'SIGKILL' else 'mnist_sgd: stopped\n')
    assert (tmp_path/'out'/MODEL).read_bytes() == old
    assert sorted(f.name for f in (tmp_path/'out').iterdir()) == [MODEL, PICTURE]


@pytest.mark.parametrize('place', ['safetensors.torch.save', 'mnist_sgd.files.os.fsync', 'mnist_sgd.files.os.replace'])
def test_a_disk_that_fills_up_keeps_the_old_model(trained, tmp_path, monkeypatch, capsys, place):
    for name in MODEL, PICTURE: shutil.copy(trained[0]/'mnist_sgd_out'/name, tmp_path)
    old = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    def full(*args, **kwargs): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(place, full)
    monkeypatch.setenv('TQDM_DISABLE', '1')
    assert inside('train', '--model', 'linear', '--epochs', 1, '--bs', 2000, '--out', tmp_path) == 2
    assert re.fullmatch(r'mnist_sgd: cannot write in .*No space left.*as it was\n', capsys.readouterr().err)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == old


def test_a_limit_on_writing_is_found_before_training(tmp_path):
    resource = pytest.importorskip('resource')
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/MODEL).write_bytes(b'old')
    done = run('train', '--out', 'out', cwd=tmp_path,
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('mnist_sgd: cannot write in out (') and done.stderr.count('\n') == 1
    assert [f.name for f in (tmp_path/'out').iterdir()] == [MODEL] and (tmp_path/'out'/MODEL).read_bytes() == b'old'


# predict

def test_predict_reads_drawings(trained, drawings):
    done = run('predict', *drawings, cwd=trained[0])
    assert done.returncode == 0 and done.stderr == ''
    lines = done.stdout.splitlines()
    right = 0
    for line, (file, digit) in zip(lines, drawings.items(), strict=True):
        name, rest = line.rsplit(': ', 1)
        told, *doubt = rest.split('  not sure, ')
        answer, *each = told.split()
        probs = [float(p.split(':')[1]) for p in each]
        assert name == str(file) and len(probs) == 10 and abs(sum(probs) - 1) < .01
        assert probs[int(answer)] == max(probs) and (not doubt) <= (max(probs) >= .5)
        right += int(answer) == digit
    assert right >= 17


def test_predict_doubts_a_blot_and_says_so_in_json(trained, tmp_path, capsys):
    Image.new('L', (40, 40), 255).save(tmp_path/'blot.png')
    with Image.open(tmp_path/'blot.png') as im: im.paste(0, (10, 8, 30, 32)); im.save(tmp_path/'blot.png')
    words = 'predict', '--model-file', trained[0]/'mnist_sgd_out'/MODEL, tmp_path/'blot.png'
    assert inside(*words) == 0
    said = capsys.readouterr().out
    assert '  not sure, ' in said and 'blot' in said.split('  not sure, ')[1]
    assert inside(*words, '--json') == 0
    assert 'blot' in json.loads(capsys.readouterr().out)['digits'][0]['doubt']


@pytest.fixture(scope='module')
def sheet(tmp_path_factory):
    "A sheet with six test digits in two lines, and where they stand: {file: [(left, top, right, bottom, digit)]}."
    from mnist_sgd.data import load_mnist
    _, (x, y) = load_mnist(square=True)
    sheet, places = Image.new('RGB', (600, 420), 'ivory'), []
    for i in range(6):
        big = Image.fromarray((x[i]*255).byte().numpy()).resize((140, 140), Image.BICUBIC)
        at = 40 + i%3*180, 30 + i//3*190
        sheet.paste('navy', at, big)
        box = big.point(lambda v: 255*(v > 128)).getbbox()
        places.append((*(v + at[k%2] for k, v in enumerate(box)), int(y[i])))
    sheet.save(file := tmp_path_factory.mktemp('sheet')/'sheet.png')
    return file, places


def test_predict_tells_where_the_digits_of_a_page_stand(trained, sheet, tmp_path, capsys):
    file, places = sheet
    model = ['--model-file', trained[0]/'mnist_sgd_out'/MODEL]
    assert inside('predict', *model, '--json', '--boxes', tmp_path/'read', file) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['file'] == str(file) and [d['line'] for d in told['digits']] == [0, 0, 0, 1, 1, 1]
    right = 0
    for d, (*box, digit) in zip(told['digits'], places, strict=True):
        assert np.abs(np.subtract(d['box'], box)).max() <= 3, (d['box'], box)
        assert list(d['probabilities']) == [*'0123456789'] and d['answer'] == max(d['probabilities'], key=d['probabilities'].get)
        assert abs(sum(d['probabilities'].values()) - 1) < 1e-4 and isinstance(d['doubt'], str)
        right += d['answer'] == str(digit)
    assert right >= 5
    assert [f.name for f in (tmp_path/'read').iterdir()] == ['sheet.png.boxes.png']
    with Image.open(tmp_path/'read'/'sheet.png.boxes.png') as im, Image.open(file) as plain:
        marks = np.abs(np.asarray(im.convert('L'), int) - np.asarray(plain.convert('L'), int)) > 20
    assert marks.shape == (420, 600)
    for l, t, r, b in (d['box'] for d in told['digits']):
        assert marks[t - 2, l:r].all() and marks[b + 1, l:r].all() and marks[t:b, l - 2].all() and marks[t:b, r + 1].all()
        assert not marks[t:b, l:r].any()                                  # the digit itself stays as it is


def test_lines_of_a_page_and_its_json_tell_the_same(trained, sheet, capsys):
    words = ['predict', '--model-file', trained[0]/'mnist_sgd_out'/MODEL, sheet[0]]
    assert inside(*words) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert inside(*words, '--json') == 0
    digits = json.loads(capsys.readouterr().out)['digits']
    read = [''.join(d['answer'] for d in digits if d['line'] == i) for i in (0, 1)]
    assert first == f'{sheet[0]}: 6 digits: {" / ".join(read)}'
    for line, d in zip(lines, digits, strict=True):
        l, t, r, b = d['box']
        assert line.startswith(f'{sheet[0]} at {l},{t} to {r},{b}: {d["answer"]}  ')
        assert line.endswith(f'  not sure, {d["doubt"]}') if d['doubt'] else 'not sure' not in line


def png(width, height):
    "The start of a PNG that claims a size."
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + head + struct.pack('>I', zlib.crc32(head))


def test_predict_skips_what_it_cannot_read(trained, drawings, tmp_path, monkeypatch, capsys):
    good = next(iter(drawings))
    Image.new('RGB', (60, 40), 'pink').save(tmp_path/'blank.png')
    Image.new('L', (1, 1)).save(tmp_path/'tiny.png')
    (tmp_path/'text.png').write_text('not a picture')
    (tmp_path/'empty.jpg').write_bytes(b'')
    (tmp_path/'torn.png').write_bytes(good.read_bytes()[:500])
    (tmp_path/'vast.png').write_bytes(png(30_000, 30_000))
    (tmp_path/'folder').mkdir()
    bad = ['blank.png', 'tiny.png', 'text.png', 'empty.jpg', 'torn.png', 'vast.png', 'folder', 'absent.png']
    monkeypatch.chdir(tmp_path)
    assert inside('predict', '--model-file', trained[0]/'mnist_sgd_out'/MODEL, *bad, good) == 1
    out, err = capsys.readouterr()
    assert [line.split(': ')[:2] for line in err.splitlines()] == [['mnist_sgd', name] for name in bad]
    assert all(len(line.split(': ', 2)[2]) > 10 for line in err.splitlines())
    assert len(out.splitlines()) == 1 and out.startswith(f'{good}: ')


def test_a_huge_picture_is_read(tmp_path):
    from mnist_sgd.full_mnist import as_mnist
    sheet = np.full((10_000, 10_000), 255, np.uint8)
    sheet[2000:8000, 4500:5500] = 0
    Image.fromarray(sheet).convert('1').save(tmp_path/'one.png')
    img = as_mnist(tmp_path/'one.png')
    assert img.shape == (28, 28) and img[5:25].sum() == img.sum() and 60 < img.sum() < 70   # 20 by 3.33


def test_reader_that_goes_away(trained, drawings):
    process = subprocess.Popen([*COMMAND, 'predict', *map(str, drawings)], cwd=trained[0], env=ENV, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ''
    assert process.wait(60) == 141


# mistakes

@pytest.mark.parametrize('words, part', [
    ('', 'COMMAND'), ('prefict', "'prefict'"), ('train --epochs 0', "'0'"), ('train --epochs 2.5', "'2.5'"),
    ('train --lr nan', "'nan'"), ('train --lr -1', '-1'), ('train --bs 60001', "'60001'"), ('train --seed x', "'x'"),
    ('train --model resnet', "'resnet'"), ('train --threads 0', "'0'"), ('train --device abacus', "'abacus'"),
    ('train --nope', '--nope'), ('train --out file', 'cannot write in file'), ('train --out file/deep', 'cannot write'),
    ('train --out taken', 'is a folder where a file is to go'), ('predict', 'FILE'), ('predict x.png', 'mnist_sgd train'),
    ('predict x.png --model-file file', 'file is no safetensors file'), ('data --offline absent', 'absent is no folder'),
    ('data --offline=', "'' is an empty name"), ('train --out=', 'empty name'), ('train --checkpoint folder', 'is a folder'),
    ('train --checkpoint no/such', 'there is no folder no'), ('train --data=', 'empty name'), ('demo --export=', 'empty name')],
    ids=lambda value: value if ' ' in value else None)
def test_a_mistake_gets_one_line(tmp_path, monkeypatch, capsys, words, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'file').write_text('not a model')
    (tmp_path/'taken'/MODEL).mkdir(parents=True)
    (tmp_path/'folder').mkdir()
    assert inside(*words.split()) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('mnist_sgd: ') and err.count('\n') == 1 and part in err


def test_a_model_of_another_shape(tmp_path, capsys):
    import torch
    from safetensors.torch import save_file
    save_file({'weight': torch.zeros(10, 100), 'bias': torch.zeros(10)}, tmp_path/'m.safetensors', {'model': 'linear'})
    assert inside('predict', '--model-file', tmp_path/'m.safetensors', 'x.png') == 2
    err = capsys.readouterr().err
    assert '(10, 100), this model (10, 784)' in err and err.count('\n') == 1


# data

def test_data(tmp_path, monkeypatch, capsys):
    from mnist_sgd.data import fetch_mnist
    real = fetch_mnist()
    (tmp_path/'nothing').mkdir()
    monkeypatch.setenv('MNIST_SGD_DATA', str(tmp_path/'cache'))
    assert inside('data', '--check') == 1 and capsys.readouterr().out.count('absent') == 6
    assert inside('data', '--offline', tmp_path/'nothing') == 2
    err = capsys.readouterr().err
    assert err.startswith('mnist_sgd: MNIST could not be fetched') and err.endswith('mnist_sgd data --offline DIR\n')
    assert inside('data', '--offline', real) == 0 and 'verified' in capsys.readouterr().out
    assert inside('data', '--check') == 0 and capsys.readouterr().out.count('whole') == 4
