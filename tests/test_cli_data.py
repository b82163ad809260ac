"""`train --data` and then `predict` on its own test files: size, polarity and classes are kept in the model's file."""
import gzip
import json
import re
import string

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_sgd.cli import MODEL, main
from mnist_sgd.data import load_mnist
from mnist_sgd.idx import idx_bytes
from mnist_sgd.recipes import Facts, load_model
from quick import slow


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


def train_and_read(tmp_path, capsys, held, *words, model='simple_net', epochs=8):
    "Train, read the test files; what `train` said, its accuracy, and that of `predict`."
    out, how = tmp_path/'out', ['--model', model, '--epochs', str(epochs), '--bs', '50']
    assert main(['train', *how, '--data', str(tmp_path/'set'), '--out', str(out), *words]) == 0
    said = capsys.readouterr().out
    told = float(re.search(r'test accuracy ([\d.]+)', said)[1])
    assert main(['predict', '--model-file', str(out/MODEL), *held]) == 0
    answers = [line.rsplit(': ', 1)[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    right = sum(a == name for a, name in zip(answers, held.values(), strict=True))/len(held)
    return said, told, right


@pytest.mark.parametrize('form', [mnist, both, large, slow(dark), slow(filled)])
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
    said, told, right = train_and_read(tmp_path, capsys, held, '--lr', '.1', model=model)
    assert 'bent' not in said and '20×32, 12 classes' in said and (model == 'cnn' or abs(right - told) < .0001 and told > .9)
    assert load_model(tmp_path/'out'/MODEL).facts == Facts((*names,), (20, 32), False, True)


def as_idx(folder, parts, names, packed=False):
    folder.mkdir(parents=True)
    for part, called in zip(parts, names):
        for a, name in zip(part, called): (folder/name).write_bytes(gzip.compress(idx_bytes(a), 1) if packed else idx_bytes(a))

def idx(at, parts): as_idx(at, parts, [(f'{p}-images-idx3-ubyte', f'{p}-labels-idx1-ubyte') for p in ('train', 't10k')])
def idx_gz(at, parts): as_idx(at, parts, [(f'{p}-images.idx3-ubyte.gz', f'{p}-labels.idx1-ubyte.gz') for p in ('train', 't10k')], True)
def torchvision(at, parts): idx(at/'MNIST'/'raw', parts)
def csv(at, parts):
    at.mkdir()
    for (x, y), name in zip(parts, ('train', 'test')):
        rows = np.column_stack([y, x.reshape(len(x), -1)])
        np.savetxt(at/f'digits_{name}.csv', rows, '%d', ',', header=','.join(['label', *map(str, range(784))]), comments='')
def npz(at, parts):
    at.mkdir()
    np.savez_compressed(at/'digits.npz', **dict(zip(('x_train', 'y_train', 'x_test', 'y_test'), (a for part in parts for a in part))))
def emnist(at, parts):
    "On their side, labels from 1 on, another set beside it."
    turned = [(np.ascontiguousarray(x.transpose(0, 2, 1)), y + 1) for x, y in parts]
    for split in 'letters', 'digits':
        as_idx(at/split, turned, [(f'emnist-{split}-{p}-images-idx3-ubyte', f'emnist-{split}-{p}-labels-idx1-ubyte') for p in ('train', 'test')])
        for file in (at/split).iterdir(): file.rename(at/file.name)
        (at/split).rmdir()


@pytest.mark.parametrize('layout', [idx, csv, npz, emnist, slow(idx_gz), slow(torchvision)])
def test_each_layout_is_trained_on_and_its_own_test_images_are_read(tmp_path, capsys, digits, layout):
    x, y = digits[0].numpy(), digits[1].numpy().astype(np.uint8)
    layout(tmp_path/'set', [(x[:1500], y[:1500]), (x[1500:1700], y[1500:1700])])
    names, held = string.ascii_lowercase if layout is emnist else string.digits, {}
    for i in range(1500, 1700):                              # upright, as people see them
        Image.fromarray(x[i]).save(tmp_path/f'{i}.png')
        held[str(tmp_path/f'{i}.png')] = names[y[i]]
    split = ['--split', 'letters'] if layout is emnist else []
    said, told, right = train_and_read(tmp_path, capsys, held, *split, model='linear', epochs=6)
    assert f'1,500 training and 200 test images of 28×28, {26 if layout is emnist else 10} classes' in said and told > .75 and abs(right - told) <= .04, (told, right)
    assert ('lie on their side' in said) == (layout is emnist)


def test_the_net_that_is_trained_where_none_is_named_sees_each_image_bent(tmp_path, capsys, monkeypatch, digits):
    "A run that is broken off and goes on ends in the same bits: what is drawn at random goes on too."
    from mnist_sgd import generalize
    x, y, plain = *digits, generalize.augment
    as_folders(tmp_path/'set', x[:720], [str(int(v)) for v in y[:720]])
    def train(name, *words): return main(['train', '--data', str(tmp_path/'set'), '--out', str(tmp_path/name), '--epochs', '2',
                                          '--bs', '100', '--checkpoint', str(tmp_path/f'{name}.c'), *words])
    seen = []
    def watched(xb):
        if len(seen) == 9 and stop: raise KeyboardInterrupt
        seen.append((xb.clone(), plain(xb)))
        return seen[-1][1]
    monkeypatch.setattr(generalize, 'augment', watched)
    stop = False
    assert train('whole') == 0 and 'cnn: ' in (said := capsys.readouterr().out) and 'each image bent anew' in said
    assert len(seen) == 12 and all((a != b).flatten(1).any(1).all() for a, b in seen)
    stop, seen[:] = True, []
    assert (train('broken'), len(seen)) == (130, 9)
    stop, seen[:] = False, []
    assert (train('broken', '--resume'), len(seen)) == (0, 6)              # from the end of the first epoch
    assert (tmp_path/'broken'/MODEL).read_bytes() == (tmp_path/'whole'/MODEL).read_bytes()


def test_what_does_not_fit_is_refused(tmp_path, capsys, digits):
    x, y = digits
    as_folders(tmp_path/'set', filled(x), [str(int(v)) for v in y])
    assert main(['train', '--model', 'linear', '--epochs', '1', '--data', str(tmp_path/'set'), '--out', str(tmp_path/'out')]) == 0
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
