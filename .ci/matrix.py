#!/usr/bin/env python
"""Try the package in new environments, on each Python, with the oldest and the newest versions that settings.ini allows.

    .ci/matrix                                  every end on every Python that is found
    .ci/matrix --python 3.10 3.13 --end newest  these alone; a path of a Python will do too
    .ci/matrix --readme                         run nothing, write CONTRIBUTING's table from .ci/matrix.json
    .ci/matrix --check                          run nothing, look whether that table is the one of .ci/matrix.json

An environment is deleted after its run. What a run showed replaces what .ci/matrix.json had of the same Python and end.
"""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time
from configparser import ConfigParser
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT/'.ci'/'matrix.json'
PYTHONS = ['3.10', '3.11', '3.12', '3.13', '3.14']
ENDS = {
    'oldest': 'each requirement at the oldest version that is allowed and has a wheel for this Python',
    'oldest torch': 'torch at its oldest, the rest at its newest',
    'newest': 'everything at its newest',
    'course, oldest': 'as oldest, with the extra course; chapters 00 and 04 run in it',
    'course, newest': 'as newest, with the extra course; chapters 00 and 04 run in it'}
SHOWN = ['torch', 'numpy', 'matplotlib', 'pillow', 'pooch', 'requests', 'filelock', 'safetensors', 'tqdm', 'fastai', 'fastbook']
# Quick: what needs no browser, no tool of dev and no pretended GPU, less what takes long on purpose.
QUICK = [ROOT/'tests'/'test_files.py', ROOT/'tests'/'test_datasets.py', '-k', 'not spoilt_files and not kills and not two_writers and not memory']
START, STOP = '<!-- matrix -->', '<!-- /matrix -->'

IMPORTS = '''
import importlib, pkgutil, sys, mnist_sgd
assert mnist_sgd.__file__.startswith(sys.prefix), mnist_sgd.__file__
names = [m.name for m in pkgutil.walk_packages(mnist_sgd.__path__, 'mnist_sgd.')]
for name in names: importlib.import_module(name)
print(len(names), 'modules')
'''
PICTURE = '''
from PIL import Image
from mnist_sgd.data import load_mnist
image = load_mnist()[1][0][0].view(28, 28)
Image.fromarray((255 - image*255).byte().numpy()).resize((112, 112)).save('seven.png')
'''


def settings():
    "The `[DEFAULT]` section of settings.ini."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']


def wanted(end, cfg):
    "The requirements of a run, each named by itself: `lowest-direct` lowers only what is named."
    return cfg['requirements'].split() + (cfg['course_requirements'].split() if end.startswith('course') else [])


def find_python(name):
    "The program of a Python, `3.12` or a path; None where there is none."
    if not re.fullmatch(r'[\d.]+', name): return name
    r = subprocess.run(['uv', 'python', 'find', '--no-python-downloads', '--no-project', name], capture_output=True, text=True)
    if r.returncode == 0: return r.stdout.strip()
    there = sorted(Path.home().glob(f'.pyenv/versions/{name}.*/bin/python'))
    return str(there[-1]) if there else None


