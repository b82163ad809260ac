"""Digits as people make them, drawn from MNIST's own: thin pens, ruled lines, frames, shadows, neighbours, paper."""
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

def mask(img, rng, side=None, turn=0., lean=0., width=0):
    "Ink of a digit, large; width: pixels by which strokes grow on either side, None for a thin pen."
    side = side or int(rng.integers(110, 200))
    big = Image.fromarray((np.asarray(img)*255).round().astype(np.uint8)).resize((side, side), Image.BICUBIC)
    if width is None:
        from skimage.morphology import skeletonize
        line = Image.fromarray((skeletonize(np.asarray(big) > 110)*255).astype(np.uint8))
        big = line.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(.7))
    elif width > 0: big = big.filter(ImageFilter.MaxFilter(2*width + 1))
    if turn or lean:
        a = np.radians(turn); c, s = np.cos(a), np.sin(a)
        m = np.array([[c, s], [-s, c]])@np.array([[1, lean], [0, 1]])
        mid = side/2; off = mid - m@[mid, mid]
        big = big.transform((side, side), Image.AFFINE, (*m[0], off[0], *m[1], off[1]), Image.BICUBIC)
    return big

def sheet_of(big, rng, room=(.2, .9)):
    "A larger layer of ink with the digit somewhere on it."
    s = big.size[0]
    w, h = (int(s*(1 + rng.uniform(*room))) for _ in range(2))
    at = int(rng.integers(0, w - s + 1)), int(rng.integers(0, h - s + 1))
    layer = Image.new('L', (w, h)); layer.paste(big, at)
    return layer

def lit(layer, rng, paper=(235, 255), ink=(0, 70), light=None, noise=0., blur=0.):
    "Ink on paper, 'L' or RGB; light: a factor for each pixel."
    a = np.asarray(layer, float)/255
    p, k = rng.uniform(*paper), rng.uniform(*ink)
    out = p*(1 - a) + k*a
    if light is not None: out = out*light
    if noise: out = out + rng.normal(0, noise, out.shape)
    im = Image.fromarray(out.clip(0, 255).astype(np.uint8))
    if blur: im = im.filter(ImageFilter.GaussianBlur(blur))
    return im

def ink_box(layer):
    return layer.point(lambda v: 255*(v > 100)).getbbox()

def shade(size, rng):
    "Uneven light: a slope and the soft edge of a shadow, factors of .45 to 1."
    w, h = size
    x, y = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
    a = rng.uniform(0, 2*np.pi); d = x*np.cos(a) + y*np.sin(a)
    slope = 1 - rng.uniform(.1, .25)*(d + 1)/2
    b = rng.uniform(0, 2*np.pi); e = x*np.cos(b) + y*np.sin(b)
    return slope*(1 - rng.uniform(.1, .35)/(1 + np.exp(-(e - rng.uniform(-.2, .6))*rng.uniform(3, 12))))

