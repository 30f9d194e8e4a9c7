/* ---- the window moves towards a target */
const target = {begin: 0, end: runEnd};
const still = matchMedia('(prefers-reduced-motion: reduce)');
function moving() {
  return shown.begin !== target.begin || shown.end !== target.end;
}

function stepWindow() {
  const rest = Math.abs(target.begin - shown.begin) + Math.abs(target.end - shown.end);
  if (still.matches || rest < (target.end - target.begin) * 2e-3) {
    Object.assign(shown, target);
    return;
  }
  shown.begin += (target.begin - shown.begin) * .35;
  shown.end += (target.end - shown.end) * .35;
}

function show(begin, end, now) {
  const span = Math.max(Math.min(20, runEnd), Math.min(end - begin, runEnd * 1.04)), middle = (begin + end) / 2, slack = .02 * runEnd;
  begin = Math.min(Math.max(middle - span / 2, -slack), runEnd + slack - span);
  target.begin = begin;
  target.end = begin + span;
  if (now) Object.assign(shown, target);
  repaint(true);
  rememberLater();
}
const fit = now => show(-.005 * runEnd, 1.005 * runEnd, now);

function zoom(factor, x) {
  const share = (x - place.left) / place.span, at = target.begin + share * (target.end - target.begin);
  const span = Math.max(20, Math.min(runEnd * 1.04, (target.end - target.begin) * factor));
  show(at - share * span, at + (1 - share) * span, false);
}

function pan(share, now) {
  const step = share * (target.end - target.begin);
  show(target.begin + step, target.end + step, now);
}

function scrollLanes(pixels) {
  state.scroll = Math.max(0, Math.min(place.overflow, state.scroll + pixels));
  repaint(true);
}

function reveal(event) {
  const span = target.end - target.begin, length = E.end[event] - E.start[event];
  if (E.start[event] < target.begin || E.end[event] > target.end) {
    const wide = Math.max(span, length * 1.5), middle = (E.start[event] + E.end[event]) / 2;
    show(middle - wide / 2, middle + wide / 2, false);
  }
  const y = E.lane[event] * place.lane, room = place.bottom - place.top;
  if (y < state.scroll || y + place.lane > state.scroll + room) scrollLanes(y - room / 2 - state.scroll);
}

/* ---- which block is under the pointer: the nearest within three pixels */
function eventAt(x, y) {
  if (y < place.top || y >= place.bottom || x < place.left || x > place.right) return -1;
  const lane = Math.floor((y - place.top + state.scroll) / place.lane);
  if (lane < 0 || lane >= nLanes) return -1;
  const t = toTime(x), slack = 3 * (shown.end - shown.begin) / place.span;
  const at = bound(E.end, t, laneBegin[lane], laneBegin[lane + 1]);
  let best = -1, distance = slack;
  for (const i of [at - 1, at]) {
    if (i < laneBegin[lane] || i >= laneBegin[lane + 1] || emphasis(i) === 0) continue;
    const away = Math.max(0, E.start[i] - t, t - E.end[i]);
    if (away <= distance) {
      best = i;
      distance = away;
    }
  }
  return best;
}

