// The arithmetic of the playground: a net, its loss, backward, the step. Nothing in here touches the page.
// The notebook `playground` explains it, and tests hold it to PyTorch.
'use strict';

const PIXELS = 784;

// ---- chance: the same seed and purpose give the same numbers; drawing weights does not disturb the order of the images

function chance(seed, purpose) {
  let state = [...purpose].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed) | 0;
  return () => {                                     // a counter whose bits are mixed: 0 to 1, without 1
    state = state + 0x9e3779b9 | 0;
    let bits = Math.imul(state ^ state >>> 16, 0x21f0aaad);
    bits = Math.imul(bits ^ bits >>> 15, 0x735a2d97);
    return ((bits ^ bits >>> 15) >>> 0)/2**32;
  };
}

function normal(next) { return Math.sqrt(-2*Math.log(1 - next()))*Math.cos(2*Math.PI*next()); }

function shuffled(rows, next) {
  const mixed = Uint32Array.from(rows);
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(next()*(i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}

// ---- images: only the pixels with ink are kept, for a blank one adds nothing to any sum

function inkSet(pixels, labels, rows, {task, pixels: scale}) {
  let n = 0;
  for (const row of rows) for (let p = row*PIXELS; p < (row + 1)*PIXELS; p++) n += pixels[p] > 0;
  const set = {rows, from: new Uint32Array(rows.length + 1), place: new Uint16Array(n), value: new Float64Array(n),
    label: Uint8Array.from(rows, row => task === '37' ? +(labels[row] === 3) : labels[row])};
  let k = 0;
  rows.forEach((row, i) => {
    for (let p = 0; p < PIXELS; p++) {
      const ink = pixels[row*PIXELS + p];
      if (ink) { set.place[k] = p; set.value[k++] = Math.fround(ink/(scale === '255' ? 1 : 255)); }
    }
    set.from[i + 1] = k;
  });
  return set;
}

// A share of the labels is exchanged for another one of the task.
function spoil(set, {task, spoilt, seed}) {
  const next = chance(seed, 'spoil'), n = task === '37' ? 2 : 10;
  set.spoilt = set.label.map(label => next() < spoilt ? (label + 1 + Math.floor(next()*(n - 1)))%n : label);
  return set;
}

// ---- the net: each layer's parameters in one list `p`, a row of weights for each input and a last row for the biases. They are
// rounded to 32 bits as PyTorch's are, when they are stepped; sums have 64.

function widthsOf({task, model, units}) {
  const hidden = {one: [units], two: [units, units]}[model] || [];
  return [PIXELS, ...hidden, task === '37' ? 1 : 10];
}

function makeNet(setting) {
  const widths = widthsOf(setting), next = chance(setting.seed, 'start'), bias = setting.bias !== 'off';
  const layers = widths.slice(1).map((nOut, i) => {
    const nIn = widths[i], n = (nIn + 1)*nOut, bound = 1/Math.sqrt(nIn);
    const draw = {zeros: () => 0, normal: () => normal(next), torch: () => (2*next() - 1)*bound}[setting.start];
    const p = Float64Array.from({length: n}, (_, k) => k < nIn*nOut || bias ? Math.fround(draw()) : 0);
    return {nIn, nOut, p, g: new Float64Array(n), v: new Float64Array(n), a: new Float64Array(nOut),
      d: new Float64Array(nOut), every: Uint16Array.from({length: nIn}, (_, k) => k)};
  });
  return {layers, bias, bend: setting.bend};
}

// Add to `sums` each input times its row of weights; four rows at once, for then each sum is fetched and stored a fourth as often.
function addRows(sums, p, place, value, from, to) {
  const n = sums.length;
  let k = from;
  for (; k + 4 <= to; k += 4) {
    const x0 = value[k], x1 = value[k + 1], x2 = value[k + 2], x3 = value[k + 3];
    const r0 = place[k]*n, r1 = place[k + 1]*n, r2 = place[k + 2]*n, r3 = place[k + 3]*n;
    for (let o = 0; o < n; o++) sums[o] += x0*p[r0 + o] + x1*p[r1 + o] + x2*p[r2 + o] + x3*p[r3 + o];
  }
  for (; k < to; k++) for (let o = 0; o < n; o++) sums[o] += value[k]*p[place[k]*n + o];
}

function bend(kind, a) {
  if (kind === 'relu') for (let o = 0; o < a.length; o++) a[o] = a[o] > 0 ? a[o] : a[o] === a[o] ? 0 : NaN;
  if (kind === 'sigmoid') for (let o = 0; o < a.length; o++) a[o] = 1/(1 + Math.exp(-a[o]));
}

// What comes out of the last layer for image i of a set; each layer keeps its own numbers in `a`.
function forward(net, set, i) {
  let below = null;
  for (const {nIn, nOut, p, a, every} of net.layers) {
    for (let o = 0; o < nOut; o++) a[o] = p[nIn*nOut + o];
    if (below) { bend(net.bend, below); addRows(a, p, every, below, 0, nIn); }
    else addRows(a, p, set.place, set.value, set.from[i], set.from[i + 1]);
    below = a;
  }
  return below;
}

// The loss of one image; its slope for each output goes into `d`, divided by n, the images of the batch.
function lossOf(kind, z, label, d, n) {
  let loss = 0;
  if (kind === 'mse') for (let o = 0; o < z.length; o++) {
    const gap = z[o] - (z.length === 1 ? label : +(o === label));
    loss += gap*gap/z.length;
    d[o] = 2*gap/z.length/n;
  } else if (z.length === 1) {
    const s = 1/(1 + Math.exp(-z[0]));
    loss = kind === 'mnist' ? Math.abs(s - label) : Math.max(z[0], 0) - z[0]*label + Math.log1p(Math.exp(-Math.abs(z[0])));
    d[0] = (kind === 'mnist' ? Math.sign(s - label)*s*(1 - s) : s - label)/n;
  } else {
    let top = z[0], sum = 0;
    for (let o = 1; o < z.length; o++) top = Math.max(top, z[o]);
    for (let o = 0; o < z.length; o++) sum += d[o] = Math.exp(z[o] - top);
    loss = top + Math.log(sum) - z[label];
    for (let o = 0; o < z.length; o++) d[o] = (d[o]/sum - (o === label))/n;
  }
  return loss;
}

// Add to the gradients of all layers what one image says, from the last layer down; `d` holds the slopes of the outputs.
function backward(net, set, i) {
  for (let l = net.layers.length - 1; l >= 0; l--) {
    const layer = net.layers[l], {nIn, nOut, p, g, d} = layer, below = net.layers[l - 1];
    if (net.bias) for (let o = 0; o < nOut; o++) g[nIn*nOut + o] += d[o];
    if (!below) { addOuter(g, d, set.place, set.value, set.from[i], set.from[i + 1]); continue; }
    addOuter(g, d, layer.every, below.a, 0, nIn);
    for (let k = 0; k < nIn; k++) {
      let slope = 0;
      for (let o = 0; o < nOut; o++) slope += p[k*nOut + o]*d[o];
      below.d[k] = slope*bendSlope(net.bend, below.a[k]);
    }
  }
}

// Add to each weight's gradient: its input times the slope of its output; four rows at once, as above.
function addOuter(g, d, place, value, from, to) {
  const n = d.length;
  let k = from;
  for (; k + 4 <= to; k += 4) {
    const x0 = value[k], x1 = value[k + 1], x2 = value[k + 2], x3 = value[k + 3];
    const r0 = place[k]*n, r1 = place[k + 1]*n, r2 = place[k + 2]*n, r3 = place[k + 3]*n;
    for (let o = 0; o < n; o++) {
      const slope = d[o];
      g[r0 + o] += x0*slope; g[r1 + o] += x1*slope; g[r2 + o] += x2*slope; g[r3 + o] += x3*slope;
    }
  }
  for (; k < to; k++) for (let o = 0; o < n; o++) g[place[k]*n + o] += value[k]*d[o];
}

// The slope of the bend where it gave `a`.
function bendSlope(kind, a) { return kind === 'relu' ? +(a > 0) : kind === 'sigmoid' ? a*(1 - a) : 1; }

// Stochastic gradient descent, as torch.optim.SGD; sizes of gradient, step and weights of each layer.
function step(net, {lr, mom, wd, zero}) {
  return net.layers.map(({p, g, v}) => {
    let gradient = 0, moved = 0, size = 0;
    for (let k = 0; k < p.length; k++) {
      const old = p[k];
      v[k] = mom*v[k] + g[k] + wd*old;
      p[k] = Math.fround(old - lr*v[k]);
      gradient += g[k]*g[k]; moved += (p[k] - old)*(p[k] - old); size += old*old;
    }
    if (zero !== 'off') g.fill(0);
    return {gradient: Math.sqrt(gradient), step: Math.sqrt(moved), weights: Math.sqrt(size)};
  });
}

// ---- training and measuring

function answerOf(z, loss) {
  if (z.length === 1) return +(z[0] > (loss === 'mse' ? .5 : 0));
  let best = 0;
  for (let o = 1; o < z.length; o++) if (z[o] > z[best]) best = o;
  return best;
}

// One step on some rows of a set: the loss, right answers, sizes; `trouble` says where a number first was none.
function trainBatch(net, set, rows, setting) {
  const last = net.layers.at(-1), labels = set.spoilt || set.label, n = rows.length;
  let loss = 0, right = 0;
  for (const i of rows) {
    const z = forward(net, set, i), one = lossOf(setting.loss, z, labels[i], last.d, n);
    if (!Number.isFinite(one)) return {loss: NaN, right: 0, n, trouble: troubleAt(net, l => l.a, 'the numbers that come out')};
    loss += one/n;
    right += answerOf(z, setting.loss) === labels[i];
    if (setting.model === 'mean') addToMean(net, set, i, labels[i]); else backward(net, set, i);
  }
  if (setting.model === 'mean') return {loss, right, n, sizes: setMeans(net)};
  const sizes = step(net, setting);
  const bad = sizes.findLastIndex(s => !Number.isFinite(s.gradient)), worse = sizes.findIndex(s => !Number.isFinite(s.step));
  const trouble = bad >= 0 ? {layer: bad, what: 'the gradient'} : worse >= 0 ? {layer: worse, what: 'the weights'} : null;
  return {loss, right, n, sizes, trouble};
}

function troubleAt(net, numbers, what) {
  const layer = net.layers.findIndex(l => !numbers(l).every(Number.isFinite));
  return {layer: layer < 0 ? net.layers.length - 1 : layer, what: layer < 0 ? 'the loss' : what};
}

// Loss and right answers on a whole set, the table of answers, and the wrong ones with the highest loss.
function measure(net, set, setting, most = 24) {
  const n = set.rows.length, slopes = new Float64Array(10), nClasses = Math.max(2, net.layers.at(-1).nOut);
  const table = new Uint32Array(nClasses*nClasses), wrong = [];
  let loss = 0;
  for (let i = 0; i < n; i++) {
    const z = forward(net, set, i), label = set.label[i], answer = answerOf(z, setting.loss);
    const one = lossOf(setting.loss, z, label, slopes, 1);
    loss += one/n;
    table[label*nClasses + answer]++;
    if (answer !== label) wrong.push({row: set.rows[i], label, answer, loss: one});
  }
  let right = 0;
  for (let c = 0; c < nClasses; c++) right += table[c*nClasses + c];
  return {loss, right, n, table, wrong: wrong.sort((a, b) => b.loss - a.loss).slice(0, most)};
}

// ---- the nearest mean, written as a linear model (chapter 01): nothing is learned but the mean image of each class

function addToMean(net, set, i, label) {
  net.sums ||= Array.from({length: 10}, () => new Float64Array(PIXELS));
  net.counts ||= new Float64Array(10);
  for (let k = set.from[i]; k < set.from[i + 1]; k++) net.sums[label][set.place[k]] += set.value[k];
  net.counts[label]++;
}

function setMeans(net) {
  const {p, nOut} = net.layers[0], before = Float64Array.from(p);
  const means = net.sums.map((sum, c) => sum.map(v => v/Math.max(net.counts[c], 1)));
  const half = means.map(mean => mean.reduce((all, v) => all + v*v, 0)/2);
  for (let k = 0; k < PIXELS; k++) for (let o = 0; o < nOut; o++)
    p[k*nOut + o] = nOut === 1 ? means[1][k] - means[0][k] : means[o][k];
  for (let o = 0; o < nOut; o++) p[PIXELS*nOut + o] = !net.bias ? 0 : nOut === 1 ? half[0] - half[1] : -half[o];
  return [{gradient: 0, step: distance(p, before), weights: distance(before, new Float64Array(p.length))}];
}

function distance(a, b) { return Math.sqrt(a.reduce((sum, v, k) => sum + (v - b[k])**2, 0)); }
