#!/usr/bin/env python
"""Build the source archive and the wheel into dist/ and look at both, as a release wants it. Needs build, twine and cffconvert.

    .ci/publish           build; twine check; what both contain; CITATION.cff; install from the source archive, import every module
    .ci/publish --index   then also, in a new environment, `pip install mnist_sgd[course]` from an index made of dist/, and
                          chapter 00 in an empty folder as on Colab: some gigabytes where pip chooses torch's build for GPUs
"""
import argparse, os, shutil, subprocess, sys, tarfile, tempfile, zipfile
from pathlib import Path

from house import LIB, ROOT
from links import settings

DIST = ROOT/'dist'
BESIDE = {'PKG-INFO', 'setup.cfg', 'setup.py', 'settings.ini', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff'}
MODULES = f'''
import importlib, pkgutil, sys, {LIB}
assert {LIB}.__file__.startswith(sys.argv[1]), {LIB}.__file__
names = [m.name for m in pkgutil.walk_packages({LIB}.__path__, '{LIB}.')]
for name in names: importlib.import_module(name)
print(len(names), 'modules imported from the source archive')
'''


def tracked(root=ROOT):
    "The files of the package that git knows, pages too."
    said = subprocess.run(['git', '-C', str(root), 'ls-files', LIB], capture_output=True, text=True, check=True).stdout
    return {line for line in said.splitlines() if line}


def names_in(archive):
    "The files of a wheel or of a source archive, as paths below its first folder if it has one folder for all."
    if archive.suffix == '.whl': return zipfile.ZipFile(archive).namelist()
    with tarfile.open(archive) as t: return [m.name.partition('/')[2] for m in t.getmembers() if m.isfile()]


def faults(kind, names, package):
    "What is wrong with the names of files in a wheel or a source archive, a sentence each."
    for name in sorted(package - {*names}): yield f'the {kind} lacks {name}'
    for name in sorted(n for n in {*names} if names.count(n) > 1): yield f'the {kind} has {name} twice'
    for name in sorted({*names} - package):
        if kind == 'wheel' and name.split('/')[0].endswith('.dist-info'): continue
        if kind == 'source archive' and (name in BESIDE or name.startswith(f'{LIB}.egg-info/')): continue
        yield f'the {kind} has {name}, which is not for those who install: see MANIFEST.in and setup.py'


def look(dist=DIST, version=None):
    "All faults of what lies in dist/."
    version, package = version or settings()['version'], tracked()
    wanted = {'wheel': f'{LIB}-{version}-py3-none-any.whl', 'source archive': f'{LIB}-{version}.tar.gz'}
    there = {p.name for p in dist.iterdir()} if dist.exists() else set()
    for name in sorted(there - {*wanted.values()}): yield f'dist/ has {name}, wanted {" and ".join(wanted.values())} of version {version} alone'
    for kind, name in wanted.items():
        if name not in there: yield f'dist/ has no {name}'
        else: yield from faults(kind, names_in(dist/name), package)


def say(*command, **kwargs):
    "Run a command, its output shown; the first that fails ends the script."
    print('$', *(str(c).replace(f'{ROOT}/', '') for c in command[:6]), flush=True)
    if (code := subprocess.run([*map(str, command)], **kwargs).returncode): sys.exit(f'this ended with status {code}')


def from_source(archive):
    "Install the source archive without its requirements and import every module, where torch is; else say that it was left out."
    python = shutil.which('python3', path=os.pathsep.join([str(ROOT/'.venv'/'bin'), os.environ['PATH']]))
    has_torch = subprocess.run([python, '-c', 'import torch, pooch'], capture_output=True).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        say(python, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, archive)
        env = {**os.environ, 'PYTHONPATH': folder}
        if has_torch: say(python, '-c', MODULES, folder, cwd=folder, env=env)
        else: print(f'not imported: {python} has no torch')


def index(dist, folder):
    "A package index as pip reads it, of what lies in dist/."
    place = folder/LIB.replace('_', '-')
    place.mkdir(parents=True)
    for p in dist.iterdir(): shutil.copy(p, place)
    place.joinpath('index.html').write_text(''.join(f'<a href="{p.name}">{p.name}</a>\n' for p in sorted(dist.iterdir())), encoding='utf-8')
    return folder.as_uri()


def from_index(dist):
    "Chapter 00 as on Colab, its set-up cell installing `mnist_sgd[course]` from an index of dist/."
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        env = {**os.environ, 'PIP_EXTRA_INDEX_URL': index(dist, folder/'simple')}
        env.pop('PYTHONPATH', None)
        python = folder/'env'/'bin'/'python'
        say(sys.executable, '-m', 'venv', folder/'env')
        say(python, '-m', 'pip', 'install', '--quiet', f'{LIB}[course]', env=env)
        say(python, '-m', 'pip', 'check')
        say(python, ROOT/'.ci'/'run_notebooks.py', '00', '--colab', 'index', env=env)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--index', action='store_true', help='install from an index of dist/ and run chapter 00 too')
    args = p.parse_args()
    shutil.rmtree(DIST, ignore_errors=True)
    for left in ('build', f'{LIB}.egg-info'): shutil.rmtree(ROOT/left, ignore_errors=True)  # else a deleted module would go along
    say(sys.executable, '-m', 'build', '--outdir', DIST, ROOT, stdout=subprocess.DEVNULL)
    say(sys.executable, '-m', 'twine', 'check', '--strict', *sorted(DIST.iterdir()))
    say(Path(sys.executable).parent/'cffconvert', '--validate', '--infile', ROOT/'CITATION.cff')
    if found := list(look()): sys.exit('\n'.join(found))
    print('dist/ has what it should:', *(f'{p.name} ({len(names_in(p))} files, {p.stat().st_size//1000:,} kB)' for p in sorted(DIST.iterdir())))
    from_source(next(DIST.glob('*.tar.gz')))
    if args.index: from_index(DIST)


if __name__ == '__main__': main()
