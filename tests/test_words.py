"""Each chapter's words stand in its prose, and the words that a reader once missed have an entry."""
import json
import re
import sys
from pathlib import Path

import pytest

from mnist_sgd.exercises import PREDICTIONS, question

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'site'))
import glossary  # noqa: E402

# of the words that careful readers found without a meaning, those that fall in these chapters
WANTED = {'00': 'tensor label export', '04': 'class self metric yield with callback momentum',
          '01': 'lambda exported view scalar matrix seed squeeze stack cat gather argsort standard-error bias linear-model',
          '02': 'chain-rule graph leaf detach with standard-deviation gradient epoch',
          '03': 'class self metric module normal-distribution standard-deviation sigmoid zip bias',
          '05': 'activation activation-function ReLU Adam resnet', '06': 'softmax logits gather standard-error',
          '07': 'overfitting augmentation weight-decay dropout', '08': 'buffer Adam convolution padding channel',
          '09': 'dropout hook meta', '10': 'buffer dispatch fused for-each gloo nccl bucket page anonymous-memory '
                                           'tensor-parallel operations-a-second'}


def chapter(number):
    path, = ROOT.glob(f'nbs/{number}_*.ipynb')
    return json.loads(path.read_text(encoding='utf-8'))


def words(cells):
    "The words of the last cell, `- **word, word (sign)**: meaning.` a line."
    lines = ''.join(cells[-1]['source']).strip().splitlines()
    assert lines[:2] == ['## Words', '']
    for line in lines[2:]:
        found = re.fullmatch(r'- \*\*(.+?)\*\*: .+\.', line)
        assert found, f'not "- **word**: meaning.": {line}'
        yield from re.sub(r' \(.*?\)', '', found[1]).replace('`', '').split(', ')


@pytest.mark.parametrize('number', WANTED)
def test_words_stand_in_the_prose_of_their_chapter(number):
    cells = chapter(number)['cells']
    prose = '\n'.join(''.join(c['source']) for c in cells[:-1] if c['cell_type'] == 'markdown').lower()
    entries = list(words(cells))
    assert [w for w in entries if w.lower() not in prose] == []
    assert [w for w in WANTED[number].split() if w.replace('-', ' ') not in entries] == []


@pytest.mark.parametrize('number', WANTED)
def test_each_word_is_linked_once_at_its_first_use(number):
    nb = chapter(number)
    with_links, missing = glossary.linked(nb)
    assert missing == []
    entries = list(words(nb['cells']))
    links = re.findall(r'\[([^\]]+)\]\(#(word-[\w-]+)\)', '\n'.join(c['source'] for c in with_links['cells']))
    assert sorted(name for _, name in links) == sorted(map(glossary.anchor, entries))
    assert all(name.removeprefix('word-') in glossary.anchor(text) for text, name in links)
    page = glossary.page([('A chapter', 'nbs/a.ipynb', nb)])
    assert all(page.count(f'({name})=') == 1 for _, name in links)
    plain = [re.sub(r'\[([^\]]+)\]\(#word-[\w-]+\)', r'\1', c['source']) for c in with_links['cells']]
    assert plain == [''.join(c['source']) for c in nb['cells']]


def test_a_word_is_linked_in_prose_alone():
    text = '# A view\n\n`view` and [a view](x) are none; **view** and view are.'
    assert glossary.with_link(text, 'view') == text.replace('**view**', '**[view](#word-view)**')
    assert glossary.with_link('Call `view` twice.', 'view') == 'Call [`view`](#word-view) twice.'
    assert glossary.with_link('| a view |\n\n> view\n\nreviewed', 'view') is None


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


@pytest.mark.parametrize('name', PREDICTIONS)
def test_predictions_stand_before_the_sentence_that_decides_them(name):
    q = question(name)
    (number, sentence), = q.where
    texts = [''.join(c['source']) for c in chapter(number)['cells']]
    asked = [k for k, text in enumerate(texts) if f"question('{name}').check()" in text]
    said = [k for k, text in enumerate(texts) if sentence in text]
    assert len(asked) == 1 and said, (name, asked, said)
    assert max(said) > asked[0]
