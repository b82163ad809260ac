"""A small HTTP server on 127.0.0.1 that plays a mirror, a package index or a proxy, with a fault chosen by the test."""
import os, socket, struct, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MOST_REQUESTS, LONGEST = 500, 30  # bounds: requests a server answers, seconds one answer may take
PAGE = b'<html><body><h1>Sorry</h1>You are not allowed to see this.</body></html>'

FAULTS = {  # name: a word that the error has to contain
    'refused': 'refused', '403': '403', '404': '404', '503 with a page': '503', '200 with a page': 'hash',
    'empty body': 'hash', 'cut short': 'more expected', 'cut short, no length told': 'hash',
    'right length, wrong bytes': 'hash', 'stall before headers': 'timed out', 'stall in body': 'timed out',
    'redirect loop': 'redirects', 'trickle in body': 'within', 'trickle in headers': 'within', 'reset': 'reset',
    'reset in body': 'reset', 'body without end': 'too many', 'unpacked on the way': 'hash'}


class Mirror:
    "Serve `files` (path -> bytes); `fault` strikes paths that contain `where`. Use in a `with`."
    def __init__(self, files, fault=None, where=''):
        self.files, self.fault, self.where = files, fault, where
        self.asked, self.over = [], threading.Event()

    def __enter__(self):
        if self.fault == 'refused':
            with socket.socket() as s:  # a port that nobody listens on
                s.bind(('127.0.0.1', 0))
                self.port = s.getsockname()[1]
            return self
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), {'mirror': self}))
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': .02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        if hasattr(self, 'server'):
            self.server.shutdown()
            self.server.server_close()

    @property
    def url(self): return f'http://127.0.0.1:{self.port}/'


class _Handler(BaseHTTPRequestHandler):
    mirror, timeout = None, LONGEST

    def log_message(self, *_): pass

    def do_GET(self):
        m, path = self.mirror, unquote(urlsplit(self.path).path).lstrip('/')  # a proxy is sent the whole address
        m.asked.append(path)
        self.end = time.monotonic() + LONGEST
        if len(m.asked) > MOST_REQUESTS: return self.send_error(429)
        body = m.files.get(path, m.files.get(path.rsplit('/', 1)[-1]))
        fault = m.fault if m.where in path else None
        if fault in ('403', '404') or (body is None and fault is None): return self.send_error(int(fault or 404))
        body = body or b'\0'*1000
        if fault is None: return self.answer(body, Content_Type='text/html' if path.endswith('/') else 'application/gzip')
        try: self.strike(fault, body)
        except OSError: pass  # the caller hung up
        self.close_connection = True

    def answer(self, body, status=200, told=None, **headers):
        self.send_response(status)
        if told is not False: self.send_header('Content-Length', str(told or len(body)))
        for name, value in headers.items(): self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data):
        "Send a byte now and then until the test is over; each comes well within a read time-out."
        while not self.mirror.over.wait(.05) and time.monotonic() < self.end: self.wfile.write(data)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.wfile.flush()
        self.connection.close()

    def strike(self, fault, body):
        half, page = body[:len(body)//2], {'Content_Type': 'text/html'}
        if fault == '503 with a page': self.answer(PAGE, 503, **page)
        elif fault == '200 with a page': self.answer(PAGE, **page)
        elif fault == 'empty body': self.answer(b'')
        elif fault == 'cut short': self.answer(half, told=len(body))
        elif fault == 'cut short, no length told': self.answer(half, told=False)
        elif fault == 'right length, wrong bytes': self.answer(bytes(b ^ 255 for b in body[:500]) + body[500:])
        elif fault == 'stall before headers': self.mirror.over.wait(LONGEST)
        elif fault == 'stall in body':
            self.answer(half, told=len(body))
            self.mirror.over.wait(LONGEST)
        elif fault == 'redirect loop': self.answer(b'', 302, Location=self.path)
        elif fault == 'trickle in body':
            self.answer(half[:100], told=len(body))
            self.drip(b'x')
        elif fault == 'trickle in headers':
            self.wfile.write(b'HTTP/1.0 200 OK\r\nX-Slow: ')
            self.drip(b'x')
        elif fault == 'reset': self.reset()
        elif fault == 'reset in body':
            self.answer(half[:100], told=len(body))
            time.sleep(.1)
            self.reset()
        elif fault == 'body without end':
            self.answer(b'', told=False)
            while not self.mirror.over.is_set() and time.monotonic() < self.end: self.wfile.write(os.urandom(2**18))
        elif fault == 'unpacked on the way': self.answer(body, Content_Encoding='gzip')
        else: raise ValueError(f'no such fault: {fault}')
