"""Write the API reference of mnist_sgd: a page a module, a table of arguments for each function, from the docments."""
import ast, importlib, inspect, io, json, re, textwrap, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIB = 'mnist_sgd'


def escape(text):
    "Markdown of plain text whose code stands in backticks, for a table's cell."
    parts = re.split(r'(`[^`]*`)', text)
    return ''.join(p.replace('|', '\\|') if p[0] == '`' else re.sub(r'([\\*_\[\]<>|])', r'\\\1', p) for p in parts if p)


def code(node):
    "A piece of syntax as code in a table's cell."
    return f'`{ast.unparse(node)}`'.replace('|', '\\|') if node else ''


def comments(source):
    "The comment on each line of `source`, by line number."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}


def rows_and_return(node, notes):
    "Of a function: (name, type, default, comment) of each argument, and (type, comment) of what it returns."
    a, last = node.args, node.returns.end_lineno if node.returns else 0
    plain = a.posonlyargs + a.args
    args = [*zip(plain, [None]*(len(plain) - len(a.defaults)) + a.defaults, ['']*len(plain)), (a.vararg, None, '*'),
            *zip(a.kwonlyargs, a.kw_defaults, ['']*len(a.kwonlyargs)), (a.kwarg, None, '**')]
    args = [(arg, default, stars) for arg, default, stars in args if arg and arg.arg not in ('self', 'cls')]
    ends = [(default or arg).end_lineno for arg, default, _ in args]
    said = [notes.get(end, '') if ends.count(end) == 1 and end != last else '' for end in ends]
    rows = [(stars + arg.arg, arg.annotation, default, note) for (arg, default, stars), note in zip(args, said)]
    return rows, (node.returns, notes.get(last, '')) if last else None


def fields(node, notes):
    "Of a dataclass: a row a field, as `rows_and_return` gives them."
    found = [n for n in node.body if isinstance(n, ast.AnnAssign)]
    return [(n.target.id, n.annotation, n.value, notes.get(n.end_lineno, '')) for n in found]


def signature(rows):
    "The arguments with their defaults; Sphinx cannot read an f-string, which the table shows."
    def text(default): return '...' if isinstance(default, ast.JoinedStr) else ast.unparse(default)
    return ', '.join(f'{name}={text(default)}' if default else name for name, _, default, _ in rows)


def table(rows, returns=None):
    "Markdown of the arguments and of the return."
    lines = [f'| `{name}` | {code(kind)} | {code(default)} | {escape(note)} |' for name, kind, default, note in rows]
    if lines: lines = ['| argument | type | default | what it is |', '|---|---|---|---|', *lines, '']
    if returns: lines += [f'**Returns** {code(returns[0])}' + (f': {escape(returns[1])}' if returns[1] else ''), '']
    return '\n'.join(lines)


def parsed(obj):
    "(syntax tree, comments by line) of a function or class."
    source = textwrap.dedent(inspect.getsource(obj))
    return ast.parse(source).body[0], comments(source)


def docstring(obj):
    "Markdown of what a function or class says of itself."
    return escape(inspect.getdoc(obj) or '') + '\n'


def directive(kind, name, *body, fence='```'):
    "Markdown of an object of Sphinx's Python domain."
    return '\n'.join([f'{fence}{{py:{kind}}} {name}', '', *filter(None, body), fence, ''])


def function(kind, name, f, *more):
    "Markdown of a function or method."
    node, notes = parsed(f)
    rows, returns = rows_and_return(node, notes)
    return directive(kind, f'{name}({signature(rows)})', docstring(f), table(rows, returns), *more)


def methods(cls):
    "Markdown of a class's own public methods and properties, those that the notebook adds later too."
    for name, f in vars(cls).items():
        if name.startswith('_'): continue
        if isinstance(f, property): yield directive('property', name, docstring(f.fget))
        elif inspect.isfunction(f): yield function('method', name, f)
        elif isinstance(f, (staticmethod, classmethod)): yield function('method', name, f.__func__)


def class_(name, cls, *more):
    "Markdown of a class: its arguments, its methods."
    node, notes = parsed(cls)
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == '__init__'), None)
    rows = rows_and_return(init, notes)[0] if init else fields(node, notes)
    return directive('class', f'{name}({signature(rows)})', docstring(cls), table(rows), *more, *methods(cls),
                     fence='````')


def sections(path):
    "The heading of the section in which each name is exported by the notebook at `path`."
    found, heading = {}, ''
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': heading = (re.findall(r'^##+ (.+)', source, re.M) or [heading])[-1]
        elif re.match(r'#\|\s*export', source):
            for name in re.findall(r'^(?:def |class |(?=\w+(?:, \w+)* = ))([\w, ]+)', source, re.M):
                found.update(dict.fromkeys(re.findall(r'\w+', name), heading))
    return found


def slug(heading):
    "The anchor of a heading, as MyST makes it."
    return re.sub(r'[^\w\s-]', '', heading.lower()).strip().replace(' ', '-')


def constant(name, obj, source, where):
    "Markdown of a constant: its type, and the comment on its line."
    note = re.search(rf'^(?:\w+, )*{name}\b.* = [^#\n]*# *(.+)', source, re.M)
    kind = f'`{type(obj).__name__}`' + (f': {escape(note[1])}' if note else '')
    return directive('data', name, f'A {kind}. {where}')


def entry(name, obj, source, where):
    "Markdown of one exported name; `where` links to the section that explains it."
    if inspect.isfunction(obj): return function('function', name, obj, where)
    if not inspect.isclass(obj): return constant(name, obj, source, where)
    if hasattr(obj, '_fields'): return directive('class', f'{name}({", ".join(obj._fields)})', f'Named tuple. {where}')
    return class_(name, obj, where)


def own_names(path, module):
    "The names that a module offers and its notebook at `path` builds; what it hands on from others stands on their pages."
    return [name for name in module.__all__ if name in sections(path)]


def page(path, name):
    "Markdown of the API page of the module `name` that the notebook at `path` exports: functions and classes, then constants."
    module, there = importlib.import_module(f'{LIB}.{name}'), f'../{path.relative_to(ROOT).as_posix()}'
    found, source, parts = sections(path), inspect.getsource(module), []
    for name in sorted(own_names(path, module), key=lambda n: not callable(getattr(module, n))):
        heading = found[name]
        where = f'Built in [{heading.replace("`", "")}]({there}#{slug(heading)}).\n'
        parts.append(entry(name, getattr(module, name), source, where))
    head = f'# {module.__name__}\n\n{escape(module.__doc__)} Exported by [{path.stem}]({there}).\n'
    return '\n'.join([head, f'```{{py:module}} {module.__name__}\n```\n', *parts])
