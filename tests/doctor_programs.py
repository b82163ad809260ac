"""Small training programs in the usual forms, each with one fault and without: (name, line's mark, faulty, sound).

In a program `<<bad|good>>` stands for what differs, and `#!` marks the line that the finding must name.
"""
import re

HEAD = '''import argparse, sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
x, y, vx, vy = torch.load(sys.path[0] + '/digits.pt')
'''

FLAT = HEAD + '''
model = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for epoch in range(2):
    for images, labels in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        <<pass|optimizer.zero_grad()>>
        loss = F.cross_entropy(model(images), labels)
        loss.backward() #!
        optimizer.step()
'''

MAIN = HEAD + '''
def main():
    net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.SGD(net.parameters(), lr=<<20.|0.2>>) #!
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        opt.zero_grad()
        criterion(net(xb), yb).backward()
        opt.step()

if __name__ == '__main__': main()
'''

CLASS = HEAD + '''
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 50), nn.Linear(50, 10)
    def forward(self, x):
        out = self.fc2(F.relu(self.fc1(x)))
        return <<F.softmax(out, dim=1)|out>>

def train(model, loader, criterion, optimizer):
    model.train()
    for data, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(data), target) #!
        loss.backward()
        optimizer.step()

model = Net()
train(model, DataLoader(TensorDataset(x, y), 64, True), nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 1e-3))
'''

ARGS = HEAD + '''
parser = argparse.ArgumentParser()
parser.add_argument('--lr', type=float, default=0.1)
args = parser.parse_args()
scale = <<255|1>>
train_loader = DataLoader(TensorDataset(x*scale, y), batch_size=32, shuffle=True) #!
model = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
for xb, yb in train_loader:
    loss = F.cross_entropy(model(xb), yb)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
'''

TRAINER = HEAD + '''
class Trainer:
    def __init__(self, model, loader, lr=0.2):
        self.model, self.loader = model, loader
        self.optimizer = torch.optim.SGD(<<nn.Linear(784, 10).parameters()|model.parameters()>>, lr=lr) #!
    def step(self, batch):
        xb, yb = batch
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(xb), yb)
        loss.backward()
        self.optimizer.step()
    def fit(self, epochs):
        for _ in range(epochs):
            for batch in self.loader: self.step(batch)

Trainer(nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10)), DataLoader(TensorDataset(x, y), 64, shuffle=True)).fit(1)
'''

LABELS = HEAD + '''
order = torch.randperm(len(x))
train_dl = DataLoader(TensorDataset(x[order], <<y|y[order]>>), batch_size=64, shuffle=True) #!
valid_dl = DataLoader(TensorDataset(vx, vy), batch_size=256)
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(2):
    for xb, yb in train_dl:
        F.cross_entropy(net(xb), yb).backward(); opt.step(); opt.zero_grad()
    with torch.no_grad(): hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)
    print(epoch, hits/1000)
'''

SORTED = HEAD + '''
order = y.argsort(stable=True)
loader = DataLoader(TensorDataset(x[order], y[order]), batch_size=64<<|, shuffle=True>>) #!
net, loss_fn = nn.Linear(784, 10), nn.CrossEntropyLoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for inputs, targets in loader:
    opt.zero_grad()
    loss_fn(net(inputs), targets).backward()
    opt.step()
'''

MEASURED = HEAD + '''
model = nn.Sequential(nn.Linear(784, 80), nn.ReLU(), nn.Dropout(0.5), nn.Linear(80, 10))
opt = torch.optim.SGD(model.parameters(), lr=0.2)
valid_loader = DataLoader(TensorDataset(vx, vy), batch_size=250)

def evaluate():
    <<pass|model.eval()>>
    with torch.no_grad():
        return sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in valid_loader)/len(vx) #!

for epoch in range(2):
    model.train()
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
    print(epoch, evaluate())
'''

ASLEEP = HEAD + '''
model = nn.Sequential(nn.Linear(784, 80), nn.BatchNorm1d(80), nn.ReLU(), nn.Linear(80, 10))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
model.<<eval|train>>()
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    opt.zero_grad()
    F.cross_entropy(model(xb), yb).backward()
    opt.step() #!
'''

