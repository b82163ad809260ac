#!/usr/bin/env python
"""Run notebooks top to bottom, each in a fresh kernel, as a reader would.

    .ci/run_notebooks.py                       every notebook, without its slow, cuda and eval: false cells
    .ci/run_notebooks.py --store 03 04         run these with their slow cells too and store the outputs
    .ci/run_notebooks.py --colab WHEEL         as on Colab: each in an empty folder, its own cell installs the wheel
    .ci/run_notebooks.py --colab index         the same, but that cell installs `mnist_sgd[course]` from pip's index
"""
import argparse, itertools, json, os, re, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from house import notebooks as own_notebooks

ROOT = Path(__file__).resolve().parent.parent
COLAB_START = 'import sys, types; sys.modules["google.colab"] = types.ModuleType("google.colab")'
COLAB_END = """
import importlib.util, sys, mnist_sgd
assert mnist_sgd.__file__.startswith(sys.prefix), mnist_sgd.__file__
assert importlib.util.find_spec('nbdev') is None
"""


def directives(cell):
    "The names of a cell's `#|` lines; `eval: false` counts as one."
    found = re.findall(r'^#\|\s*(.+?)\s*$', cell.source, re.M) if cell.cell_type == 'code' else []
    return {d.split()[0].rstrip(':') if not d.startswith('eval') else d.replace(' ', '') for d in found}


def on_colab(nb, wheel):
    "Point the notebook's set-up cell at `wheel`; at the end, look that it is what was imported, and without nbdev."
    setup, = [c for c in nb.cells if 'eval:false' in directives(c) and 'google.colab' in c.source]
    address = r'(?<=mnist_sgd\[course\])( @ )git\+https:[^"]+'
    setup.source, n = re.subn(address, '' if wheel == Path('index') else lambda m: m[1] + wheel.resolve().as_uri(), setup.source)
    if n != 1: raise ValueError(f'the set-up cell installs {n} times, wanted once: {setup.source}')
    nb.cells.append(nbformat.v4.new_code_cell(COLAB_END))


def run(path, skip, store, colab=None):
    "Run one notebook without the cells flagged in `skip`; return (path, seconds, cells run, error)."
    nb = nbformat.read(path, as_version=4)
    cells, start = nb.cells, time.time()
    if colab: on_colab(nb, colab)
    nb.cells = [c for c in nb.cells if not (directives(c) & skip)]
    error = None
    with tempfile.TemporaryDirectory(prefix='content') as empty:
        client = NotebookClient(nb, timeout=1200, kernel_name='python3', coalesce_streams=True,
                                resources={'metadata': {'path': empty if colab else str(path.parent)}},
                                extra_arguments=['--IPKernelApp.log_level=ERROR'] + (
                                    [f'--IPKernelApp.exec_lines={COLAB_START}'] if colab else []))
        try: client.execute()
        except CellExecutionError as e: error = re.sub(r'\x1b\[[0-9;]*m', '', str(e))
    n = sum(c.cell_type == 'code' for c in nb.cells)
    if store and not error:
        nb.cells = cells
        tidy(nb)
        path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n')
    return path, time.time() - start, n, error


def tidy(nb):
    "Leave in the outputs what a reader needs: no counts, times, kernel names; streams joined."
    for c in nb.cells:
        c.metadata = {k: v for k, v in c.metadata.items() if k in ('jupyter', 'cellView')}  # folded
        if c.cell_type == 'code':
            c.execution_count = None
            for o in c.outputs:
                if 'execution_count' in o: o['execution_count'] = None
                o.pop('transient', None)
        c.source = c.source.splitlines(keepends=True)
        for o in c.get('outputs', []):
            if 'text' in o: o['text'] = ''.join(o['text']).splitlines(keepends=True)
            for k, v in o.get('data', {}).items():
                if isinstance(v, str) and k.startswith('text/'): o['data'][k] = v.splitlines(keepends=True)
    nb.metadata = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}


def set_environment(args):
    "What the kernels inherit: no bars, one thread, and where this package is found, which on Colab is nowhere."
    os.environ.update(TQDM_DISABLE='1', OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1'))
    if args.store: os.environ['PYTHONWARNINGS'] = 'ignore::FutureWarning,ignore::DeprecationWarning'
    python_path = os.environ.pop('PYTHONPATH', None)
    if args.colab: os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    else: os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [python_path])])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', help='numbers or stems; default: all')
    p.add_argument('--store', action='store_true', help='run slow cells too and store the outputs in the notebook')
    p.add_argument('--workers', type=int, default=2)
    p.add_argument('--colab', type=Path, metavar='WHEEL', help='run as on Colab, with a Python that has its packages')
    args = p.parse_args()
    paths = [q for q in own_notebooks() if q.stem.startswith(tuple(args.names) or '')]
    if args.colab and not args.names: paths += sorted((ROOT/'exercises').glob('*.ipynb'))
    if not paths: sys.exit('no notebook found')
    set_environment(args)
    skip = {'cuda'} | (set() if args.store else {'slow'}) | (set() if args.colab else {'eval:false'})
    failed = 0
    with ThreadPoolExecutor(args.workers) as pool:
        def start(qs): return pool.map(lambda q: run(q, skip, args.store, args.colab), qs)
        alone = 1 if args.colab else 0  # the first notebook installs; two pips at once would get in each other's way
        for path, seconds, n, error in itertools.chain(list(start(paths[:alone])), start(paths[alone:])):
            print(f'{path.name}: {n} code cells in {seconds:.0f} s, {"FAILED" if error else "ok"}', flush=True)
            if error: failed += 1; print(error, file=sys.stderr, flush=True)
    print(f'{len(paths) - failed} passed, {failed} failed')
    sys.exit(bool(failed))


if __name__ == '__main__': main()
