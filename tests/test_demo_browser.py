"""The drawing page in a real browser: the same arithmetic as torch, drawn on, looked at, and given bad input."""
import base64
import io
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from browser import skip
from mnist_sgd.data import load_mnist
from mnist_sgd.demo import page_model, page_server, write_page
from mnist_sgd.own_digit import LIMITS, as_mnist, doubt
from mnist_sgd.recipes import MODEL, load_model
from quick import slow

SIDE = 560                                     # pixels of the sheet, as page.js counts them


@pytest.fixture(scope='module')
def digits(): return load_mnist()[1]


@pytest.fixture(scope='module')
def models(chromium, nets): return {name: load_model(nets/name/MODEL).model for name in ('simple_net', 'cnn')}


@pytest.fixture(scope='module')
def folder(models, digits, tmp_path_factory):
    return write_page(models, tmp_path_factory.mktemp('demo')/'page', digits[0][:50], digits[1][:50])


@pytest.fixture
def address(folder):
    "Where the page is served; the address ends with the test."
    with page_server(folder, 8900) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()
        thread.join(10)


@pytest.fixture
def opened(chromium, address):
    "Opens the page in a fresh context; at the end: no console error, no failed request, none to another host."
    contexts, faults = [], []
    def watch(page):
        page.on('console', lambda m: faults.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: faults.append(str(e)))
        page.on('requestfailed', lambda r: faults.append(f'failed: {r.url}'))
        page.on('response', lambda r: faults.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
        page.on('request', lambda r: faults.append(f'foreign: {r.url}') if not r.url.startswith((address, 'data:')) else None)
    def open_page(width=1280, height=900, net=None, **kwargs):
        contexts.append(chromium.new_context(viewport={'width': width, 'height': height}, **kwargs))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        watch(page)
        page.goto(address)
        if net: page.get_by_label(net).check()
        return page
    yield open_page
    for context in contexts: context.close()
    assert faults == []


def says(page): return page.locator('#says').inner_text().replace('\u00a0', ' ')
def wait_for(page, words):
    "Wait until the page says the words."
    from playwright.sync_api import expect
    expect(page.locator('#says')).to_contain_text(words, timeout=20_000)


def packed(a): return base64.b64encode(np.ascontiguousarray(a, np.uint8).tobytes()).decode()


def stroke(page, points):
    "Draw with the mouse through points of the sheet."
    box = page.locator('#sheet').bounding_box()
    at = [(box['x'] + x*box['width']/SIDE, box['y'] + y*box['height']/SIDE) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]: page.mouse.move(*point)
    page.mouse.up()


THREE = [(180, 170), (230, 120), (300, 110), (370, 140), (385, 210), (340, 260), (270, 275), (340, 290), (400, 340),
         (395, 420), (320, 470), (230, 465), (170, 420)]


# the same arithmetic

def test_logits_equal_torchs_on_1000_test_images(opened, models, digits, record_property):
    rows = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:1000]
    x, page = digits[0][rows], opened()
    told = page.evaluate('''all => {
        const bytes = bytesOf(all), images = Array.from({length: bytes.length/784}, (_, i) =>
            Float64Array.from(bytes.slice(784*i, 784*i + 784), v => v/255));
        return state.nets.map(net => [net.name, images.map(image => Array.from(run(net, image).at(-1)))]);
    }''', packed((x*255).round().numpy()))
    assert [name for name, _ in told] == ['simple_net', 'cnn']
    for name, logits in told:
        wanted, logits = page_model(models[name])(x), torch.tensor(logits)
        assert logits.shape == (1000, 10) and (logits - wanted).abs().max() < 1e-4
        assert (logits.argmax(1) == wanted.argmax(1)).all()
        right = (logits.argmax(1) == digits[1][rows]).sum()
        assert right > {'simple_net': 940, 'cnn': 970}[name]
        record_property('measured', f'{name}: 1,000 test images, largest difference of a logit from torch '
                                    f'{(logits - wanted).abs().max():.1e}, {right} read right')


