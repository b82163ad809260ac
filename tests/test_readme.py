"""README.md's example runs as it is printed, and its commands are the ones that .ci/run looks for."""
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT/'README.md').read_text(encoding='utf-8')


def fences(language):
    "The code blocks of that language in README.md."
    return re.findall(rf'^```{language}\n(.*?)^```$', README, re.M | re.S)


def test_example(capsys):
    torch = pytest.importorskip('torch')
    torch.manual_seed(0)
    example, = fences('python')
    exec(compile(example, 'README.md', 'exec'), {'__name__': 'readme'})
    assert len([line for line in example.splitlines() if line.strip()]) == 6
    epoch, train_loss, valid_loss, accuracy = capsys.readouterr().out.splitlines()[-1].split()
    assert float(accuracy) > 0.96


@pytest.mark.parametrize('name', ['train', 'test'])
def test_command_is_one_line_with_its_own_environment(name):
    command, = re.findall(rf'^<!-- command: {name} -->\n```sh\n(.*?)^```$', README, re.M | re.S)
    assert command.count('\n') == 1
    assert command.startswith('python3 -m venv .venv && .venv/bin/pip install -e ')


def stored_output(name):
    "All text that the cells of a notebook have printed."
    cells = json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']
    return ''.join(''.join(o.get('text', '')) for c in cells for o in c.get('outputs', []))


def test_results_are_those_that_the_notebooks_computed():
    block = re.search(r'<!-- results -->\n(.*?)<!-- /results -->', README, re.S)[1].strip().splitlines()
    printed = [line for line in stored_output('08_cnn.ipynb').splitlines() if line.startswith('| ')]
    resnet = [line for line in block if 'resnet18' in line]
    assert len(printed) > 8 and [line for line in block if line not in resnet and '---' not in line] == printed
    assert re.search(r'0\.\d{4}', resnet[0])[0] in stored_output('05_simple_net.ipynb')


def test_pictures_are_there_and_have_alt_text():
    pictures = re.findall(r'!\[(.*?)\]\((?!https:)(.*?)\)', README)
    assert pictures
    for alt, path in pictures:
        assert len(alt) > 20
        assert (ROOT/path).exists(), path
