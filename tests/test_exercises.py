"""The graders of the exercises: every one is tried on stubs, on wrong answers, on code that breaks, and on right answers."""
import ast, importlib.util, json, re, select, shutil, socket, subprocess, sys, threading, time
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mnist_sgd import exercises, full_mnist, learner, linear_learner, pixel_similarity, sgd_basics, simple_net
from mnist_sgd.data import load_mnist
from mnist_sgd.exercises import EXERCISES, QUESTIONS, RESULTS, CheckFailed, exercise, grading, question, running, summary

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'))
from exercise_answers import ANSWERS  # noqa: E402
from quick import slow  # noqa: E402

NAMES = list(EXERCISES)
SOLUTIONS = exercises.solutions()
TRAIN = '\n(x, y), _ = load()\ntorch.manual_seed(0)\nmy_model.net = train_my_model(x, y)\n'
COUNTS = {}


def load_source(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_exercises = load_source(ROOT/'.ci'/'make_exercises.py')


def count(what): COUNTS[what] = COUNTS.get(what, 0) + 1


class Report:
    "Prints at the end what was tried."
    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section('exercises')
        for what, n in COUNTS.items(): terminalreporter.line(f'{n:5} {what}')


@pytest.fixture(scope='session', autouse=True)
def report(request):
    request.config.pluginmanager.register(Report())


@pytest.fixture(autouse=True)
def plain_and_quick(monkeypatch):
    "No colour; the images are read once."
    monkeypatch.setenv('NO_COLOR', '1')
    monkeypatch.setattr(exercises.full_mnist, 'load_mnist', quick_load)


quick_load = lru_cache(load_mnist)


@cache
def notebook(name, source):
    "Names of a notebook in which the cell was run: {name: object}."
    names = {'torch': torch, 'nn': torch.nn, 'F': torch.nn.functional, 'plt': grading.plt, 'load': quick_load,
             'exercise': exercise, '__name__': '__main__'}
    exec(source + (TRAIN if source is SOLUTIONS.get('my_model') else ''), names)
    return names


def check(name, source, **kwargs):
    "Check the object that a cell makes, found by its name as in a notebook."
    names = {**notebook(name, source), 'kwargs': kwargs}
    exec(f'result = exercise({name!r}).check(**kwargs)', names)
    return names['result']


# every exercise

def test_there_are_enough():
    assert f'{len(NAMES)} graded exercises and {len(QUESTIONS)} questions' in exercises.__doc__
    assert len(NAMES) >= 30 and set(NAMES) == set(ANSWERS) == set(SOLUTIONS)
    assert all(len(wrong) >= 2 and len(right) >= 1 for wrong, right in ANSWERS.values())
    assert all(e.hints and e.chapter in range(1, 9) for e in EXERCISES.values())


@pytest.mark.parametrize('name', NAMES)
def test_untouched_stub(name):
    count('exercises')
    result = check(name, exercises.learner_cell(SOLUTIONS[name]))
    assert result.status == 'not yet tried' and not result, result
    assert exercise(name).check(...).status == 'not yet tried'
    assert exercise(name).check().status == 'not yet tried', 'no such name here'


WRONG = [(name, words, source) for name, (wrong, _) in ANSWERS.items() for words, source in wrong]


@pytest.mark.parametrize('name, words, source', WRONG, ids=[f'{n}-{w}' for n, w, _ in WRONG])
def test_wrong_answer(name, words, source, capsys):
    count('wrong answers, each failed with the message that names it')
    words = {'`return` missing': 'is `return` missing?'}.get(words, words)
    result = check(name, source)
    assert result.status == 'failed' and result.kind in ('wrong', 'type', 'raised') and words in result.message, result
    assert capsys.readouterr().out == f'failed: {name}\n{result.message}\n'


def broken(name, line):
    "A cell that runs `line` when the answer is used."
    head = f'class {name}:\n    def __init__(self, *args, **kwargs):' if name[0].isupper() else f'def {name}(*args, **kwargs):'
    return f'{head}\n        {line}\n'


@pytest.mark.parametrize('name', NAMES)
def test_answer_that_raises(name):
    result = check(name, broken(name, "raise ValueError('boom 7')"))
    assert (result.status, result.kind) == ('failed', 'raised')
    assert re.search(r'ValueError: boom 7 \(line \d of your code\)', result.message), result
    count('answers that raise')
    assert check(name, broken(name, 'raise SystemExit')).kind == 'raised'


@pytest.mark.parametrize('name', NAMES)
def test_syntax_error(name):
    source = SOLUTIONS[name] + '\n    x = (1\n'
    result = exercise(name).check(source)
    assert (result.status, result.kind) == ('failed', 'syntax') and 'line' in result.message
    names = {'exercise': exercise, 'In': ['', f'def {name}(): return 1', source]}   # as Jupyter keeps cells
    exec(f'result = exercise({name!r}).check()', names)
    assert names['result'].kind == 'syntax'
    count('answers with a syntax error')


@pytest.mark.parametrize('name', NAMES)
def test_wrong_type(name):
    result = exercise(name).check(42)
    assert (result.status, result.kind) == ('failed', 'type') and 'int' in result.message, result
    assert check(name, broken(name, 'pass')).status == 'failed'
    if name[0].islower(): assert check(name, broken(name, "return 'text'")).status == 'failed'
    count('answers of a wrong type')


@pytest.mark.parametrize('name', NAMES)
def test_endless_loop(name):
    threads = threading.active_count()
    result = check(name, broken(name, 'while True: pass'), seconds=.05)
    assert (result.status, result.kind) == ('failed', 'time') and 'loop that never ends' in result.message
    assert threading.active_count() == threads
    count('endless loops, stopped')


@pytest.mark.parametrize('name', NAMES)
def test_solution_passes(name, capsys):
    result = check(name, SOLUTIONS[name], strict=True)
    assert result and result.status == 'passed' and RESULTS[name] is result
    assert capsys.readouterr().out == f'passed: {name}\n'
    count('solutions')


@pytest.mark.parametrize('name', [slow(name) if name == 'my_model' else name for name in NAMES])   # which trains a net
def test_second_solution_passes(name):
    for source in ANSWERS[name][1]:
        assert check(name, source), RESULTS[name]
        count('second solutions')


@pytest.mark.parametrize('name', NAMES)
def test_hints_and_solution_are_printed(name, capsys):
    q = exercise(name)
    for n in range(1, len(q.hints) + 1): q.hint(n)
    q.hint(0), q.hint(99)
    hints = capsys.readouterr().out.splitlines()
    assert len(hints) == len(q.hints) + 2 and hints[0].endswith(q.hints[0]) and hints[-1].startswith('There are hints 1')
    q.solution()
    printed = capsys.readouterr().out
    assert not re.search('SOLUTION|STUB|#', printed) and name in printed
    if name != 'my_model': assert q.check(printed)


# what is graded

def test_the_verdict_stands_on_the_learners_code_alone(monkeypatch):
    "With every function of the course broken, right answers pass and wrong ones fail as before."
    def bad(*args, **kwargs): raise RuntimeError("the course's own function was called")
    for module in (pixel_similarity, sgd_basics, linear_learner, learner, simple_net, full_mnist):
        for key in module.__all__: monkeypatch.setattr(module, key, bad)
    for name in NAMES: monkeypatch.setattr(sys.modules[EXERCISES[name].grader.__module__], name, bad)
    assert pixel_similarity.mnist_distance is exercises.pixel_similarity.mnist_distance is bad
    for name in NAMES:
        assert check(name, SOLUTIONS[name]), RESULTS[name]
        words, source = ANSWERS[name][0][0]
        assert words in check(name, source).message


@pytest.mark.parametrize('name, own', [('mnist_distance', pixel_similarity.mnist_distance), ('relu', simple_net.relu),
                                       ('BasicOptim', linear_learner.BasicOptim), ('mse', exercises.sgd_basics.mse)])
def test_the_courses_own_function_is_no_answer(name, own):
    result = exercise(name).check(own)
    assert result.status == 'failed' and "course's own" in result.message


def test_the_learners_object_is_found_by_name():
    def rank(shape): return len(shape)
    assert exercise('rank').check()
    assert exercise('rank').check(lambda shape: len(shape)), 'or passed'
    def rank(shape): return shape[0]  # noqa: F811 - as a learner runs the cell anew
    assert not exercise('rank').check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU: the graders ran on the CPU alone')
def test_graders_run_on_the_gpu_too():
    assert grading._devices() == ['cpu', 'cuda']
    result = exercise('one_hot').check('def one_hot(y, n): return torch.eye(n)[y.cpu()]')
    assert 'device is cpu, wanted cuda' in result.message
    result = exercise('mean_image').check('def mean_image(imgs): return (imgs + torch.zeros(1, 4, 3)).mean(0)')
    assert 'device=x.device' in result.message


@pytest.fixture
def pretended(monkeypatch):
    "Graders run on the CPU and on a GPU that is pretended, in this thread, since the pretence holds in one."
    card = pytest.importorskip('pretend_gpu').PretendGPU
    monkeypatch.setattr(grading, '_devices', lambda: ['cpu', 'cuda'])
    monkeypatch.setattr(grading, 'bounded', lambda func, seconds: running.caught(func))
    grading.warm_up()
    with card(): yield


@pytest.mark.parametrize('name', [n for n in NAMES if n != 'my_model'])
def test_graders_run_on_a_pretended_gpu(name, pretended):
    for source in (SOLUTIONS[name], *ANSWERS[name][1]):
        result = exercise(name).check(source)
        assert result, result
    count('exercises graded on a pretended GPU')


@pytest.mark.parametrize('source, words', [
    ('def one_hot(y, n): return torch.eye(n)[y.cpu()]', 'device is cpu, wanted cuda'),
    ('def mean_image(imgs): return (imgs + torch.zeros(1, 4, 3)).mean(0)', 'device=x.device'),
    ('def dropout(x, p): return x*(torch.rand(x.shape) >= p)/(1 - p)', 'device=x.device'),
    ('def batch_norm(x, weight, bias, eps): return F.batch_norm(x.cpu(), None, None, weight.cpu(), bias.cpu(), True, 0, eps)', 'device is cpu')])
def test_an_answer_that_stays_on_the_cpu_is_told_so(source, words, pretended):
    result = exercise(re.search(r'def (\w+)', source)[1]).check(source)
    assert result.status == 'failed' and words in result.message, result


def test_graders_run_on_each_device(monkeypatch):
    monkeypatch.setattr(grading, '_devices', lambda: ['cpu', 'cpu'])
    calls = []
    def rank(shape): return calls.append(shape) or len(shape)
    assert exercise('rank').check(rank) and len(calls) == 6


def test_every_slip_that_a_grader_names_is_wrong_and_unlike_the_others(monkeypatch):
    "A slip whose value were the right one, or that of another slip, would name the wrong thing or nothing."
    named, shown, equal = set(), set(), exercises.Trial.equal
    def spy(self, got, want, *slips, tol=1e-5, **kwargs):
        for i, (value, name) in enumerate(slips):
            named.add(name)
            others = [v for v, other in slips[:i] if other != name]
            if all(exercises.difference(value, v, tol, any_dtype=True) for v in [want, *others]): shown.add(name)
            elif exercises.difference(value, want, tol) and all(exercises.difference(value, v, tol) for v in others): shown.add(name)
        equal(self, got, want, *slips, tol=tol, **kwargs)
    monkeypatch.setattr(exercises.Trial, 'equal', spy)
    for name in [n for n in NAMES if n != 'my_model']: assert check(name, SOLUTIONS[name])
    assert not sorted(named - shown)
    COUNTS['slips that graders know by name'] = len(named)


# never raises, unless strict

class Nasty:
    def __getattr__(self, key): raise RuntimeError(f'no {key}')
    def __call__(self, *args): raise KeyboardInterrupt
    def __repr__(self): raise ValueError
    def __eq__(self, other): raise ValueError
    def __hash__(self): raise ValueError


class Stubborn:
    def __call__(self, *args):
        while True:
            try:
                while True: pass
            except: pass  # noqa: E722


@pytest.mark.parametrize('answer', [Nasty(), Nasty, Stubborn(), None, 3.5, [], '', 'x = ', 'import nothing_here', b'x', object(), type,
                                    print, torch.ones(2), lambda: None, ModuleType('x')], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize('name', ['rank', 'mse', 'BasicOptim', 'q1', 'q4'])
def test_check_never_raises(name, answer):
    q = question(int(name[1:])) if name[0] == 'q' else exercise(name)
    threads = threading.active_count()
    result = q.check(answer, seconds=.2)
    assert result.status == 'failed' and result.message
    assert threading.active_count() == threads, 'no thread is left, not even that of a bare except'


def test_strict_raises():
    with pytest.raises(CheckFailed, match='number of values'): exercise('rank').check(lambda shape: shape.numel(), strict=True)
    with pytest.raises(CheckFailed, match='not yet tried'): exercise('rank').check(..., strict=True)
    with pytest.raises(CheckFailed, match='No: '): question(1).check(wrong_letter(question(1)), strict=True)
    assert exercise('rank').check(len, strict=True)


def test_check_works_in_a_thread():
    found = []
    def run(): found.append((exercise('rank').check(len), exercise('rank').check('def rank(s):\n  while 1: pass', seconds=.05)))
    worker = threading.Thread(target=run)
    worker.start()
    worker.join(20)
    assert found and found[0][0] and found[0][1].kind == 'time'


def test_colour_is_an_addition(capsys, monkeypatch):
    monkeypatch.delenv('NO_COLOR')
    for color in (True, False): exercise('rank').check(len, color=color)
    colored, text = capsys.readouterr().out.splitlines()
    assert text == 'passed: rank' and '\x1b[32m' in colored and re.sub(r'\x1b\[\d+m', '', colored) == text


def test_no_network(monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('a check opened a socket')
    monkeypatch.setattr(socket, 'socket', refuse)
    monkeypatch.setattr(socket, 'create_connection', refuse)
    for name in NAMES: assert check(name, SOLUTIONS[name])
    summary()


def test_random_numbers_of_the_learner_are_left_alone():
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    for name in NAMES: check(name, SOLUTIONS[name])
    torch.testing.assert_close(torch.rand(2), want)


# answers that change what they are given, or what holds for everybody

def wrapped(name, before='', after=''):
    "The solution, with lines that are run before and after each call; `tensors` are those among its arguments."
    find = 'tensors = [t for t in find(args) if not (t.requires_grad and t.is_leaf)]'
    source = SOLUTIONS[name].replace(f'class {name}', 'class answer').replace(f'def {name}(', 'def answer(')
    return (f'def find(v): return [v] if isinstance(v, torch.Tensor) else sum(map(find, v), []) if isinstance(v, (list, tuple)) else []\n'
            f'{source}\ndef {name}(*args, **kwargs):\n    {find}\n    {before or "pass"}\n    got = answer(*args, **kwargs)\n    {after or "pass"}\n'
            f'    return got\n')


UNTOUCHED = {'double_odds', 'three_by_three', 'rank', 'seven_steps', 'zip_pairs', 'smooth', 'descend', 'gradient', 'sgd_step', 'decay_step', 'draw_sigmoid',
             'draw_relu', 'relu_net', 'count_params', 'BasicOptim', 'Momentum', 'Adam', 'my_model'}   # are handed no tensor, or one to change


@pytest.mark.parametrize('name', [n for n in NAMES if n not in UNTOUCHED])
def test_an_answer_that_wipes_its_arguments_is_wrong(name):
    assert not check(name, wrapped(name, 'for t in tensors: t.zero_()')), 'the wanted value came from what the answer wiped'
    count('answers that wipe their arguments')


@pytest.mark.parametrize('name', [n for n in NAMES if n not in UNTOUCHED])
def test_what_a_right_answer_does_to_its_arguments_does_not_matter(name):
    "But for two that are asked to leave them as they are, and a loader that has to give them again."
    for spoil in ('t.zero_()', 't.data = t.data.half()', 't.detach_().resize_(0)', 't.grad = None; t.requires_grad_(t.is_floating_point())'):
        result = check(name, wrapped(name, after=f'for t in tensors: {spoil}'))
        left = (name == 'relu' or name == 'numerical_gradient') and 'grad' not in spoil
        again = name in ('MyLoader', 'MiniLearner') or name == 'spread' and 'grad' not in spoil
        if not again: assert bool(result) != left, (spoil, result)


@pytest.mark.parametrize('name', [n for n in NAMES if n != 'my_model'])
def test_what_an_answer_sets_for_everybody_is_put_back(name):
    spoil = ('torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); torch.set_num_threads(3); torch.rand(9); '
             "torch.use_deterministic_algorithms(True); torch.set_default_device('meta'); torch.autograd.set_detect_anomaly(True)")
    torch.manual_seed(5)
    want = running._settings(), torch.get_rng_state()
    assert check(name, wrapped(name, after=spoil)), 'the grader goes on as if nothing were set'
    assert (running._settings(), torch.is_grad_enabled()) == (want[0], True)
    torch.testing.assert_close(torch.get_rng_state(), want[1])


IN_PLACE = {
    'sigmoid': 'x.neg_().exp_().add_(1).reciprocal_()', 'mnist_distance': 'x.sub_(y).abs_().mean((-1, -2))', 'mse': 'x.sub_(y).pow_(2).mean()',
    'rms_distance': 'x.sub_(y).pow_(2).mean((-1, -2)).sqrt_()', 'corner': 'x.mul_(2)[-2:, -2:]', 'linear1': 'x @ y.mul_(1) + z.add_(0)',
    'log_softmax': 'x.sub_(x.max(-1, keepdim=True).values.clone()).sub_(x.exp().sum(-1, keepdim=True).log())',
    'is_3': '(x - y).abs_().mean((1, 2)) < x.sub_(z).abs_().mean((1, 2))', 'batch_accuracy': 'x.gt_(0).eq_(y).mean()',
    'mnist_loss': 'y.sub_(x.sigmoid_()).abs_().mean()', 'cross_entropy': '-x.sub_(x.logsumexp(1, keepdim=True)).gather(1, y.unsqueeze_(1)).mean()',
    'mean_image': 'x.cumsum_(0)[-1].div_(len(x))'}


@pytest.mark.parametrize('name', IN_PLACE)
def test_a_right_answer_that_works_in_place_is_right(name):
    assert check(name, f'def {name}(x, y=None, z=None): return {IN_PLACE[name]}'), RESULTS[name]
    count('right answers that work in place')


@pytest.mark.parametrize('stream', ['sys.stdout', 'sys.stderr', 'sys.__stdout__', 'sys.__stderr__'])
@pytest.mark.parametrize('name', ['rank', 'BasicOptim', 'mend_sum', 'draw_relu'])
def test_a_flood_of_words_is_kept(name, stream, capfd):
    result = check(name, 'import sys\n' + broken(name, f"while True: print('word', file={stream})"), seconds=.2)
    out, err = capfd.readouterr()
    assert result.kind == 'time' and len(out) < 400 and not err
    assert re.search(r"never ends\?\nYour code printed:\n(word\n){10}\.\.\. and [\d,]+ characters more\n$", out), out


WAYS = {
    'os.write': "while True: os.write(1, b'word\\n')", 'another program': "subprocess.run(['yes', 'word'])",
    'a program left behind': "subprocess.Popen(['yes', 'word'])\n        while True: pass", 'a shell': "os.system('yes word >&2')",
    'a stream held from before': "while True: held.write('word\\n')",
    'a thread': "t = threading.Thread(target=talk); t.start(); t.join()", 'a thread left behind': "threading.Thread(target=talk).start(); time.sleep(.1)"}


@pytest.mark.skipif(not hasattr(select, 'poll'), reason='pipes that can be waited for')
@pytest.mark.parametrize('way', [slow(way) if way in ('another program', 'a shell', 'a thread') else way for way in WAYS])   # which take seconds
def test_a_flood_is_kept_whichever_way_it_takes(way, capfd):
    before = {*threading.enumerate()}
    talk = "def talk():\n  while True:\n    try: print('word'); time.sleep(.001)\n    except: pass\n"
    result = check('rank', f'import os, subprocess, sys, threading, time\nheld = sys.stdout\n{talk}' + broken('rank', WAYS[way]), seconds=.3)
    time.sleep(.1)
    out, err = capfd.readouterr()
    assert not result and len(out) < 600 and not err
    assert re.search(r"Your code printed:\n(word\n){10}\.\.\. and [\d,]+ characters more\n$", out), out
    assert {*threading.enumerate()} == before


def test_a_bar_is_kept_too(capfd):
    result = exercise('rank').check("""from tqdm import tqdm
def rank(shape):
    for _ in tqdm(range(3), disable=False): pass
    return len(shape)""")
    assert result and '3/3' in result.output and not capfd.readouterr().err


def test_a_vast_error_is_cut():
    assert len(exercise('rank').check(broken('rank', "raise ValueError('x'*10**7)")).message) < 500


def test_a_model_is_graded_in_eval_mode_and_left_as_it_was():
    net = torch.nn.Sequential(torch.nn.Dropout(.99), torch.nn.Linear(784, 10))
    assert exercise('my_model').check(net).kind == 'wrong' and net.training and net[0].training
    assert not exercise('my_model').check(net.eval()) and not net.training


def test_what_an_answer_prints_is_shown(capsys):
    def rank(shape): print('shape', tuple(shape)); return len(shape)
    result = exercise('rank').check()
    assert result and result.output == 'shape (7, 2, 4)\nshape (5,)\nshape ()'
    assert capsys.readouterr().out == f'passed: rank\nYour code printed:\n{result.output}\n'
    assert question(4).check(lambda numbers: print(numbers)).output == '[1, 2, 3, 4]'


# questions

def right_letter(q): return 'abcdef'[[bool(reason) for _, reason in q.choices].index(False)]
def wrong_letter(q): return next(c for c in 'ab' if c != right_letter(q))


@pytest.mark.parametrize('n', QUESTIONS)
def test_question(n, capsys):
    q = question(n)
    count('questions')
    assert q.check(...).status == 'not yet tried'
    names = {'question': question, q.name: ...}
    exec(f'result = question({n}).check()', names)
    assert names['result'].status == 'not yet tried'
    q.hint()
    capsys.readouterr()
    q.solution()
    assert capsys.readouterr().out.startswith(q.answer)
    page = q._repr_markdown_()
    assert '<details>' in page and page.index('<details>') < page.index(q.answer)
    if q.code:
        count('questions that an exercise grades')
        assert q.check(SOLUTIONS[q.code]) and not q.check(ANSWERS[q.code][0][0][1]) and RESULTS[f'q{n}'].message
        return
    for letter, (text, reason) in zip('abcdef', q.choices):
        names[q.name] = letter.upper()
        exec(f'result = question({n}).check()', names)
        result = names['result']
        assert bool(result) == (not reason)
        if reason: assert reason in result.message and text in result.message
        count('choices that are wrong, each with its reason' if reason else 'choices that are right')
    assert [q.check(a).kind for a in (1, 'z', 'ab', '')] == ['type']*4


def test_there_are_37_questions():
    assert list(QUESTIONS) == list(range(1, 38))
    assert {n for n, q in QUESTIONS.items() if q.code} >= {4, 9, 14, 26, 34}
    right = [right_letter(q) for q in QUESTIONS.values() if q.choices]
    assert all(right.count(letter) >= 4 for letter in 'abcd'), 'the right one stands anywhere'


@lru_cache
def page(chapter):
    "The prose of a chapter, on one line, without emphasis."
    path, = ROOT.glob(f'nbs/{chapter}_*.ipynb')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return ' '.join(' '.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown').replace('*', '').split())


@pytest.mark.parametrize('n', QUESTIONS)
def test_a_page_answers_the_question(n):
    "Each sentence quoted for a question still stands in the prose of its chapter."
    where = question(n).where
    assert where, 'no page answers it'
    for chapter, sentence in where:
        assert sentence.replace('*', '') in page(chapter), f'chapter {chapter} no longer says: {sentence}'
        assert len(sentence.split()) >= 5
        count('sentences that answer a question')


def test_summary_counts(capsys):
    RESULTS.clear()
    exercise('rank').check(len), exercise('corner').check(len), question(2).check(wrong_letter(question(2)))
    capsys.readouterr()
    results = summary()
    lines = capsys.readouterr().out.splitlines()
    assert set(results) == {'rank', 'corner', 'q2'}
    assert re.match(r'chapter 01 +1 of 11 passed; not yet tried: .*; failed: corner$|'
                    r'chapter 01 +1 of 11 passed; .*failed: corner.*', lines[0])
    assert re.match(r'questions +0 of 37 passed; ', lines[-1]) and 'failed: 2' in lines[-1]


# the learner's notebook

author = make_exercises.author_cells
def cells_of(cells): return [c for c in cells if c['cell_type'] == 'code']


def test_learners_notebook_is_up_to_date():
    r = subprocess.run([sys.executable, ROOT/'.ci'/'make_exercises.py', '--check'], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert make_exercises.make(author()) == make_exercises.make(author())


def test_learners_notebook_runs_untouched_and_nothing_passes(capsys):
    nb = json.loads((ROOT/'exercises'/'exercises.ipynb').read_text(encoding='utf-8'))
    RESULTS.clear()
    names = {'__name__': '__main__'}
    for c in cells_of(nb['cells']):
        source = ''.join(c['source'])
        if 'google.colab' not in source: exec(source, names)
    assert set(RESULTS) == set(NAMES) | {f'q{n}' for n in QUESTIONS}
    assert {r.status for r in RESULTS.values()} == {'not yet tried'}
    out = capsys.readouterr().out
    assert out.count('not yet tried: ') == len(RESULTS) + 9 and 'passed;' in out


def test_learners_notebook_becomes_the_authors_when_solved(capsys):
    "With each stub replaced by a solution and each letter by the right one, all is passed."
    nb = json.loads((ROOT/'exercises'/'exercises.ipynb').read_text(encoding='utf-8'))
    solved = {c['id']: ''.join(c['source']) for c in cells_of(author())}
    RESULTS.clear()
    names = {'__name__': '__main__'}
    for c in cells_of(nb['cells']):
        source = solved.get(c['id'], ''.join(c['source']))
        if 'google.colab' in source or 'my_model' in source: continue
        q = re.match(r'q(\d+) = \.\.\.', source)
        if q: source = source.replace('...', repr(right_letter(question(int(q[1])))), 1)
        exec(source, names)
    assert all(RESULTS.values()) and len(RESULTS) == len(NAMES) - 1 + 37


def spoil(nb, old, new):
    text = json.dumps(nb, ensure_ascii=False)
    assert old in text
    return json.loads(text.replace(old, new, 1))


@pytest.mark.parametrize('old, new, words', [
    ('if n % 2]\\n", "    # END SOLUTION', 'if n % 2]\\n", "    # end of solution', 'no marked solution, or one mark alone'),
    ('    # BEGIN SOLUTION\\n", "        self.params, self.lr = list(params), lr', '    # begin\\n", "        self.params, self.lr = list(params), lr', 'no partner'),
    ('"q = exercise(\'double_odds\')\\n"', '"q = exercise(\'double_odds\')\\n    return [2*n for n in numbers if n % 2]\\n"', 'part of a solution'),
    ('One step of gradient descent.', '    return ((a - b)**2).mean((-1, -2)).sqrt()', 'part of a solution')], ids=['end', 'begin', 'copied', 'prose'])
def test_generator_refuses_a_solution(old, new, words):
    with pytest.raises(ValueError, match=words): make_exercises.make(spoil(author(), old, new))


def test_generator_refuses_outputs_and_letters():
    nb = author()
    cells = list(make_exercises.learner_cells(nb))
    assert not list(make_exercises.leaks(nb, cells))
    letter = next(c for c in cells if c['id'] == 'q12')
    letter['source'] = ["q12 = 'a'\n"]
    assert any('an answer is left' in s for s in make_exercises.leaks(nb, cells))
    letter.update(source=['# BEGIN SOLUTION'], outputs=[1])
    found = list(make_exercises.leaks(nb, cells))
    assert any('mark is left' in s for s in found) and any('outputs' in s for s in found)


def test_check_goes_red_when_out_of_date(tmp_path):
    for folder in ('.ci', 'mnist_sgd', 'exercises'):
        shutil.copytree(ROOT/folder, tmp_path/folder, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copytree(ROOT/'nbs'/'tools', tmp_path/'nbs'/'tools')
    path = tmp_path/'exercises'/'exercises.ipynb'
    good = path.read_text(encoding='utf-8')
    path.write_text(good.replace('your code here', 'your code'), encoding='utf-8')
    def run(*args): return subprocess.run([sys.executable, tmp_path/'.ci'/'make_exercises.py', *args], capture_output=True, text=True)
    r = run('--check')
    assert r.returncode == 1 and 'out of date' in r.stderr
    assert run().returncode == 0 and path.read_text(encoding='utf-8') == good


# before you begin

def test_before_you_begin_runs_as_it_stands(capsys):
    "Every cell runs, the exercise in it is not yet tried, and the outputs that are stored are those of a run."
    nb = json.loads((ROOT/'exercises'/'before_you_begin.ipynb').read_text(encoding='utf-8'))
    RESULTS.clear()
    names = {'__name__': '__main__'}
    for c in cells_of(nb['cells']):
        source = ''.join(c['source'])
        if 'google.colab' in source: continue
        *lines, last = ast.parse(source).body
        exec(compile(ast.Module(lines, []), 'cell', 'exec'), names)
        shown = capsys.readouterr().out
        value = eval(compile(ast.Expression(last.value), 'cell', 'eval'), names) if isinstance(last, ast.Expr) else exec(compile(ast.Module([last], []), 'cell', 'exec'), names)
        shown += capsys.readouterr().out
        stored = ''.join(''.join(o.get('text', [])) for o in c['outputs'] if o['output_type'] == 'stream')
        result = [o for o in c['outputs'] if o['output_type'] == 'execute_result']
        assert stored == shown and len(result) == (value is not None and not isinstance(value, exercises.Result)), source
        if result and 'tensor' not in repr(value): assert ''.join(result[0]['data']['text/plain']) == repr(value)
    assert RESULTS['double_odds'].status == 'not yet tried'


def test_before_you_begin_says_what_the_chapters_take_for_granted():
    nb = json.loads((ROOT/'exercises'/'before_you_begin.ipynb').read_text(encoding='utf-8'))
    prose = ' '.join(''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    for word in ('`#| export`', '`test_eq(a, b)`', 'list comprehension', '`lambda`', '**class**', '`self`', '`__init__`', '`with`', '`yield`', '**tensor**',
                 '**shape**', '`dtype`', '`@`'):
        assert word in prose, word
    assert len(prose.split()) < 1000, 'ten minutes'


# links

def test_links_cover_the_learners_notebook(tmp_path):
    shutil.copytree(ROOT/'.ci', tmp_path/'.ci', ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT/'settings.ini', tmp_path)
    shutil.copytree(ROOT/'exercises', tmp_path/'exercises', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    path = tmp_path/'exercises'/'exercises.ipynb'
    good = path.read_text(encoding='utf-8')
    def run(*args): return subprocess.run([sys.executable, tmp_path/'.ci'/'links.py', *args], capture_output=True, text=True)
    assert run('--check').returncode == 0
    for old, new in (('blob/main/exercises/exercises', 'blob/main/nbs/tools/exercises'), ('github/your-account', 'github/other')):
        assert old in good
        path.write_text(good.replace(old, new), encoding='utf-8')
        r = run('--check')
        assert r.returncode == 1 and re.search(r'^exercises.exercises.ipynb:\d+: should be ', r.stdout, re.M), r.stdout
        assert run().returncode == 0 and path.read_text(encoding='utf-8') == good
    path.write_text(re.sub(r'\[!\[Open.*?\.ipynb\)', '', good), encoding='utf-8')
    assert 'no badge in the first markdown cell' in run('--check').stdout
