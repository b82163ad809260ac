// The arithmetic of the page: a picture becomes 28×28 as MNIST was made, and a net reads it.
// Nothing in here touches the page. The notebook `demo` explains it, and tests hold it to its twins in Python.
'use strict';

const SIDE = 28;
const LEAST_WIDTH = 1.9;       // of 20 pixels: the least width of a stroke

// One brightness for each pixel of a canvas: by the usual weights, or by the one channel that shows four times the ink.
function greyOf(picture) {
  const {data, width, height} = shrink(picture), n = width*height;
  const plain = new Float64Array(n);
  let isGrey = true;
  for (let p = 0; p < n && isGrey; p++) {
    plain[p] = data[4*p];
    isGrey = data[4*p + 3] === 255 && data[4*p] === data[4*p + 1] && data[4*p] === data[4*p + 2];
  }
  if (isGrey) return {values: plain, rows: height, cols: width};
  const rgb = [0, 1, 2].map(c => Float64Array.from({length: n}, (_, p) => data[4*p + c]));
  layOnPaper(rgb, data);
  const luma = rgb[0].map((r, p) => .299*r + .587*rgb[1][p] + .114*rgb[2][p]);
  if (rgb[0].every((r, p) => r === rgb[1][p] && r === rgb[2][p])) return {values: rgb[0], rows: height, cols: width};
  const views = [luma, ...rgb].map(values => ({values, rows: height, cols: width}));
  const power = views.map(view => {
    const paper = paperOf(view);
    return view.values.reduce((sum, v) => sum + (v - paper)**2, 0);
  });
  const best = power.indexOf(Math.max(...power));
  return views[power[best] > 4*power[0] ? best : 0];
}

// Clear parts show what lies behind: paper if most is opaque, otherwise white under dark ink and black under light.
function layOnPaper(rgb, data) {
  const n = rgb[0].length, solid = [];
  let light = 0, weight = 0, clear = false;
  for (let p = 0; p < n; p++) {
    const alpha = data[4*p + 3]/255;
    if (alpha < 1) clear = true;
    if (alpha >= .5) solid.push(p);
    light += (.299*rgb[0][p] + .587*rgb[1][p] + .114*rgb[2][p])*alpha; weight += alpha;
  }
  if (!clear) return;
  for (const channel of rgb) {
    const behind = solid.length >= n/2 ? medianOf(solid.map(p => channel[p])) : light <= 127.5*weight ? 255 : 0;
    for (let p = 0; p < n; p++) channel[p] = channel[p]*data[4*p + 3]/255 + behind*(1 - data[4*p + 3]/255);
  }
}

// A large picture by a whole factor smaller, so that no side is over 1,000 pixels; clear pixels lend no colour.
function shrink({data, width, height}) {
  const k = Math.ceil(Math.max(width, height)/1000);
  if (k === 1) return {data, width, height};
  const small = {width: Math.ceil(width/k), height: Math.ceil(height/k)};
  small.data = new Uint8Array(4*small.width*small.height);
  for (let p = 0; p < small.width*small.height; p++) {
    const top = Math.floor(p/small.width)*k, left = p%small.width*k, sum = [0, 0, 0, 0];
    let count = 0;
    for (let r = top; r < Math.min(top + k, height); r++) for (let c = left; c < Math.min(left + k, width); c++, count++) {
      const i = 4*(r*width + c);
      for (let j = 0; j < 3; j++) sum[j] += data[i + j]*data[i + 3];
      sum[3] += data[i + 3];
    }
    for (let j = 0; j < 3; j++) small.data[4*p + j] = sum[3] ? Math.floor(sum[j]/sum[3] + .5) : 0;
    small.data[4*p + 3] = Math.floor(sum[3]/count + .5);
  }
  return small;
}

function sortedOf(values) { return Float64Array.from(values).sort(); }
function medianOf(values) {
  const all = sortedOf(values);
  return (all[(all.length - 1) >> 1] + all[all.length >> 1])/2;
}

function rimOf({values, rows, cols}) {
  const rim = [];
  for (let c = 0; c < cols; c++) rim.push(values[c], values[(rows - 1)*cols + c]);
  for (let r = 1; r < rows - 1; r++) rim.push(values[r*cols], values[r*cols + cols - 1]);
  return rim;
}

