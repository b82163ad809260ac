// What can be chosen in the playground, and the address that holds it. Nothing in here touches the page.
'use strict';

const RATES = [-5, -4, -3, -2, -1, 0, 1, 2].flatMap(power => [1, 2, 3, 5].map(k => +`${k}e${power}`));
const CHOICES = {                // the first of each list is taken where the address says nothing
  task: ['ten', '37'], images: [10000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10],
  model: ['one', 'mean', 'linear', 'two'], units: [30, ...Array.from({length: 200}, (_, i) => i + 1)],
  bend: ['relu', 'none', 'sigmoid'], start: ['torch', 'zeros', 'normal'], loss: ['ce', 'mse', 'mnist'],
  lr: [.1, ...RATES], mom: [0, .5, .8, .9, .95, .99], wd: [0, 1e-5, 1e-4, 1e-3, .01, .1, 1],
  bs: [64, 1, 2, 4, 8, 16, 32, 128, 256, 512, 1024], order: ['shuffled', 'sorted'], spoilt: [0, .1, .2, .3, .4, .5, .7, .9],
  pixels: ['1', '255'], zero: ['on', 'off'], bias: ['on', 'off'], seed: [0, 1e9], epochs: [10, 1, 2, 3, 5, 20, 50, 100],
};

// The nearest of the numbers that are allowed; where they span powers of ten, nearest in the number of noughts.
function nearest(name, number) {
  if (name === 'seed') return Math.min(Math.max(Math.round(number), 0), CHOICES.seed[1]);
  const far = ['lr', 'wd', 'images', 'bs'].includes(name) ? v => Math.log(Math.max(v, 1e-7)) : v => v;
  const size = v => Math.abs(far(v) - far(Math.min(Math.max(number, -1e300), 1e300)));
  return CHOICES[name].reduce((best, v) => size(v) < size(best) ? v : best);
}

// A setting from the words of an address, and a sentence for each word that could not be taken as it stands.
function settingOf(address) {
  const setting = {}, told = [];
  let words;
  try { words = new URLSearchParams(address.replace(/^#/, '')); } catch { words = new URLSearchParams(); }
  for (const [name, choices] of Object.entries(CHOICES)) {
    const given = words.get(name);
    setting[name] = choices[0];
    if (given === null) continue;
    if (typeof choices[0] === 'string') setting[name] = choices.includes(given) ? given : choices[0];
    else if (given.trim() && !Number.isNaN(Number(given))) setting[name] = nearest(name, Number(given));
    if (String(setting[name]) !== given && Number(given) !== setting[name])
      told.push(`${name} cannot be ${given.slice(0, 30)}: ${setting[name]} is taken.`);
  }
  for (const name of new Set(words.keys())) if (!Object.hasOwn(CHOICES, name)) told.push(`${name.slice(0, 30)} is nothing that can be chosen.`);
  if (setting.task === 'ten' && setting.loss === 'mnist') {
    setting.loss = 'ce';
    told.push('loss cannot be mnist for ten digits: ce is taken.');
  }
  if (setting.model === 'mean' && setting.loss !== 'ce') {
    told.push(`loss plays no part for the nearest mean: ce stands for ${setting.loss}.`);
    setting.loss = 'ce';
  }
  return {setting, told};
}

function addressOf(setting) { return `#${new URLSearchParams(Object.keys(CHOICES).map(name => [name, setting[name]]))}`; }
