#!/usr/bin/env python
"""Count what the doctor names, over the set-ups of the tests and over folders of cases, and how many sound ones it blames.

    python benchmarks/doctor.py [WORD...]    diagnose those whose name holds a word, or all; kept in benchmarks/doctor.json
    python benchmarks/doctor.py --cases DIR  a folder of cases: `CASES` and `HEALTHY` of its module `common`
    python benchmarks/doctor.py --cases DIR --as script    the same, each trained by a plain loop that `watch` looks at
    python benchmarks/doctor.py --cases DIR --as fastai    the same, each handed over as fastai's Learner
    python benchmarks/doctor.py --readme     write the tables into README.md beside it (nothing is diagnosed)

Named: a name that counts as right is among the findings. Noticed: something else is. Of a case, what its mended twin is told too
does not count. Blamed: a mended or sound set-up with a finding of severity error. About ten minutes on one core.
"""
import argparse, datetime, functools, importlib, inspect, json, sys, time
from pathlib import Path

import torch

import readme

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT/'benchmarks'/'doctor.json'
SETS = ['own variants', "strangers' faults", 'blind variants', 'reported faults', 'published programs', 'sound programs']
NAMES = {'script': 'scripts', 'fastai': "fastai's Learner"}
HEAD = ['faulty', 'named', 'noticed', 'missed', 'mended or sound', 'blamed']


def own():
    "(set, kind, name, names that count, faulty set-up, mended one or None) of the tests' variants."
    sys.path.insert(0, str(ROOT/'tests'))
    variants, strangers, blind = (importlib.import_module(f'doctor_{n}') for n in ('variants', 'strangers', 'blind_variants'))
    from mnist_sgd.data import load_mnist
    d = variants.digits(load_mnist)
    for title, module in zip(SETS, (variants, strangers, blind)):
        for kind, make in module.VARIANTS:
            if title == SETS[2]: yield title, kind, make.__name__, {kind}, lambda m=make: m(d), None
            else: yield title, kind, make.__name__, {kind}, lambda m=make: m(d, True), lambda m=make: m(d, False)


def cases(folder):
    "The same of a folder of cases."
    sys.path.insert(0, str(folder.resolve()))
    common = importlib.import_module('common')
    for name in 'faults', 'published', 'healthy': importlib.import_module(name)
    def given(kw): return {k: v for k, v in kw.items() if k[0] != '_'}
    for name, (make, _, _, want) in common.CASES.items():
        title = SETS[3] if make.__module__ == 'faults' else SETS[4]
        yield title, want[0], name, set(want), lambda m=make: given(m(True)), lambda m=make: given(m(False))
    for name, (make, _) in common.HEALTHY.items(): yield SETS[5], None, name, set(), None, lambda m=make: given(m())


def loaders(kw):
    "(for training, for validation), or None."
    dls = kw.get('dls')
    if isinstance(dls, (tuple, list)) and len(dls) == 2: return tuple(dls)
    return (dls.train, dls.valid) if hasattr(dls, 'train') and hasattr(dls, 'valid') else None


def as_script(kw):
    "What `watch` says of a program that trains with these pieces and measures after each epoch."
    from mnist_sgd.doctor.watch import watch
    model, loss_func, opt = kw['model'], kw['loss_func'], kw['opt']
    train_dl, valid_dl = loaders(kw)
    def measure():
        if 'validate' in kw: return kw['validate'](model, valid_dl)
        model.eval()
        with torch.no_grad(): return [float(kw['metrics'](model(xb), yb)) for xb, yb in valid_dl] if kw.get('metrics') else None
    with watch(300) as told:
        for _ in range(2):
            if 'train' in kw: kw['train'](model, train_dl, loss_func, opt)
            else:
                model.train()
                for xb, yb in train_dl:
                    opt.zero_grad()
                    loss_func(model(xb), yb).backward()
                    opt.step()
            measure()
    return told.report


def as_fastai(kw):
    "What `diagnose` says of fastai's Learner with these pieces."
    import fastai.vision.all as fastai
    from mnist_sgd.doctor import diagnose
    lr = kw['opt'].param_groups[0]['lr']
    others = {k: v for k, v in kw['opt'].defaults.items() if k in inspect.signature(type(kw['opt'])).parameters and k != 'lr'}
    opt_func = functools.partial(fastai.OptimWrapper, opt=type(kw['opt']), **others)
    learn = fastai.Learner(fastai.DataLoaders(*loaders(kw)), kw['model'], kw['loss_func'], opt_func, lr=lr, metrics=kw.get('metrics'))
    return diagnose(learn, lr=lr, **{k: kw[k] for k in ('classes',) if k in kw})