class Run:
    "One environment: what was tried in it, in order, up to the first step that fails."
    def __init__(self, python, end, folder):
        self.program, self.end, self.env, self.empty = python, end, folder/'env', folder/'empty'
        self.empty.mkdir()
        self.bin = self.env/('Scripts' if os.name == 'nt' else 'bin')
        self.python, self.steps, self.failed = self.bin/'python', {}, ''

    def step(self, name, *command, timeout=1500):
        "Run a command in the empty folder; note its seconds, or what it says last when it fails."
        if self.failed: return ''
        start, clean = time.time(), {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')}
        clean |= {'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'TQDM_DISABLE': '1', 'PYTHONUTF8': '1', 'JUPYTER_PREFER_ENV_PATH': '1',
                  'PATH': os.pathsep.join([str(self.bin), clean['PATH']])}
        try:
            r = subprocess.run([*map(str, command)], cwd=self.empty, env=clean, capture_output=True, text=True, encoding='utf-8', errors='replace', timeout=timeout)
            code, said = r.returncode, r.stdout + r.stderr
        except subprocess.TimeoutExpired: code, said = 1, f'still running after {timeout} s'
        self.steps[name] = round(time.time() - start)
        if code: self.failed = f'{name}: {last_word(said)}'
        print(f'    {name}: {"FAILED" if code else "ok"}, {self.steps[name]} s', flush=True)
        if code: print(said[-3000:], file=sys.stderr, flush=True)
        return said

    def install(self, *what, lowest=False):
        self.step('install', 'uv', 'pip', 'install', '--python', self.python, '--only-binary', ':all:',
                  '--resolution', 'lowest-direct' if lowest else 'highest', *what)

    def everything(self, wheel, cfg):
        "Install, then every step of the matrix."
        self.step('environment', 'uv', 'venv', '--python', self.program, self.env)
        needs = wanted(self.end, cfg)
        if self.end == 'oldest torch': needs = needs + [f'torch=={oldest_torch(self, cfg)}']
        self.install(*needs, lowest=self.end.endswith('oldest'))
        versions, size = self.versions(), megabytes(self.env)
        self.step('package', 'uv', 'pip', 'install', '--python', self.python, '--no-deps', wheel)
        self.step('pip check', 'uv', 'pip', 'check', '--python', self.python)
        self.step('imports', self.python, '-c', IMPORTS)
        if self.end.startswith('course'): self.notebooks()
        else: self.use()
        return versions, size

    def use(self):
        "Train one epoch, predict, and the quick tests."
        self.step('train', self.bin/'mnist_sgd', 'train', '--model', 'simple_net', '--epochs', '1')
        self.step('picture', self.python, '-c', PICTURE)
        said = self.step('predict', self.bin/'mnist_sgd', 'predict', 'seven.png')
        if not self.failed and not re.search(r'\b7\b', said): self.failed = f'predict: reads a 7 as {said.strip()[:80]}'
        self.step('tools of the tests', 'uv', 'pip', 'install', '--python', self.python, 'pytest', 'hypothesis')
        self.step('quick tests', self.python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *QUICK)

    def notebooks(self):
        self.step('chapters', self.python, ROOT/'.ci'/'run_notebooks.py', '00', '04', '--workers', '1')

    def versions(self):
        "What was chosen of the packages that the table shows."
        r = subprocess.run(['uv', 'pip', 'list', '--format', 'json', '--python', str(self.python)], capture_output=True, text=True)
        there = {p['name'].lower(): p['version'] for p in json.loads(r.stdout or '[]')}
        return {name: there[name] for name in SHOWN if name in there}


def oldest_torch(run, cfg):
    "The torch that `lowest-direct` takes on this Python, asked without installing it."
    torch = next(r for r in cfg['requirements'].split() if re.match(r'torch\b', r))
    said = run.step('oldest torch', 'uv', 'pip', 'install', '--dry-run', '--python', run.python, '--only-binary', ':all:',
                    '--resolution', 'lowest-direct', torch)
    return re.search(r'^ \+ torch==(\S+)', said, re.M)[1]


def last_word(said):
    "The line that says why: pytest's summary, the last error, else the last line."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r'(FAILED|ERROR|E  |cause:)|\w*(Error|error)\b|×', line)]
    return (errors or lines or ['no word'])[-1][:200].replace(str(ROOT), '').replace('|', '/')


def megabytes(folder):
    "Size of an environment on disk."
    return round(sum(p.stat().st_size for p in folder.rglob('*') if p.is_file() and not p.is_symlink())/1e6)