def texture(size, rng):
    w, h = size
    coarse = Image.fromarray(rng.normal(0, 1, (h//12 + 2, w//12 + 2)).astype(np.float32)).resize((w, h), Image.BICUBIC)
    return np.asarray(coarse)*rng.uniform(2, 5) + rng.normal(0, rng.uniform(2, 5), (h, w))

def make(kind, img, rng, other=None):
    "One picture of `kind` of the 28×28 digit `img`."
    big = mask(img, rng, width={'thin': None, 'thick': int(rng.integers(3, 7))}.get(kind, 0),
               turn=rng.uniform(-20, 20)*(kind == 'turned'), lean=rng.uniform(-.5, .5)*(kind == 'slanted'))
    layer = sheet_of(big, rng)
    if kind == 'ruled':
        layer = sheet_of(big, rng, (.5, 1.2))
        draw, thick = ImageDraw.Draw(layer), int(rng.integers(1, 5))
        l, t, r, b = ink_box(layer); w, h = layer.size
        slope = rng.uniform(-.02, .02)*w
        both = (t - rng.integers(thick + 8, 40), b + rng.integers(thick + 8, 40))[::rng.choice([-1, 1])]
        for y in both[:rng.integers(1, 3)]:
            draw.line([(-5, y - slope/2), (w + 5, y + slope/2)], int(rng.integers(150, 256)), thick)
        if rng.random() < .4:
            x = l - rng.integers(thick + 8, 40); draw.line([(x, -5), (x, h + 5)], int(rng.integers(150, 256)), thick)
    if kind == 'on a line':
        layer = sheet_of(big, rng, (.5, 1.2))
        draw, thick = ImageDraw.Draw(layer), int(rng.integers(1, 4))
        l, t, r, b = ink_box(layer); w, h = layer.size
        slope = rng.uniform(-.01, .01)*w; y = b - rng.integers(0, 8)
        draw.line([(-5, y - slope/2), (w + 5, y + slope/2)], int(rng.integers(150, 256)), thick)
    if kind == 'framed':
        layer = sheet_of(big, rng, (.6, 1.))
        draw, thick = ImageDraw.Draw(layer), int(rng.integers(2, 6))
        l, t, r, b = ink_box(layer); g = rng.integers(thick + 8, 30, 4)
        draw.rectangle((l - g[0], t - g[1], r + g[2], b + g[3]), outline=int(rng.integers(180, 256)), width=thick)
    if kind == 'neighbour':
        l, t, r, b = ink_box(layer); g = 12
        l, t, r, b = l - g, t - g, r + g, b + g
        wide = Image.new('L', (layer.size[0] + 400, layer.size[1] + 400)); wide.paste(layer, (200, 200))
        o = mask(other, rng, side=big.size[0]); o = o.crop(ink_box(o))
        side = int(rng.integers(0, 4)); show = int(rng.integers(4, 30))
        x, y = {0: (l - g - o.size[0], (t + b - o.size[1])//2), 1: (r + g, (t + b - o.size[1])//2),
                2: ((l + r - o.size[0])//2, t - g - o.size[1]), 3: ((l + r - o.size[0])//2, b + g)}[side]
        wide.paste(o, (x + 200, y + 200), o)
        cut = [l - g - 2, t - g - 2, r + g + 2, b + g + 2]
        cut[(0, 2, 1, 3)[side]] += show*(-1 if side in (0, 2) else 1)
        layer = wide.crop([v + 200 for v in cut])
    if kind == 'shadowed': return lit(layer, rng, light=shade(layer.size, rng), noise=2, ink=(10, 80))
    if kind == 'blurred': return lit(layer, rng, blur=rng.uniform(2, 5))
    if kind == 'faint': return lit(layer, rng, paper=(225, 250), ink=(140, 195), noise=2.5)
    if kind == 'clear rim':
        s = int(rng.choice([28, 56, 140]))
        im = lit(layer, rng).resize((s, s), Image.BOX).convert('RGBA')
        alpha = Image.new('L', im.size, 128); alpha.paste(255, (1, 1, s - 1, s - 1)); im.putalpha(alpha)
        return im
    if kind == 'textured' or kind == 'photo':
        light = shade(layer.size, rng) if kind == 'photo' else None
        blur = rng.uniform(.5, 1.6)
        grey = np.asarray(lit(layer, rng, paper=(140, 215), ink=(30, 90), light=light, blur=blur), float)
        grey = (grey + texture(layer.size, rng)).clip(0, 255)
        a = np.asarray(layer, float)[..., None]/255
        tint = (1 - a)*[1, .97, .9] + a*[.8, .85, 1.15]
        im = Image.fromarray((grey[..., None]*tint).clip(0, 255).astype(np.uint8))
        im.save(f := io.BytesIO(), 'JPEG', quality=int(rng.integers(40, 90)))
        return Image.open(f).convert('RGB')
    return lit(layer, rng)

KINDS = ('plain', 'thin', 'thick', 'turned', 'slanted', 'ruled', 'on a line', 'framed', 'shadowed', 'faint', 'neighbour',
         'clear rim', 'textured', 'photo', 'blurred')

def pictures(kind, imgs, seed=0):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    for i, img in enumerate(imgs): yield make(kind, np.asarray(img), rng, np.asarray(imgs[i - 1]))


def page(imgs, seed=0, cols=6):
    "A photographed page of digits, line by line."
    rng, cell = np.random.default_rng(seed), 110
    layer = Image.new('L', (cols*cell + 80, -(-len(imgs)//cols)*(cell + 20) + 80))
    for i, img in enumerate(imgs):
        big = mask(img, rng, side=int(rng.integers(80, 105)), turn=rng.uniform(-8, 8))
        at = 40 + i%cols*cell + int(rng.integers(0, 8)), 40 + i//cols*(cell + 20) + int(rng.integers(0, 10))
        layer.paste(big, at, big)
    grey = np.asarray(lit(layer, rng, paper=(170, 225), ink=(30, 90), light=shade(layer.size, rng), blur=1.), float)
    return Image.fromarray((grey + texture(layer.size, rng)).clip(0, 255).astype(np.uint8))


def scribble(rng):
    "A pencil that ran about on the sheet."
    im = Image.new('L', (200, 200), 255)
    for _ in range(int(rng.integers(1, 4))):
        corners = rng.uniform(30, 170, (int(rng.integers(4, 9)), 2))
        t, smooth = np.linspace(0, len(corners) - 1, 120), np.ones(25)/25
        x, y = (np.convolve(np.interp(t, np.arange(len(corners)), v), smooth, 'valid') for v in corners.T)
        ImageDraw.Draw(im).line(list(zip(x, y)), 0, int(rng.integers(5, 14)), joint='curve')
    return im

def shape(rng):
    "A blot, a block, a triangle, a cross, a plus, a box or a dash."
    im, width, k = Image.new('L', (200, 200), 255), int(rng.integers(5, 14)), int(rng.integers(0, 7))
    pen, (l, t), (r, b) = ImageDraw.Draw(im), rng.uniform(30, 70, 2), rng.uniform(130, 170, 2)
    x, y = (l + r)/2, (t + b)/2
    if k == 0: pen.ellipse((l, t, r, b), fill=0)
    if k == 1: pen.rectangle((l, t, r, b), fill=0)
    if k == 2: pen.polygon([(x, t), (l, b), (r, b)], outline=0, width=width)
    if k == 3: pen.line((l, t, r, b), 0, width); pen.line((l, b, r, t), 0, width)
    if k == 4: pen.line((x, t, x, b), 0, width); pen.line((l, y, r, y), 0, width)
    if k == 5: pen.rectangle((l, t, r, b), outline=0, width=width)
    if k == 6: pen.line((l, y, r, y + 5), 0, width)
    return im

def letter(rng):
    "A printed letter that looks like no digit, slightly turned."
    import matplotlib
    faces = 'DejaVuSans.ttf', 'DejaVuSerif.ttf', 'STIXGeneralItalic.ttf'
    face = f'{matplotlib.get_data_path()}/fonts/ttf/{rng.choice(faces)}'
    im = Image.new('L', (200, 200), 255)
    letters = list('ACDEFGHJKLMNPQRTUVWXYabdefhkmnprtuvwxy')
    ImageDraw.Draw(im).text((45, 15), str(rng.choice(letters)), 0, ImageFont.truetype(face, int(rng.integers(90, 150))))
    return im.rotate(rng.uniform(-10, 10), fillcolor=255)
