"""The blocks of README.md beside it that other scripts of this folder write, each between two marks."""
import re, sys
from pathlib import Path

README = Path(__file__).with_name('README.md')


def write(mark, text):
    "Put `text` in the place marked <!-- mark -->; end with a sentence where there is no such place, or more than one."
    new, n = re.subn(rf'<!-- {mark} -->\n.*?<!-- /{mark} -->', lambda _: f'<!-- {mark} -->\n{text}\n<!-- /{mark} -->',
                     README.read_text(encoding='utf-8'), flags=re.S)
    if n != 1: sys.exit(f'benchmarks/README.md has {n} places marked <!-- {mark} -->, wanted 1')
    README.write_text(new, encoding='utf-8')
