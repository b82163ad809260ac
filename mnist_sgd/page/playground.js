// The playground's page: what is chosen goes to the worker, what the worker tells is shown. The arithmetic stands in
// net.js and worker.js, what can be chosen in setting.js, the sheet in sheet.js.
'use strict';

const LIVE = ['lr', 'mom', 'wd', 'zero'];                  // these act on the net in training; all else but the end starts it anew
const LABELS = {
  task: 'Task', images: 'Images to learn from', model: 'Model', units: 'Hidden units', bend: 'Bend', start: 'First weights',
  loss: 'Loss', lr: 'Learning rate', mom: 'Momentum', wd: 'Weight decay', bs: 'Batch size', order: 'Order of the images',
  spoilt: 'Labels spoilt', pixels: 'Pixels', zero: 'Gradients zeroed', bias: 'Bias', seed: 'Seed', epochs: 'Stop after',
};
const WORDS = {
  task: {ten: 'ten digits', 37: '3 against 7'},
  model: {mean: 'nearest mean', linear: 'linear', one: 'one hidden layer', two: 'two hidden layers'},
  bend: {none: 'none', relu: 'ReLU', sigmoid: 'sigmoid'}, start: {torch: 'PyTorch\'s', zeros: 'all zero', normal: 'standard deviation 1'},
  loss: {ce: 'cross-entropy', mse: 'mean squared error', mnist: 'mnist_loss'}, order: {shuffled: 'shuffled', sorted: 'in order'},
  pixels: {1: '0 to 1', 255: '0 to 255'}, zero: {on: 'each step', off: 'never'}, bias: {on: 'yes', off: 'left out'},
};
const play = {parts: [], data: null, worker: null, setting: null, experiment: null, now: null, past: [], seen: null, busy: false,
  inBeat: false, wait: 0, weights: null};

// ---- words

function figure(v) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? 'no number' : v > 0 ? 'infinite' : '−infinite';
  const size = Math.abs(v);
  return size && (size >= 1e5 || size < 1e-3) ? v.toExponential(1).replace('e+', 'e') : String(+v.toPrecision(3));
}
function many(n) { return n.toLocaleString('en'); }
function share(right, n) { return `${(100*right/n).toFixed(1)}\u00a0%`; }
function wordOf(name, value) {
  if (WORDS[name]) return WORDS[name][value];
  if (['lr', 'mom', 'wd'].includes(name)) return String(value);
  if (name === 'spoilt') return value ? `${Math.round(100*value)} %` : 'none';
  if (name === 'epochs') return value === 1 ? '1 epoch' : `${value} epochs`;
  return many(value);
}
function digitsOf({task}) { return task === '37' ? [7, 3] : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]; }
function say(text) { $('status').textContent = text; }

// ---- choosing

function makeChoices() {
  for (const [name, choices] of Object.entries(CHOICES)) {
    const label = element('label', $('choices'), {textContent: LABELS[name], className: LIVE.includes(name) ? 'live' : '',
      htmlFor: `set-${name}`});
    const range = {lr: RATES.length - 1, units: 200}[name];
    if (range) {
      element('output', label, {id: `value-${name}`, ariaLive: 'off'});
      element('input', label, {type: 'range', id: `set-${name}`, min: name === 'units' ? 1 : 0, max: range, step: 1});
    } else if (name === 'seed') element('input', label, {type: 'number', id: 'set-seed', min: 0, max: choices[1], step: 1});
    else {
      const select = element('select', label, {id: `set-${name}`}), sorted = [...new Set(choices)];
      if (typeof sorted[0] === 'number') sorted.sort((a, b) => a - b);
      for (const value of sorted) element('option', select, {value, textContent: wordOf(name, value)});
    }
    $(`set-${name}`).addEventListener(range ? 'input' : 'change', () => chosen(name));
  }
  element('option', $('experiment'), {value: '', textContent: 'A setting of your own'});
  EXPERIMENTS.forEach(({name}, i) => element('option', $('experiment'), {value: i, textContent: `${i + 1}. ${name}`}));
  $('experiment').addEventListener('change', () => {
    const experiment = EXPERIMENTS[$('experiment').value];
    if (experiment) take(experiment.address); else { play.experiment = null; showExperiment(); }
  });
}

