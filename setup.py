"""Package metadata: all of it read from settings.ini and README.md, for the pyproject.toml that nbdev writes."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).resolve().parent
config = ConfigParser(delimiters=['='])
config.read(root/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
lib, url = cfg['lib_name'], cfg['git_url']

statuses = {'1': 'Planning', '2': 'Pre-Alpha', '3': 'Alpha', '4': 'Beta', '5': 'Production/Stable'}
licenses = {'apache2': 'Apache-2.0'}
oldest, newest = (int(cfg[key].split('.')[1]) for key in ('min_python', 'max_python'))
pythons = [f'3.{minor}' for minor in range(oldest, newest + 1)]

course = cfg['course_requirements'].split()
dev = cfg['dev_requirements'].split()
bench = cfg['bench_requirements'].split()
readme = root/'README.md'

setup(
    name=lib,
    version=cfg['version'],
    description=cfg['description'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else cfg['description'],
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'].split(),
    author=cfg['author'],
    author_email=cfg['author_email'],
    license=licenses[cfg['license']],
    url=url,
    project_urls={'Source': url, 'Issues': f'{url}/issues', 'Changelog': f'{url}/blob/{cfg["branch"]}/CHANGELOG.md'},
    classifiers=[
        f'Development Status :: {cfg["status"]} - {statuses[cfg["status"]]}',
        f'Intended Audience :: {cfg["audience"]}',
        f'Natural Language :: {cfg["language"]}',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: {p}' for p in pythons),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires=f'>={cfg["min_python"]}',
    packages=find_packages(include=[lib, f'{lib}.*']),
    include_package_data=False,  # what goes along stands in the next line, not in MANIFEST.in
    package_data={lib: ['page/*']},
    install_requires=cfg['requirements'].split(),
    extras_require={'course': course, 'dev': course + dev, 'bench': course + bench},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f'{lib}={lib}._modidx:d']},
    zip_safe=False,
)
