"""What takes tensors or a device works where the tensors are, without a card: on a GPU that is pretended.

`pretend_gpu` keeps real numbers and refuses to mix devices as torch does on a card. Every public name of the package that
takes tensors, a model or a device has a row here; one that is new and has none fails `test_nothing_is_left_out`.
"""
import importlib, inspect, pkgutil, re, sys
from functools import partial
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

import mnist_sgd
from mnist_sgd import cnn, data, demo, full_mnist, generalize, learner, linear_learner, own_digit, pixel_similarity, playground, sgd_basics, simple_net
from mnist_sgd.checkpoints import Checkpoint
from mnist_sgd.processes import ShardLearner, ShardLoader, gather, read_rows, shard
from mnist_sgd.scaling import HandNet, Mixed
from pretend_gpu import GPU, PretendGPU

ROOT = Path(__file__).resolve().parent.parent
matplotlib.use('Agg')
pytestmark = pytest.mark.filterwarnings('ignore:.*CUDA is not available')


@pytest.fixture
def gpu():
    "The GPU, and nothing of it left afterwards."
    with PretendGPU() as card: yield card


# the pretended card has the rules of a real one: those of FakeTensorMode, which are torch's own

def ops(x, rows, here, there):
    "Some operations that mix devices, or may."
    return {
        'add': lambda: x + here, 'a single number': lambda: x + torch.tensor(2.), 'single of the GPU': lambda: here + x.sum(),
        'matrix product': lambda: x @ here.t(), 'index_select': lambda: x.index_select(0, rows), 'rows of a CPU tensor':
        lambda: here.index_select(0, rows.to('cuda')), 'index by CPU rows': lambda: x[rows],
        'CPU indexed by GPU rows': lambda: here[rows.to('cuda')], 'cat': lambda: torch.cat([x, here]), 'where':
        lambda: torch.where(x > 0, x, here), 'where, a single number': lambda: torch.where(x > 0, x, torch.tensor(0.)),
        'in place': lambda: here.add_(x), 'copy': lambda: here.copy_(x), 'moved': lambda: x + here.to(x.device),
        'as the other': lambda: x + here.to(x), 'gather': lambda: x.gather(1, torch.zeros(4, 1, dtype=torch.long)),
        'cross entropy': lambda: nn.functional.cross_entropy(x, torch.zeros(4, dtype=torch.long)),
        'linear': lambda: nn.functional.linear(x, here), 'made there': lambda: x + torch.ones(4, device=x.device),
        'made like': lambda: x + torch.ones_like(here), 'new': lambda: x + x.new_ones(4)}


def outcome(call):
    try: return str(call().device)[:4]
    except RuntimeError: return 'refused'


def test_the_pretended_card_refuses_what_torch_refuses():
    said = []
    for mode in FakeTensorMode(allow_non_fake_inputs=True), PretendGPU():
        with mode:
            table = ops(torch.ones(4, 4, device='cuda'), torch.tensor([0, 2]), torch.ones(4, 4), None)
            said.append({name: outcome(call) for name, call in table.items()})
    said[0]['CPU indexed by GPU rows'] = 'refused'    # FakeTensorMode lets it pass, a card does not
    assert said[1] == said[0]
    assert 8 < [*said[1].values()].count('refused') < 14


def test_numbers_and_gradients_are_those_of_the_cpu(gpu):
    torch.manual_seed(0)
    net, x, y = simple_net.simple_net(20), torch.rand(8, 20), torch.randint(0, 10, (8,))
    full_mnist.cross_entropy(net(x), y).backward()
    want = net[0].weight.grad.clone()
    net.zero_grad()
    net.to('cuda')
    full_mnist.cross_entropy(net(x.to('cuda')), y.to('cuda')).backward()
    assert net[0].weight.grad.device == GPU and net[0].weight.device == GPU
    assert_close(net[0].weight.grad.cpu(), want, atol=0, rtol=0)
    with pytest.raises(TypeError, match='Tensor.cpu'): net[0].weight.detach().numpy()
    with pytest.raises(RuntimeError, match='same device'): net(x)


