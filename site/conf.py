"""Sphinx's settings of the site. site/build.py writes the pages and calls Sphinx; settings.ini has the address."""
import hashlib, json
from binascii import a2b_base64
from configparser import ConfigParser
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

project, author, release = cfg['lib_name'], cfg['author'], cfg['version']
copyright = cfg['copyright']
extensions = ['myst_nb', 'sphinx_copybutton']
nitpicky = True
nb_execution_mode = 'off'  # outputs are shown as stored: .ci/run has verified them
nb_ipywidgets_js = {}  # they would come from another host
myst_heading_anchors = 3
myst_enable_extensions = ['attrs_block']
add_module_names = False
toc_object_entries_show_parents = 'hide'

html_theme = 'sphinx_book_theme'
html_title = project
html_context = {'default_mode': 'auto'}  # dark where the reader's system is
html_static_path, templates_path = ['_static'], ['_templates']
html_sidebars = {'**': ['navbar-logo', 'search-button-field', 'draw', 'sbt-sidebar-nav']}
html_css_files, html_favicon = ['custom.css'], '_static/icon.svg'
html_copy_source = html_show_sourcelink = False  # pages are made of notebooks: the whole one is on Colab and GitHub
html_theme_options = dict(
    repository_url=cfg['git_url'], repository_branch=cfg['branch'], use_repository_button=True,
    launch_buttons={'colab_url': 'https://colab.research.google.com'}, use_download_button=False, home_page_in_toc=True,
    navbar_persistent=[], navigation_depth=1,  # as deep as pages stand; deeper entries would be copied for each page, then left out
    pygments_light_style='a11y-high-contrast-light', pygments_dark_style='a11y-high-contrast-dark')


def alt_texts():
    "Alt text of each picture in the notebooks, by the name that myst-nb gives to its file."
    cells = [c for p in ROOT.glob('nbs/**/*.ipynb') for c in json.loads(p.read_text(encoding='utf-8'))['cells']]
    pictures = [o for c in cells for o in c.get('outputs', []) if 'image/png' in o.get('data', {})]
    return {hashlib.sha256(a2b_base64(''.join(o['data']['image/png']))).hexdigest(): o['metadata']['image/png']['alt']
            for o in pictures}


def add_alt_texts(app, doctree):
    "Give pictures the alt text that stands in the output's metadata; myst-nb leaves it out."
    for image in doctree.findall(nodes.image):
        if 'alt' not in image: image['alt'] = ALT_TEXTS[Path(image['uri']).stem]


ALT_TEXTS = alt_texts()


def setup(app): app.connect('doctree-read', add_alt_texts)