// What stands in one control now.
function chosen(name) {
  const value = $(`set-${name}`).value, words = name === 'lr' ? String(RATES[value]) : value;
  const {setting, told} = settingOf(addressOf({...play.setting, [name]: words}));
  if (!LIVE.includes(name) && name !== 'epochs') return use(setting, told);
  Object.assign(play.setting, setting);
  if (play.now) play.now.setting[name] = setting[name];
  if (play.worker && name !== 'epochs') play.worker.postMessage({task: 'change', setting: {[name]: setting[name]}});
  showSetting(told);
}

// A setting by its address: the page's own, an experiment's, or one that was shared.
function take(address) { const {setting, told} = settingOf(address); use(setting, told); }

function use(setting, told = []) {
  play.setting = setting;
  showSetting(told);
  start_again();
}

function showSetting(told) {
  const {setting} = play, mean = setting.model === 'mean', hidden = ['one', 'two'].includes(setting.model);
  for (const name of Object.keys(CHOICES)) $(`set-${name}`).value = name === 'lr' ? RATES.indexOf(setting.lr) : setting[name];
  for (const name of ['lr', 'units']) {
    $(`value-${name}`).textContent = setting[name];
    $(`set-${name}`).ariaValueText = String(setting[name]);
  }
  const idle = name => ['units', 'bend'].includes(name) ? !hidden : mean && ['lr', 'mom', 'wd', 'zero', 'start'].includes(name);
  for (const name of Object.keys(CHOICES)) {
    $(`set-${name}`).disabled = idle(name);
    $(`set-${name}`).parentNode.classList.toggle('idle', idle(name));
  }
  $('set-loss').querySelector('[value=mnist]').disabled = setting.task === 'ten';
  const words = addressOf(setting);
  try { history.replaceState(null, '', words); } catch { /* a page inside a notebook has no address of its own */ }
  $('address').value = location.protocol === 'about:' ? words : location.href.split('#')[0] + words;
  play.experiment = EXPERIMENTS.find(({address}) => addressOf(settingOf(address).setting) === words) || null;
  $('experiment').value = play.experiment ? EXPERIMENTS.indexOf(play.experiment) : '';
  showExperiment();
  $('nearest').replaceChildren();
  for (const text of told) element('li', $('nearest'), {textContent: text});
}

function showExperiment() {
  $('told').replaceChildren();
  if (!play.experiment) { element('p', $('told'), {textContent: 'Choose an experiment, or anything below.'}); return; }
  const {what, watch, ends, where} = play.experiment;
  element('p', $('told'), {textContent: what});
  const list = element('ul', $('told'));
  element('li', list, {textContent: `Watch: ${watch}`});
  element('li', list, {textContent: `It ends so: ${ends}`});
  element('li', list, {textContent: `Why: ${where}`});
}

// ---- training

function start_again() {
  if (!play.worker) return;
  if (play.now && play.now.step && play.now.perEpoch) { play.past.push(play.now); if (play.past.length > 5) play.past.shift(); }
  play.now = {number: play.now ? play.now.number + 1 : 0, setting: {...play.setting}, curve: {points: [], every: 1, sum: 0, n: 0}, epochs: [], step: 0, epoch: 0, n: 1, sizes: null};
  play.seen = null;
  setBusy(false);
  setStuck(false);
  $('mend').hidden = true;
  play.worker.postMessage({task: 'begin', setting: {...play.setting}, number: play.now.number});
}

function setBusy(busy) {
  play.busy = busy;
  $('run').textContent = busy ? 'Pause' : 'Run';
  for (const id of ['step', 'epoch']) $(id).ariaDisabled = String(busy || !!play.stuck);         // disabled, it would lose the keyboard
}