/* ---- words about a block, as elements: names are text, never markup */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') node.addEventListener('click', value);
    else if (name === 'colour') node.style.setProperty('--c', value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const line = (name, text) => el('tr', {}, el('td', {}, name), el('td', {}, text));

function reasonText(list, event) {
  const found = E.found[event], stolen = found >= 0 && found !== E.lane[event] ? ' (from ' + D.workers[found] + ')' : '';
  const parts = byReason(list, event).map(([name, ns]) => timeText(ns) + ' ' + name);
  return parts.length > 0 ? parts.join(', ') + stolen : found === -1 ? 'no: its worker kept it' : 'no';
}

const range = (begin, n) => n === 1 ? String(begin) : begin + '..' + (begin + n - 1);
function boxLine(box) {
  const mode = ['', 'reads', 'writes', 'updates'][box.mode & 3] + (box.mode & 4 ? ' ~' : ''), [name, rows, cols] = box.view;
  const row = line(mode, name + ' '), where = range(box.row, box.rows) + ' \u00d7 ' + range(box.col, box.cols);
  row.lastChild.append(el('b', {}, where), el('small', {}, ' of ' + rows + ' \u00d7 ' + cols));
  row.title = 'rows \u00d7 columns' + (box.mode & 4 ? '; ~ untracked: no order follows from it' : '');
  return row;
}

function describe(event, maxBoxes) {
  const stage = stageOf(event), d = declared(event), ns = E.end[event] - E.start[event], row = R[E.row[event]];
  const table = el('table', {},
    line('duration', timeText(ns)),
    line('start', timeText(E.start[event], 6) + ' to ' + timeText(E.end[event], 6) + ', ' + D.workers[E.lane[event]]),
    line('ready', timeText(E.ready[event], 6) + ', dispatched ' + timeText(E.dispatch[event], 6)),
    line('waited', reasonText(D.delay, event)),
    line('worker idle', reasonText(D.idle, event)));
  const rates = [[d.read + d.written, 'GB/s'], [d.bf16, 'GFLOP/s BF16'], [d.i8, 'GOP/s INT8'], [d.vector, 'GOP/s vector']]
    .map(([amount, unit]) => [rateText(amount, ns), unit]).filter(([text]) => text !== '').map(([text, unit]) => text + ' ' + unit);
  if (rates.length > 0) table.append(line('as declared', rates.join(', ')));
  if (d.product[0] > 0) table.append(line('product',
    d.product.slice(0, 3).join(' x ') + (d.product[3] > 0 ? ', k tile ' + d.product[3] : '')));
  D.counters.forEach((name, c) => table.append(line(name, count(D.counts[event * D.counters.length + c]))));
  const list = el('table', {class: 'boxes'}, ...d.boxes.slice(0, maxBoxes).map(boxLine));
  if (d.boxes.length > maxBoxes) list.append(line('', 'and ' + (d.boxes.length - maxBoxes) + ' more'));
  const which = stage.blocks > 1 ? ' block ' + blockOf(event) + ' of ' + stage.blocks : '';
  const out = el('div', {class: 'block'}, el('h3', {}, el('i', {colour: row.colour}), row.name + ' ', el('small', {}, which)), table);
  if (d.boxes.length > 0) out.append(list);
  return out;
}

function linkList(title, links) {
  const items = links.slice(0, 40).map(link => {
    const row = R[E.row[link.event]];
    return el('li', {}, el('button', {on: () => pin(link.event, true), title: link.source}, el('i', {colour: row.colour}),
      row.name + ' ' + blockOf(link.event), el('span', {}, D.workers[E.lane[link.event]])));
  });
  const rest = links.length > 40 ? ' (the first 40)' : '';
  return [el('h2', {}, title + ' ', el('small', {}, links.length + rest)), el('ul', {class: 'links'}, ...items)];
}

/* ---- hover and pin */
const tip = document.getElementById('tip'), pinned = document.getElementById('pinned');
function linksOf(event) {
  return event < 0 ? null : {event, before: neighbours(event, false), after: neighbours(event, true)};
}

function hover(event, x, y) {
  if (event !== state.hovered) {
    state.hovered = event;
    state.links = linksOf(event >= 0 ? event : state.pinned);
    tip.hidden = event < 0;
    if (event >= 0) tip.replaceChildren(describe(event, 10));
    repaint(false);
  }
  if (event >= 0) {
    const left = x + 18 + tip.offsetWidth > innerWidth ? x - 18 - tip.offsetWidth : x + 18;
    tip.style.left = Math.max(6, left) + 'px';
    tip.style.top = Math.max(6, Math.min(y + 14, innerHeight - tip.offsetHeight - 8)) + 'px';
  }
}

function pin(event, seen) {
  state.pinned = event;
  state.links = linksOf(event);
  pinned.hidden = event < 0;
  if (event >= 0) {
    const body = describe(event, 16);
    body.append(...linkList('Waits for', state.links.before), ...linkList('Lets go', state.links.after));
    pinned.replaceChildren(body);
    if (seen) reveal(event);
  }
  repaint(true);
  rememberLater();
}

function togglePath(on) {
  const x = D.executed, share = ns => timeText(ns) + ' (' + percent(ns / runEnd) + ')';
  state.path = on ? x.events : null;
  state.onPath = on ? new Uint8Array(N) : null;
  document.getElementById('path').setAttribute('aria-pressed', on);
  const panel = document.getElementById('executed');
  panel.hidden = !on;
  if (on) {
    for (const event of x.events) state.onPath[event] = 1;
    panel.replaceChildren(el('div', {class: 'block'}, el('h2', {}, 'Critical path as executed'), el('table', {},
      line('in ' + count(x.events.length) + ' blocks', share(x.inside)), ...D.reasons.map((name, r) => line(name, share(x.gaps[r]))),
      line('graph alone', share(D.longest) + ': its longest path with unlimited cores'))));
  }
  repaint(true);
  rememberLater();
}

/* ---- legend and search */
function refilter() {
  anyChosen = R.some(row => row.chosen);
  overview = null;
  for (const row of R) {
    row.item.classList.toggle('off', row.hidden || (anyChosen && !row.chosen));
    row.hideButton.setAttribute('aria-pressed', row.hidden);
    row.showButton.setAttribute('aria-pressed', row.chosen);
  }
  repaint(true);
}

function buildLegend() {
  const most = Math.max(1, ...R.map(row => row.time));
  const sorted = R.filter(row => row.blocks > 0).sort((a, b) => b.time - a.time);
  for (const row of R) {
    const toggle = what => () => {
      row[what] = !row[what];
      refilter();
    };
    row.hideButton = el('button', {class: 'hide', on: toggle('hidden'), title: 'hide', 'aria-label': 'hide ' + row.name}, el('i'));
    const bar = el('u');
    bar.style.width = 100 * row.time / most + '%';
    row.showButton = el('button', {class: 'show', on: toggle('chosen'), title: row.name + ': ' + timeText(row.time) + ' in ' +
      row.blocks + ' blocks, ' + timeText(row.time / Math.max(1, row.blocks)) + ' each'},
    el('b', {}, row.name), el('span', {}, count(row.blocks)), el('em', {}, percent(busyTotal > 0 ? row.time / busyTotal : 0)), bar);
    row.item = el('li', {colour: row.colour}, row.hideButton, row.showButton);
  }
  document.getElementById('legend').append(...sorted.map(row => row.item));
}

function search(text) {
  const wanted = text.trim().toLowerCase();
  for (const row of R) {
    row.chosen = wanted !== '' && row.name.toLowerCase().includes(wanted);
    row.item.hidden = wanted !== '' && !row.chosen;
    row.item.style.display = row.item.hidden ? 'none' : '';
  }
  refilter();
}

/* ---- pointer */
const pointers = new Map();
let drag = null;
function local(e) {
  const box = over.getBoundingClientRect();
  return {x: e.clientX - box.left, y: e.clientY - box.top};
}
const inOverview = p => p.y < PAD + OVERVIEW && p.y >= PAD - 4;

function overviewTo(p) {
  const t = (p.x - place.left) / place.span * runEnd;
  if (drag.brush) show(Math.min(drag.time, t), Math.max(drag.time, t), true);
  else show(t - drag.offset, t - drag.offset + drag.span, true);
}

over.addEventListener('pointerdown', e => {
  const p = local(e), t = (p.x - place.left) / place.span * runEnd;
  over.focus({preventScroll: true});
  over.setPointerCapture(e.pointerId);
  pointers.set(e.pointerId, p);
  drag = {x: p.x, y: p.y, begin: target.begin, span: target.end - target.begin, scroll: state.scroll, moved: false,
    overview: inOverview(p), time: t, offset: t - target.begin,
    brush: t < target.begin || t > target.end || target.end - target.begin > runEnd * .98};
  if (pointers.size === 2) {
    const [a, b] = [...pointers.values()];
    drag.pinch = Math.hypot(a.x - b.x, a.y - b.y);
  }
});
over.addEventListener('pointermove', e => {
  const p = local(e);
  state.pointer = p;
  if (pointers.has(e.pointerId)) pointers.set(e.pointerId, p);
  if (drag !== null && pointers.size === 2) {
    const [a, b] = [...pointers.values()], wide = Math.max(8, Math.hypot(a.x - b.x, a.y - b.y));
    zoom(drag.pinch / wide, (a.x + b.x) / 2);
    drag.pinch = wide;
    drag.moved = true;
  } else if (drag !== null && (drag.moved || Math.hypot(p.x - drag.x, p.y - drag.y) > 4)) {
    drag.moved = true;
    if (drag.overview) {
      overviewTo(p);
    } else {
      const begin = drag.begin - (p.x - drag.x) / place.span * drag.span;
      state.scroll = Math.max(0, Math.min(place.overflow, drag.scroll - (p.y - drag.y)));
      show(begin, begin + drag.span, true);
    }
    hover(-1);
  } else if (drag === null) {
    hover(eventAt(p.x, p.y), e.clientX, e.clientY);
    repaint(false);
  }
});
function release(e) {
  const p = local(e);
  pointers.delete(e.pointerId);
  if (drag !== null && !drag.moved && e.type === 'pointerup') {
    if (drag.overview) show(drag.time - drag.span / 2, drag.time + drag.span / 2, false);
    else pin(eventAt(p.x, p.y), false);
  }
  drag = null;
}
over.addEventListener('pointerup', release);
over.addEventListener('pointercancel', release);
over.addEventListener('pointerleave', () => {
  state.pointer = null;
  hover(-1);
  repaint(false);
});
over.addEventListener('dblclick', () => fit(false));
over.addEventListener('wheel', e => {
  e.preventDefault();
  const unit = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1, x = local(e).x;
  if (e.shiftKey && !e.ctrlKey) {
    scrollLanes((e.deltaY || e.deltaX) * unit);
  } else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    pan(e.deltaX * unit / place.span, true);
  } else {
    zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY * unit * (e.ctrlKey ? .01 : .002)))), x);
  }
  hover(-1);
}, {passive: false});