STRAIGHT = HEAD + '''
model = nn.Sequential(nn.Linear(784, 100), <<nn.Identity()|nn.ReLU()>>, nn.Linear(100, 10)) #!
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
'''

ZEROS = HEAD + '''
class MLP(nn.Module):
    def __init__(self):
        super().__init__() #!
        self.layers = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
        for p in self.parameters():
            if <<True|False>>: nn.init.constant_(p, 0.01)
    def forward(self, x): return self.layers(x)
model = MLP()
opt = torch.optim.SGD(model.parameters(), lr=0.2)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
'''

PENALTY = HEAD + '''
def run(lr, decay):
    model = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    opt = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay) #!
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
run(0.2, <<0.5|1e-4>>)
'''

NOTEBOOK = HEAD + '''
# %% cell 1
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
loss_fn = nn.CrossEntropyLoss(<<ignore_index=0|>>)
# %% cell 2
opt = torch.optim.Adam(net.parameters())
dl = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
# %% cell 3
for xb, yb in dl:
    opt.zero_grad()
    loss = loss_fn(net(xb), yb) #!
    loss.backward(); opt.step()
'''

COUNTED = HEAD + '''
def train(net, loader, opt):
    net.train()
    for xb, yb in loader:
        opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()

def test(net, loader): #!
    net.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in loader: correct <<= |+= >>(net(xb).argmax(1) == yb).sum().item()
    print(f'Accuracy: {100*correct/len(loader.dataset):.1f}%')

net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
valid_loader = DataLoader(TensorDataset(vx, vy), batch_size=100)
for epoch in range(2):
    train(net, DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True), optimizer)
    test(net, valid_loader)
'''

ROUNDED = HEAD + '''
class Runner:
    def __init__(self, model): self.model, self.opt = model, torch.optim.Adam(model.parameters(), 1e-3)
    def accuracy(self, logits, labels): #!
        return (logits.max(1)[<<0].round()|1]>> == labels).float().mean().item()
    def epoch(self, loader):
        for images, labels in loader:
            loss = F.cross_entropy(self.model(images), labels)
            self.opt.zero_grad(); loss.backward(); self.opt.step()
    def run(self, train_dl, valid_dl):
        for _ in range(2):
            self.epoch(train_dl)
            accs = []
            with torch.no_grad():
                for images, labels in valid_dl: accs.append(self.accuracy(self.model(images), labels))
            print(sum(accs)/len(accs))

Runner(nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))).run(
    DataLoader(TensorDataset(x, y), 64, True), DataLoader(TensorDataset(vx, vy), 250))
'''

KEPT = HEAD + '''
import copy
class Stopper:
    def __init__(self): self.lowest, self.best = 1e9, None
    def look(self, loss, net):
        if loss < self.lowest: self.lowest, self.best = loss, <<net.state_dict()|copy.deepcopy(net.state_dict())>>

net, stopper = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10)), Stopper()
opt = torch.optim.SGD(net.parameters(), lr=0.2)
valid_dl = DataLoader(TensorDataset(vx, vy), batch_size=500)
for epoch in range(3):
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()
    with torch.no_grad(): stopper.look(sum(F.cross_entropy(net(xb), yb).item() for xb, yb in valid_dl), net)
net.load_state_dict(stopper.best) #!
'''

LATE = HEAD + '''
net = nn.Sequential(nn.Linear(784, 60), nn.ReLU(), nn.Dropout(0.5), nn.Linear(60, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.02)
train_dl, valid_dl = DataLoader(TensorDataset(x, y), 8, True), DataLoader(TensorDataset(vx, vy), 250)
for epoch in range(4):
    <<|net.train()>>
    for xb, yb in train_dl:
        opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()
    <<|net.eval()>>
    with torch.no_grad():
        for xb, yb in valid_dl:
            hits = (net(xb).argmax(1) == yb).sum() #!
'''

OBJECTIVE = HEAD + '''
def objective(scores, wanted): #!
    chosen = scores.log_softmax(1).gather(1, wanted[:, None])
    return <<|->>chosen.mean()

net = nn.Linear(784, 10)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    opt.zero_grad()
    objective(net(xb), yb).backward()
    opt.step()
'''

TWICE = HEAD + '''
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.5)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
    chances = net(xb)<<.softmax(1)|*1>>
    loss = F.cross_entropy(chances, yb) #!
    opt.zero_grad(); loss.backward(); opt.step()
'''