// The middle value of the outermost pixels: the paper.
function paperOf(grey) { return medianOf(rimOf(grey)); }

// Max, min or mean over the square of 2r + 1 around each place; beyond the rim the rim goes on.
function over(table, r, what) {
  for (let axis = 0; axis < 2; axis++) {
    const {values, rows, cols} = table, out = new Float64Array(values.length);
    for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) {
      const near = [];
      for (let d = -r; d <= r; d++) near.push(values[i*cols + Math.min(Math.max(j + d, 0), cols - 1)]);
      out[i*cols + j] = what(near);
    }
    table = turned({values: out, rows, cols});
  }
  return table;
}

// Draw straight lines through the rows of a table, to `count` rows.
function between({values, rows, cols}, count) {
  const out = new Float64Array(count*cols);
  for (let i = 0; i < count; i++) {
    const x = Math.min(Math.max((i + .5)*rows/count - .5, 0), rows - 1), lo = Math.floor(x), hi = Math.min(lo + 1, rows - 1);
    for (let c = 0; c < cols; c++) out[i*cols + c] = values[lo*cols + c]*(1 - x + lo) + values[hi*cols + c]*(x - lo);
  }
  return {values: out, rows: count, cols};
}

// The brightness of the paper at each pixel, where ink is darker: strokes are filled in, shadows stay.
function unevenPaper(grey) {
  const n = Math.min(48, grey.rows, grey.cols), r = Math.max(Math.floor(n*35/200), 1);
  const coarse = turned(placeRows(turned(placeRows(grey, grey.rows/n, 0, n)), grey.cols/n, 0, n));
  const closed = over(over(coarse, r, near => Math.max(...near)), r, near => Math.min(...near));
  const smooth = over(closed, 2, near => near.reduce((a, b) => a + b)/near.length);
  return turned(between(turned(between(smooth, grey.rows)), grey.cols)).values;
}

// Ink in units of its own strength: the median of all that is at least half the strongest.
function strong(table) {
  const most = table.values.reduce((a, b) => Math.max(a, b), 0), unit = medianOf(table.values.filter(v => v >= .5*most));
  return {...table, values: table.values.map(v => Math.round(v/unit*1e9)/1e9)};
}

// Ink of each pixel, 0 paper, 1 full, whichever of ink and paper is darker; null if there is none to be seen.
function inkOf(grey) {
  const {rows, cols} = grey;
  if (Math.min(rows, cols) < 8) return null;
  let values = Float64Array.from(grey.values), sum = 0, paper = paperOf(grey);
  for (const v of values) sum += (v - paper)*Math.abs(v - paper);
  if (sum >= 0) { values = values.map(v => 255 - v); paper = 255 - paper; }
  const edge = sortedOf(rimOf(grey)), tenth = Math.floor(edge.length/10);
  const uneven = edge[edge.length - 1 - tenth] - edge[tenth] > 12 ? unevenPaper({values, rows, cols}) : null;
  const paperAt = p => uneven ? uneven[p] : paper;
  if (values.reduce((most, v, p) => Math.max(most, paperAt(p) - v), 0) < 25) return null;
  return strong({values: values.map((v, p) => Math.max(paperAt(p) - v, 0)/Math.max(paperAt(p), 32)), rows, cols});
}

// For each pixel of a mask the length of the upright run that it lies in; 0 outside.
function heightsOf({values, rows, cols}) {
  const lengths = new Int32Array(values.length);
  for (let c = 0; c < cols; c++) for (let r = 0; r < rows; r++) {
    let end = r;
    while (end < rows && values[end*cols + c]) end++;
    for (let i = r; i < end; i++) lengths[i*cols + c] = end - r;
    r = end;
  }
  return lengths;
}

