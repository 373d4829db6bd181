/* Panel: one figure of the dashboard: chart, bands or numbers, with its legend, its readout and its table.
 *
 * In    the panel's description, the columns of the service
 * Out   a <figure> that follows them
 * Rule  what the chart shows by colour and place stands in words too; arrow keys read it moment by moment
 * Why   a picture without words is no information to whoever cannot see it
 */

import { ago, bands, clock, level, nearest, newest, plot, said, worthDrawing } from "../core/plot.js";
import { arrange, attribute, el, text } from "./dom.js";

const HEIGHT = 168;
const BAND = 26;
const ROWS_MAX = 30;
const SVG = "http://www.w3.org/2000/svg";

export class Panel {
  constructor(wish, rangeS) {
    this.wish = wish;
    this.rangeS = rangeS;
    this.place = null;
    this.data = null;
    const title = el("h3", { id: `panel-${wish.id}` }, wish.title);
    this.chart = el("div", { class: "chart", tabindex: "0", role: "group", "aria-roledescription": "chart", hidden: true, on: {
      keydown: (event) => this.key(event),
      pointermove: (event) => this.point(event),
      pointerleave: () => this.show(null),
      blur: () => this.show(null),
    } });
    this.nothing = el("p", { class: "nothing" }, "One moment.");
    this.numbers = el("dl", { class: "numbers", hidden: true });
    this.legend = el("ul", { class: "legend list", "aria-label": `${wish.title}: newest values`, hidden: true });
    this.readout = el("p", { class: "readout", "aria-live": "polite", hidden: true });
    this.table = el("tbody");
    this.head = el("tr");
    this.details = el("details", { hidden: true, on: { toggle: () => this.tabulate() } },
      el("summary", {}, el("span", {}, "As a table", el("span", { class: "sr" }, `: ${wish.title}`))),
      el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `${wish.title}, as a table` },
        el("table", {}, el("thead", {}, this.head), this.table)));
    this.element = el("figure", { class: "panel", "aria-labelledby": `panel-${wish.id}`, "data-panel": wish.id },
      el("figcaption", {}, title, wish.help ? el("p", { class: "hint" }, wish.help) : null),
      this.nothing, this.numbers, this.chart, this.legend, this.readout, this.details);
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this.chart);
  }

  /** Take new columns: {at, step_s, now, lines}. */
  take(data) {
    if (this.data && this.place !== null) {
      const moment = this.data.at[this.place];
      this.place = Math.max(0, data.at.indexOf(moment));
    }
    this.data = data;
    const some = data.lines.length > 0;
    const stat = this.wish.type === "stat";
    this.nothing.hidden = some;
    text(this.nothing, data.at.length ? "Nothing to show: there is no such data yet." : "The service has just started to look.");
    this.numbers.hidden = !some || !stat;
    for (const part of [this.chart, this.legend, this.readout]) part.hidden = !some || stat;
    this.details.hidden = !some;
    if (!some) return;
    if (stat) this.count();
    else this.draw();
    this.tabulate();
  }

  count() {
    const { unit, states, thresholds } = this.wish;
    arrange(this.numbers, this.data.lines.map((line) => el("div", {},
      el("dt", {}, line.name), el("dd", { "data-level": level(newest(line), thresholds) }, said(newest(line), unit, states)))));
  }

  draw() {
    const width = this.chart.clientWidth;
    if (!this.data?.lines.length || !width || this.chart.hidden) return;
    const { unit, states, type, thresholds } = this.wish;
    const { drawn, left } = worthDrawing(this.data.lines);
    this.drawn = drawn;
    attribute(this.chart, "aria-label", this.summary(drawn, left));
    arrange(this.legend, [
      ...drawn.map((line, number) => el("li", {},
        type === "state" ? null : el("span", { class: `swatch c${number}`, "aria-hidden": "true" }),
        el("span", {}, line.name, " "), el("b", {}, said(newest(line), unit, states)))),
      left ? el("li", {}, `and ${left} more in the table`) : null,
      ...thresholds.map((limit) => el("li", { class: "soft" }, `${limit.level === "bad" ? "bad" : "warning"} from ${said(limit.value, unit, states)}`)),
    ].filter(Boolean));
    const made = type === "state" ? this.states(width) : this.traces(width);
    this.x = made.x;
    this.chart.replaceChildren(made.svg);
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: made.height, visibility: "hidden" });
    made.svg.append(this.cursor);
    this.show(this.place, true);
  }

  traces(width) {
    const made = plot({ at: this.data.at, lines: this.drawn, thresholds: this.wish.thresholds, width, height: HEIGHT, rangeS: this.rangeS, now: this.data.now });
    const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, "aria-hidden": "true" });
    for (const tick of made.ticks) {
      root.append(svg("line", { class: "grid", x1: made.left, x2: made.right, y1: tick.y, y2: tick.y }),
        svg("text", { x: made.left - 6, y: tick.y + 4, "text-anchor": "end" }, said(tick.value, this.wish.unit)));
    }
    times(root, made, HEIGHT);
    for (const limit of made.limits) root.append(svg("line", { class: "limit", "data-level": limit.level, x1: made.left, x2: made.right, y1: limit.y, y2: limit.y }));
    made.traces.forEach((one, number) => {
      if (one.path) root.append(svg("path", { class: `trace c${number}`, d: one.path, "fill-opacity": 0 }));
      for (const dot of one.lonely) root.append(svg("circle", { class: `lonely c${number}`, cx: dot.x, cy: dot.y, r: 2 }));
    });
    return { svg: root, x: made.x, height: HEIGHT };
  }

  states(width) {
    const made = bands({ at: this.data.at, lines: this.drawn, width, rangeS: this.rangeS, now: this.data.now, stepS: this.data.step_s });
    const height = this.drawn.length * BAND + 20;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
    made.rows.forEach((row, number) => {
      for (const cell of row) {
        root.append(svg("rect", { class: "cell", "data-level": level(cell.value, this.wish.thresholds), x: cell.x, width: cell.width, y: number * BAND + 3, height: BAND - 10, rx: 2 }));
      }
      const name = this.drawn[number].name;
      root.append(svg("text", { x: 0, y: number * BAND + 15 }, name.length > 6 ? `${name.slice(0, 5)}…` : name));
    });
    times(root, made, height);
    return { svg: root, x: made.x, height };
  }

  summary(drawn, left) {
    const { title, unit, states } = this.wish;
    const now = drawn.map((line) => `${line.name} ${said(newest(line), unit, states)}`).join(", ");
    return `${title}, the last ${ago(this.rangeS)}. Now: ${now}${left ? `, and ${left} more` : ""}. Arrow keys read earlier moments.`;
  }

  key(event) {
    const last = (this.data?.at.length ?? 0) - 1;
    const from = this.place ?? last;
    const to = { ArrowLeft: this.place === null ? last : from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.show(to === null ? null : Math.min(last, Math.max(0, to)));
  }

  point(event) {
    if (event.pointerType === "touch" || !this.x) return;
    this.show(nearest(this.data.at, this.x, event.clientX - this.chart.getBoundingClientRect().left));
  }

  /** Read one moment out; null: none. */
  show(place, quietly = false) {
    this.place = place;
    const second = place === null ? undefined : this.data?.at[place];
    if (second === undefined) {
      this.cursor?.setAttribute("visibility", "hidden");
      text(this.readout, "");
      return;
    }
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(second));
    this.cursor.setAttribute("visibility", "visible");
    const words = this.drawn.map((line) => `${line.name} ${said(line.values[place], this.wish.unit, this.wish.states)}`).join(", ");
    if (!quietly || this.readout.textContent) text(this.readout, `${clock(second, true)}: ${words}`);
  }

  /** The newest moments in words; only while it is open. */
  tabulate() {
    if (!this.details.open || !this.data) return;
    const { unit, states } = this.wish;
    this.head.replaceChildren(el("th", { scope: "col" }, "Time"), ...this.data.lines.map((line) => el("th", { scope: "col" }, line.name)));
    const places = this.data.at.map((_, place) => place).slice(-ROWS_MAX).reverse();
    this.table.replaceChildren(...places.map((place) => el("tr", {}, el("th", { scope: "row" }, clock(this.data.at[place], true)),
      ...this.data.lines.map((line) => el("td", {}, said(line.values[place], unit, states))))));
  }
}

function times(root, made, height) {
  for (const one of made.times) {
    if (one.x < made.left + 12 || one.x > made.right - 12) continue;
    root.append(svg("text", { x: one.x, y: height - 4, "text-anchor": "middle" }, clock(one.second)));
  }
}

function svg(tag, attrs, ...kids) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) made.setAttribute(name, value);
  made.append(...kids);
  return made;
}
