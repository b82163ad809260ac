#!/usr/bin/env python
"""Build the course's web site from the notebooks as they are stored, and check it.

    site/build.py                                               writes site/_build/html
    python -m http.server -b 127.0.0.1 -d site/_build/html      serves it on this machine alone
"""
import importlib, json, re, shutil, subprocess, sys
from pathlib import Path

import api
import check

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'site'
PAGES, HTML = SITE/'_build'/'pages', SITE/'_build'/'html'


def public_names():
    "The full name of each name that a module offers, by its short one."
    modules = [importlib.import_module(f'mnist_sgd.{p.stem[3:]}') for p in sorted(ROOT.glob('nbs/[0-9]*.ipynb'))]
    return {name: f'{m.__name__}.{name}' for m in modules for name in m.__all__}


def markdown(source, names):
    "A cell's text with a plain Colab link for the badge, and links from functions to the API reference."
    source = re.sub(r'\[!\[Open in Colab\]\([^)]*\)\](\([^)]*\))', r'[Open in Colab]\1', source)
    def link(m): return f'{{py:obj}}`{m[1]} <{names[m[1]]}>`' if m[1] in names else m[0]
    return '\n'.join(line if line.startswith('#') else re.sub(r'(?<![`\w\[])`(\w+)`(?![`\]])', link, line)
                     for line in source.split('\n'))


def prepared(nb, names):
    "The notebook as a reader should see it: no hidden cells, no `#|` lines, functions linked."
    cells = []
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': source = markdown(source, names)
        elif re.search(r'^#\|\s*hide\b', source, re.M): continue
        else: source = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
        if source: cells.append(cell | {'source': source})
    return nb | {'cells': cells}


def write_pages():
    "Write the folder that Sphinx reads: the notebooks, the API reference, the landing page."
    names, titles = public_names(), {}
    for path in [*sorted(ROOT.glob('nbs/[0-9]*.ipynb')), *ROOT.glob('exercises/*.ipynb')]:
        nb = prepared(json.loads(path.read_text(encoding='utf-8')), names)
        write(path.relative_to(ROOT), json.dumps(nb))
        if path.parent.name == 'nbs':
            titles[path.stem] = re.match('# (.+)', nb['cells'][0]['source'])[1]
            write(Path('api')/f'{path.stem[3:]}.md', api.page(path))
    chapters = '\n'.join(f'{stem[:2]} {title} <nbs/{stem}>' for stem, title in titles.items())
    write(Path('index.md'), (SITE/'index.md').read_text(encoding='utf-8').replace('CHAPTERS', chapters))


def write(path, text):
    "Write a page at `path`, relative to the pages' folder."
    (PAGES/path).parent.mkdir(parents=True, exist_ok=True)
    (PAGES/path).write_text(text, encoding='utf-8')


def add_demo():
    "Put the drawing page into the site; its nets are trained first where none are saved in mnist_sgd_out."
    subprocess.run([sys.executable, '-m', 'mnist_sgd.cli', 'demo', '--export', HTML/'demo'], cwd=ROOT, check=True)


def main():
    shutil.rmtree(SITE/'_build', ignore_errors=True)
    sys.path.insert(0, str(ROOT))
    write_pages()
    sphinx = [sys.executable, '-m', 'sphinx', '-q', '-n', '-W', '--keep-going', '-c', SITE, PAGES, HTML]
    if (status := subprocess.run(sphinx).returncode): sys.exit(status)
    add_demo()
    problems = list(check.problems(HTML))
    print(*problems, f'{HTML.relative_to(ROOT)}: {len(check.pages(HTML))} pages, {len(problems)} problems', sep='\n')
    sys.exit(bool(problems))


if __name__ == '__main__': main()
