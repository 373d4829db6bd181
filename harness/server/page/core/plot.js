/* Plot: where the points, ticks and limits of a chart lie, and how numbers and times are said.
 *
 * In    moments (Unix seconds), lines with a value or null for each, a size in pixels
 * Out   paths and positions; texts
 * Rule  a gap is a gap: no line is drawn over a missing value, and a value alone between two gaps is a dot
 * Why   a line over a gap says that all was well when nobody looked
 */

export const LINES_MAX = 8;
const PAD = { left: 44, right: 10, top: 8, bottom: 20 };

/** The lines worth drawing: those with the highest newest value, in their old order; how many are left out. */
export function worthDrawing(lines) {
  if (lines.length <= LINES_MAX) return { drawn: lines, left: 0 };
  const best = [...lines].sort((a, b) => (newest(b) ?? -1) - (newest(a) ?? -1)).slice(0, LINES_MAX);
  return { drawn: lines.filter((line) => best.includes(line)), left: lines.length - LINES_MAX };
}

/** The newest value of a line; null if there was none at the last moment. */
export function newest(line) {
  return line.values.length ? line.values.at(-1) : null;
}

/** Round steps from 0 to at least `high`: [0, 5, 10]. */
export function ticks(high) {
  if (!(high > 0)) return [0, 1];
  const rough = high / 3;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((size) => size >= rough * 0.999);
  const made = [];
  for (let count = 0; made.length === 0 || made.at(-1) < high * 0.999; count += 1) made.push(Number((count * step).toPrecision(12)));
  return made;
}

/** Everything that is drawn of a time series. */
export function plot({ at, lines, thresholds, width, height, rangeS, now }) {
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const scale = ticks(Math.max(0, ...values));
  const top = scale.at(-1);
  const x = across(width, rangeS, now);
  const y = (value) => PAD.top + (1 - value / top) * (height - PAD.top - PAD.bottom);
  return {
    x, left: PAD.left, right: width - PAD.right, bottom: height - PAD.bottom, topEdge: PAD.top,
    ticks: scale.map((value) => ({ value, y: y(value) })),
    times: moments(now, rangeS, width).map((second) => ({ second, x: x(second) })),
    limits: thresholds.filter((limit) => limit.value <= top).map((limit) => ({ ...limit, y: y(limit.value) })),
    traces: lines.map((line) => trace(at, line.values, x, y)),
  };
}

/** Bands of states: for each line the stretches of one value. */
export function bands({ at, lines, width, rangeS, now, stepS }) {
  const x = across(width, rangeS, now);
  return {
    x, left: PAD.left, right: width - PAD.right, times: moments(now, rangeS, width).map((second) => ({ second, x: x(second) })),
    rows: lines.map((line) => stretches(at, line.values, stepS).map(({ from, until, value }) => ({
      value, x: Math.max(PAD.left, x(from)), width: Math.max(1, x(until) - Math.max(PAD.left, x(from))),
    }))),
  };
}

export function stretches(at, values, stepS) {
  const found = [];
  values.forEach((value, place) => {
    const last = found.at(-1);
    if (value === null) found.push(null);
    else if (last && last.value === value) last.until = at[place] + stepS;
    else found.push({ from: at[place], until: at[place] + stepS, value });
  });
  return found.filter(Boolean);
}

/** A path with its gaps, and the values that stand alone. */
export function trace(at, values, x, y) {
  let path = "";
  const lonely = [];
  values.forEach((value, place) => {
    if (value === null) return;
    const here = `${round(x(at[place]))} ${round(y(value))}`;
    const before = place > 0 && values[place - 1] !== null;
    const after = place + 1 < values.length && values[place + 1] !== null;
    if (!before && !after) lonely.push({ x: round(x(at[place])), y: round(y(value)) });
    else path += `${before ? "L" : "M"}${here}`;
  });
  return { path, lonely };
}

/** The place of the moment nearest to a position. */
export function nearest(at, x, position) {
  let best = -1;
  at.forEach((second, place) => {
    if (best < 0 || Math.abs(x(second) - position) < Math.abs(x(at[best]) - position)) best = place;
  });
  return best;
}

/** Whether a value is well: "", "warn" or "bad". */
export function level(value, thresholds) {
  const passed = thresholds.filter((limit) => value !== null && value >= limit.value).sort((a, b) => a.value - b.value);
  return passed.at(-1)?.level ?? "";
}

const SMALL = 1e-9;

export function said(value, unit, states = []) {
  if (value === null || value === undefined) return "no data";
  if (unit === "state") return (Number.isInteger(value) && states.at(value)) || String(value); // -1 is the last one.
  if (unit === "ratio") return `${digits(value * 100)} %`;
  if (unit === "bytes") return bytes(value);
  if (unit === "per-second") return `${digits(value)}/s`;
  if (unit === "seconds") return value > SMALL && value < 0.9995 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;
  return digits(value);
}

function digits(value) {
  if (Math.abs(value) < SMALL) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-GB");
  return String(Number(value.toPrecision(3)));
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (Math.abs(value) >= 1000 && place < units.length - 1) [value, place] = [value / 1000, place + 1];
  return `${digits(value)} ${units[place]}`;
}

/** The time of day; seconds only if asked for. */
export function clock(second, seconds = false) {
  const moment = new Date(second * 1000);
  const parts = [moment.getHours(), moment.getMinutes(), ...(seconds ? [moment.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

export function ago(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} seconds`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`;
  return `${Math.round(seconds / 3600)} hours`;
}

function across(width, rangeS, now) {
  return (second) => PAD.left + (1 - (now - second) / rangeS) * (width - PAD.left - PAD.right);
}

function moments(now, rangeS, width) {
  const wanted = Math.max(2, Math.floor(width / 90));
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400].find((size) => rangeS / size <= wanted) ?? 86400;
  const found = [];
  for (let second = Math.ceil((now - rangeS) / step) * step; second <= now; second += step) found.push(second);
  return found;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
