// Training beside the page, so that the page never stalls: it is told what to do, and tells what there is to see.
'use strict';

if (typeof makeNet === 'undefined') importScripts('net.js');     // a page that holds all in itself gives both in one

const PICTURES = 1000/30;          // milliseconds between two pictures
const channel = new MessageChannel();
let data = null, run = null, probed = null, goal = 0, asked = false, drawn = true, last = 0;

// The rows of a task: the first `images` of those that are to learn from, or the last 2,000, which are held out.
function rowsOf({task, images}, held) {
  const rows = [], n = data.labels.length, first = held ? n - 2000 : 0, end = held ? n : n - 2000;
  for (let row = first; row < end; row++) if (task === 'ten' || [3, 7].includes(data.labels[row])) rows.push(row);
  return Uint32Array.from(held ? rows : rows.slice(0, images));
}

function begin(setting, number) {
  const train = spoil(inkSet(data.pixels, data.labels, rowsOf(setting), setting), setting);
  const held = inkSet(data.pixels, data.labels, rowsOf(setting, true), setting);
  run = {number, setting, train, held, net: makeNet(setting), next: chance(setting.seed, 'order'), order: null, at: 0, step: 0, epoch: 0,
    epochLoss: 0, right: 0, seen: 0, losses: [], sizes: null, trouble: null, kept: null};
  keep();
  tell('begun', {n: train.rows.length, ...result()});
}

// What can be gone back to, where a number is none later on: the net at the start of an epoch.
function keep() { run.kept = {epoch: run.epoch, step: run.step, layers: run.net.layers.map(({p, g, v}) => [p.slice(), g.slice(), v.slice()])}; }

function back() {
  run.net.layers.forEach((layer, i) => ['p', 'g', 'v'].forEach((name, j) => layer[name].set(run.kept.layers[i][j])));
  Object.assign(run, {epoch: run.kept.epoch, step: run.kept.step, at: 0, order: null, trouble: null, epochLoss: 0, right: 0, seen: 0});
  tell('back', result());
}

// Threes before sevens, zeros before ones; or a new order in each epoch.
function orderOf({train, setting, next}) {
  const rows = Uint32Array.from(train.rows, (_, i) => i), labels = Array.from(train.rows, row => data.labels[row]);
  return setting.order === 'sorted' ? rows.sort((a, b) => labels[a] - labels[b] || a - b) : shuffled(rows, next);
}

function oneStep() {
  run.order ||= orderOf(run);
  const batch = run.order.subarray(run.at, run.at + run.setting.bs), told = trainBatch(run.net, run.train, batch, run.setting);
  Object.assign(run, {at: run.at + batch.length, step: run.step + 1, sizes: told.sizes, trouble: told.trouble || null});
  if (run.trouble) return;
  run.losses.push(told.loss);
  run.epochLoss += told.loss*told.n; run.right += told.right; run.seen += told.n;
  if (run.at < run.order.length) return;
  const {seen} = run;
  Object.assign(run, {epoch: run.epoch + 1, at: 0, order: null});
  tell('epoch', {loss: run.epochLoss/seen, accuracy: run.right/seen, measured: measure(run.net, run.held, run.setting)});
  Object.assign(run, {epochLoss: 0, right: 0, seen: 0});
  keep();
}

// Train for eight milliseconds, then listen: a word to pause is heard between two steps.
function work() {
  asked = false;
  if (!run || run.step >= goal) return;
  const until = performance.now() + 8;
  do oneStep(); while (run.step < goal && !run.trouble && performance.now() < until);
  if (run.trouble) { goal = 0; tell('trouble', run.trouble); return; }
  if (run.step >= goal) tell('paused', result());
  else { look(); goOn(); }
}

function goOn() { if (!asked) { asked = true; channel.port2.postMessage(0); } }
channel.port1.onmessage = work;

// A picture of the net as it is, if the last one has been drawn.
function look() {
  if (!drawn || performance.now() - last < PICTURES) return;
  drawn = false;
  last = performance.now();
  tell('look', picture());
}

// What there is to see: the first layer's weights, losses since the last picture, sizes, the way of one digit through the net.
function picture() {
  return {weights: [Float32Array.from(run.net.layers[0].p)], losses: run.losses.splice(0), sizes: run.sizes, way: wayOf(probed)};
}
function result() { return {measured: measure(run.net, run.held, run.setting), ...picture()}; }

// What each layer gives for one digit, from the first one up.
function wayOf(image) {
  if (!image) return null;
  const scale = run.setting.pixels === '255' ? 255 : 1, place = Uint16Array.from(image.keys()).filter(p => image[p]);
  forward(run.net, {place, value: Float64Array.from(place, p => image[p]*scale), from: [0, place.length]}, 0);
  return run.net.layers.map(layer => Array.from(layer.a));
}

function tell(kind, more) { postMessage({kind, number: run && run.number, step: run && run.step, epoch: run && run.epoch, ...more}); }

const tasks = {
  data({pixels, labels}) { data = {pixels, labels}; tell('ready'); },
  begin({setting, number}) { goal = 0; begin(setting, number); },
  steps({n}) { goal = run.step + n; goOn(); },
  epochs({n}) { goal = run.step - Math.ceil(run.at/run.setting.bs) + n*Math.ceil(run.train.rows.length/run.setting.bs); goOn(); },
  change({setting}) { if (run) { Object.assign(run.setting, setting); tell('changed', {setting}); } },
  pause() { if (goal) { goal = 0; tell('paused', result()); } },
  probe({image}) { probed = image; if (run) tell('way', {way: wayOf(image)}); },
  back, drawn() { drawn = true; },
};

onmessage = ({data: told}) => tasks[told.task](told);
