"""The ladders of benchmarks/: the nets of the chapter, rounds that go on after an interruption, what is said where something is missing."""
import ast, json, re, statistics, sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from mnist_sgd.cnn import quick_cnn, simple_cnn
from mnist_sgd.data import load_mnist

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'benchmarks'))
import ladder, peers, readme, speed, to_accuracy, waits  # noqa: E402
from quick import one_of_each  # noqa: E402

NOTEBOOK = ROOT/'nbs'/'08_cnn.ipynb'


def chapter():
    "The functions of the chapter that make nets, or count what they do."
    names, wanted = dict(partial=partial, torch=torch, nn=nn), 'net conv folded pooled hidden frameless straight small multiply_adds'.split()
    for cell in json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or '!pip' in source: continue
        found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name in wanted]
        exec(compile(ast.Module(found, []), NOTEBOOK.name, 'exec'), names)
    return names


@pytest.mark.parametrize('name, theirs', [('folded', ladder.folded), ('pooled', ladder.pooled), ('hidden', ladder.hidden),
                                          ('straight', ladder.straight), ('small', ladder.FEWER[3][1]['model'])])
def test_the_chapter_and_the_benchmark_climb_the_same_nets(name, theirs):
    ours, (x, _) = chapter()[name], load_mnist()[0]
    outs = []
    for make in ours, theirs:
        torch.manual_seed(0)
        outs.append(make().eval()(x[:5]))
    assert torch.equal(*outs)
    assert chapter()['multiply_adds'](ours()) == ladder.multiply_adds(theirs())


def test_the_last_net_is_the_one_that_the_package_exports():
    assert str(ladder.frameless(*ladder.dense(288, 64))) == str(quick_cnn())
    steps = ladder.rungs('sooner')
    assert steps[-1][1] == ladder.START | dict(model=quick_cnn, lr=.5, pct_start=.4, smooth=.1, epochs=1, sure=.8, share=.75, bs=96)
    assert steps[0][1]['model'] is simple_cnn


def test_a_rung_changes_one_thing():
    for name in 'sooner', 'fewer':
        steps = [r for _, r in ladder.rungs(name)]
        for before, after in zip(steps, steps[1:]):
            changed = {k for k in before if before[k] is not after[k] and before[k] != after[k]}
            assert len(changed) == 1 or changed == {'epochs', 'lr'}, changed      # a longer cycle is given its rate
    last = ladder.rungs('sooner')[-1][1]
    for _, r in ladder.rungs('tries'):
        changed = {k for k in last if last[k] is not r[k] and last[k] != r[k]}
        assert len(changed) == 1 or changed == {'bs', 'lr'}, changed                # a larger batch is given its rate


def test_multiplications_by_hand():
    assert ladder.multiply_adds(nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 10))) == 784*30 + 30*10
    assert ladder.multiply_adds(quick_cnn()) == 100*16*4*9 + 9*32*16*9 + 288*64 + 64*10


def few(n=400):
    (x, y), (vx, vy) = load_mnist()
    return x[:n], y[:n], vx[:200], vy[:200]


@pytest.mark.parametrize('name, k', one_of_each([(name, k) for name in ladder.LADDERS for k in range(len(ladder.LADDERS[name][0]))]))
def test_every_rung_and_try_trains(name, k):
    _, recipe = ladder.rungs(name)[k]
    if why := ladder.can(recipe, 'cpu'): pytest.skip(why)
    recipe = recipe | dict(epochs=1, threads=1)
    seconds, acc = ladder.train(recipe, 0, *few())
    assert seconds > 0 and acc == ladder.train(recipe, 0, *few())[1] != ladder.train(recipe, 1, *few())[1]


def test_a_share_of_the_images_is_a_share():
    shown = []
    class Spy(ladder.Moved):
        def __iter__(self):
            for xb, yb in self.dl: shown.append(len(xb)); yield xb, yb
    ladder.train(ladder.rungs('sooner')[-1][1] | dict(wrap=Spy, threads=1), 0, *few())
    assert sum(shown) >= 300 and sum(shown[-4:]) == 300                           # a first batch is looked at beforehand


