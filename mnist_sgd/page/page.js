// The page itself: what is shown of a reading. The arithmetic stands in digit.js, the sheet and its tools in sheet.js.
'use strict';

Object.assign(state, {nets: [], net: null});

// ---- reading

// The numbers the limits of weights.js are about: share of ink, pixels of half-tone, separate pieces.
function traitsOf(image) {
  const ink = image.reduce((a, b) => a + b)/image.length;
  const grey = image.filter(v => v > .1 && v < .9).length;
  return {ink, grey, pieces: piecesOf(image)};
}

function piecesOf(image) {
  const left = new Set([...image.keys()].filter(p => image[p] > .3));
  let pieces = 0;
  for (const first of left) {
    pieces++;
    for (const todo = [first]; todo.length;) {
      const p = todo.pop();
      if (!left.delete(p)) continue;
      for (const down of [-1, 0, 1]) for (const across of [-1, 0, 1]) {
        const col = p%SIDE + across;
        if (col >= 0 && col < SIDE) todo.push(p + down*SIDE + across);
      }
    }
  }
  return pieces;
}

// Reasons, in words, not to trust a reading: the twin of `doubt` in Python; none if the net is sure and it looks like a digit.
function doubtsOf(image, probs) {
  const {ink, grey, pieces} = traitsOf(image), limits = TOLD.limits, doubts = [];
  const [first, second] = [...probs.keys()].sort((a, b) => probs[b] - probs[a]);
  if (probs[first] < limits.sure) doubts.push(`it might be ${first} or ${second}`);
  if (ink > limits.most_ink) doubts.push('so much of it is ink that it looks like a blot');
  if (grey > limits.most_grey) doubts.push('it has many half-tones, like a photo');
  if (pieces > limits.most_pieces) doubts.push(`it is in ${pieces} pieces`);
  return doubts;
}

// The image as the chosen net reads it: what its layers give, probabilities, answer, and what speaks against it.
function readingOf(image, net = state.net) {
  const passed = run(net, image), probs = softmax(passed.at(-1));
  return {net, passed, probs, image, answer: probs.indexOf(Math.max(...probs)), doubts: doubtsOf(image, probs)};
}

function percent(p) { return p > .9995 ? 'over 99.9\u00a0%' : `${(100*p).toFixed(1)}\u00a0%`; }

function sentence(reading) {
  if (!reading) {
    return state.picture ? 'Not sure: this picture shows no ink. Its brightness is nearly the same everywhere.'
      : 'The sheet is blank. Draw a digit from 0 to 9, large.';
  }
  const {answer, probs, doubts} = reading, label = state.label === null ? '' : ` Its label says ${state.label}.`;
  return doubts.length ? `Not sure: ${doubts.join('; ')}. Nearest is a ${answer} (${percent(probs[answer])}).${label}`
    : `This is a ${answer}: ${percent(probs[answer])}.${label}`;
}

// Read the sheet, or the picture laid on it, and show it all; speak only when a stroke has ended.
function read(speak = true, since = null) {
  const grey = state.picture || greyOf(pencil.getImageData(0, 0, sheet.width, sheet.height));
  const image = asMnist(grey), reading = image && readingOf(image);
  paint($('seen'), image || new Float64Array(SIDE*SIDE), 0, 1);
  $('digit').textContent = reading ? reading.answer + (reading.doubts.length ? '?' : '') : '';
  document.querySelector('.answer').classList.toggle('unsure', !!reading && reading.doubts.length > 0);
  showBars(reading);
  showInside(reading);
  if (speak) $('says').textContent = sentence(reading);
  $('undo').disabled = !state.past.length;
  if (since !== null) performance.measure('reading', {start: since, end: performance.now()});
}

// ---- showing

function showBars(reading) {
  [...$('bars').children].forEach((row, digit) => {
    const p = reading ? reading.probs[digit] : 0;
    row.className = reading && digit === reading.answer ? 'top' : '';
    row.children[1].style.setProperty('--share', p);
    row.children[2].textContent = reading ? percent(p).replace('over ', '> ') : '–';
  });
}

// The tiles of the chosen net, made once: a picture of weights for each hidden unit, a map for each window.
function makeInside() {
  $('layers').replaceChildren();
  state.net.layers.forEach((layer, i) => {
    if (layer.kind === 'relu' || i === state.net.layers.length - 1) return;
    const [n, nIn, k] = layer.shape, perUnit = layer.weight.length/n, pictures = layer.kind === 'linear' || nIn === 1;
    const windows = `${n} ${pictures ? 'windows of' : 'maps, by windows of'} ${k}×${k}`;
    element('h3', $('layers'), {textContent: layer.kind === 'linear' ? `${n} hidden units` : windows});
    const list = element('ol', $('layers'), {className: pictures ? 'tiles' : 'tiles maps'});
    for (let unit = 0; unit < n; unit++) {
      const tile = element('li', list), pair = element('div', tile, {ariaHidden: 'true'});
      const weight = layer.weight.slice(unit*perUnit, (unit + 1)*perUnit), most = Math.max(...weight.map(Math.abs));
      if (pictures) paint(element('canvas', pair), weight, -most, most);
      if (layer.kind === 'conv') element('canvas', pair);
      if (layer.kind === 'conv' && pictures) pair.className = 'pair';
      element('span', tile);
    }
  });
}

