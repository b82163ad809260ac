#!/usr/bin/env python
"""Report how notebooks and modules stand to the bounds of the course's style.

Exit status 1 where a bound of the house is broken (HOUSE: a chapter's exported lines, its first picture, its longest cell for
export, its longest class, its number of cells; a module's lines), and at stored errors, stderr, execution counts, absolute paths
of a machine, pictures with no alt text, too large outputs. Any other figure over its aim is marked and named, and is for a person
to judge.

Lines are those with code on them: no blank lines, `#|` lines, cell markers; a function's body is without its docstring. A module's
lines are all lines of its file.
"""
import ast, json, re, sys

from house import LIB, ROOT, is_export, module_file, module_of, n_lines, rooms

HOUSE = {'cells': 90, 'exported': 120, 'picture': 8, 'export': 25, 'class': 45}  # of a chapter
MORE_EXPORTED = {'learner': 220}
MODULE = 300  # lines of a module, of whichever room
AIMS = {'demo': 12, 'export': 20, 'func': 15, 'class': 30, 'in a row': 3, 'words': 60, 'names': 12, 'width': 120}
MOST_KB = 300  # of stored outputs
COLUMNS = ['cells', 'exported', 'picture', *AIMS, 'KB']
MACHINE_PATH = re.compile(r'(?<![\w.:/~-])/(?:home|root|work|tmp|opt|usr|var|mnt|srv|content|Users)/[\w.-]+')
TIMING = re.compile(r'\b\d+:\d\d\b|\b\d[\d.]* ?(?:s|ms|µs|sec|seconds|minutes)\b|\bit/s\b|█|\bcuda:\d|\bNVIDIA\b')


def join(text): return text if isinstance(text, str) else ''.join(text)


def functions_and_classes(source):
    "(kind, name, lines) of each function body and each class in a cell; one with magics has none worth counting."
    lines = source.splitlines()
    try: nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError: return
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body: yield 'func', node.name, n_lines('\n'.join(lines[body[0].lineno - 1:node.end_lineno]))
        elif isinstance(node, ast.ClassDef):
            yield 'class', node.name, n_lines('\n'.join(lines[node.lineno - 1:node.end_lineno]))


def output_problems(cell):
    "What may not stand in a cell's stored outputs."
    if cell.get('execution_count') is not None: yield 'execution count'
    for o in cell.get('outputs', []):
        if o.get('execution_count') is not None: yield 'execution count in an output'
        if o['output_type'] == 'error': yield f'stored error {o.get("ename")}'
        if o.get('name') == 'stderr': yield f'stderr: {join(o["text"])[:60]!r}'
        for kind in o.get('data', {}):
            alt = o.get('metadata', {}).get(kind, {}).get('alt')
            if kind.startswith('image/') and not alt: yield f'{kind} with no alt text'
        path = MACHINE_PATH.search(text_of(o))
        if path: yield f'path of a machine: {path[0]}'


def text_of(output):
    "The readable text of an output."
    data = output.get('data', {})
    return join(output.get('text', '')) + ''.join(join(v) for k, v in data.items() if k.startswith('text/'))


def longest(measures, key):
    "Largest (size, where) of `key` in `measures`."
    return max((m[1:] for m in measures if m[0] == key), default=(0, ''))


def first_picture(cells):
    "The number of the first cell that shows a picture, counted from 1; None if there is none."
    shows = (any(k.startswith('image/') for o in c.get('outputs', []) for k in o.get('data', {})) for c in cells)
    return next((n for n, shown in enumerate(shows, 1) if shown), None)


def cell_measures(cell):
    "(key, size, where) of each thing that has a size in a code cell."
    src = join(cell['source'])
    where = next((s.strip()[:50] for s in src.splitlines() if s.strip() and not s.startswith('#')), '')
    inside = list(functions_and_classes(src))
    classes = sum(n for kind, _, n in inside if kind == 'class')  # a class has a bound of its own
    if is_export(src): yield 'export', n_lines(src) - classes, where
    elif not re.search(r'^#\|\s*hide\b', src, re.M): yield 'demo', n_lines(src), where
    yield from ((kind, n, name) for kind, name, n in inside)
    yield from (('width', len(s), s.strip()[:50]) for s in src.splitlines())


def in_a_row(cells):
    "(size, where) of the longest run of code cells with no prose between; what is hidden does not count."
    longest = row = 0
    for c in cells:
        if c['cell_type'] == 'markdown': row = 0
        elif not re.search(r'^#\|\s*hide\b', join(c['source']), re.M): row += 1
        longest = max(longest, row)
    return longest, ''


