#!/usr/bin/env python
"""Write what other files repeat of settings.ini: badges and links (user, repo, branch), the version, and nbdev's settings.

    .ci/links.py             rewrite them in nbs/**/*.ipynb, exercises/*.ipynb, *.md, benchmarks/*.md, *.cff and pyproject.toml
    .ci/links.py --check     write nothing; name file and line of each that differs, exit 1 if any does
"""
import argparse, json, re, sys
from configparser import ConfigParser
from itertools import zip_longest
from pathlib import Path

from house import notebooks as own_notebooks

ROOT = Path(__file__).resolve().parent.parent
SVG = 'https://colab.research.google.com/assets/colab-badge.svg'
OWN_NB = r'colab\.research\.google\.com/github/[\w.-]+/([\w.-]+)/blob/[^/\s]+/(?:nbs|nbs/tools|exercises)/(\w+)\.ipynb'

# What both lines of nbdev have to know alike: line 2 reads it in settings.ini, line 3 in the block that stands in pyproject.toml.
NBDEV = '''
    nbs_path lib_path doc_path branch tst_flags recursive clean_ids jupyter_hooks allowed_cell_metadata_keys allowed_out_metadata_keys
'''.split()
BLOCK = '''[tool.nbdev]
# Line 3 of nbdev reads this block, which .ci/links.py writes from settings.ini. Its command nbdev-migrate-config would drop the extras.
%s
update_pyproject = false
'''


def settings():
    "The `[DEFAULT]` section of settings.ini."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']


def block(cfg):
    "The block `[tool.nbdev]` of pyproject.toml."
    def value(key):
        if key.endswith('_keys'): return json.dumps(cfg[key].split())
        return cfg[key].lower() if cfg[key] in ('True', 'False') else json.dumps(cfg[key])
    return BLOCK % '\n'.join(f'{key} = {value(key)}' for key in NBDEV)


def repeated(name, text, cfg):
    "The text of pyproject.toml or of CITATION.cff with what it repeats of settings.ini besides links."
    if name == 'CITATION.cff': return re.sub(r'^version: .*', f'version: {cfg["version"]}', text, flags=re.M)
    if name != 'pyproject.toml': return text
    text, n = re.subn(r'^\[tool\.nbdev\]\n(?:.+\n)*', lambda m: block(cfg), text, flags=re.M)
    return text if n else f'{text}\n{block(cfg)}'


class Links:
    "What this project's links should be, and how to mend one that differs."
    def __init__(self, cfg, stems, texts):
        self.user, self.repo, self.branch, self.lib = (cfg[k] for k in ('user', 'repo', 'branch', 'lib_name'))
        badges = {m[1] for t in texts for m in re.finditer(OWN_NB, t) if m[2] in stems}
        ours = '|'.join(map(re.escape, sorted(badges | {self.repo, self.lib}, key=len, reverse=True)))
        self.link = re.compile(r'(?P<host>(?:github|raw\.githubusercontent|colab\.research\.google)\.com/(?:github/)?)'
                               rf'[\w.-]+/(?:{ours})(?![\w-])(?P<kind>/(?:blob|tree|raw|edit)/[^/\s]+)?')
        self.site = re.compile(rf'[\w-]+\.github\.io/(?:{ours})(?![\w-])')
        self.install = re.compile(rf'({self.lib}(?:\[\w+\])? @ git\+https://github\.com/)[\w.-]+/[\w-]+')

    def badge_url(self, path):
        "The address on Colab of the notebook at `path`, relative to the project."
        return f'https://colab.research.google.com/github/{self.user}/{self.repo}/blob/{self.branch}/{path.as_posix()}'

    def badge(self, path):
        "The markdown of the badge of the notebook at `path`."
        return f'[![Open in Colab]({SVG})]({self.badge_url(path)})'

    def mend(self, line, notebook=None):
        "`line` with this project's links as they should be; a badge in a notebook points at its own path."
        def address(m):
            kind = f'/{m["kind"].split("/")[1]}/{self.branch}' if m['kind'] else ''
            return f'{m["host"]}{self.user}/{self.repo}{kind}'
        line = self.install.sub(rf'\g<1>{self.user}/{self.repo}', self.link.sub(address, line))
        line = self.site.sub(f'{self.user}.github.io/{self.repo}', line)
        if notebook and SVG in line: line = re.sub(r'\(https://colab[^)]*?\.ipynb\)', f'({self.badge_url(notebook)})', line)
        return line


def missing(links, stems, texts):
    "What no rewriting can mend: badges and set-up cells that are not there, badges for no notebook."
    for path, text in texts.items():
        if path.suffix == '.ipynb':
            cells = json.loads(text)['cells']
            first = next((''.join(c['source']) for c in cells if c['cell_type'] == 'markdown'), '')
            if links.badge(path) not in first:
                yield f'{path}:1: no badge in the first markdown cell; put there {links.badge(path)}'
            if f'{links.lib}[course] @ git+https://github.com/{links.user}/{links.repo}' not in text:
                yield f'{path}:1: no Colab set-up cell that installs {links.lib}[course] @ git+https://github.com/…'
        for n, line in enumerate(text.splitlines(), 1):
            for m in re.finditer(OWN_NB, line):
                if m[1] == links.repo and m[2] not in stems: yield f'{path}:{n}: there is no notebook {m[2]}.ipynb'
    readme = texts.get(Path('README.md'), '')
    for path in texts:
        if path.parent == Path('nbs') and links.badge_url(path) not in readme: yield f'README.md:1: no badge for {path.stem}'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='write nothing, exit 1 if a link differs')
    check = p.parse_args().check
    notebooks = [*own_notebooks(), *sorted((ROOT/'exercises').glob('*.ipynb'))]
    stems = {q.stem for q in notebooks}
    paths = [*notebooks, *sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('benchmarks/*.md')),
             *sorted(ROOT.glob('*.cff')), *ROOT.glob('pyproject.toml')]
    texts = {q.relative_to(ROOT): q.read_bytes().decode() for q in paths}
    cfg = settings()
    links, n_differ = Links(cfg, stems, texts.values()), 0
    for path, text in texts.items():
        lines, wanted = text.splitlines(keepends=True), repeated(path.name, text, cfg).splitlines(keepends=True)
        mended = [links.mend(line, path if path.suffix == '.ipynb' else None) for line in wanted]
        for n, (old, new) in enumerate(zip_longest(lines, mended, fillvalue=''), 1):
            if old == new: continue
            n_differ += 1
            print(f'{path}:{n}: {"should be" if check else "now"} {new.strip()[:300]}')
        texts[path] = ''.join(mended)
        if not check and mended != lines: (ROOT/path).write_bytes(texts[path].encode())
    problems = list(missing(links, stems, texts))
    print(*problems, f'links: {len(texts)} files, {n_differ} lines {"differ" if check else "rewritten"}, '
          f'{len(problems)} problems', sep='\n')
    sys.exit(bool(problems or (check and n_differ)))


if __name__ == '__main__': main()
