"""What other files repeat of settings.ini agrees with it, for both lines of nbdev."""
import importlib.util, re, subprocess, sys
from configparser import ConfigParser
from pathlib import Path

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


def test_a_line_of_nbdev_that_was_never_tried_is_named_in_a_sentence(tmp_path):
    info = tmp_path/'nbdev-4.0.1.dist-info'
    info.mkdir()
    (info/'METADATA').write_text('Metadata-Version: 2.1\nName: nbdev\nVersion: 4.0.1\n')
    code = f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT/".ci")!r}]; import house; house.nbdev_line()'
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert r.returncode == 1 and re.fullmatch(r'nbdev 4\.0\.1 is of a line that was never tried .*\n', r.stderr), r.stderr