// After a number that is none nothing can be learned: the buttons say so, and keep the keyboard.
function setStuck(stuck) {
  play.stuck = stuck;
  for (const id of ['run', 'step', 'epoch']) $(id).ariaDisabled = String(stuck);
}

function train(task, n) {
  if (play.busy || play.stuck) return;
  setBusy(true);
  say('Training …'); play.worker.postMessage({task, n});
}
function runOrPause() {
  if (play.busy) { play.worker.postMessage({task: 'pause'}); return; }
  const left = play.setting.epochs - play.now.epoch;
  train('epochs', left > 0 ? left : play.setting.epochs);
}

const heard = {
  ready() { for (const id of ['run', 'step', 'epoch', 'again', 'seed']) $(id).disabled = false; start_again(); },
  begun({n, measured}) {
    Object.assign(play.now, {n, perEpoch: Math.ceil(n/play.setting.bs)});
    note({epoch: 0, measured});
    if (n < play.setting.images) element('li', $('nearest'), {textContent: `Only ${many(n)} of them are threes and sevens.`});
    say(`Ready: ${many(n)} images to learn from. Untrained, ${resultOf(measured)}.`);
    firstDigit();
  },
  look() { },
  epoch({epoch, loss, accuracy, measured}) { note({epoch, loss, accuracy, measured}); },
  paused({measured}) {
    setBusy(false);
    say(`Paused at ${placeOfRun()}: ${lossNow()}${resultOf(measured)}.${verdict(measured)}`);
    speakWay();
  },
  trouble({layer, what}) {
    setBusy(false);
    setStuck(true);
    const layers = widths().length - 1, which = layers === 1 ? 'its only layer' : `layer ${layer + 1} of ${layers}`;
    say(`Stopped at ${placeOfRun()}: a number is none. It first stood in ${which}: ${what}. Nothing can be learned from here.${verdict(null)}`);
    speakWay();
    offer('Go back to the start of this epoch', () => play.worker.postMessage({task: 'back'}));
    if (['run', 'step', 'epoch'].includes(document.activeElement.id)) $('mend').focus();
  },
  back({measured}) {
    setStuck(false);
    $('run').focus();
    const {now} = play, {curve} = now;
    now.changed = true;                                      // from here on the images come in another order
    Object.assign(curve, {points: curve.points.slice(0, Math.floor(now.step/curve.every)), sum: 0, n: 0});
    say(`Back at ${placeOfRun()}: ${resultOf(measured)}. Choose a lower learning rate before you go on.`);
  },
  way() { speakWay(); },
  changed({step, setting}) {
    if (!step) return;
    play.now.changed = true;
    const [[name, value]] = Object.entries(setting);
    element('li', $('nearest'), {textContent: `${LABELS[name]} is ${wordOf(name, value)} from step ${many(step)} on. The address holds it from the `
      + 'start: only "Start again" gives the run that it describes.'});
  },
};

function hear({data}) {
  const {kind, number, step, epoch, measured} = data, {now} = play;
  if (kind !== 'ready' && number !== now.number) {            // of a run that has been left
    if (kind === 'look') play.worker.postMessage({task: 'drawn'});
    return;
  }
  if (step !== null && now) Object.assign(now, {step, epoch});
  for (const loss of data.losses || []) addTo(now.curve, loss);
  if (data.sizes) now.sizes = data.sizes;
  if (data.weights) play.weights = data.weights;
  if (data.way) play.way = data.way;
  if (measured) now.measured = measured;
  heard[kind](data);
  if (!['ready', 'changed'].includes(kind)) beat(kind === 'look', kind !== 'look' || !play.busy);
}

// Show what was told at the next picture; the worker waits for no picture, and sends a new one when this one is drawn.
function beat(answer, all) {
  play.all ||= all;
  play.answer ||= answer;
  if (play.inBeat) return;
  play.inBeat = true;
  const show = () => {
    play.inBeat = false;
    const {all, answer} = play;
    play.all = play.answer = false;
    showRun(all);
    if (answer) play.worker.postMessage({task: 'drawn'});
  };
  if (document.hidden) setTimeout(show, 100); else requestAnimationFrame(show);
}

