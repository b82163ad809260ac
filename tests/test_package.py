"""What other files repeat of settings.ini agrees with it, for both lines of nbdev."""
import importlib.util, os, re, subprocess, sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest

from mnist_sgd import words

ROOT = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
SETTINGS = config['DEFAULT']


def script(name):
    "A script of .ci as a module."
    spec = importlib.util.spec_from_file_location(name, ROOT/'.ci'/f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_and_the_settings_of_both_lines_are_those_of_settings_ini():
    assert script('links').block(SETTINGS) in (ROOT/'pyproject.toml').read_text(encoding='utf-8')
    for file, line in ('CITATION.cff', f'version: {SETTINGS["version"]}'), ('mnist_sgd/__init__.py', f'__version__ = "{SETTINGS["version"]}"'):
        assert line in (ROOT/file).read_text(encoding='utf-8').splitlines(), file


def test_another_setting_reaches_the_block_and_leaves_the_rest():
    links, text = script('links'), '[project]\nname = "x"\n\n[tool.nbdev]\nold = 1\n\n[tool.uv]\nkeep = true\n'
    changed = {**SETTINGS, 'tst_flags': 'gpu', 'recursive': 'False'}
    new = links.repeated('pyproject.toml', text, changed)
    assert 'tst_flags = "gpu"\nrecursive = false\n' in new and 'old' not in new
    assert new.startswith('[project]\nname = "x"\n\n[tool.nbdev]\n') and new.endswith('\n\n[tool.uv]\nkeep = true\n')
    assert links.repeated('CITATION.cff', 'cff-version: 1.2.0\nversion: 0.0.1\n', {'version': '9.8.7'}) == 'cff-version: 1.2.0\nversion: 9.8.7\n'


@pytest.mark.parametrize('version', ['1.2.11', '4.0.1'])
@pytest.mark.parametrize('asks', ['checks.py', 'nbdev_3.py'])
def test_a_line_of_nbdev_that_was_never_tried_is_named_in_a_sentence(tmp_path, version, asks):
    info = tmp_path/f'nbdev-{version}.dist-info'
    info.mkdir()
    (info/'METADATA').write_text(f'Metadata-Version: 2.1\nName: nbdev\nVersion: {version}\n')
    r = subprocess.run([sys.executable, ROOT/'.ci'/asks], env={**os.environ, 'PYTHONPATH': str(tmp_path)}, capture_output=True, text=True)
    assert r.returncode == 1 and re.fullmatch(rf'nbdev {re.escape(version)} is of a line that was never tried .*\n', r.stderr), r.stderr


def test_versions_stand_side_by_side_and_what_is_no_python_is_named():
    def side_by_side(*pythons): return subprocess.run([sys.executable, ROOT/'.ci'/'versions.py', *pythons], capture_output=True, text=True)
    rows = [line.split() for line in side_by_side(sys.executable, sys.executable).stdout.splitlines()]
    assert ['torch', *[metadata.version('torch')]*2] in rows and all(len(row) == 3 for row in rows)
    for wrong in 'no/such/python', 'false':
        r = side_by_side(sys.executable, wrong)
        assert r.returncode == 1 and re.fullmatch(rf'{wrong} (does not run|is no Python).*\n', r.stderr), r.stderr


def test_pip_tells_a_python_that_is_too_old_which_ones_will_do(tmp_path, built_wheel):
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    oldest = SETTINGS['min_python']
    for version, code in (f'3.{int(oldest.split(".")[1]) - 1}', 1), (oldest, 0):
        r = subprocess.run([*pip, 'download', '--no-index', '--no-deps', '--only-binary=:all:', '--python-version', version, '-d', tmp_path/'got', built_wheel],
                           env={**os.environ, 'PIP_QUIET': '0'}, capture_output=True, text=True)   # `pip install` asks for its own Python alone
        assert r.returncode == code, r.stderr
        told = re.findall(rf"requires a different Python: {version}\S* not in '>={oldest}'", r.stderr)
        assert len(told) == code, r.stderr


# a package that others bring is missing, or broken

COMMANDS = 'train --epochs 1', 'predict {mine}', 'demo --no-browser', 'doctor {mine}', 'data --check'
HIDE = """
import sys
class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'torch': raise ModuleNotFoundError("No module named 'torch'", name='torch')
sys.meta_path.insert(0, Hidden)
"""
BREAK = 'raise RuntimeError("made for another torch")'


def spoilt(folder, name, line):
    "The environment of a Python whose module of that name is another one: it runs this line."
    (folder/'spoilt').mkdir()
    (folder/'spoilt'/f'{name}.py').write_text(line + '\n')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([str(folder/'spoilt'), str(ROOT)]), 'OMP_NUM_THREADS': '1'}


@pytest.mark.parametrize('command', COMMANDS, ids=lambda c: c.split()[0])
@pytest.mark.parametrize('name, line, told', [
    ('sitecustomize', HIDE, 'the package torch is not installed: python -m pip install torch'),
    ('torch', BREAK, 'the package torch breaks when it is imported (RuntimeError: made for another torch): see what "python -m pip check" says of it')],
    ids=['missing', 'broken'])
def test_a_want_of_torch_is_one_line_of_the_command(tmp_path, command, name, line, told):
    (tmp_path/'mine.py').write_text('import torch\n')
    env = spoilt(tmp_path, name, line)
    r = subprocess.run([sys.executable, '-m', 'mnist_sgd.cli', *command.format(mine='mine.py').split()], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (r.returncode, r.stdout, r.stderr) == (2, '', f'mnist_sgd: {told}\n')


def test_a_broken_fastai_is_no_matter_of_ours_and_a_program_that_needs_it_is_told(tmp_path):
    env = spoilt(tmp_path, 'fastai', BREAK)
    names = sorted('.'.join(p.relative_to(ROOT).with_suffix('').parts) for p in (ROOT/'mnist_sgd').rglob('*.py') if p.name[0] != '_')
    subprocess.run([sys.executable, '-c', f'import {", ".join(names)}'], env=env, check=True)
    (tmp_path/'mine.py').write_text('from fastai.vision.all import *\n')
    r = subprocess.run([sys.executable, '-m', 'mnist_sgd.cli', 'doctor', 'mine.py'], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert r.returncode == 2 and ('the program ended: the package fastai breaks when it is imported (RuntimeError: made for another torch): '
                                  'see what "python -m pip check" says of it') in r.stdout, r.stdout


def test_what_is_said_of_a_missing_package_knows_all_that_the_module_needs():
    needed = {re.match(r'[\w-]+', r)[0] for r in SETTINGS['requirements'].split()}
    assert needed <= {*words._PACKAGES.values()}
