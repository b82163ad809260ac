"""Ten thousand spoilt inputs for each reader of foreign bytes, a thousand in the quick run: it reads them, or raises ValueError or OSError."""
import contextlib, gzip, io, json, os, pickle, random, struct, tempfile, warnings, zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faults import attempt
from mnist_sgd import recipes, wheel
from mnist_sgd.folders import read_png
from mnist_sgd.idx import idx_bytes, read_idx
from mnist_sgd.own_digit import find_digits
from mnist_sgd.picture import brightness, open_picture
from mnist_sgd.pictures import read_grey
from mnist_sgd.tables import read_csv, read_npz
from quick import slow

N, LIMIT = int(os.environ.get('MNIST_SGD_FUZZ', 10_000)), 300  # inputs a reader; seconds after which it counts as hung
SIZES = [b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\xff\xff\xff\x7f', b'\x80\0\0\0', b'\0\0\1\0']


def spoil(raw, rng):
    "Change some bytes of `raw`: set, cut out, put in, repeated, a size made vast, the end gone."
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 9))):
        at, n = rng.randrange(len(raw) + 1), rng.choice((1, 2, 4, 40))
        how = rng.randrange(7)
        if how == 0: raw[at:at+1] = bytes([rng.randrange(256)])
        elif how == 1: del raw[at:at+n]
        elif how == 2: raw[at:at] = rng.randbytes(n)
        elif how == 3: raw[at:at] = raw[at:at+n]*3
        elif how == 4: raw[at:at+4] = rng.choice(SIZES)
        elif how == 5: del raw[at:]
        elif at < len(raw): raw[at] ^= 1 << rng.randrange(8)
    return bytes(raw)


def as_picture(a, kind, mode):
    out = io.BytesIO()
    Image.fromarray(a).convert(mode).save(out, kind)
    return out.getvalue()


def refined(raw, rng):
    "A PNG whose checksums are right again after its bytes were changed, so that the change gets past them."
    out, at = bytearray(raw), 8
    while at + 12 <= len(out):
        n = int.from_bytes(out[at:at+4], 'big')
        if at + 12 + n > len(out): break
        if rng.random() < .3 and n: out[at + 8 + rng.randrange(n)] = rng.randrange(256)
        out[at+8+n:at+12+n] = struct.pack('>I', zlib.crc32(out[at+4:at+8+n]))
        at += 12 + n
    return bytes(out)


def as_npz(packed=False, **arrays):
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, **arrays)
    return out.getvalue()


def old_pickle(a):
    raw, kind = a.tobytes(), a.dtype.str[1:].encode()
    dims = b''.join(b'J' + struct.pack('<i', n) for n in a.shape)
    return (b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01(' + dims + b't'
            b'cnumpy\ndtype\nU' + bytes([len(kind)]) + kind + b'K\0K\x01\x87R(K\x03U\x01<NNN'
            b'J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T' + struct.pack('<i', len(raw)) + raw + b'tb')


DIGIT = np.arange(784, dtype=np.uint8).reshape(28, 28)
IDX = [idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)), idx_bytes(np.arange(9, dtype=np.uint8)),
       struct.pack('>HBBII', 0, 12, 2, 3, 8) + bytes(96)]
PICTURES = [as_picture(DIGIT, *kind) for kind in (('PNG', 'L'), ('PNG', 'RGBA'), ('PNG', 'P'), ('JPEG', 'L'), ('GIF', 'L'),
                                              ('BMP', 'L'), ('TIFF', 'L'), ('PPM', 'L'), ('WEBP', 'RGB'))]
X, Y = np.zeros((3, 4, 4), np.uint8), np.arange(3)
LINES = 'label,a,b,c,d\n7,0,10,20,255\n3,1,2,3,4\n'
RIGHT = b'\x80\x02' + b''.join(old_pickle(np.eye(2, dtype='f4')) + old_pickle(np.arange(2)) + b'\x86' for _ in range(3)) + b'\x87.'