def sheets(digits, n=60):
    "Pictures of many sizes: digits enlarged, off the middle, light on dark, faint, noisy, and shapes that are no digits."
    rng = np.random.default_rng(1)
    for i, img in enumerate(digits[0][:n].view(-1, 28, 28)):
        width, height = rng.integers(40, 700, 2)
        side = int(rng.integers(20, min(width, height)))
        big = Image.fromarray((img*255).byte().numpy()).resize((side, side), Image.BICUBIC)
        sheet = Image.new('L', (int(width), int(height)), 230)
        sheet.paste(int(rng.integers(0, 150)), (int(rng.integers(width - side)), int(rng.integers(height - side))), big)
        noise = rng.integers(-12, 13, (height, width)) if i % 3 else 0
        grey = (np.asarray(sheet) + noise).clip(0, 255).astype(np.uint8)
        yield 255 - grey if i % 2 else grey
    for size in (8, 8), (9, 30), (100, 101): yield rng.integers(0, 256, size).astype(np.uint8)
    bar = np.full((90, 60), 255, np.uint8)
    bar[20:71, 28:33] = 7
    yield bar
    for i, img in enumerate(digits[0][:12].view(-1, 28, 28)):              # ruled, framed, thin, in the shadow
        big = Image.fromarray((img*255).byte().numpy()).resize((120, 120), Image.BICUBIC).filter(ImageFilter.MinFilter(5))
        sheet = Image.new('L', (240, 220), 240)
        sheet.paste(20, (60, 40), big)
        pen = ImageDraw.Draw(sheet)
        if i%3 == 0: pen.line((0, 185, 240, 190), 60, 3)
        if i%3 == 1: pen.rectangle((40, 20, 200, 180), outline=40, width=4)
        shadow = np.where(np.arange(240) > 150, .6, 1.) if i%2 else 1
        yield (np.asarray(sheet)*shadow).astype(np.uint8)


def test_preprocessing_is_as_mnists_twin(opened, digits):
    page, worst = opened(), 0
    for grey in sheets(digits):
        told = page.evaluate('([all, rows, cols]) => Array.from(asMnist({values: bytesOf(all), rows, cols}))',
                             [packed(grey), *grey.shape])
        worst = max(worst, np.abs(np.reshape(told, (28, 28)) - as_mnist(grey).numpy()).max())
    assert worst < 1e-6


@pytest.mark.parametrize('kind', ['grey', 'colour', 'clear', 'clear rim', 'large', 'turned jpeg'])
def test_a_loaded_picture_is_read_as_predict_reads_it(opened, digits, tmp_path, kind):
    img = digits[0][0].view(28, 28)
    side = 1300 if kind == 'large' else 140
    ink = Image.fromarray((img*255).byte().numpy()).resize((side, side), Image.BICUBIC)
    sheet = Image.new('RGB', (side + 120, side + 60), 'ivory' if kind != 'grey' else 'white')
    sheet.paste('navy', (90, 20), ink)
    file, options, most = tmp_path/'digit.png', {}, 1e-6
    if kind == 'grey': sheet = sheet.convert('L')
    if kind == 'clear': sheet, most = Image.merge('LA', (Image.new('L', ink.size, 40), ink)), .02
    if kind == 'clear rim':
        alpha, most = Image.new('L', sheet.size, 128), .02
        alpha.paste(255, (1, 1, sheet.width - 1, sheet.height - 1))
        sheet.putalpha(alpha)
    if kind == 'turned jpeg':
        exif = Image.Exif()
        exif[274] = 6
        sheet, file, options, most = sheet.transpose(Image.ROTATE_90), tmp_path/'digit.jpg', {'exif': exif}, .05
    sheet.save(file, **options)
    page = opened()
    page.locator('#file').set_input_files(file)
    wait_for(page, 'This is a 7')
    told = page.evaluate('Array.from(asMnist(state.picture))')
    assert np.abs(np.reshape(told, (28, 28)) - as_mnist(file).numpy()).max() < most


