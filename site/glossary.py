"""The words that stand at the end of each chapter, on one page; each is linked at its first use in its chapter's prose."""
import re

LINE = re.compile(r'- \*\*(.+?)\*\*: (.+\.)')
SKIPPED = re.compile(r'`[^`\n]+`|!?\[[^\]\n]*\]\([^)\n]*\)|<[^>\n]+>|\{py:obj\}`[^`]+`')   # code, links, HTML
NO_PROSE = ('#', '>', '|', '    ', '!')   # how lines begin that are headings, quotes, tables, code, pictures


def entries(nb):
    "Pairs (words, meaning) of the list at the end of a chapter; none if it has no such list."
    lines = ''.join(nb['cells'][-1]['source']).strip().splitlines()
    if not lines or lines[0] != '## Words': return []
    found = [LINE.fullmatch(line) for line in lines if line.startswith('- ')]
    return [(re.sub(r' \(.*?\)', '', m[1]).replace('`', '').split(', '), m[2]) for m in found]


def anchor(word): return 'word-' + re.sub(r'\W+', '-', word.lower()).strip('-')


def mentions(word):
    "Patterns of the ways to mention a word, the plainest first, and whether each means prose rather than code."
    it = re.escape(word)
    yield rf'(?<![\w-]){it}s?(?![\w-])', True
    yield rf'`[^`\n]*(?<!\w){it}(?!\w)[^`\n]*`', False    # a span of code that holds it
    yield rf'(?<![\w-]){it}\w*', True                     # a longer word that begins with it


def with_link(text, word):
    "`text` with its first mention of `word` linked to the glossary; None if it has none."
    for mention, plain in mentions(word):
        place = 0
        for line in text.splitlines(keepends=True):
            if not line.startswith(NO_PROSE):
                taken = [m.span() for m in SKIPPED.finditer(line) if plain or m[0][0] != '`']
                for m in re.finditer(mention, line, re.I):
                    if not any(a < m.end() and m.start() < b for a, b in taken):
                        a, b = place + m.start(), place + m.end()
                        return f'{text[:a]}[{text[a:b]}](#{anchor(word)}){text[b:]}'
            place += len(line)


def linked(nb):
    "The chapter with each of its words linked at the first use in its prose, and the words for which there is none."
    cells, missing = [dict(c, source=''.join(c['source'])) for c in nb['cells']], []
    for word in sorted((w for words, _ in entries(nb) for w in words), key=len, reverse=True):
        for cell in (c for c in cells[1:-1] if c['cell_type'] == 'markdown'):
            if (new := with_link(cell['source'], word)):
                cell['source'] = new
                break
        else: missing.append(word)
    return nb | {'cells': cells}, missing


def page(chapters):
    "The glossary's text; `chapters` are triples (title, address, notebook)."
    told = {}
    for title, address, nb in chapters:
        for words, meaning in entries(nb):
            for word in words:
                said = f'{meaning[0].upper()}{meaning[1:]}' if len(words) == 1 else f'({", ".join(words)}) {meaning}'
                told.setdefault(anchor(word), (word, []))[1].append(f'{said} [{title}](/{address})')
    lines = ['# Words', '', 'Every word that a chapter explains, with the chapter. At its first use there it leads to this page.', '']
    for name, (word, meanings) in sorted(told.items()): lines += [f'({name})=', '**' + word.replace('_', r'\_') + '**: ' + ' '.join(meanings), '']
    return '\n'.join(lines)