def from_file(read, name):
    "A reader of bytes, by way of a file in memory where the machine has such a place."
    base = '/dev/shm' if os.path.isdir('/dev/shm') and os.access('/dev/shm', os.W_OK) else None
    folder = tempfile.TemporaryDirectory(dir=base)
    file = Path(folder.name)/name
    def call(raw):
        file.write_bytes(raw)
        return read(file)
    call.folder = folder
    return call


def refine(raw, rng):
    return refined(raw, rng) if raw.startswith(b'\x89PNG') and rng.random() < .5 else spoil(raw, rng)


def pack(raw, rng):
    return spoil(gzip.compress(raw, 1), rng) if rng.random() < .5 else gzip.compress(spoil(raw, rng), 1)


def lines(raw, rng):
    if rng.random() < .5: return spoil(raw, rng)
    old, new = (b'10', b'7', b',', b'\n', b'label', b'a,b'), (b'', b'nan', b'1e400', b'-3', b'"', b'\0', b',,', b'0x1F', b'9'*40)
    return raw.replace(rng.choice(old), rng.choice(new))


def facts(raw, rng):
    if rng.random() < .5: return spoil(raw, rng)
    old, new = (b'28', b'"0"', b'false', b'[', b'"classes"', b'}'), (b'Infinity', b'NaN', b'1e400', b'null', b'{}', b'[]', b'-1', b'9'*5000, b'['*3000)
    return raw.replace(rng.choice(old), rng.choice(new))


def as_predict_does(file):
    "Read a picture of a person; one of ten that can be read is taken to the end, which takes longest."
    picture, _ = open_picture(file)
    brightness(picture)
    if zlib.crc32(picture.tobytes()) % 10 == 0: find_digits(picture)


TABLES = [LINES.encode(), LINES[14:].encode(), LINES.replace(',', ';').encode()]
ARRAYS = [as_npz(x_train=X, y_train=Y), as_npz(True, x_train=X/255, y_train=Y)]
READERS = {  # name: (reader of a file, or of bytes; the right inputs; how they are spoilt)
    'read_idx': (read_idx, IDX, spoil), 'read_idx, packed': (read_idx, IDX, pack),
    'pickle': (None, [RIGHT, pickle.dumps([print, X], 2)], spoil),
    'facts of a model': (None, [json.dumps(recipes.Facts()._asdict()).encode(), json.dumps(recipes.Facts(('a', 'b'), (9, 12))).encode()], facts),
    'predict': (as_predict_does, [p for p in PICTURES if not p.startswith(b'P5')], refine),
    'read_png': (read_png, PICTURES[:3], refine), 'read_grey': (read_grey, PICTURES, refine),
    'read_csv': (read_csv, TABLES, lines), 'read_csv, packed': (read_csv, TABLES[:1], pack),
    'read_npz': (read_npz, ARRAYS, spoil)}


OF_BYTES = {'pickle': lambda raw: wheel._read_pickle(io.BytesIO(raw)), 'facts of a model': lambda raw: recipes._read_facts('m', raw.decode('latin1'))}


@pytest.mark.parametrize('n', [N//10, slow(N)])
@pytest.mark.parametrize('name', READERS)
def test_spoilt_inputs(name, n, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 2**20)     # what is allowed to be large may take its seconds: here it may not be
    read, seeds, change = READERS[name]
    read = from_file(read, 'x') if read else OF_BYTES[name]
    rng, told = random.Random(name), {'read': 0, 'refused': 0}
    def all_of_them():
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for i in range(n):
                raw = change(rng.choice(seeds), rng)
                try: read(raw)
                except (ValueError, OSError) as e:
                    assert str(e) and '\n' not in str(e) and len(str(e)) < 600, (raw, str(e))
                    told['refused'] += 1
                except Exception as e: raise AssertionError(f'input {i}: {type(e).__name__}: {e}: {raw[:300]!r}') from e
                else: told['read'] += 1
    for seed in seeds if name != 'read_png' else seeds[:1]:
        with contextlib.suppress(ValueError): read(seed)
    result, _ = attempt(all_of_them, LIMIT)
    if isinstance(result, BaseException): raise result
    assert result != 'hang' and sum(told.values()) == n and told['refused'] > n/4, (result, told)