// A curve of at most 2,000 points: when it is full, neighbours are averaged.
function addTo(curve, loss) {
  curve.sum += loss;
  if (++curve.n < curve.every) return;
  curve.points.push(curve.sum/curve.n);
  curve.sum = curve.n = 0;
  if (curve.points.length < 2000) return;
  curve.points = Array.from({length: 1000}, (_, i) => (curve.points[2*i] + curve.points[2*i + 1])/2);
  curve.every *= 2;
}

function note({epoch, loss = NaN, accuracy = NaN, measured}) {
  const {now} = play;
  now.epochs = now.epochs.filter(e => e.epoch < epoch);
  now.epochs.push({epoch, loss, accuracy, heldLoss: measured.loss, held: measured.right/measured.n});
}

function placeOfRun() { const {epoch, step} = play.now; return `epoch ${many(epoch)}, step ${many(step)}`; }
function lossNow() { const last = play.now.curve.points.at(-1); return last === undefined ? '' : `loss ${figure(last)}, `; }
function resultOf({right, n, loss}) { return `${many(right)} of ${many(n)} held-out digits right (${share(right, n)}), their loss ${figure(loss)}`; }

// Did an experiment end as its text says? Asked once it has gone its way, if nothing was changed on it.
function verdict(measured) {
  const {now, experiment} = play;
  if (!experiment || now.changed || now.judged || (measured && now.step !== now.setting.epochs*now.perEpoch)) return '';
  now.judged = true;
  return experiment.check(endOf(measured)) ? ' This is how it was said to end.' : ' This is not how it was said to end.';
}

// What a run has come to: what experiments are judged by.
function endOf(measured) {
  const {now} = play, first = now.epochs[0], last = now.epochs.at(-1);
  return {held: measured ? measured.right/measured.n : NaN, heldLoss: measured ? measured.loss : NaN, firstLoss: first.heldLoss,
    best: Math.max(...now.epochs.map(e => e.held)),
    lowest: Math.min(...now.epochs.map(e => e.heldLoss)), training: last.accuracy, trainingLoss: last.loss, answers: answersOf(measured),
    alike: alike(), sizes: now.sizes, steps: now.step};
}

// How often each digit was answered, and whether all hidden units have the same weights.
function answersOf(measured) {
  const digits = digitsOf(play.setting), counts = Object.fromEntries(digits.map(d => [d, 0])), k = digits.length;
  if (measured) measured.table.forEach((n, i) => { counts[digits[i%k]] += n; });
  return counts;
}
function alike() {
  const n = widths()[1], w = play.weights[0];
  return w.every((v, k) => v === w[k - k%n]);
}
function widths() { const {task, model, units} = play.now.setting; return [784, ...({one: [units], two: [units, units]}[model] || []), task === '37' ? 1 : 10]; }

function offer(words, task) {
  Object.assign($('mend'), {hidden: false, textContent: words, onclick: () => { task(); $('mend').hidden = true; }});
}

// ---- showing

function showRun(all) {
  const {now} = play, {measured} = now;
  if (!measured) return;
  $('now').textContent = `Epoch ${many(now.epoch)} · step ${many(now.step)} · ${lossNow() || 'not begun, '}held out ${share(measured.right, measured.n)}`;
  curves();
  showSizes();
  showWay();
  const began = performance.now();
  if (all || began > play.wait) {                           // many pictures: as often as leaves most of the time for the rest
    showWeights();
    play.wait = performance.now() + 5*(performance.now() - began);
  }
  if (play.seen !== measured) { play.seen = measured; showWrong(measured); showEpochs(); }
}

