"""Answers to the exercises as learners write them: wrong ones, with words that the check has to say, and right ones.

`== name` begins an exercise, `- words` a wrong answer, `+` a right one written otherwise than the course's solution.
"""
import re

TEXT = r'''
== double_odds
- selected, but not doubled
def double_odds(numbers): return [n for n in numbers if n % 2 != 0]
- even ones
def double_odds(numbers): return [2*n for n in numbers if n % 2 == 0]
- not selected
def double_odds(numbers): return [n*2 for n in numbers]
- `return` missing
def double_odds(numbers): [2*n for n in numbers if n % 2]
+
def double_odds(numbers):
    out = []
    for n in numbers:
        if n % 2 == 1: out.append(n + n)
    return out

== three_by_three
- begin at 0
def three_by_three(): return torch.arange(9).view(3, 3)
- rank 1
def three_by_three(): return torch.arange(1, 10)
- down the columns
def three_by_three(): return torch.arange(1, 10).view(3, 3).T
- wanted a tensor, got list
def three_by_three(): return [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
+
def three_by_three(): return torch.tensor([[1., 2, 3], [4, 5, 6], [7, 8, 9]])

== corner
- not doubled
def corner(x): return x[-2:, -2:]
- slices rows again
def corner(x): return (2*x)[-2:][-2:]
- `1:` leaves out one row
def corner(x): return (2*x)[1:, 1:]
- top left
def corner(x): return (2*x)[:2, :2]
+
def corner(x):
    r, c = x.shape
    return (x + x).narrow(0, r - 2, 2).narrow(1, c - 2, 2)

== rank
- number of values
def rank(shape): return shape.numel()
- length of the first axis
def rank(shape): return shape[0]
+
def rank(shape):
    n = 0
    for _ in shape: n += 1
    return n

== to_float
- still run to 255
def to_float(pixels): return pixels.float()
- drops the fraction
def to_float(pixels): return pixels//255
- Divided by 256
def to_float(pixels): return pixels.float()/256
- only the type has to be float32
def to_float(pixels): return pixels.double()/255
- dtype is torch.float64, wanted torch.float32
def to_float(pixels): return pixels.double()/255
+
def to_float(pixels): return torch.div(pixels, 255)

== mean_image
- all pixels of all images
def mean_image(imgs): return imgs.mean()
- one number an image
def mean_image(imgs): return imgs.mean((-1, -2))
- This is the sum
def mean_image(imgs): return sum(imgs)
+
def mean_image(imgs): return sum(imgs)/len(imgs)

== mnist_distance
- Without abs
def mnist_distance(a, b): return (a - b).mean((-1, -2))
- one number for all images
def mnist_distance(a, b): return (a - b).abs().mean()
- L1 norm, a sum
def mnist_distance(a, b): return (a - b).abs().sum((-1, -2))
- mean squared error
def mnist_distance(a, b): return ((a - b)**2).mean((-1, -2))
- works for one image and for many
def mnist_distance(a, b): return (a - b).abs().mean((1, 2))
- mean() received an invalid combination
def mnist_distance(a, b): return (a - b).abs().mean('rows')
+
def mnist_distance(a, b): return torch.abs(a - b).flatten(-2).mean(-1)

== rms_distance
- The root is missing
def rms_distance(a, b): return ((a - b)**2).mean((-1, -2))
- L2 norm: divide
def rms_distance(a, b): return ((a - b)**2).sum((-1, -2)).sqrt()
- Root before mean
def rms_distance(a, b): return ((a - b)**2).sqrt().mean((-1, -2))
+
def rms_distance(a, b): return torch.linalg.vector_norm(a - b, dim=(-2, -1))/(a.shape[-1]*a.shape[-2])**.5

== spread
- copied: 12 numbers are stored
def spread(row, n): return row.repeat(n, 1)
- copied
def spread(row, n): return torch.stack([row]*n)
- Rows and columns are exchanged
def spread(row, n): return row[:, None].expand(-1, n)
- one behind the other
def spread(row, n): return row.repeat(n)
+
def spread(row, n): return torch.broadcast_to(row[None], (n, len(row)))

== is_3
- turned round
def is_3(imgs, mean3, mean7):
    def d(m): return (imgs - m).abs().mean((1, 2))
    return d(mean3) > d(mean7)
- as numbers
def is_3(imgs, mean3, mean7):
    def d(m): return (imgs - m).abs().mean((1, 2))
    return (d(mean3) < d(mean7)).float()
- Squares were compared
def is_3(imgs, mean3, mean7):
    def d(m): return ((imgs - m)**2).mean((1, 2))
    return d(mean3) < d(mean7)
- One answer for all images
def is_3(imgs, mean3, mean7): return (imgs - mean3).abs().mean() < (imgs - mean7).abs().mean()
+
def is_3(imgs, mean3, mean7):
    return torch.stack([F.l1_loss(i, mean3) < F.l1_loss(i, mean7) for i in imgs])

== nearest_mean
- farthest mean
def nearest_mean(imgs, means): return (imgs[:, None] - means).abs().mean((2, 3)).argmax(1)
- over the other axis
def nearest_mean(imgs, means): return (imgs[:, None] - means).abs().mean((2, 3)).argmin(0)
- These are the distances
def nearest_mean(imgs, means): return (imgs[:, None] - means).abs().mean((2, 3)).min(1).values
- The shapes do not fit
def nearest_mean(imgs, means): return (imgs - means).abs().mean((1, 2)).argmin(1)
+
def nearest_mean(imgs, means):
    best = []
    for img in imgs:
        gaps = [(img - m).abs().sum().item() for m in means]
        best.append(gaps.index(min(gaps)))
    return torch.tensor(best, device=imgs.device)

== numerical_gradient
- Twice the slope
def numerical_gradient(f, x, eps=1e-3):
    return torch.stack([(f(x + s) - f(x - s))/eps for s in eps*torch.eye(len(x), dtype=x.dtype, device=x.device)])
- divide by eps
def numerical_gradient(f, x, eps=1e-3):
    return torch.stack([f(x + s) - f(x) for s in eps*torch.eye(len(x), dtype=x.dtype, device=x.device)])
- moved at once
def numerical_gradient(f, x, eps=1e-3): return ((f(x + eps) - f(x - eps))/(2*eps)).expand(len(x))
- your x was changed
def numerical_gradient(f, x, eps=1e-3):
    out = []
    for i in range(len(x)):
        before = f(x)
        x[i] += eps
        out.append((f(x) - before)/eps)
    return torch.stack(out)
+
def numerical_gradient(f, x, eps=1e-3):
    out = torch.zeros_like(x)
    for i in range(len(x)):
        y = x.clone()
        y[i] += eps
        out[i] = (f(y) - f(x))/eps
    return out

== gradient
- adds to what .grad holds
def gradient(f, x):
    x.requires_grad_()
    f(x).backward()
    return x.grad
- f(x) itself
def gradient(f, x): return f(x)
- `return` missing
def gradient(f, x): f(x.requires_grad_()).backward()
- does not require grad
def gradient(f, x):
    f(x.detach()).backward()
    return x.grad
+
def gradient(f, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]

== mse
- This is the sum
def mse(preds, targs): return ((preds - targs)**2).sum()
- One root too many
def mse(preds, targs): return ((preds - targs)**2).mean().sqrt()
- mean absolute error
def mse(preds, targs): return (preds - targs).abs().mean()
- Square before the mean
def mse(preds, targs): return (preds - targs).mean()**2
+
def mse(preds, targs):
    gap = (preds - targs).flatten()
    return gap.dot(gap)/gap.numel()

== sgd_step
- Nothing moved
def sgd_step(params, lr):
    for p in params:
        p = p - lr*p.grad
- Uphill
def sgd_step(params, lr):
    with torch.no_grad():
        for p in params:
            p += lr*p.grad
            p.grad = None
- learning rate is missing
def sgd_step(params, lr):
    for p in params:
        p.data -= p.grad
        p.grad = None
- the gradient is still there
def sgd_step(params, lr):
    with torch.no_grad():
        for p in params: p -= lr*p.grad
- no longer asks for gradients
def sgd_step(params, lr):
    for p in params:
        p.requires_grad_(False)
        p -= lr*p.grad
        p.grad = None
- inside `with torch.no_grad():`
def sgd_step(params, lr):
    for p in params:
        p -= lr*p.grad
        p.grad = None
+
def sgd_step(params, lr):
    for p in params:
        p.data = p.data - lr*p.grad
        p.grad.zero_()

== descend
- Uphill
def descend(f, x, lr, n):
    path = [x]
    for _ in range(n):
        t = torch.tensor(path[-1], requires_grad=True)
        f(t).backward()
        path.append(path[-1] + lr*t.grad.item())
    return path
- were added up
def descend(f, x, lr, n):
    t, path = torch.tensor(x, requires_grad=True), [x]
    for _ in range(n):
        f(t).backward()
        t.data -= lr*t.grad
        path.append(t.item())
    return path
- The start is missing
def descend(f, x, lr, n):
    path = []
    for _ in range(n):
        t = torch.tensor(x, requires_grad=True)
        f(t).backward()
        x -= lr*t.grad.item()
        path.append(x)
    return path
+
def descend(f, x, lr, n):
    t, path = torch.tensor(x, requires_grad=True), [x]
    opt = torch.optim.SGD([t], lr)
    for _ in range(n):
        opt.zero_grad()
        f(t).backward()
        opt.step()
        path.append(t.item())
    return path

== seven_steps
- A step needs the gradient first
def seven_steps(): return ['initialize', 'predict', 'loss', 'step', 'gradient', 'repeat', 'stop']
- The loss needs predictions first
def seven_steps(): return ['initialize', 'loss', 'predict', 'gradient', 'step', 'repeat', 'stop']
- After stop nothing is repeated
def seven_steps(): return ['initialize', 'predict', 'loss', 'gradient', 'step', 'stop', 'repeat']
- item 0: got 'step'
def seven_steps(): return ['step', 'predict', 'loss', 'gradient', 'initialize', 'repeat', 'stop']
+
def seven_steps(): return 'initialize predict loss gradient step repeat stop'.split()

== zip_pairs
- gone through once
def zip_pairs(a, b): return zip(a, b)
- A dictionary
def zip_pairs(a, b): return dict(zip(a, b))
- Every a was paired with every b
def zip_pairs(a, b): return [(x, y) for x in a for y in b]
- turned round
def zip_pairs(a, b): return list(zip(b, a))
+
def zip_pairs(a, b): return [(a[i], b[i]) for i in range(len(a))]

== linear1
- The bias is missing
def linear1(xb, weights, bias): return xb@weights
- sums nothing
def linear1(xb, weights, bias): return xb*weights.T + bias
- The axis of length 1 is lost
def linear1(xb, weights, bias): return (xb*weights.T).sum(1) + bias
+
def linear1(xb, weights, bias): return torch.addmm(bias, xb, weights)

== sigmoid
- the exponent is -x
def sigmoid(x): return 1/(1 + torch.exp(x))
- overflows
def sigmoid(x): return torch.exp(x)/(1 + torch.exp(x))
- This is tanh
def sigmoid(x): return x.tanh()
- plus, not minus
def sigmoid(x): return 1/(1 - torch.exp(-x))
+
def sigmoid(x): return (torch.tanh(x/2) + 1)/2

== draw_sigmoid
- This is tanh
def draw_sigmoid():
    x = torch.linspace(-4, 4, 50)
    plt.plot(x, x.tanh())
    return plt.gca()
- x runs from 0
def draw_sigmoid():
    x = torch.linspace(0, 4, 50)
    plt.plot(x, x.sigmoid())
    return plt.gca()
- no curve was drawn
def draw_sigmoid(): return torch.linspace(-4, 4, 50).sigmoid()
- too few to see its shape
def draw_sigmoid():
    x = torch.arange(-4., 5)
    plt.plot(x, x.sigmoid())
    return plt.gca()
+
def draw_sigmoid():
    fig, ax = plt.subplots()
    xs = [i/10 for i in range(-50, 51)]
    ax.plot(xs, [1/(1 + 2.718281828459045**-x) for x in xs], '--')
    ax.axhline(.5)
    return ax

== mnist_loss
- The sigmoid is missing
def mnist_loss(preds, targs): return torch.where(targs == 1, 1 - preds, preds).mean()
- branches are exchanged
def mnist_loss(preds, targs):
    preds = preds.sigmoid()
    return torch.where(targs == 1, preds, 1 - preds).mean()
- mean is missing
def mnist_loss(preds, targs): return torch.where(targs == 1, 1 - preds.sigmoid(), preds.sigmoid())
- binary cross-entropy
def mnist_loss(preds, targs): return F.binary_cross_entropy_with_logits(preds, targs)
- slope is 0 almost everywhere
def mnist_loss(preds, targs): return ((preds > 0) != (targs == 1)).float().mean()
- requires_grad is False
def mnist_loss(preds, targs): return (preds.detach().sigmoid() - targs).abs().mean()
+
def mnist_loss(preds, targs): return (targs - preds.sigmoid()).abs().mean()

== batch_accuracy
- compared with 0.5
def batch_accuracy(preds, targs): return ((preds > .5) == targs.bool()).float().mean()
- share of mistakes
def batch_accuracy(preds, targs): return ((preds > 0) != targs.bool()).float().mean()
- divide by the length
def batch_accuracy(preds, targs): return ((preds > 0) == targs.bool()).float().sum()
- In percent
def batch_accuracy(preds, targs): return 100*((preds > 0) == targs.bool()).float().mean()
- wanted one number
def batch_accuracy(preds, targs): return (preds > 0) == targs.bool()
+
def batch_accuracy(preds, targs): return sum(int((p.sigmoid() > .5) == t) for p, t in zip(preds, targs))/len(preds)

== calc_grad
- call backward
def calc_grad(model, xb, yb, loss_func): return loss_func(model(xb), yb)
- arguments of the loss are exchanged
def calc_grad(model, xb, yb, loss_func): loss_func(yb, model(xb)).backward()
- forgot the first
def calc_grad(model, xb, yb, loss_func):
    for p in model.parameters(): p.grad = None
    loss_func(model(xb), yb).backward()
- leave the parameters alone
def calc_grad(model, xb, yb, loss_func):
    loss_func(model(xb), yb).backward()
    for p in model.parameters(): p.data -= p.grad
+
def calc_grad(model, xb, yb, loss_func):
    params = list(model.parameters())
    grads = torch.autograd.grad(loss_func(model(xb), yb), params)
    for p, g in zip(params, grads): p.grad = g if p.grad is None else p.grad + g

== train_epoch
- zero_grad is missing
def train_epoch(model, dl, loss_func, opt):
    for xb, yb in dl:
        loss_func(model(xb), yb).backward()
        opt.step()
- No parameter moved
def train_epoch(model, dl, loss_func, opt):
    for xb, yb in dl:
        loss_func(model(xb), yb).backward()
        opt.zero_grad()
        opt.step()
- Only the last batch was used
def train_epoch(model, dl, loss_func, opt):
    for xb, yb in dl:
        opt.zero_grad()
        loss_func(model(xb), yb).backward()
    opt.step()
- Only the first batch was used
def train_epoch(model, dl, loss_func, opt):
    for xb, yb in dl:
        loss_func(model(xb), yb).backward()
        opt.step()
        opt.zero_grad()
        return
- maximum recursion depth exceeded
def train_epoch(model, dl, loss_func, opt):
    for xb, yb in dl:
        loss_func(model(xb), yb)
        train_epoch(model, dl, loss_func, opt)
+
def train_epoch(model, dl, loss_func, opt):
    batches = iter(dl)
    while (batch := next(batches, None)) is not None:
        opt.zero_grad()
        loss = loss_func(model(batch[0]), batch[1])
        loss.backward()
        opt.step()

== train_model
- Only one epoch was trained
def train_model(model, dl, loss_func, opt, epochs):
    for xb, yb in dl:
        loss_func(model(xb), yb).backward()
        opt.step()
        opt.zero_grad()
- were added up
def train_model(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            loss_func(model(xb), yb).backward()
            opt.step()
- One epoch too many
def train_model(model, dl, loss_func, opt, epochs):
    for _ in range(epochs + 1):
        for xb, yb in dl:
            loss_func(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()
- maximum recursion depth exceeded
def train_model(model, dl, loss_func, opt, epochs):
    for _ in range(epochs): train_model(model, dl, loss_func, opt, epochs)
+
def train_model(model, dl, loss_func, opt, epochs):
    if epochs == 0: return
    for xb, yb in dl:
        opt.zero_grad()
        loss_func(model(xb), yb).backward()
        opt.step()
    train_model(model, dl, loss_func, opt, epochs - 1)

== validate_epoch
- mean of batch means
def validate_epoch(model, dl, metric): return torch.stack([metric(model(xb), yb) for xb, yb in dl]).mean().item()
- leave the parameters alone
def validate_epoch(model, dl, metric):
    total = 0
    for xb, yb in dl:
        m = metric(model(xb), yb)
        total += m.item()*len(xb)
    m.backward()
    for p in model.parameters(): p.data -= .1*p.grad
    return total/10
- the last batch alone
def validate_epoch(model, dl, metric):
    for xb, yb in dl: m = metric(model(xb), yb)
    return m.item()
- divide by the number of items
def validate_epoch(model, dl, metric): return sum(metric(model(xb), yb)*len(xb) for xb, yb in dl)
+
def validate_epoch(model, dl, metric):
    xs, ys = [torch.cat(c) for c in zip(*dl)]
    return metric(model(xs), ys)

== BasicOptim
- params may be a generator
class BasicOptim:
    def __init__(self, params, lr): self.params, self.lr = params, lr
    def step(self):
        for p in self.params: p.data -= self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None
- they add up
class BasicOptim:
    def __init__(self, params, lr): self.params, self.lr = list(params), lr
    def step(self):
        for p in self.params: p.data -= self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.zero_grad = None
- Uphill
class BasicOptim:
    def __init__(self, params, lr): self.params, self.lr = list(params), lr
    def step(self):
        for p in self.params: p.data += self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None
- Nothing moved
class BasicOptim:
    def __init__(self, params, lr): self.params, self.lr = list(params), lr
    def step(self):
        for p in self.params: p = p - self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None
+
class BasicOptim(torch.optim.Optimizer):
    def __init__(self, params, lr): super().__init__(params, {'lr': lr})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group['params']: p.sub_(p.grad, alpha=group['lr'])

== mend_sum
- zero_grad is missing
def mend_sum(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            model.zero_grad
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
- No parameter moved
def mend_sum(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.zero_grad()
            opt.step()
+
def mend_sum(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            for p in model.parameters(): p.grad = None

== mend_order
- zero_grad is missing
def mend_order(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
- No parameter moved
def mend_order(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            loss = loss_func(model(xb), yb)
            opt.step()
            loss.backward()
            opt.zero_grad()
+
def mend_order(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()

== mend_cut
- No parameter moved
def mend_cut(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            loss = loss_func(model(xb), yb).detach().requires_grad_()
            loss.backward()
            opt.step()
- cut off from the parameters
def mend_cut(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            loss = loss_func(model(xb).data, yb)
            loss.backward()
            opt.step()
+
def mend_cut(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            preds = model(xb)
            loss = loss_func(preds, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()

== mend_shape
- each prediction is compared with every target
def mend_shape(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            preds = model(xb)[:, 0]
            ((preds - yb)**2).mean().backward()
            opt.step()
- each prediction is compared with every target
def mend_shape(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            preds = model(xb)
            ((preds - yb.squeeze())**2).mean().backward()
            opt.step()
+
def mend_shape(model, dl, loss_func, opt, epochs):
    for _ in range(epochs):
        for xb, yb in dl:
            opt.zero_grad()
            preds = model(xb).squeeze()
            ((preds - yb.squeeze())**2).mean().backward()
            opt.step()

== mend_shuffle
- different orders
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    for _ in range(epochs):
        a, b = torch.randperm(len(x)), torch.randperm(len(x))
        for i in range(0, len(x), bs):
            loss_func(model(x[a[i:i + bs]]), y[b[i:i + bs]]).backward()
            opt.step()
            opt.zero_grad()
- both epochs use the same order
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    order = torch.randperm(len(x))
    for _ in range(epochs):
        for i in range(0, len(x), bs):
            loss_func(model(x[order[i:i + bs]]), y[order[i:i + bs]]).backward()
            opt.step()
            opt.zero_grad()
- wanted each of 0 to 11 once
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    for _ in range(epochs):
        order = torch.randint(len(x), (len(x),))
        for i in range(0, len(x), bs):
            loss_func(model(x[order[i:i + bs]]), y[order[i:i + bs]]).backward()
            opt.step()
            opt.zero_grad()
- the batches have lengths [12, 12]
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    for _ in range(epochs):
        order = torch.randperm(len(x))
        loss_func(model(x[order]), y[order]).backward()
        opt.step()
        opt.zero_grad()
- still come in order
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    for _ in range(epochs):
        for i in range(0, len(x), bs):
            loss_func(model(x[i:i + bs]), y[i:i + bs]).backward()
            opt.step()
            opt.zero_grad()
+
def mend_shuffle(model, x, y, loss_func, opt, bs, epochs):
    dl = torch.utils.data.DataLoader(list(zip(x, y)), batch_size=bs, shuffle=True)
    for _ in range(epochs):
        for xb, yb in dl:
            loss_func(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()

== Momentum
- plain SGD
class Momentum:
    def __init__(self, params, lr, mom): self.params, self.lr, self.mom = list(params), lr, mom
    def step(self):
        for p in self.params:
            v = 0
            v = self.mom*v + p.grad
            p.data -= self.lr*v
    def zero_grad(self):
        for p in self.params: p.grad = None
- multiplied by 1 - mom
class Momentum:
    def __init__(self, params, lr, mom):
        self.params, self.lr, self.mom = list(params), lr, mom
        self.v = [None for p in self.params]
    def step(self):
        for i, p in enumerate(self.params):
            self.v[i] = p.grad.clone() if self.v[i] is None else self.mom*self.v[i] + (1 - self.mom)*p.grad
            p.data -= self.lr*self.v[i]
    def zero_grad(self):
        for p in self.params: p.grad = None
- Has each parameter its own?
class Momentum:
    def __init__(self, params, lr, mom): self.params, self.lr, self.mom, self.v = list(params), lr, mom, 0
    def step(self):
        for p in self.params:
            self.v = self.mom*self.v + p.grad
            p.data -= self.lr*self.v
    def zero_grad(self):
        for p in self.params: p.grad = None
- looks ahead
class Momentum:
    def __init__(self, params, lr, mom):
        self.params, self.lr, self.mom = list(params), lr, mom
        self.v = [0]*len(self.params)
    def step(self):
        for i, p in enumerate(self.params):
            self.v[i] = self.mom*self.v[i] + p.grad
            p.data -= self.lr*(p.grad + self.mom*self.v[i])
    def zero_grad(self):
        for p in self.params: p.grad = None
+
class Momentum:
    def __init__(self, params, lr, mom):
        self.params, self.lr, self.mom, self.last = list(params), lr, mom, {}
    def step(self):
        for p in self.params:
            move = self.mom*self.last.get(p, torch.zeros_like(p)) - self.lr*p.grad
            p.data += move
            self.last[p] = move.detach()
    def zero_grad(self):
        for p in self.params: p.grad.zero_()

== collate
- cat joins along an axis that is there
def collate(items): return torch.cat([x for x, y in items]), torch.cat([y for x, y in items])
- columns of tensors
def collate(items): return tuple(zip(*items))
- exchanged
def collate(items): return torch.stack([y for x, y in items]), torch.stack([x for x, y in items])
- got 4 items, wanted 2
def collate(items): return items
+
def collate(items): return [torch.cat([row[None] for row in column]) for column in zip(*items)]

== MyLoader
- short last batch is not counted
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return len(self.ds)//self.bs
    def __iter__(self):
        for i in range(len(self)):
            yield tuple(torch.stack(c) for c in zip(*self.ds[i*self.bs:(i + 1)*self.bs]))
- 2 batches, wanted 3
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return 3
    def __iter__(self):
        for i in range(len(self.ds)//self.bs):
            yield tuple(torch.stack(c) for c in zip(*self.ds[i*self.bs:(i + 1)*self.bs]))
- shuffle=True changed nothing
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs = dataset, bs
    def __len__(self): return -(-len(self.ds)//self.bs)
    def __iter__(self):
        for i in range(len(self)):
            yield tuple(torch.stack(c) for c in zip(*self.ds[i*self.bs:(i + 1)*self.bs]))
- have parted
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return -(-len(self.ds)//self.bs)
    def __iter__(self):
        x, y = [torch.stack(c) for c in zip(*self.ds)]
        if self.shuffle: x, y = x[torch.randperm(len(x))], y[torch.randperm(len(y))]
        return zip(x.split(self.bs), y.split(self.bs))
- every pass has the same order
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False):
        self.x, self.y = [torch.stack(c) for c in zip(*dataset)]
        self.bs, order = bs, torch.randperm(len(dataset))
        if shuffle: self.x, self.y = self.x[order], self.y[order]
    def __len__(self): return -(-len(self.x)//self.bs)
    def __iter__(self): return zip(self.x.split(self.bs), self.y.split(self.bs))
- a shuffled pass gave the items
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return -(-len(self.ds)//self.bs)
    def __iter__(self):
        rows = torch.randint(len(self.ds), (len(self.ds),)).tolist() if self.shuffle else range(len(self.ds))
        for i in range(0, len(self.ds), self.bs):
            yield tuple(torch.stack(c) for c in zip(*[self.ds[j] for j in rows[i:i + self.bs]]))
- yb: shape is (4, 2), wanted (4, 1)
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return -(-len(self.ds)//self.bs)
    def __iter__(self):
        for i in range(0, len(self.ds), self.bs):
            x, y = zip(*self.ds[i:i + self.bs])
            yield torch.stack(y), torch.stack(x)
- xb: shape is (8,), wanted (4, 2)
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False): self.ds, self.bs, self.shuffle = dataset, bs, shuffle
    def __len__(self): return -(-len(self.ds)//self.bs)
    def __iter__(self):
        for i in range(0, len(self.ds), self.bs):
            x, y = zip(*self.ds[i:i + self.bs])
            yield torch.cat(x), torch.stack(y)
- the second pass gave no batch
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False):
        self.batches = iter([tuple(torch.stack(c) for c in zip(*dataset[i:i + bs])) for i in range(0, len(dataset), bs)])
    def __len__(self): return 3
    def __iter__(self): return self.batches
+
class MyLoader:
    def __init__(self, dataset, bs, shuffle=False):
        self.x, self.y = [torch.stack(c) for c in zip(*dataset)]
        self.bs, self.shuffle = bs, shuffle
    def __len__(self): return len(self.x.split(self.bs))
    def __iter__(self):
        rows = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        return iter([(self.x[r], self.y[r]) for r in rows.split(self.bs)])

== smooth
- divide by 1 - beta**n
def smooth(values, beta):
    avg, out = 0, []
    for v in values:
        avg = beta*avg + (1 - beta)*v
        out.append(avg)
    return out
- gives it too much weight
def smooth(values, beta):
    out = [values[0]]
    for v in values[1:]: out.append(beta*out[-1] + (1 - beta)*v)
    return out
- plain mean
def smooth(values, beta): return [sum(values[:n + 1])/(n + 1) for n in range(len(values))]
- wanted list, got float
def smooth(values, beta):
    w = [beta**i for i in range(len(values))][::-1]
    return sum(a*b for a, b in zip(w, values))/sum(w)
+
def smooth(values, beta):
    def one(n):
        w = [beta**(n - 1 - i) for i in range(n)]
        return sum(a*b for a, b in zip(w, values))/sum(w)
    return [one(n) for n in range(1, len(values) + 1)]

== MiniLearner
- mean of batch means
class MiniLearner:
    def __init__(self, train_dl, valid_dl, model, loss_func, opt_func, metric):
        self.t, self.v, self.m, self.l, self.o, self.metric, self.opt = train_dl, valid_dl, model, loss_func, opt_func, metric, None
    def fit(self, epochs, lr):
        self.opt, out = self.opt or self.o(self.m.parameters(), lr=lr), []
        for _ in range(epochs):
            for xb, yb in self.t:
                self.l(self.m(xb), yb).backward()
                self.opt.step()
                self.opt.zero_grad()
            out.append(sum(self.metric(self.m(xb), yb).item() for xb, yb in self.v)/3)
        return out
- measured on the training data
class MiniLearner:
    def __init__(self, train_dl, valid_dl, model, loss_func, opt_func, metric):
        self.t, self.v, self.m, self.l, self.o, self.metric, self.opt = train_dl, valid_dl, model, loss_func, opt_func, metric, None
    def fit(self, epochs, lr):
        self.opt, out = self.opt or self.o(self.m.parameters(), lr=lr), []
        for _ in range(epochs):
            for xb, yb in self.t:
                self.l(self.m(xb), yb).backward()
                self.opt.step()
                self.opt.zero_grad()
            out.append(sum(self.metric(self.m(xb), yb).item()*len(xb) for xb, yb in self.t)/10)
        return out
- made a new optimizer
class MiniLearner:
    def __init__(self, train_dl, valid_dl, model, loss_func, opt_func, metric):
        self.t, self.v, self.m, self.l, self.o, self.metric = train_dl, valid_dl, model, loss_func, opt_func, metric
    def fit(self, epochs, lr):
        opt, out = self.o(self.m.parameters(), lr=lr), []
        for _ in range(epochs):
            for xb, yb in self.t:
                self.l(self.m(xb), yb).backward()
                opt.step()
                opt.zero_grad()
            out.append(sum(self.metric(self.m(xb), yb).item()*len(xb) for xb, yb in self.v)/10)
        return out
- `return` missing
class MiniLearner:
    def __init__(self, train_dl, valid_dl, model, loss_func, opt_func, metric):
        self.t, self.m, self.l, self.o, self.opt = train_dl, model, loss_func, opt_func, None
    def fit(self, epochs, lr):
        self.opt = self.opt or self.o(self.m.parameters(), lr=lr)
        for _ in range(epochs):
            for xb, yb in self.t:
                self.l(self.m(xb), yb).backward()
                self.opt.step()
                self.opt.zero_grad()
+
class MiniLearner:
    def __init__(self, train_dl, valid_dl, model, loss_func, opt_func, metric):
        self.__dict__.update(locals())
        self.opt = opt_func(model.parameters(), lr=1)
    def fit(self, epochs, lr):
        for g in self.opt.param_groups: g['lr'] = lr
        history = []
        for _ in range(epochs):
            for xb, yb in self.train_dl:
                self.opt.zero_grad()
                self.loss_func(self.model(xb), yb).backward()
                self.opt.step()
            xs, ys = [torch.cat(c) for c in zip(*self.valid_dl)]
            history.append(self.metric(self.model(xs), ys).item())
        return history

== relu
- This is abs
def relu(x): return x.abs()
- multiply by x
def relu(x): return (x > 0).float()
- changed its argument
def relu(x):
    x[x < 0] = 0
    return x
- were left out
def relu(x): return x[x > 0]
- keeps the negative ones
def relu(x): return x.clamp_max(0)
+
def relu(x): return torch.where(x > 0, x, torch.zeros_like(x))

== draw_relu
- a V
def draw_relu():
    x = torch.linspace(-2, 2, 50)
    plt.plot(x, x.abs())
    return plt.gca()
- straight line
def draw_relu():
    x = torch.linspace(-2, 2, 50)
    plt.plot(x, x)
    return plt.gca()
- This is a step
def draw_relu():
    x = torch.linspace(-2, 2, 50)
    plt.plot(x, (x > 0).float())
- x runs from -1 to 1
def draw_relu():
    x = torch.linspace(-1, 1, 50)
    plt.plot(x, x.relu())
+
def draw_relu():
    xs = [i/20 for i in range(-40, 41)]
    plt.plot(xs, [max(x, 0) for x in xs])

== relu_net
- one linear map
def relu_net(n_in, nh, n_out): return nn.Sequential(nn.Linear(n_in, nh), nn.Linear(nh, n_out))
- at the end as well
def relu_net(n_in, nh, n_out): return nn.Sequential(nn.Linear(n_in, nh), nn.ReLU(), nn.Linear(nh, n_out), nn.ReLU())
- This is a sigmoid
def relu_net(n_in, nh, n_out): return nn.Sequential(nn.Linear(n_in, nh), nn.Sigmoid(), nn.Linear(nh, n_out))
- wanted a module
def relu_net(n_in, nh, n_out): return lambda x: F.linear(x.relu(), torch.ones(n_out, n_in))
- no bias
def relu_net(n_in, nh, n_out): return nn.Sequential(nn.Linear(n_in, nh, False), nn.ReLU(), nn.Linear(nh, n_out, False))
- 4 hidden units
def relu_net(n_in, nh, n_out): return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())
+
def relu_net(n_in, nh, n_out):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(n_in, nh), nn.Linear(nh, n_out)
        def forward(self, x): return self.second(F.relu(self.first(x)))
    return Net()

== count_params
- number of tensors
def count_params(model): return len(list(model.parameters()))
- The biases are missing
def count_params(model): return sum(p.numel() for p in model.parameters() if p.ndim > 1)
- len counts rows
def count_params(model): return sum(len(p) for p in model.parameters())
+
def count_params(model): return len(torch.nn.utils.parameters_to_vector(model.parameters()))

== one_hot
- Rows and columns are exchanged
def one_hot(y, n): return (torch.arange(n, device=y.device)[:, None] == y).float()
- even if the last never occurs
def one_hot(y, n): return F.one_hot(y)
- not the number of the class
def one_hot(y, n): return F.one_hot(y, n)*y[:, None]
+
def one_hot(y, n):
    out = torch.zeros(len(y), n, device=y.device)
    for i, c in enumerate(y): out[i, c] = 1
    return out

== log_softmax
- overflows
def log_softmax(logits): return (logits.exp()/logits.exp().sum(-1, keepdim=True)).log()
- the log is missing
def log_softmax(logits): return logits.softmax(-1)
- Each column sums to 1
def log_softmax(logits):
    z = logits - logits.max()
    return z - z.exp().sum(0).log()
- One sum for all rows
def log_softmax(logits): return logits - logits.exp().sum().log()
+
def log_softmax(logits):
    m = logits.amax(1)[:, None]
    return logits - (m + torch.log(torch.exp(logits - m).sum(1))[:, None])

== cross_entropy
- The minus is missing
def cross_entropy(logits, targs): return logits.log_softmax(1)[range(len(targs)), targs].mean()
- every row with every target
def cross_entropy(logits, targs): return -logits.log_softmax(1)[:, targs].mean()
- This is the sum
def cross_entropy(logits, targs): return -logits.log_softmax(1)[range(len(targs)), targs].sum()
- The log is missing
def cross_entropy(logits, targs): return -logits.softmax(1)[range(len(targs)), targs].mean()
- Raw logits were taken
def cross_entropy(logits, targs): return -logits[range(len(targs)), targs].mean()
- requires_grad is False
def cross_entropy(logits, targs): return torch.tensor(F.cross_entropy(logits, targs).item(), device=targs.device)
+
def cross_entropy(logits, targs):
    picked = (F.one_hot(targs, logits.shape[1])*logits).sum(1)
    return (torch.logsumexp(logits, 1) - picked).mean()

== accuracy
- compared with every label
def accuracy(preds, targs): return (preds.argmax(1) == targs[:, None]).float().mean()
- share of mistakes
def accuracy(preds, targs): return (preds.argmax(1) != targs).float().mean()
- In percent
def accuracy(preds, targs): return 100*(preds.argmax(1) == targs).float().mean()
- The shapes do not fit
def accuracy(preds, targs): return (preds.argmax(0) == targs).float().mean()
+
def accuracy(preds, targs): return sum(int(p.max() == p[t]) for p, t in zip(preds, targs))/len(targs)

== confusion_matrix
- the true class is the row
def confusion_matrix(preds, targs, n): return torch.bincount(preds.argmax(1)*n + targs, minlength=n*n).view(n, n)
- counts a pair once
def confusion_matrix(preds, targs, n):
    m = torch.zeros(n, n, dtype=torch.int64, device=targs.device)
    m[targs, preds.argmax(1)] += 1
    return m
- wanted counts
def confusion_matrix(preds, targs, n):
    m = torch.bincount(targs*n + preds.argmax(1), minlength=n*n).view(n, n).float()
    return m/m.sum(1, keepdim=True).clamp_min(1)
+
def confusion_matrix(preds, targs, n):
    m = [[0]*n for _ in range(n)]
    for p, t in zip(preds, targs): m[int(t)][int(p.argmax())] += 1
    return torch.tensor(m, device=targs.device)

== my_model
- All answers are the same digit
def my_model(xb): return torch.eye(10)[7].expand(len(xb), 10)
- a score for each class
def my_model(xb): return xb[:, 0].long()
- of 10000 test images are right, wanted 9800
w = torch.randn(784, 10, generator=torch.Generator().manual_seed(0))
def my_model(xb): return xb@w
+
from mnist_sgd.data import load_mnist
(x, y), _ = load_mnist()
torch.manual_seed(0)
params = [(torch.randn(784, 300)/20), torch.zeros(300), torch.randn(300, 10)/17, torch.zeros(10)]
for p in params: p.requires_grad_()
def my_model(xb):
    w1, b1, w2, b2 = params
    return ((xb@w1 + b1).clamp_min(0)@w2 + b2).log_softmax(1)
opt = torch.optim.SGD(params, .1, momentum=.9)
for epoch in range(6):
    opt.param_groups[0]['lr'] = .1*(1 - epoch/6)
    for rows in torch.randperm(len(x)).split(128):
        opt.zero_grad()
        F.nll_loss(my_model(x[rows]), y[rows]).backward()
        opt.step()

== decay_step
- The decay is missing
def decay_step(params, lr, wd):
    with torch.no_grad():
        for p in params: p -= lr*p.grad
- multiplied by the learning rate
def decay_step(params, lr, wd):
    with torch.no_grad():
        for p in params: p -= lr*p.grad + wd*p
- away from 0
def decay_step(params, lr, wd):
    for p in params: p.data -= lr*(p.grad - wd*p.data)
- Nothing moved
def decay_step(params, lr, wd):
    for p in params: p = p - lr*(p.grad + wd*p)
- same strength
def decay_step(params, lr, wd):
    for p in params: p.data -= lr*(p.grad + wd*p.data.sign())
- The gradient is missing
def decay_step(params, lr, wd):
    for p in params: p.data *= 1 - lr*wd
+
def decay_step(params, lr, wd):
    for p in params: p.data.mul_(1 - lr*wd).sub_(lr*p.grad)

== dropout
- keeps its size
def dropout(x, p): return x*(torch.rand(x.shape, device=x.device) > p)
- multiplied by 1 - p
def dropout(x, p): return x*(torch.rand(x.shape, device=x.device) >= p)*(1 - p)
- not the share to keep
def dropout(x, p): return x*(torch.rand(x.shape, device=x.device) <= p)/(1 - p) if p else x
- dropped together
def dropout(x, p): return x*(torch.rand(len(x), 1, device=x.device) >= p)/(1 - p)
- the same numbers
def dropout(x, p):
    g = torch.Generator().manual_seed(0)
    return x*(torch.rand(x.shape, generator=g).to(x.device) >= p)/(1 - p)
- with p = 0 nothing is dropped
def dropout(x, p): return x*(torch.rand(x.shape, device=x.device) < p)/(1 - p)
+
def dropout(x, p): return torch.where(torch.empty_like(x).bernoulli_(p) == 1, torch.zeros_like(x), x/(1 - p))

== shift
- came in on the other
def shift(imgs, down, right): return imgs.roll((down, right), (1, 2))
- Rows and columns are exchanged
def shift(imgs, down, right): return F.pad(imgs, (down, -down, right, -right))
- The other way
def shift(imgs, down, right): return F.pad(imgs, (-right, right, -down, down))
- Axis 0 counts images
def shift(imgs, down, right): return imgs.roll((down, right), (0, 1))
- shape is (2, 5, 5), wanted (2, 4, 5)
def shift(imgs, down, right): return F.pad(imgs, (right, -right, down, 0))
+
def shift(imgs, down, right):
    out = torch.zeros_like(imgs)
    n, h, w = imgs.shape
    for i in range(h):
        for j in range(w):
            if 0 <= i - down < h and 0 <= j - right < w: out[:, i, j] = imgs[:, i - down, j - right]
    return out

== batch_norm
- unbiased=False
def batch_norm(x, weight, bias, eps):
    x = x.transpose(0, 1)
    z = (x - x.mean((1, 2, 3), keepdim=True))/(x.var((1, 2, 3), keepdim=True) + eps).sqrt()
    return (z*weight.view(-1, 1, 1, 1) + bias.view(-1, 1, 1, 1)).transpose(0, 1)
- weight and bias are missing
def batch_norm(x, weight, bias, eps):
    return (x - x.mean((0, 2, 3), keepdim=True))/(x.var((0, 2, 3), unbiased=False, keepdim=True) + eps)**.5
- eps is missing
def batch_norm(x, weight, bias, eps):
    z = (x - x.mean((0, 2, 3), keepdim=True))/x.std((0, 2, 3), unbiased=False, keepdim=True)
    return z*weight[:, None, None] + bias[:, None, None]
- layer norm
def batch_norm(x, weight, bias, eps):
    z = (x - x.mean((1, 2, 3), keepdim=True))/(x.var((1, 2, 3), unbiased=False, keepdim=True) + eps)**.5
    return z*weight[:, None, None] + bias[:, None, None]
- The shapes do not fit
def batch_norm(x, weight, bias, eps):
    z = (x - x.mean((0, 2, 3), keepdim=True))/(x.var((0, 2, 3), unbiased=False, keepdim=True) + eps)**.5
    return z*weight + bias
+
def batch_norm(x, weight, bias, eps):
    flat = x.permute(1, 0, 2, 3).flatten(1)
    flat = flat - flat.mean(1)[:, None]
    flat = flat*((flat*flat).mean(1) + eps).rsqrt()[:, None]*weight[:, None] + bias[:, None]
    return flat.view(x.shape[1], len(x), *x.shape[2:]).permute(1, 0, 2, 3)

== Adam
- divide them by 1 - beta**n
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*a/(s.sqrt() + eps)
    def zero_grad(self):
        for p in self.params: p.grad = None
- eps is added after the root
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*a/(1 - b1**self.n)/(s/(1 - b2**self.n) + eps).sqrt()
    def zero_grad(self):
        for p in self.params: p.grad = None
- take its root
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*a/(1 - b1**self.n)/(s/(1 - b2**self.n) + eps)
    def zero_grad(self):
        for p in self.params: p.grad = None
- plain SGD
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None
- not divided by 1 - beta2**n
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*a/(1 - b1**self.n)/(s.sqrt() + eps)
    def zero_grad(self):
        for p in self.params: p.grad = None
- Uphill
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= -lr*a/(1 - b1**self.n)/((s/(1 - b2**self.n)).sqrt() + eps)
    def zero_grad(self):
        for p in self.params: p.grad = None
+
class Adam:
    def __init__(self, params, lr, beta1=.9, beta2=.999, eps=1e-8):
        self.params, self.args, self.n, self.state = list(params), (lr, beta1, beta2, eps), 0, {}
    def step(self):
        lr, b1, b2, eps = self.args
        self.n += 1
        for p in self.params:
            a, s = self.state.get(p, (0, 0))
            a, s = b1*a + (1 - b1)*p.grad, b2*s + (1 - b2)*p.grad*p.grad
            self.state[p] = a, s
            p.data -= lr*(1 - b2**self.n)**.5/(1 - b1**self.n)*a/(s.sqrt() + eps*(1 - b2**self.n)**.5)
    def zero_grad(self):
        for p in self.params: p.grad = None
'''


def read(text):
    "Exercises of a text: name → (list of (words, code), list of right codes)."
    found = {}
    for block in re.split(r'^== ', text, flags=re.M)[1:]:
        name, body = block.split('\n', 1)
        answers = re.findall(r'^([-+]) ?(.*)\n((?:(?![-+] ?.*$|[-+]$).*\n)*)', body, re.M)
        wrong = [(words, code) for mark, words, code in answers if mark == '-']
        found[name.strip()] = wrong, [code for mark, _, code in answers if mark == '+']
    return found


ANSWERS = read(TEXT)
