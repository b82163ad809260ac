#!/usr/bin/env python
"""Run the code cells of a notebook that was saved as text, in order and unchanged, in a fresh kernel with fastai.

    python benchmarks/run_source.py PATH [--skip gv(]

The data are placed beforehand by `mnist_sgd.data.untar_data`, so that fastai finds them and asks nobody. Cells begin
with a line `In [...]:`; what follows from a markdown heading on is text. Cells that begin with --skip are left out.
"""
import argparse, re, sys, time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mnist_sgd.data import URLs, untar_data


def code_cells(text):
    "Find the code of the cells in a notebook saved as text."
    cells = []
    for part in re.split(r'^In \[.*\]:\s*$', text, flags=re.M)[1:]:
        heading = re.search(r'^#{1,4} [A-Z0-9]', part, re.M)
        cells.append((part[:heading.start()] if heading else part).strip('\n'))
    return [cell for cell in cells if cell.strip()]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('path')
    p.add_argument('--skip', default='gv(')
    args = p.parse_args()
    cells = code_cells(open(args.path, encoding='utf8').read())
    kept = [c for c in cells if not c.startswith(args.skip)]
    for url in (URLs.MNIST_SAMPLE, URLs.MNIST): print('placed', untar_data(url).name)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in kept])
    start = time.time()
    try: NotebookClient(nb, timeout=1800, kernel_name='python3').execute()
    except CellExecutionError as e: sys.exit(f'failed:\n{e}')
    for cell in nb.cells:
        for out in cell.outputs:
            text = out.get('text') or out.get('data', {}).get('text/plain', '')
            if re.search(r'accuracy|validate|train_model|fit|recorder', cell.source) and re.search(r'0\.\d', text):
                print(cell.source.splitlines()[0][:70], '->', text.strip()[-160:].replace('\n', ' '))
    print(f'{len(kept)} of {len(cells)} cells ran without an error in {time.time() - start:.0f} s, '
          f'{len(cells) - len(kept)} left out')


if __name__ == '__main__': main()
