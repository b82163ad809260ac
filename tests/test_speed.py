"""The harness of benchmarks/: equal work, paired ratios, and what it says where something is missing. Nothing is timed."""
import json, re, shutil, subprocess, sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'benchmarks'))
import growth, peers, speed  # noqa: E402


def small(work, n=2000):
    "The work on few rows, one epoch, so that a test is quick."
    rows = torch.randperm(len(work.x), generator=torch.Generator().manual_seed(0))[:n]
    work.x, work.y, work.vx, work.vy, work.epochs = work.x[rows], work.y[rows], work.vx[:500], work.vy[:500], 1
    return work


@pytest.mark.parametrize('name', ['torch_loop', 'fastai_as_in_the_book', 'fastai_over_tensors', 'lightning', 'skorch', 'keras'])
def test_a_peer_does_the_same_work(name):
    peer = getattr(peers, name)
    if not peers.is_there(peer): pytest.skip(f'{name} is not installed: pip install -e ".[bench]"')
    work = small(peers.work_b())
    with speed.quiet(): (_, wanted), (_, got) = peers.hand(work), peer(work)
    assert wanted > .6
    if name == 'keras': assert abs(got - wanted) < .1     # it draws its first weights its own way
    else: assert got == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize('make', [peers.work_a, peers.work_b])
def test_ours_and_the_loop_by_hand_end_in_the_same_weights(make):
    work = small(make())
    work.shuffle, models, first = False, [], work.make
    work.make = lambda: models.append(first()) or models[-1]
    with speed.quiet():
        for peer in peers.hand, peers.ours: peer(work)
    assert_close(*[torch.cat([p.flatten() for p in m.parameters()]) for m in models], atol=1e-5, rtol=0)


CHANGED = [(letter, p) for letter in 'AB' for p in peers.PEERS[letter][1]
           if p.__name__.startswith(('hand_', 'ours_', 'by_hand')) and not p.__name__.endswith('without_measuring')]


@pytest.mark.parametrize('letter, peer', CHANGED, ids=[f'{letter}-{p.__name__}' for letter, p in CHANGED])
def test_with_one_thing_changed_it_trains_alike(letter, peer):
    work = small(peers.PEERS[letter][0]())
    if peer.__name__.startswith('ours_'): work.shuffle = False                # a Learner draws another order from the same seed
    with speed.quiet(): (_, wanted), (_, got) = peers.hand(work), peer(work)
    assert got == pytest.approx(wanted, abs=.0021)                            # one picture of 500


def test_a_changed_row_changes_what_its_name_says(monkeypatch):
    work, seen = small(peers.work_b()), []
    def learner(make):
        monkeypatch.setattr(peers, 'Learner', lambda *args, **kw: seen.append(peers_learner(*args, **kw)) or seen[-1])
        with speed.quiet(): return make(work)[1], seen[-1]
    peers_learner = peers.Learner
    assert len(learner(peers.ours)[1].recorder.losses) == 8
    assert len(learner(peers.ours_with_no_record_of_losses)[1].recorder.losses) == 0
    assert not learner(peers.ours_without_bar_and_lines)[1].verbose
    assert isinstance(learner(peers.ours_with_a_step_of_two_operations)[1].opt, peers.OfTwo)
    assert learner(peers.ours_with_the_loss_of_the_book)[1].loss_func is work.loss
    assert learner(peers.ours_with_no_check_of_labels)[1].loss_func is peers.distance
    assert learner(peers.ours_without_measuring)[0] == peers.hand_without_measuring(work)[1] == 0
    wrong = torch.full((3, 1), .5)
    with pytest.raises(ValueError, match='0 and 1 alone'): work.own_loss(torch.zeros(3, 1), wrong)
    peers.distance(torch.zeros(3, 1), wrong)


def test_ratios_are_taken_within_a_round():
    clock = iter([9, 9, 1, 2, 10, 20, 100, 300])                              # the machine gets slower and slower
    found = speed.interleave({'hand': lambda: (next(clock), .5), 'peer': lambda: (next(clock), .6)}, rounds=3)
    assert found['hand'] == [(1, .5), (10, .5), (100, .5)]                    # the first round warms up
    one, two = speed.rows(found, 'hand')
    assert (one['ratio'], two['ratio'], two['low'], two['high'], two['accuracy']) == (1, 2, 2, 3, .6)


def test_a_missing_peer_is_left_out_with_a_word(monkeypatch, capsys):
    monkeypatch.setattr(peers, 'PEERS', {'B': (lambda: small(peers.work_b(), 500), [peers.hand, peers.keras])})
    monkeypatch.setattr(peers, 'is_there', lambda f: f is peers.hand)
    monkeypatch.setattr(speed, 'title', lambda f: f.__name__)
    make = peers.PEERS['B'][0]
    make.__doc__ = 'few rows'
    part = speed.train_work('B', 1)
    assert [r['name'] for r in part['rows']] == ['hand']
    assert 'keras is not installed and left out' in capsys.readouterr().out


def test_no_room_for_the_largest_size_is_said_and_the_rest_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: namedtuple('usage', 'free')(10**9))
    monkeypatch.setattr(growth, 'repeated', lambda file, n: file)
    monkeypatch.setattr(growth, 'measure', lambda kind, size, file: dict(us_a_row=5.))
    assert growth.grow('rows')['sizes'] == [60_000, 600_000]
    assert re.search(r'6,000,000 rows need 4\.7 GB on disk, 1\.0 are free', capsys.readouterr().err)


def test_one_core_is_said(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['speed.py', 'A', '--no-store', '--rounds', '1'])
    monkeypatch.setattr(speed.os, 'cpu_count', lambda: 1)
    monkeypatch.setattr(speed, 'run', lambda letter, rounds, store: dict(what='nothing', text=['-'], threads=1, date='today'))
    speed.main()
    assert 'this machine has 1 core' in capsys.readouterr().out


@pytest.mark.parametrize('args, message', [(['Z'], "no work 'Z': choose from A B C D E F G"), (['A', '--rounds', '0'], '0 rounds')])
def test_wrong_words_are_refused(args, message):
    r = subprocess.run([sys.executable, ROOT/'benchmarks'/'speed.py', *args], capture_output=True, text=True)
    assert r.returncode == 2 and message in r.stderr


def test_growth_reads_the_file_that_it_writes(tmp_path):
    file = growth.repeated(tmp_path/'images', 120_000)
    x = growth.read_idx(file)
    dl = growth.Mapped(x, torch.arange(120_000), bs=256)
    seen = torch.cat([yb for _, yb in dl])
    assert len(x) == 120_000 and (x[:3] == x[60_000:60_003]).all()
    assert seen.sort().values.equal(torch.arange(120_000)) and not seen.equal(seen.sort().values)


def test_readme_shows_the_stored_measurement():
    readme = (ROOT/'benchmarks'/'README.md').read_text(encoding='utf-8')
    block = re.search(r'<!-- speed -->\n(.*?)\n<!-- /speed -->', readme, re.S)[1]
    assert block == speed.report(json.loads(speed.STORE.read_text()))
