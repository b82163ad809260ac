"""What a release uploads and the table of what was run: faults of archives are named, and the table says what .ci/matrix.json says."""
import io, re, subprocess, sys, tarfile, zipfile
from pathlib import Path

import pytest

import matrix, publish
from links import settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = {'mnist_sgd/__init__.py', 'mnist_sgd/page/index.html'}


def archives(folder, wheel=(), source=(), version='1.2.3'):
    "A wheel and a source archive that hold the package and the other names given."
    folder.mkdir()
    with zipfile.ZipFile(folder/f'mnist_sgd-{version}-py3-none-any.whl', 'w') as z:
        for name in (*sorted(PACKAGE), f'mnist_sgd-{version}.dist-info/METADATA', *wheel): z.writestr(name, '')
    with tarfile.open(folder/f'mnist_sgd-{version}.tar.gz', 'w:gz') as t:
        for name in (*sorted(PACKAGE), 'PKG-INFO', 'settings.ini', 'mnist_sgd.egg-info/PKG-INFO', *source):
            t.addfile(tarfile.TarInfo(f'mnist_sgd-{version}/{name}'), io.BytesIO())
    return folder


@pytest.fixture
def package(monkeypatch): monkeypatch.setattr(publish, 'tracked', lambda: PACKAGE)


def test_archives_with_the_package_alone_are_right(tmp_path, package):
    assert list(publish.look(archives(tmp_path/'dist'), '1.2.3')) == []


@pytest.mark.parametrize('more, message', [
    ({'wheel': ['tests/test_learner.py']}, 'the wheel has tests/test_learner.py, which is not'),
    ({'wheel': ['settings.ini']}, 'the wheel has settings.ini, which is not'),
    ({'source': ['nbs/00_data.ipynb']}, 'the source archive has nbs/00_data.ipynb, which is not'),
    ({'source': ['mnist_sgd/gone.py']}, 'the source archive has mnist_sgd/gone.py, which is not'),
    ({'source': ['mnist_sgd/page/index.html']}, 'the source archive has mnist_sgd/page/index.html twice'),
    ({'version': '1.2.2'}, r'dist/ has mnist_sgd-1.2.2.tar.gz, wanted .* of version 1.2.3 alone')])
@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_what_does_not_belong_is_named(tmp_path, package, more, message):
    found = list(publish.look(archives(tmp_path/'dist', **more), '1.2.3'))
    assert any(re.match(message, f) for f in found), found


def test_a_page_that_is_left_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, 'tracked', lambda: PACKAGE | {'mnist_sgd/page/new.js'})
    found = list(publish.look(archives(tmp_path/'dist'), '1.2.3'))
    assert found == [f'the {kind} lacks mnist_sgd/page/new.js' for kind in ('wheel', 'source archive')]


def test_an_empty_dist_names_both_archives(tmp_path):
    assert len(list(publish.look(tmp_path/'dist', '1.2.3'))) == 2


def test_an_index_is_what_pip_reads(tmp_path):
    url = publish.index(archives(tmp_path/'dist'), tmp_path/'simple')
    r = subprocess.run([sys.executable, '-m', 'pip', '--isolated', 'download', '--no-deps', '--index-url', url, '--no-build-isolation', '-d', tmp_path/'got',
                        '--only-binary', ':all:', 'mnist_sgd==1.2.3'], capture_output=True, text=True)
    assert 'mnist_sgd-1.2.3-py3-none-any.whl' in r.stdout + r.stderr, r.stderr


# the matrix

RUN = {'python': '3.12', 'version': '3.12.1', 'end': 'newest', 'date': '2026-01-02', 'versions': {'torch': '2.9.9'}, 'MB': 12, 'seconds': 34, 'failed': ''}


def test_the_table_of_contributing_is_the_one_of_the_runs():
    r = subprocess.run([sys.executable, ROOT/'.ci'/'matrix.py', '--check'], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_a_row_says_what_was_chosen_and_how_it_ended():
    old = {**RUN, 'end': 'oldest', 'date': '2026-01-01', 'versions': {'torch': '2.1.0', 'tqdm': '4.66'}, 'failed': 'imports: no module'}
    none = {'python': '3.99', 'end': 'newest', 'date': '2026-01-01', 'failed': 'skipped: no Python 3.99 on this machine'}
    told, _, head, line, *rows = matrix.table([none, RUN, old], 'torch>=2').splitlines()
    assert told.startswith('Run on 2026-01-01 to 2026-01-02,') and '`torch>=2`' in told
    assert head == '| Python | versions | torch | tqdm | MB | s | ended |'
    assert rows == ['| 3.12.1 | oldest | 2.1.0 | 4.66 | 12 | 34 | **imports: no module** |', '| 3.12.1 | newest | 2.9.9 |  | 12 | 34 | all passed |',
                    '| 3.99 | newest |  |  |  |  | **skipped: no Python 3.99 on this machine** |']


def test_a_run_takes_the_place_of_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, 'RESULTS', tmp_path/'matrix.json')
    for record in RUN, {**RUN, 'end': 'oldest'}, {**RUN, 'failed': 'train: no'}: matrix.keep(record)
    assert [(r['end'], r['failed']) for r in matrix.results()] == [('oldest', ''), ('newest', 'train: no')]


def test_a_step_that_fails_ends_a_run_and_is_told_by_its_last_word(tmp_path, capfd):
    run = matrix.Run(sys.executable, 'newest', tmp_path)
    run.step('one', sys.executable, '-c', 'pass')
    run.step('two', sys.executable, '-c', 'raise ValueError("3 rows, 4 labels")')
    run.step('three', sys.executable, '-c', 'pass')
    assert [*run.steps] == ['one', 'two'] and run.failed == 'two: ValueError: 3 rows, 4 labels'


def test_no_python_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(matrix, 'find_python', lambda name: None)
    assert matrix.try_one('3.99', 'newest', None, {})['failed'] == 'skipped: no Python 3.99 on this machine'


def test_classifiers_claim_the_pythons_on_which_both_ends_passed():
    cfg, rows = settings(), [r for r in matrix.results() if not r['failed']]
    claimed = {f'3.{m}' for m in range(int(cfg['min_python'][2:]), int(cfg['max_python'][2:]) + 1)}
    for end in 'oldest', 'newest': assert {r['python'] for r in rows if r['end'] == end} == claimed, end
