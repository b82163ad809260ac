"""Data as people have them: each layout that `load_rows` knows, made small from MNIST, and what it refuses."""
import gzip, json, os, shutil, struct, subprocess, sys

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_sgd.data import fetch_mnist, read_idx
from mnist_sgd.datasets import HELD_OUT, TURNED, load_rows
from mnist_sgd.idx import idx_bytes
from mnist_sgd.pictures import Pictures
from mnist_sgd.scaling import ShardLoader

N, M = 120, 80


@pytest.fixture(scope='module')
def digits():
    "A few digits of MNIST: (x, y), (test_x, test_y)."
    idx = fetch_mnist()
    return tuple((read_idx(idx/f'{part}-images-idx3-ubyte')[:n], read_idx(idx/f'{part}-labels-idx1-ubyte')[:n])
                 for part, n in (('train', N), ('t10k', M)))


def same(rows, digits):
    for (x, y), (want_x, want_y) in zip(rows, digits):
        assert np.array_equal(x, want_x) and np.array_equal(y, want_y)
    xb, yb = next(iter(ShardLoader(*rows[0], 3)))
    assert xb.dtype == torch.float32 and yb.dtype == torch.int64 and xb.shape == (3, rows.size[0]*rows.size[1])
    return rows


def write_idx(folder, digits, names, packed=False, turned=False):
    folder.mkdir(parents=True, exist_ok=True)
    for (x, y), (images, labels) in zip(digits, names):
        for name, a in (images, x.transpose(0, 2, 1) if turned else x), (labels, y):
            raw = idx_bytes(np.ascontiguousarray(a, np.uint8))
            (folder/(name + '.gz'*packed)).write_bytes(gzip.compress(raw, 1) if packed else raw)
    return folder


PLAIN = [('train-images-idx3-ubyte', 'train-labels-idx1-ubyte'), ('t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte')]
DOTS = [('train-images.idx3-ubyte', 'train-labels.idx1-ubyte'), ('t10k-images.idx3-ubyte', 't10k-labels.idx1-ubyte')]
def emnist(split):
    return [tuple(f'emnist-{split}-{part}-{kind}-ubyte' for kind in ('images-idx3', 'labels-idx1')) for part in ('train', 'test')]


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('names', [PLAIN, DOTS], ids=['dashes', 'dots'])
def test_idx_files(tmp_path, digits, names, packed):
    rows = same(load_rows(write_idx(tmp_path, digits, names, packed)), digits)
    assert (rows.names, rows.layout, rows.size) == ([*'0123456789'], 'IDX files', (28, 28)) and not (rows.dark or rows.notes)


def test_torchvision_keeps_packed_and_plain_files_in_raw(tmp_path, digits):
    raw = write_idx(tmp_path/'MNIST'/'raw', digits, PLAIN)
    write_idx(raw, digits, PLAIN, packed=True)
    for place in raw, tmp_path/'MNIST', tmp_path: same(load_rows(place), digits)
    write_idx(tmp_path/'FashionMNIST'/'raw', digits, PLAIN)
    with pytest.raises(ValueError, match='FashionMNIST/raw and MNIST/raw: give one'): load_rows(tmp_path)


def test_emnist_is_turned_and_chosen_by_split(tmp_path, digits):
    for split in 'digits', 'letters', 'balanced':
        write_idx(tmp_path/'gzip', digits, emnist(split), packed=True, turned=True)
    with pytest.raises(ValueError, match='balanced, digits, letters: choose one of them'): load_rows(tmp_path)
    with pytest.raises(ValueError, match="no 'byclass'"): load_rows(tmp_path, 'byclass')
    assert TURNED in same(load_rows(tmp_path, 'digits'), digits).notes
    rows = same(load_rows(tmp_path, 'balanced'), digits)
    assert len(rows.names) == 47 and rows.names[36] == 'a' and rows.names[:11] == [*'0123456789A']
    with pytest.raises(ValueError, match='label 0, wanted one of 1, 2'): load_rows(tmp_path, 'letters')
    above = [(x, y + 1) for x, y in digits]
    write_idx(tmp_path/'gzip', above, emnist('letters'), packed=True, turned=True)
    rows = same(load_rows(tmp_path, 'letters'), digits)
    assert rows.names == [*'abcdefghijklmnopqrstuvwxyz']


