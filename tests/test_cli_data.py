"""`train --data` and then `predict` on its own test files: size, polarity and classes are kept in the model's file."""
import json
import re
import string

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_sgd.cli import MODEL, main
from mnist_sgd.data import load_mnist
from mnist_sgd.recipes import Facts, load_model


@pytest.fixture(scope='module')
def digits():
    "2,400 digits and their labels, uint8 (n,28,28)."
    (x, y), _ = load_mnist(square=True)
    return (x[:2400]*255).round().byte(), y[:2400]


def resized(x, side): return torch.nn.functional.interpolate(x[:, None].float(), size=(side, side), mode='bilinear')[:, 0].byte()


def filled(x): return resized(x[:, 4:24, 4:24], 28)                      # no margin
def dark(x): return 255 - x                                              # ink dark on light paper
def both(x): return dark(filled(x))
def large(x): return resized(x, 32)
def mnist(x): return x


def as_folders(folder, x, names):
    "Folders of PNG, five of six for training; the test files with the names of their classes."
    held = {}
    for i, (im, name) in enumerate(zip(x, names)):
        file = folder/('testing' if i % 6 == 5 else 'training')/name/f'{i}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(im.numpy() if hasattr(im, 'numpy') else im).save(file)
        if i % 6 == 5: held[str(file)] = name
    return held


def train_and_read(tmp_path, capsys, held, *words):
    "Train, read the test files; what `train` said, its accuracy, and that of `predict`."
    out = tmp_path/'out'
    assert main(['train', '--epochs', '8', '--bs', '50', '--data', str(tmp_path/'set'), '--out', str(out), *words]) == 0
    said = capsys.readouterr().out
    told = float(re.search(r'test accuracy ([\d.]+)', said)[1])
    assert main(['predict', '--model-file', str(out/MODEL), *held]) == 0
    answers = [line.rsplit(': ', 1)[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    right = sum(a == name for a, name in zip(answers, held.values(), strict=True))/len(held)
    return said, told, right


@pytest.mark.parametrize('form', [mnist, dark, filled, both, large])
def test_its_own_test_files_are_read_as_well_as_in_training(tmp_path, capsys, digits, form):
    x, y = digits
    held = as_folders(tmp_path/'set', form(x), [str(int(v)) for v in y])
    said, told, right = train_and_read(tmp_path, capsys, held)
    assert told > .8 and abs(right - told) < (.03 if form in (mnist, dark) else .0001), (form, told, right)
    side = 32 if form is large else 28
    assert load_model(tmp_path/'out'/MODEL).facts == Facts((*string.digits,), (side, side), form is both, form not in (mnist, dark))
    assert ('as they are' in said) == (form not in (mnist, dark)) and f'{side}×{side}, 10 classes' in said


@pytest.mark.parametrize('model', ['linear', 'simple_net', 'cnn'])
def test_twelve_classes_with_names(tmp_path, capsys, model):
    rng, names, x = np.random.default_rng(0), [*'abcdefghijkl'], []
    for i in range(240):
        im = rng.integers(0, 60, (20, 32), dtype=np.uint8)
        im[4:16, 2 + 2*((i//12 + i) % 12):5 + 2*((i//12 + i) % 12)] = 250
        x.append(im)
    held = as_folders(tmp_path/'set', x, [names[(i//12 + i) % 12] for i in range(240)])
    if model == 'cnn': held = dict(list(held.items())[:20])
    said, told, right = train_and_read(tmp_path, capsys, held, '--model', model, '--lr', '.1')
    assert '20×32, 12 classes' in said and (model == 'cnn' or abs(right - told) < .0001 and told > .9)
    assert load_model(tmp_path/'out'/MODEL).facts == Facts((*names,), (20, 32), False, True)


def test_what_does_not_fit_is_refused(tmp_path, capsys, digits):
    x, y = digits
    as_folders(tmp_path/'set', filled(x), [str(int(v)) for v in y])
    assert main(['train', '--epochs', '1', '--data', str(tmp_path/'set'), '--out', str(tmp_path/'out')]) == 0
    Image.new('L', (40, 30), 255).save(tmp_path/'large.png')
    Image.new('L', (28, 28), 255).save(tmp_path/'light.png')
    capsys.readouterr()
    assert main(['predict', '--model-file', str(tmp_path/'out'/MODEL), str(tmp_path/'large.png'), str(tmp_path/'light.png')]) == 1
    out, err = capsys.readouterr()
    assert out == '' and '30×40 pixels, this model was trained on 28×28' in err and 'its paper is light' in err


def test_mnist_tells_nothing_and_an_old_file_is_read(tmp_path):
    from mnist_sgd.recipes import write_facts
    assert write_facts('cnn', Facts()) == {'model': 'cnn'}
    facts = Facts(('left', 'right'), (9, 12), True, True)
    assert json.loads(write_facts('linear', facts)['data'])['size'] == [9, 12] or json.loads(write_facts('linear', facts)['data'])['size'] == (9, 12)


@pytest.mark.parametrize('words, part', [('--split balanced', '--split needs --data'), ('--data absent', 'there is no absent'),
                                         ('--data . --split x', 'no data set that is known')])
def test_a_mistake_gets_one_line(tmp_path, monkeypatch, capsys, words, part):
    monkeypatch.chdir(tmp_path)
    assert main(['train', *words.split()]) == 2
    err = capsys.readouterr().err
    assert part in err and err.count('\n') == 1
