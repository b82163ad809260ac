"""The blocks of README.md beside it, and of the one above, that other scripts of this folder write, each between two marks."""
import re, sys
from pathlib import Path

README = Path(__file__).with_name('README.md')
FRONT = Path(__file__).resolve().parent.parent/'README.md'


def write(mark, text, file=README):
    "Put `text` in the place marked <!-- mark --> of a file; end with a sentence where there is no such place, or more than one."
    new, n = re.subn(rf'<!-- {mark} -->\n.*?<!-- /{mark} -->', lambda _: f'<!-- {mark} -->\n{text}\n<!-- /{mark} -->',
                     file.read_text(encoding='utf-8'), flags=re.S)
    if n != 1: sys.exit(f'{file.parent.name}/README.md has {n} places marked <!-- {mark} -->, wanted 1')
    file.write_text(new, encoding='utf-8')
