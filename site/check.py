"""What may be wrong with a built site: broken links, pictures with no alt text, traces of the notebooks' directives."""
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

TRACE = re.compile(r'#\||:::')


def anchors(html):
    "The names that a link can point to on each page of the site in folder `html`."
    return {p: set(re.findall(r'\bid="([^"]+)"', p.read_text(encoding='utf-8'))) for p in pages(html)}


def link_problem(tag, page, ids):
    "What is wrong with the address that a tag names, if anything."
    url = tag.get('href') or tag.get('src') or ''
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return f'<{tag.name}> asks another host: {url}' if tag.name != 'a' and parts.scheme != 'data' else None
    target = (page.parent/unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir(): target = target/'index.html'
    if not target.exists(): return f'no such file: {url}'
    if parts.fragment and target in ids and unquote(parts.fragment) not in ids[target]: return f'no such anchor: {url}'


def page_problems(page, text, ids):
    "What is wrong on one page whose HTML is `text`; `ids` holds the anchors of every page."
    soup = BeautifulSoup(text, 'html.parser')
    yield from filter(None, (link_problem(tag, page, ids) for tag in soup.select('[href], [src]')))
    for image in soup.select('img:not([alt]), img[alt=""]'): yield f'no alt text: {image.get("src", "")[:80]}'
    for said in soup.select('p > code'): said.decompose()  # prose may name a directive
    text = soup.get_text()
    for trace in TRACE.finditer(text): yield f'a trace of a directive: {text[trace.start():][:40]!r}'


def pages(html):
    "The pages of the site in folder `html`; the theme's templates in _static are none."
    return [p for p in sorted(Path(html).resolve().rglob('*.html')) if '_static' not in p.parts]


def problems(html):
    "Each problem of the site in folder `html`, with the page's name before it."
    ids = anchors(html)
    for page in ids:
        for problem in page_problems(page, page.read_text(encoding='utf-8'), ids):
            yield f'{page.relative_to(Path(html).resolve())}: {problem}'
    index = (Path(html)/'searchindex.js').read_text(encoding='utf-8')
    if TRACE.search(index): yield 'searchindex.js: a trace of a directive'