def test_a_name_that_only_sounds_like_emnist_is_not_turned(tmp_path, digits):
    same(load_rows(write_idx(tmp_path/'femnist', digits, PLAIN)), digits)
    assert load_rows(write_idx(tmp_path/'EMNIST', digits, PLAIN)).notes == [TURNED]


def test_qmnist_has_wide_labels(tmp_path, digits):
    kinds = 'images-idx3-ubyte', 'labels-idx2-int'
    names = [tuple(f'qmnist-{part}-{kind}' for kind in kinds) for part in ('train', 'test')]
    write_idx(tmp_path, digits, names)
    for (_, y), (_, name) in zip(digits, names):
        wide = np.zeros((len(y), 8), '>i4')
        wide[:, 0] = y
        (tmp_path/name).write_bytes(struct.pack('>HBBII', 0, 12, 2, *wide.shape) + wide.tobytes())
    same(load_rows(tmp_path), digits)


def write_pictures(folder, digits, parts, mode='L', called=str):
    for (x, y), part in zip(digits, parts):
        for i, (img, label) in enumerate(zip(x, y)):
            place = folder/part/called(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(img)).convert(mode).save(place/f'{i:05}.png')
    return folder


def by_class(digits):
    "In the order of folders and names."
    return [(x[np.argsort(y, kind='stable')], np.sort(y)) for x, y in digits]


@pytest.mark.parametrize('parts', [('training', 'testing'), ('train', 'test'), ('train', 'valid'), ('Train', 'val')])
def test_folders_of_pictures(tmp_path, digits, parts):
    rows = same(load_rows(write_pictures(tmp_path, digits, parts)), by_class(digits))
    assert (rows.names, rows.layout, rows.notes) == ([*'0123456789'], 'folders of pictures', [])


def test_stray_and_hidden_things_among_pictures(tmp_path, digits):
    write_pictures(tmp_path, digits, ('training', 'testing'), mode='RGB')
    for rel in '.DS_Store', 'labels.csv', 'training/README.md', 'training/3/Thumbs.db', 'testing/5/.hidden.png':
        (tmp_path/rel).write_text('nothing of ours')
    for rel in '.ipynb_checkpoints', 'training/.ipynb_checkpoints', '__MACOSX', 'testing/__MACOSX': (tmp_path/rel).mkdir()
    if hasattr(os, 'mkfifo'): os.mkfifo(tmp_path/'training'/'0'/'x.png')
    same(load_rows(tmp_path), by_class(digits))


def test_one_folder_with_a_part_held_out(tmp_path, digits):
    write_pictures(tmp_path, digits, ('', ''))
    (x, y), (test_x, test_y) = rows = load_rows(tmp_path)
    assert rows.notes[0] == HELD_OUT and len(x) + len(test_x) == len(list(tmp_path.glob('*/*.png')))
    assert abs(len(test_x)/(len(x) + len(test_x)) - 1/6) < .04 and {*test_y} == {*y} == set(range(10))
    again = load_rows(tmp_path)
    assert np.array_equal(again[1][0], test_x)
    seen = {a.tobytes() for a in x}
    assert not any(a.tobytes() in seen for a in test_x)


