#!/usr/bin/env python
"""Make the learner's notebook, exercises/exercises.ipynb, from the author's, nbs/tools/exercises_*.ipynb.

    .ci/make_exercises.py             write it
    .ci/make_exercises.py --check     write nothing; exit 1 if it is not what would be written

Kept are prose, the cells with marked solutions (as stubs), the checks and the questions; all else is the author's.
A notebook that would hold a solution is refused.
"""
import argparse, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AUTHOR, LEARNER = ROOT/'nbs'/'tools', ROOT/'exercises'/'exercises.ipynb'
sys.path.insert(0, str(ROOT))
from mnist_sgd.exercises import PARTS, question  # noqa: E402
from mnist_sgd.exercises.grading import MARKED, learner_cell  # noqa: E402

TITLE = '''# Exercises

> Write the course's main functions yourself, and have each checked on the spot.

{badge}

**You need** chapters 01 to 08. Each exercise has a cell to fill, where it says `...`, and a cell that checks. \
Begin with the two cells below. In a check cell, `q.hint(1)` gives a hint and `q.solution()` a solution. \
`summary()` at the end tells how far you are. Nothing is sent anywhere.'''
IMPORTS = '''import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from mnist_sgd.data import load_mnist
from mnist_sgd.exercises import exercise, question, summary'''
END = '## How far am I?\n\nThe summary knows what you checked since this notebook was started.'


def cell(kind, id, source):
    "A cell as nbdev_clean leaves it."
    code = {'execution_count': None, 'outputs': []} if kind == 'code' else {}
    return {'cell_type': kind, 'id': id, 'metadata': {}, 'source': source.splitlines(keepends=True), **code}


def asked(first, last):
    "Two cells for each question: text with the answer folded, and a check."
    for n in range(first, last + 1):
        q = question(n)
        yield cell('markdown', f'ask{n:02}', q._repr_markdown_())
        empty = '' if q.code else f'{q.name} = ...  # a letter\n'
        yield cell('code', f'q{n:02}', f'{empty}question({n}).check()')


def author_cells(folder=AUTHOR):
    "The cells of the author's notebooks, in the order of the parts; without their titles, but for that of the first."
    books = [json.loads((folder/f'{stem}.ipynb').read_text(encoding='utf-8'))['cells']
             for stem in ['exercises', *(f"exercises_{part.__name__.split('.')[-1]}" for part in PARTS)]]
    return [books[0][0], *(c for cells in books[1:] for c in cells[1:])]


def learner_cells(cells):
    "The learner's cells for the author's."
    first, install = cells[0], next(c for c in cells if 'google.colab' in source_of(c))
    badge = re.search(r'^\[!\[.*', source_of(first), re.M)[0].replace('nbs/tools/exercises', 'exercises/exercises')
    yield cell('markdown', 'title', TITLE.format(badge=badge))
    yield cell('code', 'install', source_of(install))
    yield cell('code', 'imports', IMPORTS)
    for c in cells[1:]:
        text = source_of(c)
        pages = re.fullmatch(r'show_questions\((\d+), (\d+)\)', text)
        if c['cell_type'] == 'markdown':
            if not text.startswith('<!-- author -->'): yield cell('markdown', c['id'], text)
        elif pages: yield from asked(*map(int, pages.groups()))
        elif text.startswith('#| exporti'):
            if not MARKED.search(text): raise ValueError(f'cell {c["id"]} has no marked solution, or one mark alone')
            yield cell('code', c['id'], learner_cell(plain(text)))
        elif text.startswith('q = exercise('): yield cell('code', c['id'], text)
    yield cell('markdown', 'end', END)
    yield cell('code', 'summary', 'summary();')


def source_of(c): return ''.join(c['source'])
def plain(text): return re.sub(r'^#\|.*\n', '', text, flags=re.M)


def lines_of(text): return {s.strip() for s in text.splitlines() if s.strip()}


def leaks(author, learner):
    "What of a solution stands in the learner's cells."
    made = {c['id']: source_of(c) for c in learner}
    for c in author:
        text = source_of(c)
        for m in MARKED.finditer(text):
            stub = lines_of(re.sub(r'^ *# ?', '', m[3] or '', flags=re.M)) | lines_of(MARKED.sub('', text))
            found = (lines_of(m[2]) - stub) & lines_of(made.get(c['id'], ''))
            block = m[2].strip()
            whole = len(block) >= 20 and ('\n' in block or block.startswith('return '))
            found |= {block for s in made.values() if whole and block in s and block not in stub}
            yield from (f'cell {c["id"]}: {s!r} is part of a solution' for s in sorted(found))
    for id, text in made.items():
        if re.search(r'BEGIN SOLUTION|END SOLUTION|# STUB', text): yield f'cell {id}: a mark is left'
        if re.search(r'^q\d+ *=(?! *\.\.\.)', text, re.M): yield f'cell {id}: an answer is left'
    if any(c.get('outputs') for c in learner): yield 'outputs are left'


def make(author):
    "Text of the learner's notebook; raises `ValueError` if a solution is left in it."
    cells = list(learner_cells(author))
    found = list(leaks(author, cells))
    if found: raise ValueError('\n'.join(found))
    meta = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    nb = {'cells': cells, 'metadata': meta, 'nbformat': 4, 'nbformat_minor': 5}
    return json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='write nothing, exit 1 if it is out of date')
    check = p.parse_args().check
    try: text = make(author_cells())
    except ValueError as e: sys.exit(f'refused:\n{e}')
    there = LEARNER.read_text(encoding='utf-8') if LEARNER.exists() else None
    if check and there != text: sys.exit(f'{LEARNER.relative_to(ROOT)} is out of date: run .ci/make_exercises.py')
    if not check and there != text:
        LEARNER.parent.mkdir(exist_ok=True)
        LEARNER.write_text(text, encoding='utf-8', newline='\n')
    print(f'{LEARNER.relative_to(ROOT)}: {"up to date" if there == text else "written"}, {text.count(chr(34) + "id" + chr(34))} cells')


if __name__ == '__main__': main()
