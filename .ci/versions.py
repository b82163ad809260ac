#!/usr/bin/env python
"""Print side by side what stands in the environments of these Pythons: .ci/versions.py PYTHON [PYTHON ...]"""
import json, subprocess, sys

PACKAGES = 'nbdev execnb fastcore ghapi fastai fastbook torch torchvision numpy matplotlib pandas jupyter'.split()
LOOK = """
import json, platform, sys
from importlib import metadata
def version(name):
    try: return metadata.version(name)
    except metadata.PackageNotFoundError: return '-'
print(json.dumps([platform.python_version(), *map(version, sys.argv[1:])]))
"""


def versions(python):
    "The version of Python and of each of PACKAGES in the environment of `python`, `-` for what is not there."
    try: r = subprocess.run([python, '-c', LOOK, *PACKAGES], capture_output=True, text=True)
    except OSError as e: sys.exit(f'{python} does not run: {e.strerror}')
    if r.returncode: sys.exit(f'{python} is no Python that tells its versions, it ended with {r.returncode}: {r.stderr.strip()[-200:]}')
    return json.loads(r.stdout)


def main():
    if len(sys.argv) < 2: sys.exit(__doc__)
    for name, *row in zip(['Python', *PACKAGES], *map(versions, sys.argv[1:])):
        print(f'{name:12}', *(f'{v:>16}' for v in row))


if __name__ == '__main__': main()
