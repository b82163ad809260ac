"""A GPU that is pretended: real numbers on the CPU, with the rules of another device.

Inside `with PretendGPU():` a tensor that was sent to 'cuda' says that it is there, keeps its values, and may not meet a
tensor of the CPU where torch would refuse it on a real card, in the forward pass and in the backward. FakeTensorMode
has the same rules but no values, so nothing that reads a loss or a label can run in it.
"""
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

GPU, CPU = torch.device('cuda', 0), torch.device('cpu')
MOVES = {torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu, torch.as_tensor, torch.asarray}
WAITS = {torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__,
         torch.Tensor.nonzero, torch.equal, torch.nonzero}      # the CPU waits for the number, or for how many there are
TO_NUMPY = {torch.Tensor.numpy, torch.Tensor.__array__}
INNER = {torch.nn.functional.one_hot}    # makes a tensor inside, where this card sees nothing: looked at as a whole
ROWS = {'index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index'}   # row numbers may lie on the CPU
STRICT = ('index_select', 'mm', 'addmm', 'bmm', 'cat', 'stack', 'gather', 'scatter', 'embedding', 'convolution', 'equal',
          'native_batch_norm', 'nll_loss')              # these take no tensor of the CPU, not even a single number


class Operations(TorchDispatchMode):
    "Look at every operation, those of `backward` too, and refuse one that mixes devices."
    def __init__(self):
        super().__init__()
        self.there = {}           # storages on the GPU; held, so that no other tensor gets the number of one

    def has(self, t): return t.untyped_storage()._cdata in self.there

    def put(self, t, gpu):
        "Say of a tensor of its own storage where it is."
        key = t.untyped_storage()._cdata
        if gpu: self.there[key] = t.untyped_storage()
        else: self.there.pop(key, None)
        return t

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, tensors = func._schema.name.split('::')[-1], [t for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)]
        gpu, given = any(map(self.has, tensors)), {t.untyped_storage()._cdata for t in tensors}
        if gpu: self.check(name, args, tensors)
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out) if gpu else ():
            if torch.is_tensor(t) and t.untyped_storage()._cdata not in given: self.put(t, True)
        return out

    def check(self, name, args, tensors):
        "Raise torch's own error where a real card would."
        if name == 'copy_': return
        if name.startswith('_foreach'):
            lists = [a for a in args if isinstance(a, (list, tuple)) and all(map(torch.is_tensor, a))]
            for group in zip(*lists): self.check('each', (), group)
            return
        if name in ROWS and self.has(args[0]): tensors = [args[0], *[a for a in args[2:3] if torch.is_tensor(a)]]
        strict = name.startswith(STRICT)
        if len({self.has(t) for t in tensors if strict or t.ndim or self.has(t)}) > 1:
            raise RuntimeError('Expected all tensors to be on the same device, but found at least two devices, cuda:0 and '
                               f'cpu! (when checking {name})')


class Move(torch.autograd.Function):
    "A copy on the other device; its gradient comes back."
    @staticmethod
    def forward(ctx, t, ops, gpu):
        ctx.ops, ctx.gpu = ops, gpu
        return ops.put(t.clone(), gpu)

    @staticmethod
    def backward(ctx, grad): return ctx.ops.put(grad.clone(), not ctx.gpu), None, None


class PretendGPU(TorchFunctionMode):
    "Pretend that this machine has one GPU: tensors say where they are, and do not mix."
    def __init__(self):
        super().__init__()
        self.ops, self.waits = Operations(), 0       # how often the CPU has waited for the card

    def __enter__(self):
        self.ops.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        return self.ops.__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        here = bool(args) and torch.is_tensor(args[0]) and self.ops.has(args[0])
        if func == torch.Tensor.device.__get__: return GPU if here else func(*args)
        if func == torch.Tensor.is_cuda.__get__: return here
        self.waits += here and func in WAITS
        if func in TO_NUMPY and here:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                            'memory first.')
        if func in INNER and here:
            with _disable_current_modes(): out = func(*args, **kwargs)
            return self.ops.put(out, True)
        if func in MOVES: return self.move(func, args, kwargs, here)
        if kwargs.get('device') is None: return func(*args, **kwargs)
        gpu = torch.device(kwargs['device']).type == 'cuda'
        if gpu and kwargs.get('generator') is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        return self.ops.put(func(*args, **{**kwargs, 'device': CPU}), gpu)       # what takes a device makes a new tensor

    def move(self, func, args, kwargs, here):
        "A tensor on the device that is asked for: itself, or a copy."
        words = [*args[1:], *kwargs.values()]
        dtype = next((w for w in words if isinstance(w, torch.dtype)), None)
        like = next((w for w in words if torch.is_tensor(w)), None)
        where = next((torch.device(w) for w in words if isinstance(w, (str, int, torch.device)) and not isinstance(w, bool)), None)
        if func is torch.Tensor.cuda: gpu = True
        elif func is torch.Tensor.cpu: gpu = False
        elif like is not None: gpu, dtype = self.ops.has(like), like.dtype
        else: gpu = here if where is None else where.type == 'cuda'
        if torch.is_tensor(args[0]): t = args[0] if dtype is None else args[0].to(dtype)
        else: t = func(*args, **{k: v for k, v in kwargs.items() if k != 'device'})
        if kwargs.get('copy'): t = t.clone()
        if self.ops.has(t) == gpu: return t
        self.waits += 1
        return Move.apply(t, self.ops, gpu)