def test_page_and_command_doubt_alike(opened, models, digits):
    "200 pictures, digits and none: both give the same reasons in the same words, whichever net is asked."
    from handmade import letter, scribble, shape
    rng = np.random.default_rng(5)
    drawn = [as_mnist(make(rng)) for make in (scribble, shape, letter) for _ in range(25)]
    noise = torch.rand(25, 28, 28, generator=torch.Generator().manual_seed(0))
    noise[15:] = (noise[15:] > .95).float()                                               # specks
    imgs = (torch.stack([*digits[0][:100].view(-1, 28, 28), *drawn, *noise])*255).round()
    told = opened().evaluate('''all => { const bytes = bytesOf(all);
        const images = Array.from({length: 200}, (_, i) => Float64Array.from(bytes.slice(784*i, 784*i + 784), v => v/255));
        return state.nets.map(net => images.map(image => readingOf(image, net).doubts.join('; '))); }''', packed(imgs.numpy()))
    near, said = 0, set()
    for (name, model), reasons in zip(models.items(), told):
        probs = page_model(model)(imgs.flatten(1)/255).softmax(1)
        for p, img, reason in zip(probs, imgs/255, reasons):
            first, second = p.topk(2)[0].tolist()
            if abs(first - LIMITS['sure']) < 1e-4 or first - second < 1e-4: near += 1     # the last digits of a sum may decide
            else: assert reason == doubt(p, img), name
            said |= {part.split(' ')[2] for part in reason.split('; ') if part}
    assert near < 5 and said == {'be', 'of', 'many', 'in'}, (near, said)                  # every reason was given


# drawn by hand

def strokes_of(img):
    "The skeleton of a digit as strokes: points of the sheet, a stroke ends where no new point is near."
    from skimage.morphology import skeletonize
    big = Image.fromarray((img*255).byte().numpy()).resize((280, 280), Image.BICUBIC)
    left = {(int(c), int(r)) for r, c in zip(*np.nonzero(skeletonize(np.asarray(big) > 110)))}
    def near(p): return [(p[0] + i, p[1] + j) for j, i in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
                         if (p[0] + i, p[1] + j) in left]
    while left:
        path = [min(left, key=lambda p: (len(near(p)), p))]              # the end of a line, if there is one
        while path[-1] in left:
            left.remove(path[-1])
            path += near(path[-1])[:1]
        kept = path[::16] + path[-1:]
        if len(path) > 8: yield [(2*x, 2*y) for x, y in kept]


@pytest.mark.parametrize('n, least', [(30, 27), slow(100, 95)])
def test_digits_drawn_with_the_pen(opened, digits, record_property, n, least):
    try: import skimage.morphology                                       # noqa: F401
    except ImportError: skip('no scikit-image: pip install scikit-image')
    rows = torch.randperm(10_000, generator=torch.Generator().manual_seed(7))[:n]
    drawn = [[*strokes_of(digits[0][row].view(28, 28))] for row in rows.tolist()]
    read, shown = zip(*opened().evaluate('''all => {
        const box = sheet.getBoundingClientRect(), plain = readingOf;
        let last;
        readingOf = image => (last = plain(image));
        sheet.setPointerCapture = () => {};                              // there is no such pointer to be held
        const send = (kind, [x, y]) => sheet.dispatchEvent(new PointerEvent(kind, {pointerId: 1, cancelable: true,
            clientX: box.left + x*box.width/560, clientY: box.top + y*box.height/560}));
        return all.map(strokes => {
            clear();
            for (const points of strokes) {
                send('pointerdown', points[0]);
                for (const point of points.slice(1)) send('pointermove', point);
                send('pointerup', points.at(-1));
            }
            return [state.nets.map(net => { const z = run(net, last.image).at(-1); return z.indexOf(Math.max(...z)); }),
                $('digit').textContent];
        });
    }''', drawn))
    assert [text[0] for text in shown] == [str(both[-1]) for both in read]
    right = (torch.tensor(read) == digits[1][rows][:, None]).sum(0).tolist()
    record_property('measured', f'of {n} test digits drawn along their skeletons read right: {right[0]} by simple_net, '
                                f'{right[1]} by cnn')
    assert min(right) >= least


