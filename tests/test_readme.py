"""README.md's example runs as it is printed, and its commands are the ones that .ci/run looks for."""
import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent/'README.md').read_text(encoding='utf-8')


def fences(language):
    "The code blocks of that language in README.md."
    return re.findall(rf'^```{language}\n(.*?)^```$', README, re.M | re.S)


def test_example(capsys):
    torch = pytest.importorskip('torch')
    torch.manual_seed(0)
    example, = fences('python')
    exec(compile(example, 'README.md', 'exec'), {'__name__': 'readme'})
    accuracy = re.search(r'^(0\.\d+) of the test images', capsys.readouterr().out, re.M)
    assert accuracy and float(accuracy[1]) > 0.93


@pytest.mark.parametrize('name', ['train', 'test'])
def test_command_is_one_line_with_its_own_environment(name):
    command, = re.findall(rf'^<!-- command: {name} -->\n```sh\n(.*?)^```$', README, re.M | re.S)
    assert command.count('\n') == 1
    assert command.startswith('python3 -m venv .venv && .venv/bin/pip install -e ')


def test_pictures_are_there_and_have_alt_text():
    pictures = re.findall(r'!\[(.*?)\]\((?!https:)(.*?)\)', README)
    assert pictures
    for alt, path in pictures:
        assert len(alt) > 20
        assert (Path(__file__).resolve().parent.parent/path).exists(), path
