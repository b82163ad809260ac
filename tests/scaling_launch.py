"""Start ranks by hand as a launcher would, inside a network namespace: scaling_launch.py JOBS as JSON.

A job is {words, world, taken}: its ranks run `python -m mnist_sgd.cli WORDS`; `taken`: somebody has the port already.
Prints for each job a list of [exit status, stdout, stderr], one a rank. Two jobs run at a time.
"""
import json, os, socket, subprocess, sys
from concurrent.futures import ThreadPoolExecutor


def ended(process, seconds):
    "Wait for a rank; end it after so many seconds."
    try: out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return process.returncode, out, err


def run(job):
    "Start the ranks of one job and wait for them."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
        if job.get('taken'): s.listen()
        else: s.close()
        world = job.get('world', 2)
        env = {**os.environ, 'WORLD_SIZE': str(world), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
        started = [subprocess.Popen([sys.executable, '-m', 'mnist_sgd.cli', *job['words']], text=True,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    env={**env, 'RANK': str(rank)}) for rank in range(world)]
        return [ended(p, 20 if i else 150) for i, p in enumerate(started)]   # the others end soon after rank 0, or are ended


if __name__ == '__main__':
    with ThreadPoolExecutor(2) as pool: print(json.dumps([*pool.map(run, json.loads(sys.argv[1]))]))