// Take lines that run from rim to rim, level or nearly so, out of a mask; strokes that cross them stay.
function unruled(mask) {
  const {values, rows, cols} = mask, k = Math.ceil(Math.max(rows, cols)/250);
  const h = Math.ceil(rows/k), w = Math.ceil(cols/k), small = new Uint8Array(h*w), line = new Uint8Array(h*w);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++)
    if (values[r*cols + c]) small[Math.floor(r/k)*w + Math.floor(c/k)] = 1;
  for (let s = -16; s <= 16; s++) {
    const down = Array.from({length: w}, (_, x) => Math.floor((x - w/2)*(s*.005) + .5));
    for (let y = 0; y < h; y++) {
      let seen = 0;
      for (let x = 0; x < w; x++) { const row = y + down[x]; if (row >= 0 && row < h && small[row*w + x]) seen++; }
      if (seen < .95*w) continue;
      for (let x = 0; x < w; x++) for (let near = -1; near < 2; near++) {
        const row = y + down[x] + near;
        if (row >= 0 && row < h) line[row*w + x] = 1;
      }
    }
  }
  if (!line.includes(1)) return mask;
  const heights = heightsOf(mask), most = Math.max(3*k, Math.floor(rows/12));
  const without = values.map((v, p) =>
    v && !(line[Math.floor(Math.floor(p/cols)/k)*w + Math.floor(p%cols/k)] && heights[p] <= most));
  return {values: without, rows, cols};
}

// The pieces of ink, corners included: number of each pixel's piece (0 outside), and box, ink, strongest pixel of each.
function inkPieces(mask, ink) {
  const {values, rows, cols} = mask, of = new Int32Array(values.length), pieces = [null];
  for (let start = 0; start < values.length; start++) {
    if (!values[start] || of[start]) continue;
    const piece = {left: cols, top: rows, right: 0, bottom: 0, ink: 0, most: 0, count: 0, rim: false}, todo = [start];
    of[start] = pieces.push(piece) - 1;
    while (todo.length) {
      const p = todo.pop(), r = Math.floor(p/cols), c = p%cols;
      piece.left = Math.min(piece.left, c); piece.right = Math.max(piece.right, c + 1);
      piece.top = Math.min(piece.top, r); piece.bottom = Math.max(piece.bottom, r + 1);
      piece.ink += ink[p]; piece.most = Math.max(piece.most, ink[p]); piece.count++;
      piece.rim ||= r === 0 || c === 0 || r === rows - 1 || c === cols - 1;
      for (let i = Math.max(r - 1, 0); i < Math.min(r + 2, rows); i++)
        for (let j = Math.max(c - 1, 0); j < Math.min(c + 2, cols); j++)
          if (values[i*cols + j] && !of[i*cols + j]) { of[i*cols + j] = of[p]; todo.push(i*cols + j); }
    }
  }
  return {of, pieces};
}

// Does a piece lie along the sides of its box alone, along three of them at least, with another piece inside the box?
function isFrame({of, pieces}, number, cols) {
  const {left, top, right, bottom, count} = pieces[number], w = right - left, h = bottom - top;
  const m = Math.max(2, Math.floor(Math.min(w, h)*12/100)), others = new Set();
  if (Math.min(w, h) <= 2*m) return false;
  const sides = [new Set(), new Set(), new Set(), new Set()];
  let inside = 0;
  for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) {
    const piece = of[(top + r)*cols + left + c];
    if (piece !== number) { if (piece) others.add(piece); continue; }
    if (r < m) sides[0].add(c);
    if (r >= h - m) sides[1].add(c);
    if (c < m) sides[2].add(r);
    if (c >= w - m) sides[3].add(r);
    if (r >= m && r < h - m && c >= m && c < w - m) inside++;
  }
  return inside <= .05*count && others.size > 0
    && sides.filter((side, i) => side.size > .9*(i < 2 ? w : h)).length >= 3;
}