def soft_remarks(path, cell):
    "What a reader may stumble over in a cell's outputs."
    times = [m[0] for o in cell['outputs'] for m in TIMING.finditer(text_of(o))] if '_scaling' not in path.stem else []
    if times: yield f'output tells time or device: {times[0]!r}'
    for o in cell['outputs']:
        for k, v in o.get('data', {}).items():
            if k.startswith('image/') and len(join(v))*3/4/1024 > 40: yield f'picture of {len(join(v))*3/4/1024:.0f} KB, bound 40'


def measure(path):
    "(figures as key → (size, where), hard problems, remarks) of one notebook."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    code = [c for c in cells if c['cell_type'] == 'code']
    words = sum(len(re.sub(r'\]\([^)]*\)|[^\w\s]', ' ', join(c['source'])).split()) for c in cells if c['cell_type'] == 'markdown')
    found = [m for c in code for m in cell_measures(c)]
    hard = [f'{p} (cell {join(c["source"])[:50]!r})' for c in code for p in output_problems(c)]
    remarks = [f'{r} (cell {join(c["source"])[:50]!r})' for c in code for r in soft_remarks(path, c)]
    size = sum(len(json.dumps(c.get('outputs', []), ensure_ascii=False)) for c in cells)/1024
    if size > MOST_KB: hard.append(f'stored outputs of {size:.0f} KB, bound {MOST_KB}')
    module = module_file(path)
    names = re.search(r'__all__ = (\[.*?\])', module.read_text(encoding='utf-8'), re.S) if module and module.exists() else None
    exported = sum(n_lines(join(c['source'])) for c in code if is_export(join(c['source'])))
    return {k: longest(found, k) for k in ('demo', 'export', 'func', 'class', 'width')} | {
        'cells': (len(code), ''), 'exported': (exported, ''), 'picture': (first_picture(cells), ''), 'in a row': in_a_row(cells),
        'words': (round(words/max(len(code), 1)), ''), 'KB': (round(size), ''),
        'names': (len(ast.literal_eval(names[1])) if names else 0, '')}, hard, remarks


def broken(path, figures):
    "The bounds of the house that a chapter breaks."
    bounds = HOUSE | {'exported': MORE_EXPORTED.get(module_of(path), HOUSE['exported'])}
    for key, bound in bounds.items():
        size, where = figures[key]
        if size is None: yield f'no picture, wanted one among the first {bound} cells'
        elif size > bound: yield f'{key} {size}, bound of a chapter {bound}' + (f' ({where})' if where else '')


def report_room(title, paths, is_course):
    "Print a room's table; return its (errors, remarks)."
    print(f'\n{title:28}' + ''.join(f'{k:>9}' for k in COLUMNS))
    if is_course: print(f'{"bound of a chapter":28}' + ''.join(f'{HOUSE.get(k, ""):>9}' for k in COLUMNS))
    print(f'{"aim":28}' + ''.join(f'{AIMS.get(k, ""):>9}' for k in COLUMNS))
    errors, remarks = [], []
    for p in paths:
        figures, hard, said = measure(p)
        over = {k for k in AIMS if figures[k][0] > AIMS[k]}
        print(f'{p.stem:28}' + ''.join(f'{("!" if k in over else "") + str(figures[k][0] or "-"):>9}' for k in COLUMNS))
        errors += [f'{p.stem}: ERROR {h}' for h in hard + (list(broken(p, figures)) if is_course else [])]
        remarks += [f'{p.stem}: {r}' for r in said]
        remarks += [f'{p.stem}: {k} {figures[k][0]}, aim {AIMS[k]} {figures[k][1]}'.rstrip() for k in AIMS if k in over]
        if figures['words'][0] < 30: remarks.append(f'{p.stem}: {figures["words"][0]} words a code cell, aim 30 to 60')
    return errors, remarks


def report_modules():
    "Print the lines of each module; return the errors."
    errors = []
    print(f'\n{"module":40}{"lines":>7}\n{"bound":40}{MODULE:>7}')
    for p in sorted((ROOT/LIB).rglob('*.py')):
        if p in (ROOT/LIB/'__init__.py', ROOT/LIB/'_modidx.py'): continue
        n = len(p.read_text(encoding='utf-8').splitlines())
        print(f'{str(p.relative_to(ROOT)):40}{n:>7}')
        if n > MODULE: errors.append(f'{p.relative_to(ROOT)}: ERROR {n} lines, bound of a module {MODULE}')
    return errors


def main():
    course, tools = rooms()
    errors, remarks = report_room('chapter', course, True)
    more = report_room('tool', tools, False)
    errors, remarks = errors + more[0] + report_modules(), remarks + more[1]
    print('', *errors, *remarks, f'style: {len(course)} chapters, {len(tools)} tools, {len(remarks)} remarks, {len(errors)} errors', sep='\n')
    sys.exit(bool(errors or not course))


if __name__ == '__main__': main()