WIPED = HEAD + '''
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.2)
for step, (xb, yb) in enumerate(DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)):
    F.cross_entropy(net(xb), yb).backward()
    if <<step > 3|step < 0>>: opt.zero_grad()
    opt.step() #!
    opt.zero_grad()
'''

REDRAWN = HEAD + '''
def start(layer):
    if isinstance(layer, nn.Linear): nn.init.kaiming_normal_(layer.weight)
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(4):
    <<net.apply(start)|if epoch == 0: net.apply(start)>>
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step() #!
'''

FOLDERS = HEAD + '''
names = 'zero one two three four five six seven eight nine'.split()
order = torch.tensor([<<sorted(names)|names>>.index(n) for n in names])
train_dl = DataLoader(TensorDataset(x, order[y]), batch_size=64, shuffle=True) #!
net = nn.Linear(784, 10)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for xb, yb in train_dl:
    opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()
'''

PROGRAMS = [('gradients-not-zeroed', FLAT), ('learning-rate', MAIN), ('probabilities-logits', CLASS),
            ('pixel-scale', ARGS), ('optimizer-parameters', TRAINER), ('labels-wrong', LABELS),
            ('sorted-unshuffled', SORTED), ('train-eval-mode', MEASURED), ('train-eval-mode', ASLEEP),
            ('linear-model', STRAIGHT), ('zero-init', ZEROS), ('over-regularised', PENALTY),
            ('loss-skips-class', NOTEBOOK), ('untrue-validate', COUNTED), ('untrue-metric', ROUNDED),
            ('kept-by-reference', KEPT), ('train-eval-mode', LATE), ('wrong-loss', OBJECTIVE), ('frozen', WIPED),
            ('probabilities-logits', TWICE), ('does-not-learn', REDRAWN), ('labels-wrong', FOLDERS)]

BODY = HEAD + '''
train_dl, valid_dl = DataLoader(TensorDataset(x, y), 64, True), DataLoader(TensorDataset(vx, vy), 128)
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Dropout(.2), nn.Linear(50, 10))
opt = torch.optim.Adam(net.parameters(), 1e-3)
def train(loss=lambda p, t: F.cross_entropy(p, t)):
    net.train()
    for xb, yb in train_dl:
        opt.zero_grad(); loss(net(xb), yb).backward(); opt.step()
'''

