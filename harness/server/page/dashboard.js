/* Dashboard: asks the service every few seconds and shows what it answers.
 *
 * In    GET /api/dashboard once; /api/dashboard/data and /api/alerts again and again
 * Out   panels and alerts
 * Rule  what is old is called old; a page that nobody sees asks nothing; after a failure it waits longer each time
 * Why   numbers that stand still must not look like numbers that are steady
 */

import { delayMs } from "./core/backoff.js";
import { ago, clock } from "./core/plot.js";
import { showAlerts } from "./shell/alerts.js";
import { el, get, text } from "./shell/dom.js";
import { readAlerts, readColumns, readDashboard } from "./shell/http.js";
import { Panel } from "./shell/panel.js";

const state = { wish: null, panels: [], failures: 0, freshAt: null, timer: 0 };

async function refresh() {
  clearTimeout(state.timer);
  try {
    if (!state.wish) build(await readDashboard());
    const [columns, alerts] = await Promise.all([readColumns(), readAlerts()]);
    for (const panel of state.panels) {
      panel.take({ at: columns.at, step_s: columns.step_s, now: columns.at.at(-1) ?? alerts.at, lines: columns.panels[panel.wish.id] ?? [] });
    }
    showAlerts(alerts);
    state.failures = 0;
    state.freshAt = Date.now();
    get("trouble").hidden = true;
    text(get("fresh"), `As of ${clock(alerts.at, true)}, the last ${ago(state.wish.range_s)}`);
  } catch (error) {
    failed(error);
  }
  again();
}

function failed(error) {
  state.failures += 1;
  const since = state.freshAt ? ` What is shown is from ${clock(state.freshAt / 1000, true)}.` : "";
  text(get("trouble-text"), `${error.message ?? error}${since} Trying again by itself.`);
  get("trouble").hidden = false;
}

function again() {
  if (document.hidden) return;
  const steadyMs = (state.wish?.refresh_s ?? 5) * 1000;
  state.timer = setTimeout(refresh, state.failures ? Math.max(1000, delayMs(state.failures, Math.random())) : steadyMs);
}

function build(wish) {
  state.wish = wish;
  document.title = wish.title;
  text(get("title"), wish.title);
  for (const row of wish.rows) {
    const panels = row.panels.map((panel) => new Panel(panel, wish.range_s));
    state.panels.push(...panels);
    get("rows").append(el("section", { "aria-label": row.title }, el("h2", {}, row.title),
      el("div", { class: "panels" }, ...panels.map((panel) => panel.element))));
  }
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : refresh()));
refresh();