def test_pen_eraser_undo_and_clear(opened):
    page = opened()
    undo = page.locator('#undo')
    assert says(page).startswith('The sheet is blank') and undo.is_disabled()
    stroke(page, THREE)
    assert says(page).startswith('This is a 3')
    three = page.evaluate('sheet.toDataURL()')
    page.get_by_role('button', name='Eraser').click()
    stroke(page, [(x, y) for x in range(100, 460, 60) for y in ((60, 520) if x % 120 else (520, 60))])
    assert says(page).startswith('The sheet is blank')
    undo.click()
    assert page.evaluate('sheet.toDataURL()') == three and says(page).startswith('This is a 3')
    page.get_by_role('button', name='Clear').click()
    assert says(page).startswith('The sheet is blank')
    page.keyboard.press('Control+z')
    assert page.evaluate('sheet.toDataURL()') == three
    undo.click()
    assert says(page).startswith('The sheet is blank') and undo.is_disabled()


def test_touch_draws_and_does_not_scroll(opened):
    page = opened(320, 640, has_touch=True, is_mobile=True)
    page.locator('#sheet').scroll_into_view_if_needed()
    box, before = page.locator('#sheet').bounding_box(), page.evaluate('scrollY')
    touch = page.context.new_cdp_session(page)
    for kind, spot in [('touchStart', THREE[0]), *(('touchMove', p) for p in THREE[1:]), ('touchEnd', None)]:
        points = [] if spot is None else [{a: box[a] + v*box['width']/SIDE for a, v in zip('xy', spot)}]
        touch.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': points})
    wait_for(page, 'This is a 3')
    assert page.evaluate('scrollY') == before


def test_by_keyboard_alone(opened):
    page = opened()
    for _ in range(5):
        page.keyboard.press('Tab')
        if page.evaluate("document.activeElement.id") == 'sheet': break
    for key in ['ArrowUp']*8 + [' ']: page.keyboard.press(key)
    assert says(page) == 'The pen is down.'
    for key in ['ArrowDown']*17 + [' ']: page.keyboard.press(key)
    assert 'a 1' in says(page)
    page.keyboard.press('Backspace')
    assert says(page).startswith('The sheet is blank')
    for key in [' ', ' ', 'Delete']: page.keyboard.press(key)
    assert says(page).startswith('The sheet is blank')
    names = []
    for _ in range(7):
        page.keyboard.press('Tab')
        names.append(page.evaluate("document.activeElement.textContent || document.activeElement.name"))
    assert names == ['Pen', 'Eraser', 'Undo', 'Clear', 'A real test digit', 'Load a picture', 'net']
    page.keyboard.press('ArrowUp')
    assert page.get_by_label('simple_net').is_checked()


def test_real_digits_and_the_choice_of_the_net(opened):
    page, right = opened(), 0
    for _ in range(10):
        page.get_by_role('button', name='A real test digit').click()
        label = says(page).split('Its label says ')[1][0]
        right += page.locator('#digit').inner_text()[0] == label
    assert right >= 8
    assert page.locator('#layers canvas').count() == 16*2 + 32 + 32
    page.get_by_label('simple_net').check()
    assert page.locator('#layers canvas').count() == 30
    fires = page.locator('#layers .fires').count()
    assert 0 < fires < 30 and f'{fires} of 30 fire' in page.locator('#about').inner_text()
    shares = [float(s.rstrip('%').strip(' \u00a0>')) for s in page.locator('#bars span:last-child').all_inner_texts()]
    assert len(shares) == 10 and abs(sum(shares) - 100) < 1


# how it looks and sounds

@pytest.mark.parametrize('width', [320, 800, 1280])
def test_no_scroll_and_nothing_serious_by_axe(opened, width):
    try: from axe_playwright_python.sync_playwright import Axe
    except ImportError: skip('no axe-playwright-python: pip install axe-playwright-python')
    page = opened(width, color_scheme='light', net='simple_net')
    stroke(page, THREE)
    for scheme in 'light', 'dark':
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        bright = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (bright > 128) == (scheme == 'light')
        found = Axe().run(page).response['violations']
        assert [(v['id'], v['impact'], v['nodes'][0]['html']) for v in found if v['impact'] in ('serious', 'critical')] == []


def test_the_theme_can_be_turned(opened):
    page = opened(color_scheme='dark')
    light = page.get_by_role('button', name='Light')
    def bright(): return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]") > 128
    assert not bright()
    light.click()
    assert bright()
    page.get_by_role('button', name='Dark').click()
    assert not bright()