# every public name

def some(n=60, digits=10):
    "Images and labels on the GPU."
    g = torch.Generator().manual_seed(0)
    return torch.rand(n, 784, generator=g).to('cuda'), (torch.arange(n) % digits).to('cuda')


def loaders(kind, device='cuda', valid=None):
    x, y = some()
    if kind is ShardLoader: return learner.DataLoaders(ShardLoader(x, y, 25, seed=0, device=device), ShardLoader(x, y, 30, device=device))
    rows = torch.utils.data.TensorDataset(x.cpu(), y.cpu())
    return learner.DataLoaders(kind(rows, bs=25, shuffle=True), kind(rows, bs=30), device=device)


def trained(kind=learner.Learner, loader=learner.DataLoader, opt_func=partial(learner.SGD, mom=.9), net=None, **kwargs):
    learn = kind(loaders(loader), net or simple_net.simple_net(), full_mnist.cross_entropy, opt_func, lr=.1,
                 metrics=full_mnist.accuracy, verbose=False, **kwargs)
    learn.fit(2)
    assert next(learn.model.parameters()).device == GPU and len(learn.recorder.values) == 2
    return learn


def binary():
    x, y = some(digits=2)
    return x, y[:, None].float()


def linear():
    torch.manual_seed(0)
    return nn.Linear(784, 1).to('cuda')


def whole_run(kind, tmp_path):
    learn = trained(kind, ShardLoader if kind is ShardLearner else learner.DataLoader)
    learn.fit_one_cycle(1, .1)
    assert learn.validate()[0] > 0
    return learn


def saved(tmp_path):
    learn = trained()
    file = learn.save(tmp_path/'m')
    before = learn.model[0].weight.clone()
    nn.init.zeros_(learn.model[0].weight)
    learn.load(file)
    assert torch.equal(learn.model[0].weight, before)
    return learn.model[0].weight


def checkpoint(tmp_path):
    "A run that stops and goes on, to the bit, with dropout on the card; its generator goes along."
    def run(epochs, cbs):
        torch.manual_seed(0)
        net = nn.Sequential(*simple_net.simple_net(), nn.Dropout(.1))
        learn = ShardLearner(loaders(ShardLoader), net, full_mnist.cross_entropy, partial(learner.SGD, mom=.9), lr=.1,
                             verbose=False, cbs=cbs)
        learn.fit(epochs)
        return learn
    run(1, [Checkpoint(tmp_path/'c')])
    torch.cuda.set_rng_state(torch.zeros(16, dtype=torch.uint8))
    resumed = run(2, [Checkpoint(tmp_path/'c', resume=True)])
    assert torch.equal(torch.cuda.get_rng_state(), torch.arange(16, dtype=torch.uint8))
    assert torch.equal(resumed.model[0].weight, run(2, []).model[0].weight)
    return resumed.model[0].weight


def hand_net():
    x, y = some()
    net = simple_net.simple_net().to('cuda')
    HandNet(net, 25).train_epoch(x, y, .1)
    return net[0].weight


def shard_loader_of_files():
    x, y = some()
    imgs = (x.cpu()*255).byte().view(-1, 28, 28).numpy()
    xb, yb = next(iter(ShardLoader(imgs, y.cpu().numpy(), 10, device='cuda', seed=0)))
    assert yb.device == GPU
    return xb


def stepped():
    t, y = torch.arange(5., device='cuda'), torch.ones(5, device='cuda')
    params = torch.ones(3, device='cuda').requires_grad_()
    sgd_basics.apply_step(sgd_basics.quadratic, params, t, y, sgd_basics.mse, .1)
    return params


def book_loop():
    x, y = binary()
    model, dl = linear(), [(x[:30], y[:30]), (x[30:], y[30:])]
    opt = linear_learner.BasicOptim(model.parameters(), .1)
    linear_learner.train_model(model, dl, dl, linear_learner.mnist_loss, opt, linear_learner.batch_accuracy, 1, verbose=False)
    return model.weight