/* ---- keys */
function step(by) {
  const next = state.pinned + by;
  if (state.pinned >= 0 && next >= 0 && next < N && E.lane[next] === E.lane[state.pinned]) pin(next, true);
}

function follow(forward) {
  const list = state.pinned < 0 ? [] : neighbours(state.pinned, forward);
  if (list.length > 0) pin(list[0].event, true);
}

function frame(event) {
  if (event < 0) return;
  const length = Math.max(1, E.end[event] - E.start[event]);
  show(E.start[event] - 2 * length, E.end[event] + 2 * length, false);
  reveal(event);
}

function letGo() {
  for (const row of R) row.hidden = row.chosen = false;
  document.getElementById('search').value = '';
  search('');
  pin(-1, false);
  showKeys(false);
  if (state.path !== null) togglePath(false);
}

function showKeys(on) {
  document.getElementById('keys').hidden = !on;
  document.getElementById('help').setAttribute('aria-expanded', on);
}

const centre = () => state.pointer !== null ? state.pointer.x : place.left + place.span / 2;
const KEYS = {w: () => zoom(.6, centre()), s: () => zoom(1 / .6, centre()), '+': () => zoom(.6, centre()), '=': () => zoom(.6, centre()),
  '-': () => zoom(1 / .6, centre()), a: () => pan(-.2, false), d: () => pan(.2, false), arrowleft: () => pan(-.2, false),
  arrowright: () => pan(.2, false), arrowup: () => scrollLanes(-3 * place.lane), arrowdown: () => scrollLanes(3 * place.lane),
  0: () => fit(false), ',': () => step(-1), '.': () => step(1), p: () => follow(false), n: () => follow(true),
  f: () => frame(state.pinned), c: () => togglePath(state.path === null), '/': () => document.getElementById('search').focus(),
  '?': () => showKeys(document.getElementById('keys').hidden), escape: letGo};