// Light up what fires: the numbers after each layer's bend.
function showInside(reading) {
  const layers = state.net.layers.filter(layer => layer.kind !== 'relu');
  $('layers').querySelectorAll('ol').forEach((list, i) => {
    const passed = reading && reading.passed[2*i + 1], n = layers[i].shape[0];
    const helpers = reading && layers[i].kind === 'linear' ? helpersOf(passed, layers[i + 1], reading.answer) : [];
    const most = passed ? Math.max(...passed) : 1;
    [...list.children].forEach((tile, unit) => {
      const map = passed ? passed.slice(unit*passed.length/n, (unit + 1)*passed.length/n) : new Float64Array(1);
      const fires = Math.max(...map);
      tile.className = (fires > 0 ? 'fires' : '') + (helpers.includes(unit) ? ' helps' : '');
      if (layers[i].kind === 'conv') paint(tile.querySelector('canvas:last-child'), map, 0, most || 1);
      tile.lastChild.textContent = `${helpers.includes(unit) ? '▲ ' : ''}${unit}: ${fires.toFixed(1)}`;
    });
  });
  $('about').textContent = aboutInside(reading);
}

// The units whose number times the answer's weight is largest.
function helpersOf(passed, {weight}, answer) {
  const votes = [...passed].map((v, unit) => [v*weight[answer*passed.length + unit], unit]);
  return votes.filter(([vote]) => vote > 0).sort((a, b) => b[0] - a[0]).slice(0, 3).map(([, unit]) => unit);
}

function aboutInside(reading) {
  const first = state.net.layers[0];
  const [what, how] = first.kind === 'linear'
    ? ['Each hidden unit has a weight for every pixel, shown as a picture: dark where it wants ink, light where not. ',
      'It fires when the drawing fits.']
    : ['Each window slides over the picture and leaves a map of where it found what it looks for. ',
      'Small picture: the window\'s weights, dark where it wants ink. Large: its map, dark where it fires.'];
  if (!reading || first.kind !== 'linear') return what + how;
  const hidden = reading.passed[1], fire = hidden.filter(v => v > 0).length;
  const helpers = helpersOf(hidden, state.net.layers[2], reading.answer);
  return `${what}${fire} of ${hidden.length} fire; units ${helpers.join(', ')} (▲) speak most for ${reading.answer}.`;
}

// ---- digits and pictures from elsewhere

function lay(source, width, height, paper) {
  const scale = Math.min(sheet.width/width, sheet.height/height);
  wipe(paper);
  pencil.drawImage(source, (sheet.width - width*scale)/2, (sheet.height - height*scale)/2, width*scale, height*scale);
}

function realDigit() {
  const {labels, data} = TOLD.digits, all = bytesOf(data), i = Math.floor(Math.random()*labels.length);
  const small = document.createElement('canvas');
  paint(small, Float64Array.from(all.slice(i*SIDE*SIDE, (i + 1)*SIDE*SIDE), v => v/255), 0, 1);
  remember();
  lay(small, SIDE, SIDE, PAPER);
  state.label = labels[i];
  read();
}

async function loadPicture(file) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); }
  catch { $('says').textContent = `${file.name} is no picture that this browser can read.`; return; }
  const scale = Math.min(1, 4000/Math.max(bitmap.width, bitmap.height)), canvas = document.createElement('canvas');
  canvas.width = Math.max(1, bitmap.width*scale);
  canvas.height = Math.max(1, bitmap.height*scale);
  const context = canvas.getContext('2d');
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const grey = greyOf(context.getImageData(0, 0, canvas.width, canvas.height)), paper = paperOf(grey);
  remember();
  lay(bitmap, bitmap.width, bitmap.height, `rgb(${paper} ${paper} ${paper})`);
  state.picture = grey;
  read();
}

// ---- beginning

function listen() {
  listenToSheet();
  const tasks = {real: realDigit, load: () => $('file').click()};
  for (const [id, task] of Object.entries(tasks)) $(id).addEventListener('click', task);
  $('file').addEventListener('change', async () => {
    if ($('file').files.length) await loadPicture($('file').files[0]);
    $('file').value = '';
  });
}

function makeBars() {
  for (let digit = 0; digit < 10; digit++) {
    const row = element('li', $('bars'));
    element('span', row, {textContent: digit});
    element('i', row);
    element('span', row);
  }
}

function makeChoice() {
  state.nets.forEach(net => {
    const label = element('label', $('nets'));
    const radio = element('input', label, {type: 'radio', name: 'net', checked: net === state.net});
    label.append(net.name);
    radio.addEventListener('change', () => { state.net = net; makeInside(); read(); });
  });
}

function begin() {
  wipe();
  theme();
  try { state.nets = netsOf(typeof TOLD === 'undefined' ? null : TOLD); }
  catch (error) {
    const why = typeof TOLD === 'undefined' ? 'it cannot be read' : error.message;
    $('says').textContent = `The file weights.js is missing or broken: ${why}. Write the page anew by mnist_sgd demo.`;
    for (const button of document.querySelectorAll('.tools button')) button.disabled = true;
    return;
  }
  state.net = state.nets.at(-1);
  makeBars();
  makeChoice();
  makeInside();
  listen();
  read();
}

begin();