// Ink of the digit alone: no ruled line, frame, piece at the rim, speck.
function digitOf({values, rows, cols}) {
  const all = {values: Uint8Array.from(values, v => v >= .2), rows, cols}, lineless = turned(unruled(turned(unruled(all))));
  const mask = values.some((v, p) => v >= .5 && lineless.values[p]) ? lineless : all;
  const found = inkPieces(mask, values), pieces = found.pieces;
  for (const piece of pieces) if (piece && piece.most < .5) piece.ink = 0;
  const heavy = pieces.map((_, i) => i).slice(1).sort((a, b) => pieces[b].ink - pieces[a].ink);
  let good = new Set(heavy.filter(i => pieces[i].ink > 0 && !pieces[i].rim));
  for (const i of heavy.slice(0, 4)) if (good.has(i) && isFrame(found, i, cols)) good.delete(i);
  const inkIn = numbers => [...numbers].reduce((sum, i) => sum + pieces[i].ink, 0);
  if (inkIn(good) < .05*inkIn(heavy)) good = new Set(heavy.filter(i => pieces[i].ink > 0));
  const least = .03*Math.max(0, ...[...good].map(i => pieces[i].ink));
  for (const i of good) if (pieces[i].ink < least) good.delete(i);
  return {values: values.map((v, p) => good.has(found.of[p]) ? v : 0), rows, cols};
}

// Cut out the box from the first row and column with ink of `least` to the last one.
function cut({values, rows, cols}, least) {
  let top = rows, left = cols, bottom = 0, right = 0;
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) if (values[r*cols + c] >= least) {
    top = Math.min(top, r); bottom = r + 1; left = Math.min(left, c); right = Math.max(right, c + 1);
  }
  const box = {rows: bottom - top, cols: right - left};
  box.values = Float64Array.from({length: box.rows*box.cols}, (_, p) =>
    values[(top + Math.floor(p/box.cols))*cols + left + p%box.cols]);
  return box;
}

// The mean width of the strokes, in pixels: twice the ink over the length of its outline.
function widthOf({values, rows, cols}) {
  const on = (r, c) => r >= 0 && c >= 0 && r < rows && c < cols && values[r*cols + c] >= .5;
  let outline = 0;
  for (let r = 0; r <= rows; r++) for (let c = 0; c <= cols; c++)
    outline += (on(r, c) !== on(r - 1, c)) + (on(r, c) !== on(r, c - 1));
  return 2*values.reduce((a, b) => a + b, 0)/(outline*Math.PI/4);
}

// Make strokes that would be thinner than LEAST_WIDTH of 20 pixels so wide: each pixel takes the most that is near.
function bold(ink) {
  const fine = 4, n = SIDE*fine, side = Math.max(ink.rows, ink.cols), grow = (LEAST_WIDTH - widthOf(ink)*20/side)/2;
  if (grow < .1) return ink;
  const step = side/((20 - 2*grow)*fine), r = grow*fine, reach = Math.floor(r);
  const shift = size => (n - size/step)/2;
  const down = placeRows(ink, step, shift(ink.rows), n), small = turned(placeRows(turned(down), step, shift(ink.cols), n));
  const values = new Float64Array(n*n);
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) if (dy*dy + dx*dx <= r*r)
    for (let p = 0; p < n*n; p++) {
      const row = (Math.floor(p/n) - dy + n)%n, col = (p%n - dx + n)%n;
      values[p] = Math.max(values[p], small.values[row*n + col]);
    }
  return cut({values, rows: n, cols: n}, .25);
}

// By how many new pixels rows and columns have to move so that the centre of mass lies on pixel 14 of 28.
function shiftsOf({values, rows, cols}, step) {
  let mass = 0, down = 0, across = 0;
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) {
    const v = values[r*cols + c];
    mass += v; down += v*(r + .5); across += v*(c + .5);
  }
  return [down, across].map(moment => Math.floor(14.5 - moment/mass/step + .5));
}

function turned({values, rows, cols}) {
  const across = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) across[c*rows + r] = values[r*cols + c];
  return {values: across, rows: cols, cols: rows};
}

// Shrink the rows by `step`: each new pixel is the average over the area of old ones that it covers.
function placeRows({values, rows, cols}, step, shift, count = SIDE) {
  const placed = new Float64Array(count*cols);
  for (let i = 0; i < count; i++) {
    const lo = (i - shift)*step, hi = lo + step;
    for (let r = Math.max(Math.floor(lo), 0); r < Math.min(hi, rows); r++) {
      const share = (Math.min(hi, r + 1) - Math.max(lo, r))/step;
      for (let c = 0; c < cols; c++) placed[i*cols + c] += share*values[r*cols + c];
    }
  }
  return {values: placed, rows: count, cols};
}

