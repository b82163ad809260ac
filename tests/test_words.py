"""Each chapter's words stand in its prose, and the words that a reader once missed have an entry."""
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# of the words that careful readers found without a meaning, those that fall in these chapters
WANTED = {'01': 'lambda exported view scalar matrix seed squeeze stack cat gather argsort standard-error bias linear-model',
          '02': 'chain-rule graph leaf detach with standard-deviation gradient epoch',
          '03': 'class self metric module normal-distribution standard-deviation sigmoid zip bias',
          '05': 'activation activation-function ReLU Adam resnet'}


def words(cells):
    "The words of the last cell, `- **word, word (sign)**: meaning.` a line."
    lines = ''.join(cells[-1]['source']).strip().splitlines()
    assert lines[0] == '## Words'
    for line in lines[2:]:
        found = re.fullmatch(r'- \*\*(.+?)\*\*: .+\.', line)
        assert found, f'not "- **word**: meaning.": {line}'
        yield from re.sub(r' \(.*?\)', '', found[1]).split(', ')


@pytest.mark.parametrize('number', WANTED)
def test_words_stand_in_the_prose_of_their_chapter(number):
    path, = ROOT.glob(f'nbs/{number}_*.ipynb')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    prose = '\n'.join(''.join(c['source']) for c in cells[:-1] if c['cell_type'] == 'markdown').lower()
    entries = list(words(cells))
    assert [w for w in entries if w.lower() not in prose] == []
    assert [w for w in WANTED[number].split() if w.replace('-', ' ') not in entries] == []


# question -> chapter, and the words on its page that answer it
ANSWERED = {19: ('02', 'Do you have to work out gradients yourself? **No.**'),
            22: ('03', 'A loss is made for `backward`, a metric for people.'),
            26: ('03', '`zip` makes the pairs'),
            27: ('01', 'a **view** is a second way to look at one piece of memory'),
            28: ('03', 'Without a bias its prediction would be 0 for ever'),
            35: ('05', 'is an **activation function**'),
            37: ('05', 'it may have to be very wide, and SGD may not find it')}


@pytest.mark.parametrize('question', ANSWERED)
def test_questions_once_left_open_are_answered_on_their_page(question):
    number, sentence = ANSWERED[question]
    path, = ROOT.glob(f'nbs/{number}_*.ipynb')
    assert sentence in '\n'.join(''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'])