SOUND = {
    'log-softmax written beside the loss': HEAD + '''
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
opt = torch.optim.Adam(net.parameters(), 1e-3)
for xb, yb in DataLoader(TensorDataset(x, y), 64, True):
    opt.zero_grad(); F.nll_loss(F.log_softmax(net(xb), dim=1), yb).backward(); opt.step()
''', 'two classes, squeezed': HEAD + '''
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 1))
opt, loss_fn = torch.optim.Adam(net.parameters(), 1e-3), nn.BCEWithLogitsLoss()
for xb, yb in DataLoader(TensorDataset(x, y % 2), 64, True):
    opt.zero_grad(); loss_fn(net(xb).squeeze(1), yb.float()).backward(); opt.step()
''', 'two heads, both losses in the loop': HEAD + '''
class Two(nn.Module):
    def __init__(self): super().__init__(); self.a, self.b, self.c = nn.Linear(784, 50), nn.Linear(50, 10), nn.Linear(50, 10)
    def forward(self, t): h = F.relu(self.a(t)); return self.b(h), self.c(h)
net = Two()
opt = torch.optim.Adam(net.parameters(), 1e-3)
for xb, yb in DataLoader(TensorDataset(x, y), 64, True):
    main, other = net(xb)
    opt.zero_grad(); (F.cross_entropy(main, yb) + .3*F.cross_entropy(other, yb)).backward(); opt.step()
''', 'measures with gradients on': BODY + '''
for _ in range(2):
    train()
    net.eval()
    hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)
    print(hits/len(vx))
''', 'eval mode set outside': BODY + '''
@torch.no_grad()
def evaluate(loader): return sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in loader)/len(loader.dataset)
for _ in range(2):
    train()
    net.eval(); print('train', evaluate(train_dl), 'valid', evaluate(valid_dl))
''', 'saves the best in its measure': BODY + '''
best = 0
def validate():
    global best
    net.eval()
    with torch.no_grad(): acc = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)/len(vx)
    if acc > best: best = acc; torch.save(net.state_dict(), sys.path[0] + '/best.pt')
    return best
for _ in range(2): train(); validate()
''', 'prints as it goes': BODY + '''
def test():
    net.eval(); right = seen = 0
    with torch.no_grad():
        for i, (xb, yb) in enumerate(valid_dl):
            right += (net(xb).argmax(1) == yb).sum().item(); seen += len(yb)
            print(f'[{i}/{len(valid_dl)}] acc so far {right/seen:.3f} loss {F.cross_entropy(net(xb), yb):.3f}')
for _ in range(2): train(); test()
''', 'a meter, a history, a confidence': BODY + '''
class Meter:
    def __init__(self): self.sum = self.n = 0
    def update(self, value, n=1): self.sum += value*n; self.n += n
    def avg(self): return self.sum/self.n
history = {'loss': [], 'acc': []}
def accuracy(out, target, topk=(1, 5)):
    hits = out.topk(max(topk), 1)[1].t().eq(target.view(1, -1))
    return [hits[:k].reshape(-1).float().sum(0).mul(100./len(target)) for k in topk]
def confidence(out, target): return out.softmax(1).max(1)[0].mean().item()
def items(out, target): return len(target)
def evaluate():
    net.eval(); losses, top1, sure = Meter(), Meter(), Meter()
    with torch.no_grad():
        for xb, yb in valid_dl:
            out = net(xb); n = items(out, yb)
            losses.update(F.cross_entropy(out, yb).item(), n); top1.update(accuracy(out, yb)[0].item(), n); sure.update(confidence(out, yb), n)
    history['loss'].append(losses.avg()); history['acc'].append(top1.avg())
    return history
for _ in range(2): train(); evaluate()
''', 'keeps a checkpoint, resets, trains folds anew': BODY + '''
import copy
first = copy.deepcopy(net.state_dict())
for xb, yb in train_dl:                                  # a search for a rate
    opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step()
net.load_state_dict(first)
def anew(m):
    if hasattr(m, 'reset_parameters'): m.reset_parameters()
for fold in range(3):
    train()
    checkpoint = {'fold': fold, 'net': net.state_dict()}
    torch.save(checkpoint, sys.path[0] + '/checkpoint.pt')
    net.apply(anew)
    opt = torch.optim.Adam(net.parameters(), 1e-3)
''', 'a rate that ends at zero': BODY + '''
schedule = torch.optim.lr_scheduler.LinearLR(opt, 1., 0., total_iters=94)
for epoch in range(2):
    for xb, yb in train_dl:
        opt.zero_grad(); F.cross_entropy(net(xb), yb).backward(); opt.step(); schedule.step()
''', 'the digit as a number': HEAD + '''
net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 1))
opt = torch.optim.Adam(net.parameters(), 1e-3)
def off_by(p, t): return (p[:, 0] - t).abs().mean().item()
def evaluate(dl):
    with torch.no_grad(): return sum(off_by(net(xb), yb)*len(xb) for xb, yb in dl)/len(vx)
for _ in range(2):
    for xb, yb in DataLoader(TensorDataset(x, y), 64, True):
        opt.zero_grad(); F.mse_loss(net(xb)[:, 0], yb.float()).backward(); opt.step()
    evaluate(DataLoader(TensorDataset(vx, vy), 250))
''', 'a penalty, a smoothing, labels made one-hot': BODY + '''
def smooth(p, t):
    wanted = torch.full((len(t), 10), .01)
    wanted[torch.arange(len(t)), t] = .91
    return -(wanted*p.log_softmax(1)).sum(1).mean()
net.train()
for xb, yb in train_dl:
    loss = smooth(net(xb), yb) + 1e-5*sum(p.pow(2).sum() for p in net.parameters())
    opt.zero_grad(); loss.backward(); opt.step()
'''}


def faulty(source): return re.sub(r'<<(.*?)\|(.*?)>>', r'\1', source)
def sound(source): return re.sub(r'<<(.*?)\|(.*?)>>', r'\2', source)
def marked(source): return next(i for i, line in enumerate(source.splitlines(), 1) if line.endswith('#!'))