// Grey picture to 784 numbers from 0 to 1, as MNIST was made; null if no ink is to be seen.
function asMnist(grey) {
  const ink = inkOf(grey);
  if (!ink) return null;
  const full = cut(strong(digitOf(ink)), .5);
  const box = bold({...full, values: full.values.map(v => Math.min(Math.max((v - .1)/.8, 0), 1))});
  const step = Math.max(box.rows, box.cols)/20;
  const [down, across] = shiftsOf(box, step);
  const image = turned(placeRows(turned(placeRows(box, step, down)), step, across)).values;
  const top = sortedOf(image).slice(-20).reduce((a, b) => a + b)/20;
  return image.map(v => Math.min(v/Math.max(top, .2), 1));
}

// A number of 16 bits: sign, exponent of 2, fraction.
function fromHalf(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = (bits & 1023)/1024;
  if (exponent === 31) throw new Error('a weight is no number');
  return sign*(exponent ? 2**(exponent - 15)*(1 + fraction) : 2**-14*fraction);
}

function bytesOf(base64) { return Uint8Array.from(atob(base64), c => c.charCodeAt(0)); }

// A layer as the file tells it, its weights and biases as numbers; an error if they do not fit its shape.
function layerOf(told, i, name) {
  if (!['conv', 'linear', 'relu'].includes(told.kind)) throw new Error(`layer ${i} of ${name} is of an unknown kind`);
  if (told.kind === 'relu') return told;
  const raw = bytesOf(told.data), out = told.shape[0];
  const numbers = Array.from({length: raw.length >> 1}, (_, j) => fromHalf(raw[2*j] | raw[2*j + 1] << 8));
  const has = numbers.length, wanted = told.shape.reduce((a, b) => a*b) + out;
  if (has !== wanted) throw new Error(`layer ${i} of ${name} has ${has} numbers, wanted ${wanted}`);
  return {...told, weight: Float32Array.from(numbers.slice(0, -out)), bias: Float32Array.from(numbers.slice(-out))};
}

// The nets of weights.js, ready to run; an error in plain words if something is wrong with them.
function netsOf(told) {
  if (!told || !Array.isArray(told.nets) || !told.nets.length) throw new Error('it holds no net');
  const nets = told.nets.map(net => ({...net, layers: net.layers.map((layer, i) => layerOf(layer, i, net.name))}));
  for (const net of nets) {
    const answers = run(net, new Float64Array(SIDE*SIDE)).at(-1);
    if (answers.length !== 10 || !answers.every(Number.isFinite)) throw new Error(`${net.name} gives no ten answers`);
  }
  return nets;
}

function linear({weight, bias, shape: [, nIn]}, x) {
  if (x.length !== nIn) throw new Error(`a layer gets ${x.length} numbers, wanted ${nIn}`);
  return Float64Array.from(bias, (b, o) => x.reduce((sum, v, i) => sum + v*weight[o*nIn + i], b));
}

// Slide each window over the picture, two pixels at a time; around the picture all is 0.
function conv({weight, bias, shape: [nOut, nIn, k]}, x) {
  const side = Math.sqrt(x.length/nIn), pad = k >> 1, size = Math.ceil(side/2);
  if (!Number.isInteger(side)) throw new Error(`a layer gets ${x.length} numbers, wanted ${nIn} square pictures`);
  const maps = new Float64Array(nOut*size*size);
  for (let o = 0; o < nOut; o++) for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) {
    let sum = bias[o];
    for (let n = 0; n < nIn; n++) for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) {
      const row = 2*r + i - pad, col = 2*c + j - pad;
      if (row >= 0 && row < side && col >= 0 && col < side)
        sum += weight[((o*nIn + n)*k + i)*k + j]*x[(n*side + row)*side + col];
    }
    maps[(o*size + r)*size + c] = sum;
  }
  return maps;
}

function relu(layer, x) { return x.map(v => Math.max(v, 0)); }

// What comes out of each layer in turn; the last are the ten logits.
function run(net, x) {
  const step = {conv, linear, relu}, passed = [];
  for (const layer of net.layers) passed.push(x = step[layer.kind](layer, x));
  return passed;
}

function softmax(logits) {
  const top = Math.max(...logits), powers = Array.from(logits, z => Math.exp(z - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map(p => p/sum);
}