def logits(): return torch.rand(60, 10, generator=torch.Generator().manual_seed(0)).to('cuda')
def squares(): return some()[0].view(-1, 28, 28)


ROWS = {    # name: a call with what is on the GPU; a tensor that it gives back has to be there too, unless it says 'CPU'
    'mnist_distance': lambda _: pixel_similarity.mnist_distance(squares(), squares()[0]),
    'rms_distance': lambda _: pixel_similarity.rms_distance(squares(), squares()[0]),
    'is_3': lambda _: pixel_similarity.is_3(squares(), squares()[0], squares()[1]),
    'class_means': lambda _: pixel_similarity.class_means(squares(), some()[1], 10),
    'nearest_mean': lambda _: pixel_similarity.nearest_mean(squares(), squares()[:3]),
    'numerical_gradient': lambda _: sgd_basics.numerical_gradient(lambda x: (x**2).sum(), torch.ones(3, device='cuda')),
    'quadratic': lambda _: sgd_basics.quadratic(torch.ones(3, device='cuda'), torch.ones(3, device='cuda')),
    'mse': lambda _: sgd_basics.mse(logits(), logits()), 'apply_step': lambda _: stepped(),
    'sigmoid': lambda _: linear_learner.sigmoid(logits()), 'mnist_loss': lambda _: linear_learner.mnist_loss(linear()(binary()[0]), binary()[1]),
    'calc_grad': lambda _: linear_learner.calc_grad(linear(), *binary(), linear_learner.mnist_loss),
    'batch_accuracy': lambda _: linear_learner.batch_accuracy(linear()(binary()[0]), binary()[1]),
    'validate_epoch': lambda _: linear_learner.validate_epoch(linear(), [binary()], linear_learner.batch_accuracy),
    'train_epoch': lambda _: book_loop(), 'train_model': lambda _: book_loop(), 'BasicOptim': lambda _: book_loop(),
    'DataLoader': lambda _: next(iter(loaders(learner.DataLoader).train))[0], 'DataLoaders': lambda _: loaders(learner.DataLoader).one_batch()[0],
    'SGD': lambda _: trained().opt.sums[0], 'torch Adam': lambda _: trained(opt_func=torch.optim.Adam).model[0].weight,
    'Recorder': lambda _: trained().recorder.plot_loss(0), 'Learner': lambda at: whole_run(learner.Learner, at).model[0].weight,
    'OneCycle': lambda at: whole_run(learner.Learner, at).model[0].weight, 'Learner.save, load': lambda at: saved(at),
    'Learner.predict': lambda _: ('CPU', trained().predict(some()[0].cpu()), trained().predict(some()[0])),
    'Learner.lr_find': lambda _: trained().lr_find(num_it=5, show_plot=False),
    'relu': lambda _: simple_net.relu(logits()), 'simple_net': lambda _: simple_net.simple_net().to('cuda')(some()[0]),
    'log_softmax': lambda _: full_mnist.log_softmax(logits()), 'cross_entropy': lambda _: full_mnist.cross_entropy(logits(), some()[1]),
    'accuracy': lambda _: full_mnist.accuracy(logits(), some()[1]), 'confusion_matrix': lambda _: full_mnist.confusion_matrix(logits(), some()[1]),
    'plot_confusion_matrix': lambda _: full_mnist.plot_confusion_matrix(full_mnist.confusion_matrix(logits(), some()[1])),
    'top_losses': lambda _: full_mnist.top_losses(logits(), some()[1], 3)[0],
    'simple_cnn': lambda _: full_mnist.simple_cnn().to('cuda')(some()[0]),
    'quick_cnn': lambda _: cnn.quick_cnn().to('cuda')(some()[0]),
    'smooth_cross_entropy': lambda _: cnn.smooth_cross_entropy(logits(), some()[1]),
    'predict_shifted': lambda _: ('CPU', cnn.predict_shifted(trained().predict, some()[0])),
    'predict_shifted on a GPU': lambda _: cnn.predict_shifted(simple_net.simple_net().to('cuda').requires_grad_(False), some()[0]),
    'show_image': lambda _: data.show_image(squares()[0]), 'show_images': lambda _: data.show_images(squares()[:3]),
    'show_signed': lambda _: pixel_similarity.show_signed(squares()[0] - .5, label='weight'),
    'plot_net': lambda _: simple_net.plot_net(simple_net.simple_net().to('cuda'), squares()[0]),
    'load_mnist': lambda _: data.load_mnist(device='cuda')[1][0], 'as_mnist': lambda _: ('CPU', full_mnist.as_mnist(squares()[0])),
    'doubt': lambda _: ('CPU', torch.tensor(len(own_digit.doubt(logits()[0].softmax(0), squares()[0])))),
    'augment': lambda _: generalize.augment(some()[0]), 'shift_images': lambda _: generalize.shift_images(some()[0], 1, -2),
    'Bent': lambda _: next(iter(generalize.Bent(loaders(learner.DataLoader).train)))[0],
    'WeightDecay': lambda _: trained(opt_func=partial(generalize.WeightDecay, wd=.1)).model[0].weight,
    'page_model': lambda _: ('CPU', demo.page_model(simple_net.simple_net().to('cuda'))(some()[0].cpu())),
    'page_weights': lambda _: demo.page_weights({'net': simple_net.simple_net().to('cuda')}, *some()),
    'write_page': lambda at: demo.write_page({'net': simple_net.simple_net().to('cuda')}, at/'page', *some()),
    'pack_digits': lambda _: playground.pack_digits(*some()),
    'playground_page': lambda _: playground.playground_page(*some(2020)),
    'shard': lambda _: shard(torch.arange(9, device='cuda'), 1, 2), 'read_rows': lambda _: read_rows(some()[0], torch.arange(3)),
    'gather': lambda _: ('CPU', gather(torch.arange(3))),
    'ShardLoader': lambda _: next(iter(loaders(ShardLoader).train))[0], 'ShardLoader of files': lambda _: shard_loader_of_files(),
    'ShardLearner': lambda at: whole_run(ShardLearner, at).model[0].weight, 'Checkpoint': checkpoint, 'HandNet': lambda _: hand_net(),
    'Mixed': lambda _: trained(net=Mixed(simple_net.simple_net())).model.model[0].weight}


