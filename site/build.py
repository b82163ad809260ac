#!/usr/bin/env python
"""Build the course's web site from the notebooks as they are stored, and check it.

    site/build.py                                               writes site/_build/html
    site/build.py --out DIR                                     the same, with the nets of the drawing page that are saved in DIR
    python -m http.server -b 127.0.0.1 -d site/_build/html      serves it on this machine alone
"""
import argparse, ast, importlib, json, re, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'.ci'))
import api  # noqa: E402
import check  # noqa: E402
import glossary  # noqa: E402
from house import is_chapter, module_of, notebooks  # noqa: E402

SITE = ROOT/'site'
PAGES, HTML = SITE/'_build'/'pages', SITE/'_build'/'html'


def public_names():
    "The full name of each name that a module offers, by its short one."
    modules = [(p, importlib.import_module(f'mnist_sgd.{module_of(p)}')) for p in notebooks() if module_of(p)]
    return {name: f'{m.__name__}.{name}' for p, m in reversed(modules) for name in api.own_names(p, m)}


def markdown(source, names):
    "A cell's text with a plain Colab link for the badge, and links from functions to the API reference."
    source = re.sub(r'\[!\[Open in Colab\]\([^)]*\)\](\([^)]*\))', r'[Open in Colab]\1', source)
    def link(m): return f'{{py:obj}}`{m[1]} <{names[m[1]]}>`' if m[1] in names else m[0]
    return '\n'.join(line if line.startswith('#') else re.sub(r'(?<![`\w\[])`(\w+)`(?![`\]])', link, line)
                     for line in source.split('\n'))


def only_imports(source):
    "Does a cell import, and nothing else?"
    try: return {ast.Import, ast.ImportFrom} >= {type(node) for node in ast.parse(source).body}
    except SyntaxError: return False


def folded(cell, source):
    "A cell whose code is folded becomes a closed box that bears its title."
    title = re.match(r'#@title *(.+)\n?', source)
    words = title[1] if title else 'imports' if only_imports(source) else 'code'
    box = {'tags': ['hide-input'], 'mystnb': {'code_prompt_show': f'Show: {words}', 'code_prompt_hide': f'Hide: {words}'}}
    return cell | {'metadata': box, 'source': source[title.end():] if title else source}


def prepared(nb, names):
    "The notebook as a reader should see it: no hidden cells, no `#|` lines, functions linked, plumbing in closed boxes."
    cells = []
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': source = markdown(source, names)
        elif re.search(r'^#\|\s*hide\b', source, re.M): continue
        else: source = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
        if not source: continue
        is_folded = cell['metadata'].get('jupyter', {}).get('source_hidden')
        cells.append(folded(cell, source) if is_folded else cell | {'source': source})
    return nb | {'cells': cells}


def write_pages():
    "Write the folder that Sphinx reads: the notebooks, the API reference, the landing page."
    names, chapters, tools, told = public_names(), [], [], []
    for path in [*notebooks(), *sorted(ROOT.glob('exercises/*.ipynb'))]:
        nb = json.loads(path.read_text(encoding='utf-8'))
        if is_chapter(path): told.append((re.match('# (.+)', ''.join(nb['cells'][0]['source']))[1], path.relative_to(ROOT), nb))
        nb = prepared(glossary.linked(nb)[0], names)
        write(path.relative_to(ROOT), json.dumps(nb))
        if path.parent.name == 'exercises': continue
        if module_of(path): write(Path('api')/f'{module_of(path)}.md', api.page(path, module_of(path)))
        title, address = re.match('# (.+)', nb['cells'][0]['source'])[1], path.relative_to(ROOT).with_suffix('')
        if is_chapter(path): chapters.append(f'{path.stem[:2]} {title} <{address}>')
        else: tools.append(f'{title} <{address}>')
    write(Path('glossary.md'), glossary.page(told))
    index = (SITE/'index.md').read_text(encoding='utf-8')
    write(Path('index.md'), index.replace('CHAPTERS', '\n'.join(chapters)).replace('TOOLS', '\n'.join(tools)))


def write(path, text):
    "Write a page at `path`, relative to the pages' folder."
    (PAGES/path).parent.mkdir(parents=True, exist_ok=True)
    (PAGES/path).write_text(text, encoding='utf-8')


def add_live_pages(out):
    "Put the drawing page and the playground into the site; the first one's nets are trained where none are saved in `out`."
    for name, *more in ('demo', '--out', out), ('play',):
        subprocess.run([sys.executable, '-m', 'mnist_sgd.cli', name, '--export', HTML/name, *more], cwd=ROOT, check=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--out', type=Path, default=ROOT/'mnist_sgd_out', metavar='DIR', help='folder of the trained nets (default: mnist_sgd_out)')
    out = p.parse_args().out.resolve()
    shutil.rmtree(SITE/'_build', ignore_errors=True)
    sys.path.insert(0, str(ROOT))
    write_pages()
    sphinx = [sys.executable, '-m', 'sphinx', '-q', '-n', '-W', '--keep-going', '-c', SITE, PAGES, HTML]
    if (status := subprocess.run(sphinx).returncode): sys.exit(status)
    add_live_pages(out)
    problems = list(check.problems(HTML))
    print(*problems, f'{HTML.relative_to(ROOT)}: {len(check.pages(HTML))} pages, {len(problems)} problems', sep='\n')
    sys.exit(bool(problems))


if __name__ == '__main__': main()
