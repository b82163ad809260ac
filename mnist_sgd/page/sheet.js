// A sheet to draw a digit on, by mouse, finger or keyboard, and what else the two pages share. Whoever loads this
// has a function `read(speak, since)` of its own: it is called after each stroke, and while one is drawn.
'use strict';

const $ = id => document.getElementById(id);
const sheet = $('sheet'), pencil = sheet.getContext('2d', {willReadFrequently: true});
const PAPER = '#ffffff', INK = '#10131a', WIDTH = 40;
const state = {tool: 'ink', past: [], picture: null, label: null, stroke: null, pen: {x: 280, y: 280, down: false}};

// Numbers as a picture of greys, dark where high.
function paint(canvas, numbers, low, high) {
  const side = Math.sqrt(numbers.length), image = new ImageData(side, side);
  canvas.width = canvas.height = side;
  numbers.forEach((v, p) => {
    const grey = 255 - 255*Math.min(Math.max((v - low)/(high - low), 0), 1);
    image.data.set([grey, grey, grey, 255], 4*p);
  });
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function element(kind, parent, more = {}) {
  return parent.appendChild(Object.assign(document.createElement(kind), more));
}

// ---- drawing

function remember() {
  const pixels = pencil.getImageData(0, 0, sheet.width, sheet.height);
  state.past.push({pixels, picture: state.picture, label: state.label});
  if (state.past.length > 30) state.past.shift();
  state.picture = state.label = null;
}

function undo() {
  const before = state.past.pop();
  if (!before) return;
  pencil.putImageData(before.pixels, 0, 0);
  Object.assign(state, {picture: before.picture, label: before.label});
  read();
}

function wipe(colour = PAPER) { pencil.fillStyle = colour; pencil.fillRect(0, 0, sheet.width, sheet.height); }

function line(from, to) {
  pencil.strokeStyle = state.tool === 'ink' ? INK : PAPER;
  pencil.lineWidth = state.tool === 'ink' ? WIDTH : 2*WIDTH;
  pencil.lineCap = 'round';
  pencil.beginPath();
  pencil.moveTo(from.x, from.y);
  pencil.lineTo(to.x, to.y);
  pencil.stroke();
}

function placeOf(event) {
  const box = sheet.getBoundingClientRect();
  return {x: (event.clientX - box.left)*sheet.width/box.width, y: (event.clientY - box.top)*sheet.height/box.height};
}

function start(event) {
  if (state.stroke || event.button) return;
  event.preventDefault();
  sheet.setPointerCapture(event.pointerId);
  remember();
  state.stroke = {id: event.pointerId, at: placeOf(event), waiting: false, pause: 30};
  line(state.stroke.at, state.stroke.at);
}

function move(event) {
  const stroke = state.stroke;
  if (!stroke || stroke.id !== event.pointerId) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const e of events.length ? events : [event]) { line(stroke.at, placeOf(e)); stroke.at = placeOf(e); }
  if (stroke.waiting) return;
  stroke.waiting = true;
  setTimeout(() => {                      // as often as the machine can without lagging behind the pen
    if (state.stroke !== stroke) return;
    const began = performance.now();
    read(false);
    stroke.pause = 2*(performance.now() - began);
    stroke.waiting = false;
  }, stroke.pause);
}

function end(event) {
  if (!state.stroke || state.stroke.id !== event.pointerId) return;
  state.stroke = null;
  read(true, event.timeStamp);
}

// The pen of the keyboard: a ring on the sheet, filled while it is down.
function key(event) {
  const step = {ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -20], ArrowDown: [0, 20]}[event.key];
  const tasks = {' ': togglePen, Backspace: undo, Delete: clear};
  if (event.ctrlKey || event.metaKey || event.altKey || !(step || tasks[event.key])) return;
  event.preventDefault();
  if (!step) return tasks[event.key]();
  const from = {...state.pen};
  state.pen.x = Math.min(Math.max(from.x + step[0], 0), sheet.width);
  state.pen.y = Math.min(Math.max(from.y + step[1], 0), sheet.height);
  if (state.pen.down) { line(from, state.pen); read(false); }
  showPen();
}

function togglePen() {
  state.pen.down = !state.pen.down;
  if (state.pen.down) {
    remember();
    line(state.pen, state.pen);
    read(false);
    $('says').textContent = 'The pen is down.';
  } else read();
  showPen();
}

function showPen() {
  $('pen').style.left = `${100*state.pen.x/sheet.width}%`;
  $('pen').style.top = `${100*state.pen.y/sheet.height}%`;
  $('pen').classList.toggle('down', !!state.pen.down);
}

function clear() { remember(); wipe(); read(); }

function choose(tool) {
  state.tool = tool;
  for (const id of ['ink', 'rub']) $(id).ariaPressed = String(id === tool);
}

function listenToSheet() {
  sheet.addEventListener('pointerdown', start);
  sheet.addEventListener('pointermove', move);
  sheet.addEventListener('pointerup', end);
  sheet.addEventListener('pointercancel', end);
  sheet.addEventListener('keydown', key);
  addEventListener('keydown', e => { if ((e.ctrlKey || e.metaKey) && e.key === 'z' && !e.target.matches('input, select')) { e.preventDefault(); undo(); } });
  const tasks = {ink: () => choose('ink'), rub: () => choose('rub'), undo, clear};
  for (const [id, task] of Object.entries(tasks)) $(id).addEventListener('click', task);
  showPen();
}

function theme() {
  const isDark = () => getComputedStyle(document.documentElement).colorScheme === 'dark'
    || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  const name = () => { $('theme').textContent = isDark() ? 'Light' : 'Dark'; };
  $('theme').addEventListener('click', () => {
    document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
    name();
  });
  name();
}