def allows(way, kw):
    "Has a set-up what a script or a Learner of its pieces needs?"
    pieces = isinstance(kw.get('model'), torch.nn.Module) and isinstance(kw.get('opt'), torch.optim.Optimizer)
    return pieces and 'loss_func' in kw and loaders(kw) and (way == 'script' or not {'train', 'validate'} & set(kw))


def look(make, way=None):
    "(names, errors) of a set-up, handed over whole, as a script or as a Learner; None where it does not allow that."
    from mnist_sgd.doctor import diagnose
    torch.manual_seed(0)
    kw = make()
    if way and not allows(way, kw): return None
    report = {None: lambda kw: diagnose(**kw), 'script': as_script, 'fastai': as_fastai}[way](kw)
    return report.names, sorted(f.name for f in report.errors)


def judge(title, kind, want, bad, good, way=None):
    "One row of the store; None where the set-up does not allow this way."
    looked = [look(make, way) if make else (set(), None) for make in (bad, good)]
    if None in looked: return None
    (found, _), (same, errors) = looked
    if title in SETS[3:]: found = found - same
    verdict = None if not bad else 'named' if found & want else 'noticed' if found else 'missed'
    return {'set': title, 'kind': kind, 'verdict': verdict, 'blamed': errors}


def counted(rows):
    "The figures of HEAD."
    verdicts, sound = [r['verdict'] for r in rows if r['verdict']], [r['blamed'] for r in rows if r['blamed'] is not None]
    return [len(verdicts), *(verdicts.count(v) for v in HEAD[1:4]), len(sound), sum(map(bool, sound))]


def table(first, groups):
    "Rows of figures as Markdown."
    lines = [f'| {first} | {" | ".join(HEAD)} |', '|---'*(len(HEAD) + 1) + '|']
    return '\n'.join(lines + [f'| {name} | {" | ".join(map(str, counted(rows)))} |' for name, rows in groups if rows])


def report(store):
    "Both tables."
    rows = list(store['rows'].values())
    kinds = sorted({r['kind'] for r in rows if r['kind']})
    by_set = [(s, [r for r in rows if r['set'] == s]) for s in SETS]
    by_kind = [(k, [r for r in rows if r['kind'] == k]) for k in kinds]
    ways = list(store.get('ways', {}).values())
    by_way = [(s, [r for r in ways if r['set'] == s]) for s in sorted({r['set'] for r in ways})]
    other = f'Handed over in another way, where a set-up has the pieces for it:\n\n{table("set", by_way)}\n\n' if ways else ''
    return (f'{store["date"]}; torch {store["torch"]}.\n\n{table("set", by_set)}\n\n{other}'
            f'{table("kind (of a case: the first name that counts)", by_kind)}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('words', nargs='*', metavar='WORD')
    p.add_argument('--cases', type=Path, metavar='DIR')
    p.add_argument('--as', dest='way', choices=('script', 'fastai'), help='how each set-up is handed over')
    p.add_argument('--readme', action='store_true', help='only write the stored tables into benchmarks/README.md')
    args = p.parse_args()
    if args.readme: return readme.write('doctor', report(json.loads(STORE.read_text())))
    torch.set_num_threads(1)
    store = json.loads(STORE.read_text()) if STORE.exists() else {'rows': {}}
    for title, kind, name, want, bad, good in cases(args.cases) if args.cases else own():
        if args.words and not any(w in name for w in args.words): continue
        start = time.process_time()
        try: row = judge(title, kind, want, bad, good, args.way)
        except Exception as e:                    # a plain loop, or fastai's, cannot train every program
            if not args.way: raise
            row = None; print(f'{name:36} {type(e).__name__}: {e}'.split('\n')[0][:120])
        if row is None: continue
        if args.way: row['set'] = f'{title}, as {NAMES[args.way]}'
        store.setdefault('ways' if args.way else 'rows', {})[f'{row["set"]}: {name}'] = row
        store |= {'date': str(datetime.date.today()), 'torch': torch.__version__}
        STORE.write_text(json.dumps(store, indent=0, sort_keys=True) + '\n')
        print(f'{name:36} {kind or "":22} {row["verdict"] or "":8} blamed: {row["blamed"] or "no"}  '
              f'{time.process_time() - start:.1f} s', flush=True)
    print(report(store))


if __name__ == '__main__': main()
