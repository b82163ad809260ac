"""Start ranks by hand as a launcher would, inside a network namespace: scaling_launch.py JOBS as JSON.

A job is {words, world, taken}: its ranks run the command `mnist_sgd WORDS`, each in a process that is forked from one which has
imported torch; `taken`: somebody has the port already.
Prints for each job a list of [exit status, stdout, stderr], one a rank. Two jobs run at a time.
"""
import json, multiprocessing, os, socket, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mnist_sgd.command_train, mnist_sgd.processes  # noqa: F401 - what all ranks need, imported once
from mnist_sgd.cli import main


def forking():
    "Processes that are forked from one which has torch imported; Windows has none, nor the namespace this runs in."
    return multiprocessing.get_context('forkserver')


def rank(words, env, out, err):
    "A process that does what `mnist_sgd WORDS` does, with these variables and its two streams in files."
    os.environ.update(env)
    for number, file in (1, out), (2, err): os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.exit(main(words))


def ended(process, streams, seconds):
    "Wait for a rank; end it after so many seconds."
    process.join(seconds)
    if process.exitcode is None: process.kill()
    process.join(60)
    return process.exitcode, *(Path(file).read_text(encoding='utf-8') for file in streams)


def run(job):
    "Start the ranks of one job and wait for them."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
        if job.get('taken'): s.listen()
        else: s.close()
        world = job.get('world', 2)
        env = {'WORLD_SIZE': str(world), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
        with tempfile.TemporaryDirectory() as folder:
            streams = [[f'{folder}/{i}{name}' for name in ('out', 'err')] for i in range(world)]
            started = [forking().Process(target=rank, args=(job['words'], {**env, 'RANK': str(i)}, *streams[i])) for i in range(world)]
            for process in started: process.start()
            return [ended(p, streams[i], 10 if i else 150) for i, p in enumerate(started)]   # the others end soon after rank 0, or are ended


if __name__ == '__main__':
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))   # where the server of forks looks, too
    forking().set_forkserver_preload(['scaling_launch'])
    with ThreadPoolExecutor(2) as pool: print(json.dumps([*pool.map(run, json.loads(sys.argv[1]))]))
