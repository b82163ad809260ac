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

PROGRAMS = [('gradients-not-zeroed', FLAT), ('learning-rate', MAIN), ('probabilities-logits', CLASS),
            ('pixel-scale', ARGS), ('optimizer-parameters', TRAINER), ('labels-wrong', LABELS),
            ('sorted-unshuffled', SORTED), ('train-eval-mode', MEASURED), ('train-eval-mode', ASLEEP),
            ('linear-model', STRAIGHT), ('zero-init', ZEROS), ('over-regularised', PENALTY),
            ('loss-skips-class', NOTEBOOK)]


def faulty(source): return re.sub(r'<<(.*?)\|(.*?)>>', r'\1', source)
def sound(source): return re.sub(r'<<(.*?)\|(.*?)>>', r'\2', source)
def marked(source): return next(i for i, line in enumerate(source.splitlines(), 1) if line.endswith('#!'))