def test_a_result_is_announced_once_a_stroke(opened):
    page = opened()
    says_it = page.locator('#says')
    assert (says_it.get_attribute('role'), says_it.get_attribute('aria-live')) == ('status', 'polite')
    page.evaluate('''() => { window.said = 0; new MutationObserver(() => window.said++).observe(
        document.getElementById('says'), {childList: true, characterData: true, subtree: true}); }''')
    stroke(page, THREE)
    assert page.evaluate('window.said') == 1


def test_weight_and_time_are_measured(opened, folder, record_property):
    page = opened()
    stroke(page, THREE)
    took, = page.evaluate("performance.getEntriesByName('reading').map(e => e.duration)")
    sent = page.evaluate("performance.getEntriesByType('resource').map(e => e.encodedBodySize)")
    weight = sum(f.stat().st_size for f in folder.iterdir())
    assert sum(sent) + (folder/'index.html').stat().st_size == weight < 500_000
    record_property('measured', f'the page weighs {weight:,} bytes; from the last pointer event to the reading {took:.0f} ms')


# no digit

def picture_of_a_cat():
    "A photo of a cat: scikit-image's own."
    try: from skimage import data
    except ImportError: skip('no scikit-image: pip install scikit-image')
    drawn = io.BytesIO()
    Image.fromarray(data.cat()).save(drawn, 'JPEG')
    return drawn.getvalue()


@pytest.mark.parametrize('net', ['simple_net', 'cnn'])
def test_what_is_no_digit_is_doubted(opened, net):
    page = opened(net=net)
    stroke(page, [(300, 300), (301, 301)])
    assert says(page).startswith('Not sure: ') and 'so much of it is ink that it looks like a blot' in says(page), says(page)
    assert page.locator('#digit').inner_text().endswith('?')
    for x in range(100, 500, 100): stroke(page, [(x, 100), (x, 180)])
    assert says(page).startswith('Not sure: ') and 'it is in 5 pieces' in says(page), says(page)
    page.locator('#clear').click()
    rng = np.random.default_rng(3)
    stroke(page, [tuple(p) for p in rng.uniform(80, 480, (25, 2))])
    assert says(page).startswith('Not sure: '), says(page)
    page.evaluate('clear()')
    page.locator('#file').set_input_files({'name': 'cat.jpg', 'mimeType': 'image/jpeg', 'buffer': picture_of_a_cat()})
    wait_for(page, 'Not sure: ')
    blank = io.BytesIO()
    Image.new('RGB', (90, 90), 'pink').save(blank, 'PNG')
    page.locator('#file').set_input_files({'name': 'pink.png', 'mimeType': 'image/png', 'buffer': blank.getvalue()})
    wait_for(page, 'shows no ink')
    page.locator('#file').set_input_files({'name': 'torn.png', 'mimeType': 'image/png', 'buffer': blank.getvalue()[:60]})
    wait_for(page, 'torn.png is no picture that this browser can read.')


@pytest.mark.parametrize('spoil, part', [
    (lambda f: f.write_text(f.read_text()[:50_000]), 'it cannot be read'),
    (lambda f: f.unlink(), 'it cannot be read'),
    (lambda f: f.write_text(f.read_text().replace('"shape": [30, 784]', '"shape": [30, 700]')),
     'layer 0 of simple_net has 23550 numbers, wanted 21030'),
    (lambda f: f.write_text('const TOLD = {};'), 'it holds no net')], ids=['cut', 'gone', 'shape', 'empty'])
def test_broken_weights_get_one_clear_message(chromium, folder, tmp_path, spoil, part):
    shutil.copytree(folder, tmp_path/'page')
    spoil(tmp_path/'page'/'weights.js')
    page = chromium.new_page()
    page.goto((tmp_path/'page'/'index.html').as_uri())
    assert says(page) == f'The file weights.js is missing or broken: {part}. Write the page anew by mnist_sgd demo.'
    assert page.locator('.tools button:enabled').count() == 0
    page.close()


def test_the_folder_opens_without_a_server(chromium, folder):
    page = chromium.new_page()
    page.goto(Path(folder/'index.html').as_uri())
    stroke(page, THREE)
    assert says(page).startswith('This is a 3')
    page.close()