def test_classes_are_the_same_for_all_parts_and_numbers_go_by_value(tmp_path, digits):
    (x, y), test = digits
    some, few = np.isin(y, (0, 1, 3, 7)), np.isin(test[1], (3, 7))
    only = [(x[some], y[some]), (test[0][few], test[1][few])]
    rows = load_rows(write_pictures(tmp_path/'a', only, ('training', 'testing')))
    assert {*rows[0][1]} == {0, 1, 3, 7} and {*rows[1][1]} == {3, 7} and rows.notes == ['no test images of class 0, 1']
    twelve = [(x[:24], np.arange(24) % 12), (test[0][:12], np.arange(12))]
    rows = same(load_rows(write_pictures(tmp_path/'b', twelve, ('train', 'test'))), by_class(twelve))
    assert rows.names == [str(i) for i in range(12)]
    rows = load_rows(write_pictures(tmp_path/'c', twelve, ('train', 'test'), called=lambda i: 'abcdefghijkl'[i]))
    assert rows.names == [*'abcdefghijkl'] and np.array_equal(rows[1][1], np.arange(12))


def test_dark_on_light_other_sizes_and_16_bits(tmp_path, digits):
    big = [(np.pad(255 - x, ((0, 0), (2, 2), (2, 2)), constant_values=255), y) for x, y in digits]
    rows = same(load_rows(write_pictures(tmp_path/'a', big, ('train', 'test'))), by_class(big))
    assert rows.dark and rows.size == (32, 32)
    for part in 'train', 'test':
        for c in '01':
            (tmp_path/'b'/part/c).mkdir(parents=True)
            Image.fromarray(np.full((9, 9), 30_000, np.uint16)).save(tmp_path/'b'/part/c/'a.png')
    assert load_rows(tmp_path/'b')[0][0].tolist() == np.full((2, 9, 9), 117).tolist()
    assert int(Pictures(tmp_path/'b'/'train')[np.array([0])].max()) == 117


def test_csv(tmp_path, digits):
    for (x, y), name in zip(digits, ('fashion-mnist_train.csv', 'fashion-mnist_test.csv')):
        table = np.column_stack([y, x.reshape(len(x), -1)])
        np.savetxt(tmp_path/name, table, '%d', ',', header='label,' + ','.join(f'pixel{i}' for i in range(784)), comments='')
    (tmp_path/'sample_submission.csv').write_text('ImageId,Label\n1,0\n')
    assert same(load_rows(tmp_path), digits).layout == 'CSV'
    rows = load_rows(tmp_path/'fashion-mnist_train.csv')
    assert rows.notes[0] == HELD_OUT and len(rows[0][0]) + len(rows[1][0]) == N


def test_emnist_as_csv_is_turned_too(tmp_path, digits):
    for (x, y), part in zip(digits, ('train', 'test')):
        table = np.column_stack([y, x.transpose(0, 2, 1).reshape(len(x), -1)])
        np.savetxt(tmp_path/f'emnist-digits-{part}.csv', table, '%d', ',')
    assert same(load_rows(tmp_path), digits).notes == [TURNED]


@pytest.mark.parametrize('shape, times', [((28, 28), 1), ((784,), 1), ((28, 28, 1), 1), ((28, 28), 1/255)])
def test_npz(tmp_path, digits, shape, times):
    (x, y), (test_x, test_y) = digits
    def form(a): return np.ascontiguousarray(a).reshape(len(a), *shape)*(times if times != 1 else np.uint8(1))
    np.savez_compressed(tmp_path/'mnist.npz', x_train=form(x), y_train=y, x_test=form(test_x), y_test=test_y)
    for place in tmp_path, tmp_path/'mnist.npz': assert same(load_rows(place), digits).layout == 'npz'


def test_medmnist_calls_its_arrays_otherwise(tmp_path, digits):
    (x, y), (test_x, test_y) = digits
    np.savez(tmp_path/'pneumoniamnist.npz', train_images=x, train_labels=y[:, None], val_images=x, val_labels=y[:, None],
             test_images=test_x, test_labels=test_y[:, None])
    same(load_rows(tmp_path), digits)


def spoil_pictures(folder, digits): return write_pictures(folder, digits, ('training', 'testing'))


def an_empty_class(folder, digits):
    spoil_pictures(folder, digits)
    for f in (folder/'training'/'3').iterdir(): f.unlink()