@pytest.mark.parametrize('name', ROWS)
def test_what_is_on_the_gpu_stays_there(gpu, name, tmp_path, monkeypatch):
    state = [torch.arange(16, dtype=torch.uint8)]      # this card's generator; no draw moves it
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda *_: state[0])
    monkeypatch.setattr(torch.cuda, 'set_rng_state', lambda new, *_: state.__setitem__(0, new))
    torch.manual_seed(0)
    got = ROWS[name](tmp_path)
    where, tensors = ('cpu', got[1:]) if isinstance(got, tuple) and got[:1] == ('CPU',) else ('cuda', [got])
    for t in tensors:
        if torch.is_tensor(t): assert t.device.type == where, f'{name} gave a tensor on {t.device}'
    matplotlib.pyplot.close('all')


@pytest.mark.parametrize('opt_func', [partial(learner.SGD, mom=.9), linear_learner.BasicOptim, torch.optim.SGD])
@pytest.mark.parametrize('loader', [learner.DataLoader, ShardLoader])
def test_no_batch_waits_for_the_card(gpu, loader, opt_func):
    "From batch to batch nothing is asked of the card or sent to it; the loss is torch's, for ours look at the labels."
    class Count:
        def after_batch(self, learn): seen.setdefault(learn.epoch, []).append(gpu.waits)
    seen, kind = {}, learner.Learner if loader is learner.DataLoader else ShardLearner
    learn = kind(loaders(loader), simple_net.simple_net(), nn.functional.cross_entropy, opt_func, lr=.1, metrics=full_mnist.accuracy,
                 cbs=[Count()], verbose=False)
    learn.fit(2)
    assert [len(s) for s in seen.values()] == [3, 3] and seen[1][0] > seen[0][0], 'the end of an epoch asks for its figures'
    for counts in seen.values(): assert len({*counts}) == 1, counts


