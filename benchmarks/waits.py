"""Work H: what one waits for, from the install to the test command; each in a new process, in seconds as on a clock.

    python benchmarks/waits.py     times README's test command alone (ten minutes) and adds it to what speed.py has stored of H
"""
import json, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIMPLE = '''
import time; start = time.perf_counter()
import torch; torch.manual_seed(0)
from mnist_sgd.data import load_mnist
from mnist_sgd.full_mnist import accuracy, cross_entropy
from mnist_sgd.learner import DataLoader, DataLoaders, Learner
from mnist_sgd.simple_net import simple_net
from torch.utils.data import TensorDataset
train, valid = [TensorDataset(*part) for part in load_mnist()]
dls = DataLoaders(DataLoader(train, bs=64, shuffle=True), DataLoader(valid, bs=2048))
learn = Learner(dls, simple_net(), cross_entropy, lr=.1, metrics=accuracy, verbose=False)
'''
CHECKS = f'''
import sys, time; sys.path.insert(0, {str(ROOT/'tests')!r})
from exercise_answers import ANSWERS
from mnist_sgd.exercises import exercise
took = {{}}
for name, (_, right) in ANSWERS.items():
    start = time.perf_counter()
    result = exercise(name).check(right[0])
    took[name] = time.perf_counter() - start
'''
NEW = {  # what: (code for a new process whose last line of output is the seconds, or where it prints none the whole process)
    'the first import of a process, `mnist_sgd.learner`': 'import mnist_sgd.learner',
    'the first epoch, simple_net on 60,000 digits, from the start of its process': SIMPLE + 'learn.fit(1)',
    '`lr_find`': SIMPLE + 'start = time.perf_counter(); learn.lr_find(show_plot=False); print(time.perf_counter() - start)',
    'a diagnosis of that net and its loaders': SIMPLE + '''
from mnist_sgd.doctor import diagnose
start = time.perf_counter()
diagnose(learn)
print(time.perf_counter() - start)''',
    'the checks of all exercises, one after the other': CHECKS + 'print(sum(took.values()))',
    'the longest check of an exercise': CHECKS + 'print(max(took.values()))'}


def new_process(code):
    "Seconds of a new process, or those that it prints."
    start = time.perf_counter()
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True, cwd=ROOT)
    whole = time.perf_counter() - start
    return float(r.stdout.splitlines()[-1]) if 'print(' in code else whole


def install():
    "Seconds of a plain install into a new environment, everything fetched anew."
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
        start = time.perf_counter()
        subprocess.run([f'{folder}/bin/pip', 'install', '--quiet', '--no-cache-dir', ROOT], check=True, capture_output=True)
        return time.perf_counter() - start


def tests():
    "Seconds of README's test command, in this environment: what comes after its install."
    command = re.search(r'<!-- command: test -->\n```sh\n(.*?)\n```', (ROOT/'README.md').read_text(), re.S)[1].split(' && ', 2)[2]
    command = command.replace('.venv/bin/', f'{Path(sys.executable).parent}/')
    start = time.perf_counter()
    subprocess.run(['bash', '-c', command], check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - start


def run(rounds, kept):
    "Part H of the store; the test command as it was timed last, if it was."
    found = {'`pip install` of the package into a new environment, all of it fetched': [install()]}
    for what, code in NEW.items(): found[what] = [new_process(code) for _ in range(rounds)]
    if TESTS in kept.get('seconds', {}): found[TESTS] = kept['seconds'][TESTS]
    return part(found)


TESTS = 'the test command, its install apart'


def part(found):
    text = ['| what | seconds | lowest to highest |', '|---|---|---|']
    for what, seconds in found.items():
        text.append(f'| {what} | {statistics.median(seconds):.3g} | {f"{min(seconds):.3g} to {max(seconds):.3g}" if len(seconds) > 1 else "once"} |')
    return dict(what='what you wait for', text=text, seconds=found)


def main():
    import speed
    found = {TESTS: [tests()]}
    store = json.loads(speed.STORE.read_text())
    store['H'] |= part(store['H']['seconds'] | found)
    speed.STORE.write_text(json.dumps(store, indent=1, sort_keys=True) + '\n')


if __name__ == '__main__': main()
