/* Two canvases: `base` holds what the window shows, `over` what follows the pointer. Top to bottom: the whole run, time axis, lanes,
 * blocks that run, blocks that are ready. Slices below a pixel are summed up into columns: the stage with most time gives the colour,
 * the share of time inside blocks how dense it is. */
const base = document.getElementById('base'), over = document.getElementById('over');
const pen = base.getContext('2d'), ink = over.getContext('2d');
const columns = document.createElement('canvas'), columnPen = columns.getContext('2d');
const OVERVIEW = 52, AXIS = 24, GAP = 10, PAD = 12;
const shown = {begin: 0, end: runEnd}, place = {};
const state = {scroll: 0, hovered: -1, pinned: -1, path: null, onPath: null, pointer: null, links: null};
let theme = {};
let overview = null;

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['bg', 'panel', 'ink', 'dim', 'line', 'lane', 'accent', 'before', 'after', 'ready']) {
    theme[name] = style.getPropertyValue('--' + name).trim();
  }
  theme.font = getComputedStyle(document.body).fontFamily;
}

function rgb(colour) {
  return [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
}
for (const row of R) {
  row.rgb = rgb(row.colour);
  row.text = row.rgb[0] * .299 + row.rgb[1] * .587 + row.rgb[2] * .114 > 140 ? '#10131a' : '#ffffff';
}

/* ---- where things are, CSS pixels */
function layout() {
  const box = base.getBoundingClientRect();
  place.dpr = Math.min(3, window.devicePixelRatio || 1);
  place.width = Math.max(200, Math.floor(box.width));
  place.height = Math.max(200, Math.floor(box.height));
  for (const canvas of [base, over]) {
    canvas.width = place.width * place.dpr;
    canvas.height = place.height * place.dpr;
  }
  pen.font = '11px ' + theme.font;
  const labels = D.workers.map(name => pen.measureText(name).width);
  place.left = Math.min(150, Math.max(74, 2 * PAD + Math.max(0, ...labels)));
  place.right = place.width - PAD;
  place.span = place.right - place.left;
  place.top = PAD + OVERVIEW + GAP + AXIS;
  const below = place.height - place.top, strip = Math.max(34, Math.min(90, Math.floor(below / 8)));
  place.strip = strip;
  place.bottom = place.height - 2 * (strip + GAP) - PAD;
  const room = Math.max(20, place.bottom - place.top);
  place.lane = Math.max(6, Math.min(240, room / Math.max(1, nLanes)));
  place.wide = place.lane < 14 ? 5 : 3; // blocks from here on are drawn one by one
  place.laneGap = place.lane > 24 ? 4 : place.lane > 12 ? 2 : 1;
  place.bottom = Math.min(place.bottom, place.top + place.lane * nLanes);
  place.strip = Math.min(130, strip + Math.max(0, room - nLanes * place.lane) / 2);
  place.overflow = Math.max(0, nLanes * place.lane - (place.bottom - place.top));
  state.scroll = Math.min(state.scroll, place.overflow);
  columns.width = Math.ceil(place.span * place.dpr);
  columns.height = Math.max(1, nLanes);
  overview = null;
}
const toX = t => place.left + (t - shown.begin) / (shown.end - shown.begin) * place.span;
const toTime = x => shown.begin + (x - place.left) / place.span * (shown.end - shown.begin);
const laneY = lane => place.top + lane * place.lane - state.scroll;
const middleY = event => laneY(E.lane[event]) + (place.lane - place.laneGap) / 2;
const runX = t => place.left + t / runEnd * place.span;

function firstShown(lane) { // first event of a lane that ends after the window's begin
  return bound(E.end, shown.begin, laneBegin[lane], laneBegin[lane + 1]);
}

/* 0 hidden, 1 in the background, 2 plain */
let anyChosen = false;
function emphasis(event) {
  const row = R[E.row[event]];
  if (row.hidden) return 0;
  if (event === state.pinned) return 2;
  if (state.onPath !== null) return state.onPath[event] ? 2 : 1;
  return anyChosen && !row.chosen ? 1 : 2;
}

/* ---- the whole run: running blocks by stage, of stages that are neither hidden nor in the background */
function paintOverview() {
  overview = document.createElement('canvas');
  const w = overview.width = Math.ceil(place.span * place.dpr), h = overview.height = Math.ceil(OVERVIEW * place.dpr);
  const sums = new Float32Array(w * R.length), scale = w / runEnd;
  for (let i = 0; i < N; i++) {
    const row = R[E.row[i]];
    if (row.hidden || (anyChosen && !row.chosen)) continue;
    const a = E.start[i] * scale, b = E.end[i] * scale;
    for (let c = Math.floor(a); c < w && c <= b; c++) {
      sums[c * R.length + E.row[i]] += Math.max(0, Math.min(b, c + 1) - Math.max(a, c));
    }
  }
  const p = overview.getContext('2d'), unit = h / Math.max(1, nLanes);
  for (const row of R) {
    p.fillStyle = row.colour;
    for (let c = 0; c < w; c++) {
      let y = h;
      const at = c * R.length;
      for (let r = 0; r < row.index; r++) y -= sums[at + r] * unit;
      const high = sums[at + row.index] * unit;
      if (high > 0) p.fillRect(c, y - high, 1, high);
    }
  }
}

function drawOverview() {
  if (overview === null) paintOverview();
  pen.fillStyle = theme.lane;
  pen.fillRect(place.left, PAD, place.span, OVERVIEW);
  pen.drawImage(overview, place.left, PAD, place.span, OVERVIEW);
  const a = runX(Math.max(0, shown.begin)), b = runX(Math.min(runEnd, shown.end));
  pen.globalAlpha = .72;
  pen.fillStyle = theme.bg;
  pen.fillRect(place.left, PAD, Math.max(0, a - place.left), OVERVIEW);
  pen.fillRect(b, PAD, Math.max(0, place.right - b), OVERVIEW);
  pen.globalAlpha = 1;
  pen.strokeStyle = theme.accent;
  pen.lineWidth = 1.5;
  pen.strokeRect(a, PAD, Math.max(3, b - a), OVERVIEW);
  label('whole run', PAD, PAD + 13, theme.dim);
  label(timeText(runEnd), PAD, PAD + 28, theme.dim);
}

/* ---- time axis */
function tickStep(span, room) {
  const rough = span / Math.max(1, room), power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find(m => m * power >= rough);
}

function label(text, x, y, colour, align = 'left', weight = '') {
  pen.fillStyle = colour;
  pen.font = weight + ' 11px ' + theme.font;
  pen.textAlign = align;
  pen.fillText(text, x, y);
}

function drawAxis() {
  const step = tickStep(shown.end - shown.begin, place.span / 110);
  const [scale, unit] = step >= 1e8 ? [1e9, 's'] : step >= 1e5 ? [1e6, 'ms'] : step >= 1e2 ? [1e3, 'µs'] : [1, 'ns'];
  const digits = Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
  for (let k = Math.ceil(shown.begin / step); k * step <= shown.end; k++) {
    const x = toX(k * step);
    pen.fillStyle = theme.line;
    pen.fillRect(x, place.top - 6, 1, profileY(1) + place.strip - place.top + 6);
    label((k * step / scale).toFixed(digits) + ' ' + unit, x, place.top - 10, theme.dim, x > place.right - 30 ? 'right' : 'center');
  }
}

/* ---- lanes */
function sumColumns(lane, line, sums, touched) {
  const scale = columns.width / (shown.end - shown.begin), y = lane * columns.width;
  let column = -1, total = 0;
  const flush = () => {
    if (total > 0 && column >= 0 && column < columns.width) {
      let best = touched[0];
      for (const key of touched) if (sums[key] > sums[best]) best = key;
      const [r, g, b] = R[best >> 1].rgb, density = Math.min(1, .2 + .8 * total) * (best & 1 ? 1 : .16);
      line[y + column] = (Math.round(255 * density) << 24 | b << 16 | g << 8 | r) >>> 0;
    }
    for (const key of touched) sums[key] = 0;
    touched.length = 0;
    total = 0;
  };
  for (let i = firstShown(lane); i < laneBegin[lane + 1] && E.start[i] < shown.end; i++) {
    const a = (E.start[i] - shown.begin) * scale, b = (E.end[i] - shown.begin) * scale, how = emphasis(i);
    if (how === 0 || b - a >= place.wide * place.dpr) continue;
    const key = 2 * E.row[i] + (how - 1);
    for (let c = Math.max(0, Math.floor(a)); c <= b; c++) {
      if (c !== column) {
        flush();
        column = c;
      }
      const part = Math.max(.02, Math.min(b, c + 1) - Math.max(a, c));
      if (sums[key] === 0) touched.push(key);
      sums[key] += part;
      total += part;
    }
  }
  flush();
}

function drawWide(lane, y, height) {
  for (let i = firstShown(lane); i < laneBegin[lane + 1] && E.start[i] < shown.end; i++) {
    const a = Math.max(place.left - 4, toX(E.start[i])), b = Math.min(place.right + 4, toX(E.end[i])), how = emphasis(i);
    if (how === 0 || toX(E.end[i]) - toX(E.start[i]) < place.wide) continue;
    const row = R[E.row[i]];
    pen.globalAlpha = how === 2 ? 1 : .16;
    pen.fillStyle = row.colour;
    pen.fillRect(a, y, b - a, height);
    if (b - a > 5) { // its right edge: a gap would look like waiting
      pen.fillStyle = 'rgba(0, 0, 0, .28)';
      pen.fillRect(b - 1, y, 1, height);
    }
    if (how === 2 && height > 13 && b - a > 46) blockText(i, row, Math.max(a, place.left), Math.min(b, place.right), y, height);
  }
  pen.globalAlpha = 1;
}

function blockText(i, row, a, b, y, height) {
  const stage = stageOf(i), room = b - a - 10;
  pen.font = '11px ' + theme.font;
  let text = row.name;
  if (pen.measureText(text).width > room) text = text.slice(text.lastIndexOf('.') + 1);
  const width = pen.measureText(text).width;
  if (width > room) return;
  label(text, a + 5, y + Math.min(height / 2 + 4, 18), row.text);
  if (stage.blocks > 1 && height > 34) {
    const which = blockOf(i) + ' / ' + stage.blocks;
    pen.globalAlpha = .75;
    if (pen.measureText(which).width < room) label(which, a + 5, y + 32, row.text);
    pen.globalAlpha = 1;
  }
}

function drawLanes() {
  const first = Math.max(0, Math.floor(state.scroll / place.lane));
  const last = Math.min(nLanes, Math.ceil((state.scroll + place.bottom - place.top) / place.lane));
  const height = place.lane - place.laneGap;
  pen.save();
  pen.beginPath();
  pen.rect(0, place.top - 3, place.width, place.bottom - place.top + 3);
  pen.clip();
  const image = columnPen.createImageData(columns.width, columns.height), line = new Uint32Array(image.data.buffer);
  const sums = new Float64Array(2 * R.length), touched = [];
  for (let lane = first; lane < last; lane++) sumColumns(lane, line, sums, touched);
  columnPen.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  const every = Math.ceil(13 / place.lane);
  for (let lane = first; lane < last; lane++) {
    const y = laneY(lane);
    pen.fillStyle = theme.lane;
    pen.globalAlpha = .6;
    pen.fillRect(place.left, y, place.span, height);
    pen.globalAlpha = 1;
    pen.drawImage(columns, 0, lane, columns.width, 1, place.left, y, place.span, height);
    drawWideClipped(lane, y, height);
    if (lane % every === 0) label(D.workers[lane], PAD, y + Math.min(height / 2 + 4, height < 13 ? 9 : height), theme.ink);
  }
  pen.restore();
  if (place.overflow > 0) {
    const room = place.bottom - place.top, high = room * room / (nLanes * place.lane);
    pen.fillStyle = theme.dim;
    pen.globalAlpha = .5;
    pen.fillRect(place.right + 4, place.top + state.scroll / place.overflow * (room - high), 4, high);
    pen.globalAlpha = 1;
  }
}

function drawWideClipped(lane, y, height) {
  pen.save();
  pen.beginPath();
  pen.rect(place.left, y, place.span, height);
  pen.clip();
  drawWide(lane, y, height);
  pen.restore();
}

/* ---- blocks by time */
function drawProfile(what, name, y, colour, high) {
  pen.fillStyle = theme.lane;
  pen.globalAlpha = .6;
  pen.fillRect(place.left, y, place.span, place.strip);
  pen.fillStyle = colour;
  pen.globalAlpha = .8;
  const step = 1 / place.dpr;
  pen.beginPath();
  pen.moveTo(place.left, y + place.strip);
  for (let x = 0; x < place.span; x += step) {
    const t = toTime(place.left + x), mean = what.mean(t, toTime(place.left + x + step));
    pen.lineTo(place.left + x, y + place.strip - Math.min(1, mean / Math.max(1, high)) * place.strip);
  }
  pen.lineTo(place.right, y + place.strip);
  pen.fill();
  pen.globalAlpha = 1;
  label(name, PAD, y + 12, theme.ink);
  label('0 to ' + count(high), PAD, y + 26, theme.dim);
}
const profileY = which => place.bottom + GAP + which * (place.strip + GAP);

function drawBase() {
  pen.setTransform(place.dpr, 0, 0, place.dpr, 0, 0);
  pen.fillStyle = theme.bg;
  pen.fillRect(0, 0, place.width, place.height);
  drawOverview();
  drawAxis();
  drawLanes();
  drawProfile(running, 'running', profileY(0), theme.accent, nLanes);
  drawProfile(ready, 'ready', profileY(1), theme.ready, ready.high);
}

/* ---- what follows the pointer */
function outline(event, colour, width) {
  const a = toX(E.start[event]), b = toX(E.end[event]), y = laneY(E.lane[event]);
  ink.strokeStyle = colour;
  ink.lineWidth = width;
  ink.strokeRect(a - 1, y - 1, Math.max(2, b - a) + 1, place.lane - place.laneGap + 2);
}

function arrow(from, to, colour) {
  const x0 = toX(E.end[from]), y0 = middleY(from), x1 = toX(E.start[to]), y1 = middleY(to);
  const bend = Math.min(60, Math.max(14, Math.abs(x1 - x0) / 2)), lift = E.lane[from] === E.lane[to] ? -Math.min(24, place.lane) : 0;
  ink.beginPath();
  ink.moveTo(x0, y0);
  ink.bezierCurveTo(x0 + bend, y0 + lift, x1 - bend, y1 + lift, x1, y1);
  ink.strokeStyle = theme.bg;
  ink.lineWidth = 2.8;
  ink.stroke();
  ink.strokeStyle = ink.fillStyle = colour;
  ink.lineWidth = 1.5;
  ink.stroke();
  ink.beginPath();
  ink.moveTo(x1, y1);
  ink.lineTo(x1 - 6, y1 - 3);
  ink.lineTo(x1 - 6, y1 + 3);
  ink.fill();
}

const MAX_ARROWS = 300;
function drawLinks(links) {
  ink.globalAlpha = Math.max(.75, Math.min(.95, 24 / Math.max(links.before.length, links.after.length, 1)));
  for (const link of links.before.slice(0, MAX_ARROWS)) arrow(link.event, links.event, theme.before);
  for (const link of links.after.slice(0, MAX_ARROWS)) arrow(links.event, link.event, theme.after);
  ink.globalAlpha = 1;
}

function drawPath() {
  for (const event of state.path) { // blocks that are too narrow to see without the rest
    const x = toX(E.start[event]);
    if (R[E.row[event]].hidden || toX(E.end[event]) - x >= place.wide || x < place.left - 3 || x > place.right) continue;
    ink.fillStyle = R[E.row[event]].colour;
    ink.fillRect(x, laneY(E.lane[event]), Math.max(2, toX(E.end[event]) - x), place.lane - place.laneGap);
  }
  ink.strokeStyle = theme.ink;
  ink.lineWidth = 1.2;
  ink.globalAlpha = .8;
  ink.beginPath();
  let before = null;
  for (const event of state.path) {
    const x0 = toX(E.start[event]), x1 = toX(E.end[event]), y = middleY(event);
    if (before !== null && x1 >= place.left && before.x <= place.right && before.event !== event - 1) {
      ink.moveTo(before.x, before.y);
      ink.lineTo(x0, y);
    }
    before = {x: x1, y, event};
  }
  ink.stroke();
  ink.globalAlpha = 1;
}

function drawOver() {
  ink.setTransform(place.dpr, 0, 0, place.dpr, 0, 0);
  ink.clearRect(0, 0, place.width, place.height);
  if (state.pointer !== null && state.pointer.x >= place.left && state.pointer.x <= place.right && state.pointer.y > place.top - AXIS) {
    ink.fillStyle = theme.dim;
    ink.globalAlpha = .6;
    ink.fillRect(Math.round(state.pointer.x), place.top - 6, 1, profileY(1) + place.strip - place.top + 6);
    ink.globalAlpha = 1;
  }
  ink.save();
  ink.beginPath();
  ink.rect(place.left, place.top - 2, place.span, place.bottom - place.top + 4);
  ink.clip();
  if (state.path !== null) drawPath();
  if (state.links !== null) drawLinks(state.links);
  if (state.pinned >= 0) outline(state.pinned, theme.accent, 3);
  if (state.hovered >= 0) outline(state.hovered, theme.ink, 1.5);
  ink.restore();
}

let wantsBase = true, wantsOver = true, scheduled = false;
function repaint(whole) {
  wantsBase = wantsBase || whole;
  wantsOver = true;
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      stepWindow();
      if (wantsBase) drawBase();
      if (wantsOver) drawOver();
      wantsBase = wantsOver = false;
      if (moving()) repaint(true);
    });
  }
}