def test_the_command_trains_on_a_gpu_and_reads_on_the_cpu(gpu, tmp_path, monkeypatch, capsys):
    from mnist_sgd.cli import main
    real = data.load_mnist
    def few(*args, **kwargs): return tuple((x[:1000], y[:1000]) for x, y in real(*args, **kwargs))
    for m in [m for name, m in sys.modules.items() if name.startswith('mnist_sgd') and vars(m).get('load_mnist') is real]:
        monkeypatch.setattr(m, 'load_mnist', few)
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda *_: torch.arange(16, dtype=torch.uint8))
    monkeypatch.chdir(tmp_path)
    for model in 'simple_net', 'cnn', 'linear':
        code = main(['train', '--model', model, '--device', 'cuda', '--epochs', '1', '--out', model, '--checkpoint', f'{model}.c'])
        assert code == 0, capsys.readouterr()
        assert ', cuda' in capsys.readouterr().out
    from PIL import Image
    Image.fromarray((real(square=True)[1][0][0]*255).byte().numpy()).save('seven.png')
    assert main(['predict', '--model-file', 'cnn/model.safetensors', 'seven.png']) == 0


@pytest.mark.parametrize('sound', [True, False])
def test_the_doctor_looks_at_a_run_on_a_gpu(gpu, sound):
    from mnist_sgd.doctor import diagnose
    torch.manual_seed(0)
    net, dls = simple_net.simple_net(), loaders(learner.DataLoader)
    if sound: net.to('cuda')
    opt = learner.SGD(net.parameters(), .1)
    x, y = some()
    def train():
        for _ in range(5):
            full_mnist.cross_entropy(net(x), y).backward()
            opt.step()
            opt.zero_grad()
    report = str(diagnose(net, dls, full_mnist.cross_entropy, opt, full_mnist.accuracy, train=train if sound else None))
    assert ('device-dtype' in report) is not sound, report
    assert not sound or 'same device' not in report, report


# completeness

TAKES = re.compile(r'Tensor|torch\.device')
WORDS = {'x', 'y', 'xb', 'yb', 'preds', 'targs', 'imgs', 'ims', 'im', 'model', 'dl', 'dls', 'dataset', 'learn', 'params', 'device', 'batch'}
ELSEWHERE = {    # public names that take tensors, a model or a device, and why they have no row above
    'init_params': 'makes what it gives on the CPU', 'plot_function': 'makes its own points', 'default_device': 'asks torch alone',
    'LRFind': 'a tuple'}


def public_names():
    "(module, name, what it is) of all that chapters and the rooms of ranks, pages and digits export; their helpers work in these."
    rooms = [m.name for m in pkgutil.iter_modules(mnist_sgd.__path__)]
    chapters = {p.stem[3:] for p in (ROOT/'nbs').glob('[0-9]*.ipynb')}
    for stem in sorted({*rooms} & (chapters | {'processes', 'checkpoints', 'demo', 'own_digit', 'playground'}) - {'doctor'}):
        module = importlib.import_module(f'mnist_sgd.{stem}')
        for name in getattr(module, '__all__', ()): yield stem, name, getattr(module, name)


def takes_tensors(thing):
    "Does a function or class take tensors, a model or a device?"
    if not callable(thing): return False
    try: found = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError): return False
    return any(p.name in WORDS or TAKES.search(str(p.annotation)) for p in found)


def test_nothing_is_left_out():
    known = {*ROWS, *ELSEWHERE}
    missing = sorted({f'{module}.{name}' for module, name, thing in public_names() if takes_tensors(thing) and name not in known})
    assert not missing, 'give each a row in ROWS, or say in ELSEWHERE why it needs none'


def test_the_fault_that_no_test_could_see_is_seen(gpu, monkeypatch):
    "Rows of the GPU picked by numbers on the CPU, as once in the loader of `train`."
    monkeypatch.setattr('mnist_sgd.processes.read_rows', lambda column, rows: column.index_select(0, rows.cpu()))
    with pytest.raises(RuntimeError, match='same device.*index_select'): trained(ShardLearner, ShardLoader)
