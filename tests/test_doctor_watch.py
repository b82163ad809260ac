"""Programs that nobody changed: is the fault named, on its line, and nobody blamed who has none?"""
import os
import subprocess
import sys

import pytest
import torch

from doctor_programs import HEAD, PROGRAMS, SOUND, faulty, marked, sound
from mnist_sgd.data import load_mnist
from mnist_sgd.doctor.watch import run_program, watch
from quick import one_of_each, slow


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A folder for programs, with the digits that they load."
    folder = tmp_path_factory.mktemp('programs')
    (x, y), _ = load_mnist()
    parts = x[:3000], y[:3000], x[50000:51000], y[50000:51000]
    torch.save([t.clone() for t in parts], folder/'digits.pt')
    return folder


def run(folder, source, *args, **kw):
    path = folder/'train.py'
    path.write_text(source)
    return run_program(path, args, **kw)


@pytest.mark.parametrize('name, source', one_of_each(PROGRAMS), ids=[f'{i}-{name}' for i, (name, _) in enumerate(PROGRAMS)])
def test_program(folder, name, source):
    report, code = run(folder, faulty(source))
    found = [f for f in report.findings if f.name == name]
    assert found, report
    assert any((f.where or '').endswith(f'train.py:{marked(source)}') for f in found), (found, marked(source))
    assert code == int(bool(report.errors))
    report, code = run(folder, sound(source))
    assert code == 0 and not report.errors and name not in report.names, report


@pytest.mark.parametrize('source', [slow(source) if i % 2 else source for i, source in enumerate(SOUND.values())], ids=SOUND)
def test_a_sound_program_is_not_blamed(folder, source):
    report, code = run(folder, source)
    assert code == 0 and not report.errors, report


LOOP = '''
net = nn.Linear(784, 10)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()
'''


@pytest.mark.parametrize('end, code, said', [
    ('sys.exit(3)', 0, ''), ('raise KeyboardInterrupt', 0, ''), ('import no_such_package', 2, 'no_such_package'),
    ('raise ValueError("boom")', 2, 'boom'), ('input("go on? ")', 2, 'EOFError'),
    ('import subprocess; subprocess.run([sys.executable, "-c", "pass"])', 0, '')])
def test_a_program_ends_as_it_likes(folder, monkeypatch, end, code, said):
    monkeypatch.setattr(sys, 'stdin', open(os.devnull))
    report, told = run(folder, HEAD + LOOP + end)
    assert told == code and said in str(report) and not report.errors, report


def test_nothing_to_see(folder):
    report, code = run(folder, 'print("hello")')
    assert code == 0 and not report.findings and 'saw no model' in str(report)


def test_two_models_and_no_classifier(folder):
    report, code = run(folder, HEAD + LOOP + LOOP.replace('784, 10', '784, 10, bias=False'))
    assert 'other model' in str(report) and code == 0, report
    regression = LOOP.replace('784, 10', '784, 1').replace('F.cross_entropy(net(xb), yb)', 'F.mse_loss(net(xb)[:, 0], xb[:, 300])')
    report, code = run(folder, HEAD + regression)
    assert code in (0, 1) and str(report)


def test_a_program_is_not_changed():
    def train():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(20, 10), torch.nn.Dropout(.2), torch.nn.Linear(10, 3))
        opt = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(20):
            opt.zero_grad()
            torch.nn.functional.cross_entropy(net(torch.randn(16, 20)), torch.randint(3, (16,))).backward()
            opt.step()
        return net, torch.rand(3)
    (a, r), backward = train(), torch.Tensor.backward
    with watch() as told: b, s = train()
    for p, q in zip(a.parameters(), b.parameters()): assert torch.equal(p, q)
    assert torch.equal(r, s) and torch.Tensor.backward is backward and told.report is not None


def test_the_module_needs_no_notebook():
    code = 'import sys, mnist_sgd.doctor.watch; sys.exit("IPython" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
