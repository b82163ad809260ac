"""One thread for each test, and after the tests: what they measured, and a table of the faults tried on the data's way."""
import os, shutil, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'.ci'))  # `house`, which its scripts share

os.environ.setdefault('OMP_NUM_THREADS', '1')  # tests run side by side, and a thread that waits for a busy core costs more than it gives
TOLD = 0  # rows of `faults.ROWS` that a test's report has taken along


LONGEST = '''test_site test_scaling test_doctor test_exercises test_data_faults test_playground_page test_cli test_demo_browser
    test_own_digit test_cli_data test_doctor_watch test_demo test_datasets test_cli_faults'''.split()   # 95 to 15 seconds of a core in the quick run


def pytest_configure(config):
    config.option.loadscopereorder = False  # pytest -n 2 --dist loadfile: files are handed out in the order that follows


def pytest_collection_modifyitems(items):
    "The longest files first, so that both processes have work to the end."
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope='session')
def chromium():
    "The one browser of a process: Playwright starts no second one beside it, whichever files a process is given."
    import browser
    with browser.chromium() as running: yield running


@pytest.fixture(scope='session')
def once(tmp_path_factory):
    "once(name, make): a folder that `make` fills in the first process of this run that asks; the others wait, and are given the same."
    from filelock import FileLock
    base = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ: base = base.parent      # the folder of all processes
    def folder(name, make):
        with FileLock(base/f'{name}.lock'):
            if not (base/name).exists():
                half = tmp_path_factory.mktemp(name)                # one that fails leaves no half of it for the next
                make(half)
                half.rename(base/name)
        return base/name
    return folder


@pytest.fixture(scope='session')
def nets(once):
    "The folder of `simple_net` and `cnn`, each saved as `mnist_sgd train` saves it."
    import trained
    return once('nets', trained.train)


def build(folder):
    "Copy what the package is made of, and let pip build its wheel in the folder."
    for name in 'setup.py settings.ini pyproject.toml MANIFEST.in README.md LICENSE CHANGELOG.md CITATION.cff'.split():
        shutil.copy(ROOT/name, folder)
    shutil.copytree(ROOT/'mnist_sgd', folder/'mnist_sgd', ignore=shutil.ignore_patterns('__pycache__'))
    r = subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--disable-pip-version-check', '--no-deps', '-w', folder/'dist', folder],
                       capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr


@pytest.fixture(scope='session')
def built_wheel(once):
    "The wheel of this tree."
    file, = (once('wheel', build)/'dist').glob('*.whl')
    return file


@pytest.fixture(autouse=True)
def faults_tried(request):
    "Send the faults that a test tried along with its report, which reaches the summary from another process too."
    global TOLD
    yield
    rows = getattr(sys.modules.get('faults'), 'ROWS', [])
    request.node.user_properties += [('fault', row) for row in rows[TOLD:]]
    TOLD = len(rows)


def pytest_terminal_summary(terminalreporter):
    reports = [r for rs in terminalreporter.stats.values() for r in rs if getattr(r, 'when', None) == 'teardown']
    told = [p for r in reports for p in r.user_properties]
    measured, rows = ([value for name, value in told if name == which] for which in ('measured', 'fault'))
    line = terminalreporter.line
    if measured:
        terminalreporter.section('measured')
        for text in measured: line(text)
    if not rows: return
    terminalreporter.section('faults tried on the data')
    same = {}  # equal rows are told once, with how many they are and the longest time
    for r in rows: same.setdefault((r['group'], r['fault'], r['outcome'][:120]), []).append(r['seconds'])
    width = max(len(fault) for _, fault, _ in same)
    for (group, fault, outcome), times in same.items():
        line(f'{group:10} {fault:{width}} {max(times):6.1f} s  {outcome}' + (f' × {len(times)}' if len(times) > 1 else ''))
    wrong, half, hangs = (sum(r[key] for r in rows) for key in ('wrong', 'half', 'hangs'))
    line(f'{len(rows)} faults tried: {wrong} wrong bytes accepted, {half} half-written caches, {hangs} hangs')
