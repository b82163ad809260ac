#!/usr/bin/env python
"""Export and clean by line 3 of nbdev, from a Python that has it; exit 1 if it changes anything but what `as_line_3` says."""
import os, subprocess, sys
from pathlib import Path

from house import LIB, ROOT, nbdev_line

INDEX = ROOT/LIB/'_modidx.py'


def as_line_3(index):
    "What line 3 makes of line 2's index, the one file that the two write differently: no address, no module without a name."
    settings = {**index['settings'], 'doc_baseurl': '/', 'doc_host': '', 'git_url': ''}
    return {'settings': settings, 'syms': {module: names for module, names in index['syms'].items() if names}}


def read(text):
    "The dictionary that an index defines."
    names = {}
    exec(text, names)
    return names['d']


def state():
    "What git sees of the tree: files that are new or gone, lines that differ from the commit."
    return subprocess.run('git status --porcelain -uall; git diff', shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main():
    if nbdev_line() != 3: sys.exit('this needs line 3 of nbdev in the Python that runs it')
    before, index = state(), INDEX.read_text(encoding='utf-8')
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}  # in which nbdev exports nothing
    for command in 'nbdev-export', 'nbdev-clean':
        subprocess.run([Path(sys.executable).parent/command], cwd=ROOT, env=env, check=True)
    written = INDEX.read_text(encoding='utf-8')
    INDEX.write_text(index, encoding='utf-8')
    if read(written) != as_line_3(read(index)): sys.exit(f'{INDEX.name} differs in more than `as_line_3` says')
    if state() != before: sys.exit(f'it changed:\n{state()}'[:4000])
    print(f'line 3 of nbdev changed nothing but what `as_line_3` says of {INDEX.name}')


if __name__ == '__main__': main()