@pytest.fixture
def climbing(monkeypatch, tmp_path):
    "A ladder of two rungs and three rounds, the last rung four, whose runs are only noted; the store is a file of its own."
    ran = []
    def train(recipe, seed, x, *rest):
        if len(x) > 600: ran.append((recipe['lr'], seed))
        if (recipe['lr'], seed) in stop: raise KeyboardInterrupt
        return 2. + seed, .9
    stop = set()
    monkeypatch.setattr(ladder, 'LADDERS', {'sooner': ([('first', dict(lr=1)), ('second', dict(lr=2))], 3, 4)})
    monkeypatch.setattr(ladder, 'STORE', tmp_path/'ladder.json')
    monkeypatch.setattr(ladder, 'train', train)
    monkeypatch.setattr(peers, 'hand', lambda work: (.5, .9))
    def climb(): ladder.climb(['sooner'], 'cpu', json.loads(ladder.STORE.read_text()) if ladder.STORE.exists() else {})
    return climb, ran, stop


def test_an_interrupted_climb_goes_on_where_it_stopped(climbing):
    climb, ran, stop = climbing
    stop.add((2, 1))
    with pytest.raises(KeyboardInterrupt): climb()
    assert [len(v) for v in json.loads(ladder.STORE.read_text())['cpu']['sooner'].values()] == [1, 1]
    assert ran == [(1, 0), (2, 0), (1, 1), (2, 1)]
    stop.clear(); ran.clear()
    climb()
    assert ran == [(1, 1), (2, 1), (1, 2), (2, 2), (2, 3)]
    found = json.loads(ladder.STORE.read_text())['cpu']['sooner']
    assert found['second'] == [[2., 4., .9], [3., 6., .9], [4., 8., .9], [5., 10., .9]]
    ran.clear(); climb()
    assert ran == []


def test_a_processor_without_bfloat16_is_said_and_the_rest_is_run(climbing, monkeypatch, capsys):
    climb, ran, _ = climbing
    monkeypatch.setattr(ladder, 'LADDERS', {'sooner': ([('half', dict(lr=1, model=ladder.HalfPrecision)), ('second', dict(lr=2, model=quick_cnn))], 2, 2)})
    monkeypatch.setattr(ladder, 'has_bfloat16', lambda: False)
    climb()
    assert ran == [(2, 0), (2, 1)]
    assert 'left out, this processor has no bfloat16: half' in capsys.readouterr().out
    table = ladder.table('sooner', json.loads(ladder.STORE.read_text())['cpu']['sooner'])
    assert re.match(r'\| half, not run here \|( \|)+$', table[2]) and len({line.count('|') for line in table}) == 1


def test_no_more_threads_than_cores(monkeypatch):
    monkeypatch.setattr(ladder, 'cores', lambda: 1)
    before = torch.get_num_threads()
    with ladder.threads(2): assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_differences_are_told_with_their_standard_error():
    before, after = [1., 2., 3.], [4., 6.]
    assert ladder.apart(before, after) == f'+3.00 ± {(1/3 + 2/2)**.5:.2f}'
    assert ladder.mean_sd(before, 1) == f'{2.:.1f} ± {statistics.stdev(before):.1f}'


def test_the_readmes_show_what_is_stored():
    store, climbed = [json.loads(file.read_text()) for file in (speed.STORE, ladder.STORE)]
    for file, mark, text in (readme.README, 'ladder', ladder.report(climbed)), (readme.FRONT, 'speed', speed.front(store, climbed)):
        block = re.search(rf'<!-- {mark} -->\n(.*?)\n<!-- /{mark} -->', file.read_text(encoding='utf-8'), re.S)[1]
        assert block == text


def test_work_f_is_the_last_rung_with_fewer_images():
    last = ladder.rungs('sooner')[-1][1]
    assert to_accuracy.RECIPES[.99] == last
    assert all(r | dict(share=last['share']) == last for r in to_accuracy.RECIPES.values())


@pytest.mark.parametrize('what', one_of_each([w for w in waits.NEW if 'epoch' not in w and 'exercise' not in w], lambda case: 'all'))
def test_what_one_waits_for_runs(what): assert waits.new_process(waits.NEW[what]) > 0


@pytest.mark.parametrize('args, words', [(['higher'], "no ladder 'higher': choose from sooner, tries, fewer")])
def test_bad_arguments_end_in_one_line(args, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['ladder.py', *args])
    with pytest.raises(SystemExit): ladder.main()
    assert words in capsys.readouterr().err