def a_class_in_the_test_alone(folder, digits):
    spoil_pictures(folder, digits)
    shutil.copytree(folder/'testing'/'3', folder/'testing'/'cat')


def mixed_sizes(folder, digits):
    spoil_pictures(folder, digits)
    Image.new('L', (30, 28)).save(folder/'training'/'3'/'z.png')


def a_vast_picture(folder, digits):
    import zlib
    def chunk(kind, b): return struct.pack('>I', len(b)) + kind + b + struct.pack('>I', zlib.crc32(kind + b))
    for part in 'training', 'testing': (folder/part/'0').mkdir(parents=True)
    Image.new('L', (28, 28)).save(folder/'testing'/'0'/'a.png')
    (folder/'training'/'0'/'b.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack(
        '>IIBBBBB', 30000, 30000, 1, 0, 0, 0, 0)) + chunk(b'IDAT', b'') + chunk(b'IEND', b''))


def labels_that_do_not_fit(folder, digits): write_idx(folder, [(x, y[:-1]) for x, y in digits], PLAIN)


def no_labels(folder, digits): (write_idx(folder, digits, PLAIN)/'train-labels-idx1-ubyte').unlink()


def a_pipe_of_labels(folder, digits):
    no_labels(folder, digits)
    os.mkfifo(folder/'train-labels-idx1-ubyte')


def labels_of_no_columns(folder, digits):
    no_labels(folder, digits)
    (folder/'train-labels-idx2-int').write_bytes(b'\0\0\x0c\2\0\0\0\1\0\0\0\0')


def a_torn_gz(folder, digits):
    write_idx(folder, digits, PLAIN, packed=True)
    file = folder/'train-images-idx3-ubyte.gz'
    file.write_bytes(file.read_bytes()[:-200])


def a_page_called_idx(folder, digits):
    (write_idx(folder, digits, PLAIN)/'train-images-idx3-ubyte').write_text('<html>no</html>')


def other_sizes_in_the_test(folder, digits):
    write_idx(folder, [digits[0], (digits[1][0][:, 1:], digits[1][1])], PLAIN)


def two_of_a_kind(folder, digits):
    for name in 'mnist_train.csv', 'mnist_train_small.csv': (folder/name).write_text('label,' + ','.join('p'*784) + '\n')


def a_wrong_column(folder, digits): (folder/'train.csv').write_text(('1' + ',0'*784 + '\n')*3 + '1' + ',0'*783 + '\n')


def too_bright(folder, digits): (folder/'train.csv').write_text('1' + ',0'*784 + '\n' + '1' + ',0'*783 + ',256\n')


def no_labels_in_a_table(folder, digits): (folder/'train.csv').write_text('0' + ',0'*783 + '\n')


def pickles_in_npz(folder, digits): np.savez(folder/'a.npz', x_train=np.array([print]), y_train=np.array([1]))


def other_names_in_npz(folder, digits): np.savez(folder/'a.npz', arr_0=np.zeros(3))


def test_images_alone(folder, digits): write_idx(folder, [digits[1]], PLAIN[1:])


def one_picture_a_class(folder, digits): write_pictures(folder, [(digits[0][0][1:5], np.arange(4))], ('',))


REFUSED = {an_empty_class: 'holds 0 pictures', a_class_in_the_test_alone: 'have class cat', mixed_sizes: 'z.png has 30×28 pixels',
           a_vast_picture: 'of class 0 no picture can be read.*900000000 pixels', labels_that_do_not_fit: r'\((120|80), 28, 28\) and labels \((119|79),\)',
           no_labels: '1 files of train images and 0 of labels', a_pipe_of_labels: 'is a pipe, wanted a file',
           labels_of_no_columns: 'holds 0 bytes', a_torn_gz: 'cannot be unpacked', a_page_called_idx: 'begins with 3c68746d',
           other_sizes_in_the_test: 'bring all to one size', two_of_a_kind: 'both csv of the train part',
           a_wrong_column: 'line 4 has 784 columns', too_bright: 'line 2 has a pixel of 256',
           no_labels_in_a_table: '784 columns, wanted a label', pickles_in_npz: 'cannot be read as .npz',
           other_names_in_npz: 'arr_0, wanted x_train', test_images_alone: 'test images alone',
           one_picture_a_class: 'too few to hold some out'}