addEventListener('keydown', e => {
  const key = e.key.toLowerCase();
  if (e.ctrlKey || e.metaKey || e.altKey || KEYS[key] === undefined) return;
  if (e.target.tagName === 'INPUT' && key !== 'escape') return;
  e.preventDefault();
  if (e.target.tagName === 'INPUT') over.focus();
  KEYS[key]();
});

/* ---- the address keeps what is shown: #begin=NS&end=NS&task=T&path=1 */
let remembering = 0;
function rememberLater() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const words = ['begin=' + Math.round(target.begin), 'end=' + Math.round(target.end)];
    if (state.pinned >= 0) words.push('task=' + E.task[state.pinned]);
    if (state.path !== null) words.push('path=1');
    try {
      history.replaceState(null, '', '#' + words.join('&'));
    } catch (error) { /* a page that may not change its address */ }
  }, 400);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const begin = Number(words.get('begin')), end = Number(words.get('end')), task = Number(words.get('task'));
  if (words.has('end') && end > begin) show(begin, end, true);
  else fit(true);
  if (words.get('path') === '1') togglePath(true);
  if (words.has('task') && eventOf[task] >= 0) pin(eventOf[task], true);
}

/* ---- begin */
function figure(name, value) {
  return el('div', {}, el('dt', {}, name), el('dd', {}, value));
}