def try_one(name, end, wheel, cfg):
    "The record of one run."
    python = find_python(name)
    record = {'python': name, 'end': end, 'date': str(date.today())}
    if python is None: return record | {'failed': f'skipped: no Python {name} on this machine'}
    work = Path(tempfile.mkdtemp(prefix='matrix'))
    try:
        run, start = Run(python, end, work), time.time()
        versions, size = run.everything(wheel, cfg)
        version = subprocess.run([python, '-c', 'import platform; print(platform.python_version())'], capture_output=True, text=True).stdout.strip()
    finally: shutil.rmtree(work, ignore_errors=True)
    return record | {'python': version.rpartition('.')[0], 'version': version, 'versions': versions, 'MB': size, 'seconds': round(time.time() - start),
                     'steps': run.steps, 'failed': run.failed}


def results(): return json.loads(RESULTS.read_text(encoding='utf-8')) if RESULTS.exists() else []


def order(record): return int(record['python'].split('.')[1]), list(ENDS).index(record['end'])


def keep(record):
    "Put a record in the place of that of the same Python and end."
    kept = [r for r in results() if (r['python'], r['end']) != (record['python'], record['end'])] + [record]
    RESULTS.write_text(json.dumps(sorted(kept, key=order), indent=1) + '\n', encoding='utf-8')


def table(records, requirements):
    "The block of CONTRIBUTING: a row a run, what was chosen and how it ended."
    shown = [n for n in SHOWN if any(n in r.get('versions', {}) for r in records)]
    rows = [['Python', 'versions', *shown, 'MB', 's', 'ended']]
    for r in sorted(records, key=order):
        rows.append([r.get('version', r['python']), r['end'], *(r.get('versions', {}).get(n, '') for n in shown),
                     str(r.get('MB', '')), str(r.get('seconds', '')), f'**{r["failed"]}**' if r['failed'] else 'all passed'])
    rows.insert(1, ['---']*len(rows[0]))
    days = sorted({r['date'] for r in records})
    told = f'Run on {" to ".join(dict.fromkeys([days[0], days[-1]]))}, Linux x86-64, with `{requirements}`.' if days else 'Nothing was run yet.'
    return '\n'.join([told, '', *(f'| {" | ".join(row)} |' for row in rows)])


def block(text, new):
    "`text` with the table in its place; a sentence where there is no such place, or more than one."
    out, n = re.subn(rf'{START}\n.*?{STOP}', lambda _: f'{START}\n{new}\n{STOP}', text, flags=re.S)
    if n != 1: sys.exit(f'CONTRIBUTING.md has {n} places marked {START}, wanted 1')
    return out


def readme(check=False):
    "Write the table, or only look whether it is written."
    path, cfg = ROOT/'CONTRIBUTING.md', settings()
    old = path.read_text(encoding='utf-8')
    new = block(old, table(results(), cfg['requirements']))
    if check and new != old: sys.exit("CONTRIBUTING.md's table is not the one of .ci/matrix.json: run .ci/matrix --readme")
    if not check: path.write_text(new, encoding='utf-8')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--python', nargs='+', default=PYTHONS, metavar='PYTHON')
    p.add_argument('--end', nargs='+', default=list(ENDS), choices=list(ENDS), metavar='END', help=', '.join(map(repr, ENDS)))
    p.add_argument('--readme', action='store_true')
    p.add_argument('--check', action='store_true')
    args = p.parse_args()
    if args.readme or args.check: return readme(args.check)
    if not shutil.which('uv'): sys.exit('uv is not there: start .ci/matrix, which brings it, or pip install uv')
    with tempfile.TemporaryDirectory(prefix='wheel') as folder:
        subprocess.run(['uv', 'build', '--quiet', '--wheel', '--out-dir', folder, str(ROOT)], check=True)
        wheel, = Path(folder).glob('*.whl')
        records = []
        for end in args.end:  # the oldest first: they set the bounds
            for name in args.python:
                print(f'{name}, {end}: {ENDS[end]}', flush=True)
                records.append(try_one(name, end, wheel, settings()))
                keep(records[-1])
                print(f'  {records[-1]["failed"] or "all passed"}', flush=True)
    readme()
    sys.exit(any(r['failed'] for r in records if not r['failed'].startswith('skipped')))


if __name__ == '__main__': main()
