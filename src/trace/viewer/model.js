'use strict';
/* The run as typed arrays. Times are nanoseconds. An event is a block that ran, by its index in the order of lanes and starts; a ROW
 * is what the legend shows: all stages of one name. */
const D = JSON.parse(document.getElementById('data').textContent);
const N = D.events.task.length;
const nTasks = D.tasks.stage.length;
const nLanes = D.workers.length;

function bound(array, value, begin, end) { // first index in [begin, end) whose item is > value
  while (begin < end) {
    const middle = (begin + end) >>> 1;
    if (array[middle] > value) end = middle; else begin = middle + 1;
  }
  return begin;
}

function offsets(counts) { // running sums: list i is [out[i], out[i + 1])
  const out = new Int32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}

const E = {task: Int32Array.from(D.events.task), lane: Int32Array.from(D.events.worker), found: Int32Array.from(D.events.found),
  row: new Int32Array(N), ready: new Float64Array(N), dispatch: new Float64Array(N), start: new Float64Array(N),
  end: new Float64Array(N)};
const laneBegin = new Int32Array(nLanes + 1);
const eventOf = new Int32Array(nTasks).fill(-1);
let runBegin = 0, runEnd = 1, busyTotal = 0;

for (let i = 0, lane = -1, clock = 0; i < N; i++) { // the file holds differences
  if (E.lane[i] !== lane) {
    lane = E.lane[i];
    clock = 0;
  }
  laneBegin[lane + 1]++;
  E.start[i] = clock + D.events.gap[i];
  clock = E.end[i] = E.start[i] + D.events.length[i];
  E.dispatch[i] = E.start[i] - D.events.pickup[i];
  E.ready[i] = E.dispatch[i] - D.events.queued[i];
  E.row[i] = D.stages[D.tasks.stage[E.task[i]]].row;
  eventOf[E.task[i]] = i;
  runEnd = Math.max(runEnd, clock);
  busyTotal += E.end[i] - E.start[i];
}
for (let w = 0; w < nLanes; w++) laneBegin[w + 1] += laneBegin[w];

/* ---- edges */
const after = offsets(D.edges.count);
const afterTo = new Int32Array(after[nTasks]);
const beforeCount = new Int32Array(nTasks);
for (let t = 0; t < nTasks; t++) {
  for (let e = after[t], to = 0; e < after[t + 1]; e++) {
    to += D.edges.step[e];
    afterTo[e] = to;
    beforeCount[to]++;
  }
}
const before = offsets(beforeCount);
const beforeFrom = new Int32Array(afterTo.length);
const beforeEdge = new Int32Array(afterTo.length);
for (let t = 0, fill = Int32Array.from(before); t < nTasks; t++) {
  for (let e = after[t]; e < after[t + 1]; e++) {
    const at = fill[afterTo[e]]++;
    beforeFrom[at] = t;
    beforeEdge[at] = e;
  }
}
const SOURCES = ['reads what it wrote', 'writes what it wrote', 'writes what it read', 'declared', 'coarse'];

/* Events right before or behind an event; joins, which take no time, are looked through. */
const stamp = new Int32Array(nTasks);
let stampNow = 0;
function neighbours(event, forward) {
  const first = forward ? after : before, list = forward ? afterTo : beforeFrom;
  const out = [], stack = [E.task[event]];
  stampNow++;
  while (stack.length > 0) {
    const t = stack.pop();
    for (let e = first[t]; e < first[t + 1]; e++) {
      const n = list[e];
      if (stamp[n] === stampNow) continue;
      stamp[n] = stampNow;
      if (eventOf[n] >= 0) {
        const direct = t === E.task[event];
        out.push({event: eventOf[n], source: direct ? SOURCES[D.edges.source[forward ? e : beforeEdge[e]]] : 'through a join'});
      } else {
        stack.push(n);
      }
    }
  }
  return out.sort(forward ? (a, b) => E.start[a.event] - E.start[b.event] : (a, b) => E.end[b.event] - E.end[a.event]);
}

function previousOnLane(event) {
  return event > laneBegin[E.lane[event]] ? event - 1 : -1;
}

/* ---- why a block started when it did: nanoseconds by reason, of the block and of its worker */
const nReasons = D.reasons.length;
function byReason(list, event) {
  return D.reasons.map((name, r) => [name, list[event * nReasons + r]]).filter(([, ns]) => ns > 0);
}

/* ---- blocks by time: how many run, how many are ready */
function profile(up, down) {
  const ups = Float64Array.from(up).sort(), downs = Float64Array.from(down).sort();
  const at = new Float64Array(2 * N), value = new Float64Array(2 * N), sum = new Float64Array(2 * N);
  let high = 0;
  for (let k = 0, u = 0, d = 0, n = 0; k < 2 * N; k++) {
    const rises = u < N && ups[u] < downs[d];
    at[k] = rises ? ups[u++] : downs[d++];
    sum[k] = k > 0 ? sum[k - 1] + n * (at[k] - at[k - 1]) : 0;
    n += rises ? 1 : -1;
    value[k] = Math.max(0, n);
    high = Math.max(high, n);
  }
  const until = t => {
    const k = bound(at, t, 0, at.length) - 1;
    return k < 0 ? 0 : sum[k] + value[k] * (t - at[k]);
  };
  return {high, mean: (begin, end) => (until(end) - until(begin)) / (end - begin)};
}
const running = profile(E.start, E.end);
const ready = profile(E.ready, E.start);

/* ---- legend rows */
const R = D.rows.map((row, i) => ({name: row[0], colour: row[1], index: i, blocks: 0, time: 0, hidden: false, chosen: false}));
for (let i = 0; i < N; i++) {
  R[E.row[i]].blocks++;
  R[E.row[i]].time += E.end[i] - E.start[i];
}

/* ---- what a block declares */
const touchBegin = offsets(D.tasks.touches);
function boxes(task) {
  const out = [];
  for (let i = touchBegin[task]; i < touchBegin[task + 1]; i++) {
    const [view, mode, row, rows, col, cols] = D.touches.slice(6 * i, 6 * i + 6);
    out.push({view: D.views[view], mode, row, rows, col, cols, bytes: rows * cols * D.views[view][3]});
  }
  return out;
}

function declared(event) {
  const work = D.works[D.tasks.work[E.task[event]]], list = boxes(E.task[event]);
  let read = work[3], written = 0;
  for (const box of list) {
    if (box.mode & 4) continue;
    if (box.mode & 1) read += box.bytes;
    if (box.mode & 2) written += box.bytes;
  }
  return {bf16: work[0], i8: work[1], vector: work[2], gathered: work[3], product: work.slice(4), read, written, boxes: list};
}

/* ---- words */
function timeText(ns, digits = 3) {
  const a = Math.abs(ns), [scale, unit] = a >= 1e9 ? [1e9, 's'] : a >= 1e6 ? [1e6, 'ms'] : a >= 1e3 ? [1e3, 'µs'] : [1, 'ns'];
  const v = ns / scale;
  return (a < 1e3 ? Math.round(v).toString() : v.toPrecision(Math.max(digits, Math.floor(Math.log10(Math.abs(v))) + 1))) + ' ' + unit;
}
const percent = share => (100 * share).toFixed(1) + ' %';
const count = n => n.toLocaleString('en');
const short = v => v >= 100 ? count(Math.round(v)) : v.toFixed(v >= 10 ? 1 : 2);
const rateText = (amount, ns) => amount > 0 && ns > 0 ? short(amount / ns) : '';
function stageOf(event) { return D.stages[D.tasks.stage[E.task[event]]]; }
function blockOf(event) { return D.tasks.block[E.task[event]]; }
