// The arithmetic of the page: a picture becomes 28×28 as MNIST was made, and a net reads it.
// Nothing in here touches the page. Chapter 09 explains it, and tests hold it to its twins in Python.
'use strict';

const SIDE = 28;

// Grey values of a canvas's pixels; clear parts are laid on white paper under dark ink, on black under light ink.
function greyOf({data, width, height}) {
  const luma = (r, g, b) => (r*19595 + g*38470 + b*7471 + 32768) >> 16;
  let light = 0, solid = 0;
  for (let i = 0; i < data.length; i += 4) {
    light += luma(data[i], data[i + 1], data[i + 2])*data[i + 3];
    solid += data[i + 3];
  }
  const paper = light <= 127.5*solid ? 255 : 0, values = new Uint8Array(width*height);
  const lay = (colour, alpha) => alpha === 255 ? colour : Math.round((colour*alpha + paper*(255 - alpha))/255);
  for (let p = 0, i = 0; p < values.length; p++, i += 4) {
    const alpha = data[i + 3];
    values[p] = luma(lay(data[i], alpha), lay(data[i + 1], alpha), lay(data[i + 2], alpha));
  }
  return shrink({values, rows: height, cols: width});
}

// A large picture by a whole factor smaller, so that no side is over 1,000 pixels.
function shrink({values, rows, cols}) {
  const k = Math.ceil(Math.max(rows, cols)/1000);
  if (k === 1) return {values, rows, cols};
  const small = {rows: Math.ceil(rows/k), cols: Math.ceil(cols/k)};
  small.values = new Uint8Array(small.rows*small.cols).map((_, p) => {
    const top = Math.floor(p/small.cols)*k, left = p%small.cols*k;
    let sum = 0, count = 0;
    for (let r = top; r < Math.min(top + k, rows); r++)
      for (let c = left; c < Math.min(left + k, cols); c++) { sum += values[r*cols + c]; count++; }
    return Math.floor(sum/count + .5);
  });
  return small;
}

// The middle value of the outermost pixels: the paper.
function paperOf({values, rows, cols}) {
  const rim = [];
  for (let c = 0; c < cols; c++) rim.push(values[c], values[(rows - 1)*cols + c]);
  for (let r = 1; r < rows - 1; r++) rim.push(values[r*cols], values[r*cols + cols - 1]);
  rim.sort((a, b) => a - b);
  return (rim[(rim.length - 1) >> 1] + rim[rim.length >> 1])/2;
}

// Ink of each pixel, 0 to 1, whichever of ink and paper is darker; null if there is none to be seen.
function inkOf(grey) {
  if (Math.min(grey.rows, grey.cols) < 8) return null;
  const paper = paperOf(grey);
  let darker = 0, lighter = 0, most = 0;
  for (const v of grey.values) if (v < paper) darker += (v - paper)**2; else lighter += (v - paper)**2;
  const sign = darker > lighter ? -1 : 1;
  for (const v of grey.values) most = Math.max(most, sign*(v - paper));
  if (most < 25) return null;
  const ink = new Float64Array(grey.values.length);
  for (let p = 0; p < ink.length; p++) ink[p] = Math.max(sign*(grey.values[p] - paper), 0)/most;
  return ink;
}

// The box from the first row and column with half the strongest ink to the last one, its contrast stretched.
function boxOf(ink, rows, cols) {
  let top = rows, left = cols, bottom = 0, right = 0;
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) if (ink[r*cols + c] >= .5) {
    top = Math.min(top, r); bottom = r + 1; left = Math.min(left, c); right = Math.max(right, c + 1);
  }
  const box = {rows: bottom - top, cols: right - left};
  box.values = new Float64Array(box.rows*box.cols);
  for (let r = 0; r < box.rows; r++) for (let c = 0; c < box.cols; c++)
    box.values[r*box.cols + c] = Math.min(Math.max((ink[(top + r)*cols + left + c] - .1)/.8, 0), 1);
  return box;
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
function placeRows({values, rows, cols}, step, shift) {
  const placed = new Float64Array(SIDE*cols);
  for (let i = 0; i < SIDE; i++) {
    const lo = (i - shift)*step, hi = lo + step;
    for (let r = Math.max(Math.floor(lo), 0); r < Math.min(hi, rows); r++) {
      const share = (Math.min(hi, r + 1) - Math.max(lo, r))/step;
      for (let c = 0; c < cols; c++) placed[i*cols + c] += share*values[r*cols + c];
    }
  }
  return {values: placed, rows: SIDE, cols};
}

// Grey picture to 784 numbers from 0 to 1, as MNIST was made; null if no ink is to be seen.
function asMnist(grey) {
  const ink = inkOf(grey);
  if (!ink) return null;
  const box = boxOf(ink, grey.rows, grey.cols);
  const step = Math.max(box.rows, box.cols)/20;
  const [down, across] = shiftsOf(box, step);
  return turned(placeRows(turned(placeRows(box, step, down)), step, across)).values;
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
