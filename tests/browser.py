"""A browser for the tests: Debian's chromium driven by Playwright. Where there is none a test skips and says why;
with MNIST_SGD_NO_SKIP=1, as in .ci/run, that is a failure."""
import contextlib, functools, os, shutil, threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
        '--disable-frame-rate-limit', '--disable-gpu-vsync']   # a pointer event need not wait for the next picture


def skip(why):
    "Skip the test, or fail it where no test may be left out."
    if os.environ.get('MNIST_SGD_NO_SKIP'): pytest.fail(f'{why}, and MNIST_SGD_NO_SKIP is set', pytrace=False)
    pytest.skip(why)


@contextlib.contextmanager
def chromium():
    "A running browser."
    path = next(filter(None, map(shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
    if path is None: skip('no chromium: apt-get install chromium')
    try: from playwright.sync_api import sync_playwright
    except ImportError: skip("no playwright: pip install -e '.[dev]'")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@contextlib.contextmanager
def served(folder):
    "The address of a server on loopback that serves `folder`."
    with ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()
