"""The web site: built from the notebooks, free of traces and broken links, sound in a real browser on every page."""
import dataclasses, importlib, importlib.util, inspect, json, re, shutil, subprocess, sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import browser
from house import module_of, notebooks
from quick import slow

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT/'site'/'_build'/'html'
NOTEBOOKS = [*notebooks(), *sorted(ROOT.glob('exercises/*.ipynb'))]
MODULES = {module_of(p): p for p in notebooks() if module_of(p)}
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
SETTINGS = config['DEFAULT']
try:
    import bs4
    sys.path.insert(0, str(ROOT/'site'))
    import api, check
except ImportError: bs4 = None


@pytest.fixture(scope='session')
def built(nets):
    "What the building of the site says last: it looks for broken links and traces on every page."
    if not (bs4 and importlib.util.find_spec('sphinx_book_theme')): browser.skip("no Sphinx: pip install -e '.[dev]'")
    r = subprocess.run([sys.executable, ROOT/'site'/'build.py', '--out', nets], capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout.splitlines()[-1]


@pytest.fixture(scope='session')
def html(built): return HTML   # the built site's folder


@pytest.fixture(scope='session')
def anchors(html): return check.anchors(html)


def soup(path): return bs4.BeautifulSoup(path.read_text(encoding='utf-8'), 'html.parser')


# the pages

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_page_of_a_notebook(html, path):
    page = soup(html/path.relative_to(ROOT).with_suffix('.html'))
    nb = json.loads(path.read_text(encoding='utf-8'))
    cells = [(c['cell_type'], ''.join(c['source']), c.get('outputs', [])) for c in nb['cells']]
    assert page.h1.get_text().rstrip('#').replace('’', "'") == re.match('# (.+)', cells[0][1])[1]
    url = f'{SETTINGS["user"]}/{SETTINGS["repo"]}/blob/{SETTINGS["branch"]}/{path.relative_to(ROOT)}'
    assert {a['href'] for a in page.select('a[href*=colab]')} == {f'https://colab.research.google.com/github/{url}'}
    assert len(page.select('a[href*=colab]')) == 2, 'the button above and the link below the title'
    shown = [src for kind, src, _ in cells if kind == 'code' and not re.search(r'^#\| *hide', src, re.M)]
    shown = [s for s in (re.sub(r'^#(\||@title).*\n?', '', src, flags=re.M).strip('\n') for src in shown) if s]
    assert [b.get_text().strip('\n') for b in page.select('.cell_input pre')] == shown
    pictures = [o['metadata']['image/png']['alt'] for *_, out in cells for o in out if 'image/png' in o.get('data', {})]
    assert [i['alt'] for i in page.select('.cell_output img')] == pictures
    assert page.select('a.left-prev')
    folds = [c for c in nb['cells'] if c['metadata'].get('jupyter', {}).get('source_hidden') and not hidden(c)]
    titles = [re.findall(r'^#@title *(.+)', ''.join(c['source']), re.M) or ['imports', 'code'] for c in folds]
    shown = [p.get_text().removeprefix('Show: ') for p in page.select('details.hide summary .collapsed')]
    assert len(shown) == len(titles) and all(name in told for name, told in zip(shown, titles)), (shown, titles)


def hidden(cell): return bool(re.search(r'^#\| *hide', ''.join(cell['source']), re.M))


def plain(text): return re.sub(r'\W+', ' ', text)


def said(obj, docments):
    "What the docments of a function or of a class's arguments and methods say, as fastcore reads them."
    if inspect.isclass(obj) and not hasattr(obj, '_fields'):
        own = [obj] if dataclasses.is_dataclass(obj) else [obj.__init__] if '__init__' in vars(obj) else []
        for f in [*own, *(m for n, m in vars(obj).items() if n[0] != '_' and inspect.isfunction(m))]:
            yield from filter(None, docments(f).values())
    elif inspect.isfunction(obj): yield from filter(None, docments(obj).values())


@pytest.mark.parametrize('name', MODULES)
def test_api_has_each_public_name_with_its_docments(html, name):
    docs = pytest.importorskip('fastcore.docments')
    page, module = soup(html/'api'/f'{name}.html'), importlib.import_module(f'mnist_sgd.{name}')
    for public in api.own_names(MODULES[name], module):
        entry = page.find(id=f'{module.__name__}.{public}').find_parent('dl')
        assert entry.select('a[href*="../nbs/"]'), f'{public} has no link to its notebook'
        text = plain(entry.get_text())
        for note in said(getattr(module, public), docs.docments): assert plain(note) in text, (public, note)


def test_no_link_is_broken_and_no_trace_is_left(html, built):
    n = len(check.pages(html))
    assert built == f'{HTML.relative_to(ROOT)}: {n} pages, 0 problems' and n > 2*len(MODULES)


def test_the_doctor_opens_lessons_that_are_there(html, anchors, monkeypatch):
    from mnist_sgd.doctor import report
    monkeypatch.setattr(report.webbrowser, 'open', lambda address: True)
    home = f'https://{SETTINGS["user"]}.github.io/{SETTINGS["repo"]}/'
    for name in report.FAULTS:
        page, anchor = report.open_lesson(name).removeprefix(home).split('#')
        assert anchor in anchors[html/page], (name, page, anchor)


@pytest.mark.parametrize('page, old, new, message', [
    ('index.html', 'href="nbs/00_data.html"', 'href="nbs/00_date.html"', 'no such file: nbs/00_date.html'),
    ('index.html', '<h1', '<a href="nbs/00_data.html#no-such">x</a><h1', 'no such anchor: nbs/00_data.html#no-such'),
    ('nbs/04_learner.html', '#mnist_sgd.learner.SGD"', '#mnist_sgd.learner.SDG"', 'no such anchor: ../api/learner'),
    ('nbs/01_pixel_similarity.html', 'alt="One handwritten 3', 'title="One handwritten 3', 'no alt text'),
    ('nbs/01_pixel_similarity.html', '<h1', '<pre>#| export</pre><h1', 'a trace of a directive'),
    ('api/learner.html', '<h1', '<p>:::</p><h1', 'a trace of a directive'),
    ('index.html', '<h1', '<img alt="badge" src="https://example.org/badge.svg"><h1', 'asks another host')])
def test_the_check_names_what_is_wrong(html, anchors, page, old, new, message):
    path = html/page
    good = path.read_text(encoding='utf-8')
    assert old in good
    assert any(message in p for p in check.page_problems(path, good.replace(old, new, 1), anchors))


def test_the_check_looks_into_the_search_index(html, tmp_path):
    (tmp_path/'searchindex.js').write_text((html/'searchindex.js').read_text(encoding='utf-8') + '#| hide')
    assert list(check.problems(tmp_path)) == ['searchindex.js: a trace of a directive']


# in the browser

@pytest.fixture(scope='session')
def address(html):
    with browser.served(html) as url: yield url


WIDTHS = {'desktop': (1280, 800), 'phone': (390, 844)}


# The code of a page is thousands of coloured words, and its lists of contents name every page of the site. One of each
# kind, by its classes, its own style and the box that it stands in, is left for axe; other words become text, other entries go.
ONE_OF_EACH = """() => { const seen = new Set()
const again = kind => seen.has(kind) || !seen.add(kind)
for (const word of document.querySelectorAll('.highlight span, .sig span')) {
    const box = word.closest('.cell_input, .cell_output')
    if (again([word.className, word.style.cssText, word.parentElement.className, box && box.className].join('|')))
        word.replaceWith(...word.childNodes)
}
for (const entry of document.querySelectorAll('nav li')) {
    let kind = ''
    if (!entry.isConnected) continue
    for (let e = entry; e.tagName != 'NAV'; e = e.parentElement) kind += `|${e.tagName} ${e.className} ${e.style.cssText}`
    for (const e of entry.querySelectorAll(':scope > :not(ul)')) kind += `|${e.tagName} ${e.className} ${e.style.cssText}`
    if (again(kind)) entry.remove()
}
document.body.normalize() }"""


# By how much the page, or the part that holds its text, can be moved sideways.
TOO_WIDE = """() => Math.max(...[...document.querySelectorAll('html, main, article, .bd-article-container')].map(
    e => e.scrollWidth - e.clientWidth))"""


AXE = """() => axe.run(document, {rules: {'color-contrast': {enabled: false}, 'link-in-text-block': {enabled: false}},
    resultTypes: ['violations'], preload: false}).then(found => found.violations)"""


# How a text looks follows from the style sheets and from the tags, classes and styles of all elements around it. So the two
# rules on colour are asked once for each such kind and theme, not again on each of the pages where it stands.
CONTRAST = """() => {
const look = e => [e.tagName, [...e.attributes].filter(a => !['id', 'href', 'src', 'alt', 'title', 'd'].includes(a.name) &&
    !a.name.startsWith('aria-')).map(a => `${a.name}=${a.value}`).join(' ')].join(' ')
const seen = new Set(JSON.parse(localStorage.kinds || '[]')), fresh = []
const hash = text => { let a = 1, b = 2
    for (let i = 0; i < text.length; i++) { const c = text.charCodeAt(i); a = Math.imul(a ^ c, 2654435761); b = Math.imul(b ^ c, 1597334677) }
    return (a >>> 0).toString(36) + (b >>> 0).toString(36) }
const sheets = matchMedia('(prefers-color-scheme: dark)').matches + hash([...document.querySelectorAll('style, link[rel=stylesheet]')].map(e => e.href || e.textContent).join('|'))
for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue
    let kind = sheets
    for (let up = e; up; up = up.parentElement) kind += '|' + look(up)
    kind = hash(kind)
    if (!seen.has(kind)) { seen.add(kind); fresh.push(e) }
}
localStorage.kinds = JSON.stringify([...seen])
return fresh.length ? axe.run({include: fresh}, {runOnly: ['color-contrast', 'link-in-text-block'], resultTypes: ['violations'], preload: false})
    .then(found => found.violations) : [] }"""


def told(violations):
    "axe-core's serious and critical findings in words."
    return [f'axe: {v["id"]}, {len(v["nodes"])} times: {v["nodes"][0]["html"][:150]}'
            for v in violations if v['impact'] in ('serious', 'critical')]


def faults(page, url, base):
    "What a reader of `url` would meet: errors, requests that fail or leave, sideways scrolling, and what axe finds."
    from axe_playwright_python.sync_playwright import Axe
    found = []
    listeners = {
        'console': lambda m: m.type == 'error' and found.append(f'console: {m.text}'),
        'pageerror': lambda e: found.append(f'error: {e}'),
        'request': lambda r: r.url.startswith((base, 'data:', 'blob:')) or found.append(f'another host: {r.url}'),
        'requestfailed': lambda r: found.append(f'failed: {r.url}'),
        'response': lambda r: r.status >= 400 and found.append(f'status {r.status}: {r.url}')}
    for event, f in listeners.items(): page.on(event, f)
    page.emulate_media(color_scheme='dark')
    page.goto(url, wait_until='load')
    page.add_style_tag(content='* { transition: none !important }')  # axe would see colours on their way
    wide = page.evaluate(TOO_WIDE)
    if wide > 0: found.append(f'{wide} pixels too wide')
    page.evaluate(ONE_OF_EACH)
    page.evaluate(Axe().axe_script)
    found += told(page.evaluate(AXE)) + told(page.evaluate(CONTRAST))
    page.emulate_media(color_scheme='light')
    page.wait_for_function("['light', undefined].includes(document.documentElement.dataset.theme)")  # the theme's script follows later
    found += told(page.evaluate(CONTRAST))
    for event, f in listeners.items(): page.remove_listener(event, f)
    return found


def new_page(chromium, width):
    "A page of that width; the browser knows no host but this machine (`browser.ARGS`)."
    w, h = WIDTHS[width]
    return chromium.new_context(viewport={'width': w, 'height': h}, bypass_csp=True).new_page()  # the drawing page's own admits no style of ours


# A page of each kind for the quick run; `slow` looks at all others.
ONE_EACH = {'index.html', 'nbs/08_cnn.html', 'nbs/tools/own_digit.html', 'api/learner.html', 'search.html', 'demo/index.html'}


@pytest.mark.parametrize('which', ['one of each kind', slow('all others')])
@pytest.mark.parametrize('width', WIDTHS)
def test_every_page_is_sound(html, chromium, address, width, which):
    page, found = new_page(chromium, width), {}
    names = {path.relative_to(html).as_posix() for path in check.pages(html)}
    assert names > ONE_EACH
    for name in sorted(ONE_EACH if which == 'one of each kind' else names - ONE_EACH):
        if problems := faults(page, address + name, address): found[name] = problems
    page.context.close()
    assert not found, json.dumps(found, indent=1)


SPOILT = {
    '<script>console.error("lost")</script>': 'console: lost',
    '<script>lost()</script>': 'error: lost is not defined',
    '<link rel="stylesheet" href="https://example.org/a.css">': 'another host: https://example.org/a.css',
    '<script src="no-such.js"></script>': 'status 404: ',
    '<p style="width: 3000px">wide</p>': 'pixels too wide',
    '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">': 'axe: image-alt',
    '<p style="color: #777; background: #888">pale</p>': 'axe: color-contrast',
    '<style>html[data-theme=dark] p { color: #333 }</style>': 'axe: color-contrast',
    '<style>html[data-theme=light] p { color: #ccc }</style>': 'axe: color-contrast',
    '<pre class="highlight"><span class="k">for</span> <span class="k" style="color: #777; background: #888">in</span></pre>':
        'axe: color-contrast'}


def test_the_browser_names_what_is_wrong(html, chromium, tmp_path):
    shutil.copytree(html/'_static', tmp_path/'_static')
    shutil.copy(html/'searchindex.js', tmp_path)
    good = (html/'py-modindex.html').read_text(encoding='utf-8')
    with browser.served(tmp_path) as base:
        page = new_page(chromium, 'desktop')
        for i, (bad, message) in enumerate(SPOILT.items()):   # a page each: one written twice within a second is taken from the browser's cache
            spoilt = good.replace('</article>', f'{bad}<p>text</p></article>', 1)
            (tmp_path/f'{i}.html').write_text(spoilt, encoding='utf-8')
            found = faults(page, f'{base}{i}.html', base)
            assert any(f.startswith(message) or message in f for f in found), (bad, found)
        page.context.close()


def test_reader_can_search_copy_and_turn_it_dark(html, chromium, address):
    page = new_page(chromium, 'desktop')
    page.emulate_media(color_scheme='light')
    page.goto(f'{address}search.html?q=sigmoid')
    page.wait_for_selector('#search-results li')
    assert 'A linear learner' in page.inner_text('#search-results')
    page.goto(f'{address}nbs/03_linear_learner.html')
    assert page.locator('.cell_input button.copybtn').count() == page.locator('.cell_input pre').count() > 10
    light = page.evaluate('getComputedStyle(document.body).backgroundColor')
    page.click('.theme-switch-button >> visible=true')
    page.click('.theme-change-button[data-mode=dark] >> visible=true')
    assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') != light
    page.context.close()