test_images_alone.__test__ = False


PIPES = pytest.mark.skipif(os.name != 'posix', reason='Windows has no pipes among its files')


@pytest.mark.parametrize('spoil', [pytest.param(f, marks=PIPES) if f is a_pipe_of_labels else f for f in REFUSED], ids=lambda f: f.__name__)
def test_what_is_refused_in_one_sentence(spoil, tmp_path, digits):
    spoil(tmp_path, digits)
    with pytest.raises(ValueError, match=REFUSED[spoil]) as e: load_rows(tmp_path)
    assert '\n' not in str(e.value) and len(str(e.value)) < 400


def test_a_torn_picture_among_many_is_named_and_left_out(tmp_path, digits):
    spoil_pictures(tmp_path, digits)
    for i in range(2):
        file = sorted((tmp_path/'training'/'3').iterdir())[i]
        file.write_bytes(file.read_bytes()[:-60])
    rows = load_rows(tmp_path)
    assert len(rows[0][0]) == N - 2 and rows.notes[0].startswith(f'2 of {N + M} pictures are left out; the first: {tmp_path}')


def test_what_is_not_known_is_named_with_what_is(tmp_path):
    (tmp_path/'data.parquet').write_bytes(b'PAR1')
    with pytest.raises(ValueError, match='data.parquet.*Known are IDX files.*npz'): load_rows(tmp_path)
    with pytest.raises(ValueError, match='Known are'): load_rows(tmp_path/'data.parquet')
    with pytest.raises(FileNotFoundError, match='there is no'): load_rows(tmp_path/'absent')


CHILD = '''
import json, sys, resource
from mnist_sgd.datasets import load_rows
rows = load_rows(sys.argv[1])
(x, y), _ = rows
print(json.dumps([len(x), int(x[len(x)//2].sum()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
'''


@pytest.mark.skipif(not hasattr(os, 'sysconf'), reason='the size of the memory is asked of sysconf')
def test_data_of_1_3_times_the_memory(tmp_path):
    n = int(1.3*os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES')/784)
    for part, rows in ('train', n), ('t10k', 10):
        for kind, head, size in (('images-idx3', struct.pack('>HBB3I', 0, 8, 3, rows, 28, 28), 784),
                                 ('labels-idx1', struct.pack('>HBBI', 0, 8, 1, rows), 1)):
            (tmp_path/f'{part}-{kind}-ubyte').write_bytes(head)
            os.truncate(tmp_path/f'{part}-{kind}-ubyte', len(head) + rows*size)
    done = subprocess.run([sys.executable, '-c', CHILD, tmp_path], capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout)[:2] == [n, 0]


def test_a_map_is_for_reading_and_its_copies_make_tensors_without_a_word(tmp_path):
    (tmp_path/'x').write_bytes(idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2)))
    x = read_idx(tmp_path/'x')
    with pytest.raises(ValueError, match='read-only'): x[0] = 1
    mine = x.copy()
    mine[0] = 1
    assert read_idx(tmp_path/'x')[0].tolist() == [[0, 1], [2, 3]]
    code = ('import sys, torch, warnings; from mnist_sgd.data import load_mnist, read_idx, untar_data; from mnist_sgd.scaling import ShardLoader; '
            'warnings.simplefilter("error"); load_mnist(); load_mnist(digits=(3, 7)); '     # what old packages say of each other on import is theirs
            'x = read_idx(sys.argv[1]); next(iter(ShardLoader(x, x[:, 0, 0], 2))); torch.from_numpy(x.copy())')
    done = subprocess.run([sys.executable, '-c', code, tmp_path/'x'], capture_output=True, text=True)
    assert not done.returncode, done.stderr