function colours() {
  const style = getComputedStyle(document.documentElement), ask = element('i', document.body, {hidden: true});
  const found = Object.fromEntries(['text', 'soft', 'line', 'accent', 'unsure'].map(name => {
    ask.style.color = `var(--${name})`;
    return [name, getComputedStyle(ask).color];
  }));
  ask.remove();
  return {...found, font: style.fontFamily};
}

function curves() {
  if (!play.now || !play.now.measured) return;
  const runs = [...play.past, play.now], theme = play.theme ||= colours(), end = Math.max(1, ...runs.map(r => r.step/(r.perEpoch || 1)));
  const finite = runs.flatMap(r => [...r.curve.points, ...r.epochs.map(e => e.heldLoss)]).filter(Number.isFinite).sort((a, b) => a - b);
  const most = finite.at(-1) || 1, top = Math.min(most, 3*(finite[Math.floor(.9*finite.length)] || most)) || 1;
  plot($('loss'), runs, top, end, theme, r => ({
    thin: r.curve.points.map((v, i) => [(i + 1)*r.curve.every/r.perEpoch, v]), dots: r.epochs.map(e => [e.epoch, e.heldLoss])}));
  plot($('accuracy'), runs, 1, end, theme, r => ({
    thin: r.epochs.filter(e => e.epoch).map(e => [e.epoch, e.accuracy]), dots: r.epochs.map(e => [e.epoch, e.held])}));
  const last = play.now.epochs.at(-1);
  $('about-loss').textContent = `Loss: training ${last.epoch ? figure(last.loss) : 'not yet known'}, held out ${figure(last.heldLoss)} after epoch ${last.epoch}${most > top ? '; higher ones are cut off' : ''}`;
  $('about-accuracy').textContent = `Right: training ${share(last.accuracy, 1)}, held out ${share(last.held, 1)} after epoch ${last.epoch}`
    .replace('NaN\u00a0%', 'not yet known');
  $('loss').ariaLabel = $('about-loss').textContent;
  $('accuracy').ariaLabel = $('about-accuracy').textContent;
}