function begin() {
  const simulated = D.simulated ? [el('span', {class: 'badge'}, 'simulated device')] : [];
  document.title = D.graph + ' - dsv4 trace';
  document.getElementById('title').textContent = D.graph;
  document.getElementById('subtitle').append(...simulated, D.device + ', ' + nLanes + (nLanes === 1 ? ' worker' : ' workers'));
  const busy = nLanes > 0 ? busyTotal / (nLanes * runEnd) : 0;
  const blocks = el('dd', {id: 'blocks'}, count(N));
  document.getElementById('figures').append(figure('makespan', timeText(runEnd, 4)), el('div', {}, el('dt', {}, 'blocks'), blocks),
    figure('edges', count(afterTo.length)), figure('busy', percent(busy)), figure('mean parallelism', (busyTotal / runEnd).toFixed(2)));
  over.setAttribute('aria-label', 'Swimlane of ' + D.graph + ': ' + N + ' blocks on ' + nLanes + ' workers');
  document.getElementById('search').addEventListener('input', e => search(e.target.value));
  document.getElementById('path').addEventListener('click', () => togglePath(state.path === null));
  document.getElementById('fit').addEventListener('click', () => fit(false));
  document.getElementById('help').addEventListener('click', () => showKeys(document.getElementById('keys').hidden));
  readTheme();
  buildLegend();
  layout();
  refilter();
  recall();
  new ResizeObserver(() => { // painted at once: a resized canvas is empty
    layout();
    drawBase();
    drawOver();
  }).observe(document.getElementById('view'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    readTheme();
    repaint(true);
  });
  if (location.hash.startsWith('#selftest')) selftest();
}

/* With #selftest the page uses itself as a visitor would and writes what came of it into the document, for tests. */
function selftest() {
  const out = {events: N};
  let longest = 0;
  for (let i = 0; i < N; i++) if (E.end[i] - E.start[i] > E.end[longest] - E.start[longest]) longest = i;
  const before = performance.now(), frames = 20;
  for (let k = 0; k < frames; k++) {
    Object.assign(shown, {begin: runEnd * k / 100, end: runEnd * (1 - k / 100)});
    drawBase();
    drawOver();
    pen.getImageData(0, 0, 1, 1); // waits until it is drawn
  }
  out.frame_ms = (performance.now() - before) / frames;
  fit(true);
  const span = target.end - target.begin;
  over.dispatchEvent(new KeyboardEvent('keydown', {key: 'w', bubbles: true}));
  out.zoomed = (target.end - target.begin) / span;
  frame(longest);
  Object.assign(shown, target);
  const box = over.getBoundingClientRect();
  over.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + toX((E.start[longest] + E.end[longest]) / 2),
    clientY: box.top + middleY(longest), pointerId: 1, bubbles: true}));
  if (state.hovered >= 0) {
    const d = declared(state.hovered);
    Object.assign(out, {task: E.task[state.hovered], ns: E.end[state.hovered] - E.start[state.hovered], tip: tip.innerText,
      bytes: d.read + d.written, before: state.links.before.length, after: state.links.after.length});
    search(R[E.row[state.hovered]].name);
    out.found = R.filter(row => row.chosen).map(row => row.name);
  }
  document.getElementById('path').click();
  out.path = state.path.length;
  document.body.append(el('pre', {id: 'selftest', hidden: ''}, JSON.stringify(out)));
}
begin();