function plot(canvas, runs, top, end, theme, linesOf) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight, left = 44, low = height - 20;
  if (canvas.width !== Math.round(width*scale)) { canvas.width = Math.round(width*scale); canvas.height = Math.round(height*scale); }
  const pen = canvas.getContext('2d'), x = v => left + (width - left - 8)*v/end, y = v => low - (low - 8)*Math.min(Math.max(v/top, 0), 1);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${theme.font}`;
  for (let i = 0; i <= 2; i++) {
    pen.fillStyle = theme.soft;
    pen.textAlign = 'right';
    pen.fillText(figure(top*i/2), left - 5, y(top*i/2) + 4);
    pen.textAlign = i ? i === 2 ? 'right' : 'center' : 'left';
    pen.fillText(`${figure(end*i/2)}${i === 2 ? ' epochs' : ''}`, x(end*i/2), height - 5);
    trace(pen, [[0, top*i/2], [end, top*i/2]], x, y, theme.line, 1);
  }
  for (const run of runs) {
    const {thin, dots} = linesOf(run), now = run === play.now;
    trace(pen, thin, x, y, now ? theme.soft : theme.line, 1, now ? [] : [2, 2]);
    trace(pen, dots, x, y, now ? theme.accent : theme.soft, now ? 2.5 : 1, now ? [] : [5, 3]);
    pen.fillStyle = theme.soft;
    if (now && thin.length === 1) pen.fillRect(x(thin[0][0]) - 2, y(thin[0][1]) - 2, 4, 4);
    pen.fillStyle = theme.accent;
    if (now) for (const [a, b] of dots) if (Number.isFinite(b)) { pen.beginPath(); pen.arc(x(a), y(b), 3, 0, 7); pen.fill(); }
  }
}

function trace(pen, points, x, y, colour, width, dash = []) {
  Object.assign(pen, {strokeStyle: colour, lineWidth: width, lineJoin: 'round'});
  pen.setLineDash(dash);
  pen.beginPath();
  for (const [a, b] of points) if (Number.isFinite(b)) pen.lineTo(x(a), y(b));
  pen.stroke();
  pen.setLineDash([]);
}

// Rows of words in the body of a table, each told what it is; cells that are there are used again.
function fill(table, rows) {
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((words, i) => {
    const row = body.rows[i] || body.insertRow();
    while (row.cells.length > words.length) row.deleteCell(-1);
    words.forEach((text, j) => {
      const cell = row.cells[j] || (j ? row.insertCell() : element('th', row, {scope: 'row'}));
      if (cell.textContent !== String(text)) cell.textContent = text;
    });
  });
}

function showEpochs() {
  fill($('epochs'), play.now.epochs.slice(-100).map(e => [e.epoch, figure(e.loss), share(e.accuracy, 1), figure(e.heldLoss), share(e.held, 1)]
    .map(text => /^(NaN.*|no number)$/.test(text) && !e.epoch ? '–' : text)));
}

function showSizes() {
  const names = widths().slice(1).map((n, i) => `${i + 1}: ${widths()[i]} → ${n}`);
  fill($('sizes'), names.map((name, i) => {
    const s = play.now.sizes && play.now.sizes[i];
    return s ? [name, play.now.setting.model === 'mean' ? '–' : figure(s.gradient), figure(s.step), figure(s.weights), s.weights ? figure(s.step/s.weights) : '–'] : [name, '–', '–', '–', '–'];
  }));
}

function tilesOf(list, n) {
  while (list.children.length > n) list.lastChild.remove();
  while (list.children.length < n) {
    const tile = element('li', list);
    element('canvas', element('div', tile, {ariaHidden: 'true'}));
    element('span', tile);
  }
  return [...list.children];
}

function showWeights() {
  const n = widths()[1], w = play.weights[0], hidden = widths().length > 2, digits = digitsOf(play.now.setting);
  let most = 0;
  for (let k = 0; k < 784*n; k++) if (Math.abs(w[k]) > most) most = Math.abs(w[k]);
  tilesOf($('weights'), n).forEach((tile, o) => {
    greys(tile.querySelector('canvas'), p => .5 + w[p*n + o]/(2*most || 1));
    tile.lastChild.textContent = hidden ? o : n === 1 ? '3 against 7' : digits[o];
  });
  $('about-weights').textContent = `A picture for each ${hidden ? 'hidden unit' : n === 1 ? 'output' : 'digit'}: dark where ink speaks for it, light where `
    + `against, all on one scale: black is ${figure(most)}.${hidden && n > 1 && alike() ? ' All of them are the same.' : ''}`;
}

// As `paint` in sheet.js, for many pictures a second: dark where high.
function greys(canvas, at) {
  if (canvas.width !== 28) canvas.width = canvas.height = 28;
  const pen = canvas.getContext('2d'), image = canvas.image ||= pen.createImageData(28, 28), {data} = image;
  for (let p = 0; p < 784; p++) {
    data[4*p] = data[4*p + 1] = data[4*p + 2] = 255 - 255*at(p);
    data[4*p + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
}

// ---- one digit's way

function probe(image, label, blank = false) {
  play.probe = {image, label, blank};
  greys($('seen'), p => image[p]);
  if (play.worker) play.worker.postMessage({task: 'probe', image: Float64Array.from(image)});
}

// The sheet was drawn on: its digit takes the held-out one's place.
function read(speak = true) {
  $('undo').disabled = !state.past.length;
  const image = asMnist(greyOf(pencil.getImageData(0, 0, sheet.width, sheet.height)));
  if (image) probe(image, null);
  else if (speak) heldOut(play.which || 0, false);
}
function say_digit(text) { $('says').textContent = text; }

// A held-out digit in place of a drawn one; `fresh`: chosen, not left over on a sheet that is blank again.
function heldOut(i, fresh = true) {
  const rows = [], digits = digitsOf(play.setting), {labels, pixels} = play.data;
  for (let row = labels.length - 2000; row < labels.length; row++) if (digits.includes(labels[row])) rows.push(row);
  play.which = i%rows.length;
  const row = rows[play.which];
  if (fresh) { wipe(); state.past.length = 0; $('undo').disabled = true; }
  probe(Float64Array.from(pixels.subarray(784*row, 784*row + 784), v => v/255), labels[row], !fresh);
}
function firstDigit() { if (!play.probe || play.probe.label !== null) heldOut(play.which || 0); else probe(play.probe.image, null); }

// What comes out, as shares to show: probabilities where the loss has them, else the outputs themselves.
function outputsOf(way) {
  const {setting} = play.now, z = way.at(-1), digits = digitsOf(setting);
  if (setting.task === '37') {
    const p = setting.loss === 'mse' ? z[0] : 1/(1 + Math.exp(-z[0]));
    return digits.map((digit, i) => ({digit, value: i ? p : 1 - p}));
  }
  const values = setting.loss === 'mse' ? [...z] : softmax(z);
  return digits.map(digit => ({digit, value: values[digit]}));
}

function showWay() {
  const {way} = play;
  if (!way) return;
  const hidden = way.slice(0, -1), outputs = outputsOf(way), best = Math.max(...outputs.map(o => o.value));
  while ($('hidden').children.length > 2*hidden.length) $('hidden').lastChild.remove();
  hidden.forEach((a, i) => {
    if (!$('hidden').children[2*i]) { element('h3', $('hidden')); element('ol', $('hidden'), {className: 'units', start: 0}); }
    const [title, list] = [$('hidden').children[2*i], $('hidden').children[2*i + 1]], most = Math.max(...a.map(Math.abs));
    title.textContent = `Hidden layer ${i + 1}: ${a.filter(v => v > 0).length} of ${a.length} above 0`;
    while (list.children.length > a.length) list.lastChild.remove();
    while (list.children.length < a.length) element('li', list);
    a.forEach((v, unit) => {
      const tile = list.children[unit];
      tile.className = v > 0 ? 'fires' : '';
      tile.style.setProperty('--share', Math.max(v, 0)/(most || 1) || 0);
      tile.textContent = Math.abs(v) < 1000 ? String(+v.toFixed(2)) : v.toExponential(0).replace('e+', 'e');
    });
  });
  while ($('bars').children.length > outputs.length) $('bars').lastChild.remove();
  while ($('bars').children.length < outputs.length) {
    const row = element('li', $('bars'));
    for (const kind of ['span', 'i', 'span']) element(kind, row);
  }
  outputs.forEach(({digit, value}, i) => {
    const row = $('bars').children[i];
    row.className = value === best ? 'top' : '';
    row.children[0].textContent = digit;
    row.children[1].style.setProperty('--share', Math.min(Math.max(value, 0), 1) || 0);
    row.children[2].textContent = play.now.setting.loss === 'mse' ? figure(value) : share(value, 1);
  });
  $('h-out').textContent = play.now.setting.loss === 'mse' ? 'Outputs' : 'Outputs, as probabilities';
}

function speakWay() {
  const outputs = outputsOf(play.way), best = outputs.reduce((a, b) => b.value > a.value ? b : a), {label, blank} = play.probe;
  const what = play.now.setting.loss === 'mse' ? `output ${figure(best.value)}` : share(best.value, 1);
  say_digit(Number.isNaN(best.value) ? 'What comes out is no number.'
    : `${blank ? 'The sheet is blank; a held-out digit is shown. ' : ''}Read as a ${best.digit} (${what}).${label === null ? '' : ` Its label says ${label}.`}`);
}

// ---- what is wrong

function showWrong({wrong, table, n, right}) {
  const digits = digitsOf(play.now.setting), k = digits.length;
  $('about-wrong').textContent = `${many(n - right)} of ${many(n)} held-out digits are read wrongly${wrong.length ? '; here those with the highest loss' : ''}. `
    + `Measured when training pauses and after each epoch.`;
  tilesOf($('wrong'), wrong.length).forEach((tile, i) => {
    const {row, label, answer} = wrong[i];
    greys(tile.querySelector('canvas'), p => play.data.pixels[784*row + p]/255);
    tile.lastChild.textContent = `${digits[label]}, read ${digits[answer]}`;
  });
  const head = $('confusion').tHead.rows[0];
  head.replaceChildren();
  for (const text of ['is \\ read as', ...digits]) element('th', head, {scope: 'col', textContent: text});
  fill($('confusion'), digits.map((d, i) => [d, ...digits.map((_, j) => table[i*k + j])]));
  [...$('confusion').tBodies[0].rows].forEach((row, i) => [...row.cells].slice(1).forEach((cell, j) => {
    const all = digits.reduce((sum, _, c) => sum + table[i*k + c], 0), count = table[i*k + j];
    cell.className = i === j ? 'right' : count ? 'some' : '';
    cell.style.setProperty('--share', Math.round(100*count/(all || 1)));
  }));
}

// ---- beginning

// One part of the packed digits has arrived; the parts stand at the end of the page, so the bar moves while it loads.
function part(i, n, text) {
  play.parts[i] = text;
  play.wanted = n;
  $('loading').value = (i + 1)/n;
}

async function digits() {
  const there = play.parts.filter(text => text !== undefined).length;
  if (!there || there < play.wanted) throw Error(`${there} of ${play.wanted || 'some'} parts of the digits have arrived`);
  const packed = new Blob(play.parts.map(bytesOf)).stream().pipeThrough(new DecompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer()), n = bytes.length/785;
  return {labels: bytes.slice(0, n), pixels: bytes.slice(n)};
}

function makeWorker() {
  const text = ['net-js', 'worker-js'].map(id => $(id).textContent);
  const worker = new Worker(URL.createObjectURL(new Blob(text, {type: 'text/javascript'})));
  worker.onmessage = hear;
  worker.onerror = e => failed('The part that trains has stopped', e);
  return worker;
}

function failed(what, error) {
  setBusy(false);
  $('loading').hidden = true;
  for (const id of ['run', 'step', 'epoch', 'again', 'seed']) $(id).disabled = true;
  say(`${what}: ${(error.message || 'no reason was given').replace(/^Uncaught (\w*Error: )?|\.$/g, '')}.`);
  offer('Load the page again', () => location.reload());
}

async function begin() {
  wipe();
  theme();
  listenToSheet();
  makeChoices();
  const {setting, told} = settingOf(window.ADDRESS || location.hash);
  play.setting = setting;
  showSetting(told);
  try { play.data = await digits(); }
  catch (error) { failed('The digits did not load', error); return; }
  try { play.worker = makeWorker(); }
  catch (error) { failed('The part that trains did not start', error); return; }
  $('loading').hidden = true;
  play.worker.postMessage({task: 'data', ...play.data});
  $('run').addEventListener('click', runOrPause);
  $('step').addEventListener('click', () => train('steps', 1));
  $('epoch').addEventListener('click', () => train('epochs', 1));
  $('again').addEventListener('click', start_again);
  $('seed').addEventListener('click', () => use({...play.setting, seed: (play.setting.seed + 1)%CHOICES.seed[1]}));
  $('real').addEventListener('click', () => heldOut((play.which || 0) + 1));
  $('forget').addEventListener('click', () => { play.past = []; curves(); });
  $('address').addEventListener('focus', () => $('address').select());
  $('theme').addEventListener('click', () => { play.theme = null; if (play.now) curves(); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { play.theme = null; if (play.now) curves(); });
  addEventListener('resize', () => { if (play.now && play.now.measured) curves(); });
  addEventListener('hashchange', () => { if (location.hash !== addressOf(play.setting)) take(location.hash); });
  addEventListener('visibilitychange', () => { if (play.now && !document.hidden) beat(true, true); });
}

addEventListener('DOMContentLoaded', begin);
