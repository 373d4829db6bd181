/* Alerts: what is wrong now, and all rules with their states and reasons.
 *
 * In    the answer of GET /api/alerts
 * Out   a sentence, a list, a table
 * Rule  a change of what fires is announced once; what has no data is called so, never well
 * Why   green must mean that somebody looked
 */

import { arrange, attribute, el, get, text } from "./dom.js";

const ORDER = ["firing", "recovering", "pending"];
const WORDS = { firing: "Firing", recovering: "Recovering", pending: "Pending", inactive: "Well", "no-data": "No data" };
let announced = null;

export function showAlerts(answer) {
  const active = answer.rules.flatMap((rule) => rule.alerts.map((alert) => ({ rule, alert })));
  active.sort((a, b) => ORDER.indexOf(a.alert.state) - ORDER.indexOf(b.alert.state));
  const firing = active.filter((one) => one.alert.state === "firing").length;
  text(get("alerts-sum"), summed(answer.rules, active.length, firing));
  arrange(get("alerts"), active.map(item));
  get("rules-part").hidden = answer.rules.length === 0;
  arrange(get("rules"), answer.rules.map(line));
  announce(active);
}

function summed(rules, active, firing) {
  const blind = rules.filter((rule) => rule.state === "no-data").length;
  const watched = `${rules.length} ${rules.length === 1 ? "rule is" : "rules are"} watched${blind ? `; ${blind} cannot be judged for lack of data` : ""}.`;
  if (!rules.length) return "No rules are watched.";
  if (!active) return `No alert. ${watched}`;
  return firing ? `${firing} firing${active > firing ? `, ${active - firing} more to be seen` : ""}. ${watched}` : `Nothing fires; ${active} to be seen. ${watched}`;
}

function named({ rule, alert }) {
  const labels = Object.entries(alert.labels).map(([label, value]) => `${label} ${value}`).join(", ");
  const name = alert.name === rule.id ? rule.summary : `No data: ${rule.summary}`;
  return labels ? `${name.replace(/\.$/, "")} (${labels})` : name;
}

function item(one) {
  const { rule, alert } = one;
  return el("li", { class: "alert", "data-state": alert.state, "data-severity": rule.severity, "data-rule": alert.name },
    chip(alert.state), el("h3", {}, named(one)), el("p", { class: "why" }, alert.reason),
    rule.runbook ? el("p", { class: "do" }, rule.runbook) : null);
}

function line(rule) {
  return el("tr", { "data-rule": rule.id }, el("th", { scope: "row" }, rule.id), el("td", {}, chip(rule.state)),
    el("td", {}, `${rule.summary} `, el("span", { class: "soft" }, rule.reason)));
}

function chip(state) {
  const made = el("span", { class: "state" }, WORDS[state] ?? state);
  attribute(made, "data-state", state);
  return made;
}

function announce(active) {
  const firing = active.filter((one) => one.alert.state === "firing").map(named);
  if (announced !== null) {
    const fresh = firing.filter((name) => !announced.includes(name));
    const over = announced.filter((name) => !firing.includes(name));
    const words = [...fresh.map((name) => `Alert: ${name}`), ...over.map((name) => `No longer firing: ${name}`)].join(". ");
    if (words) text(get("polite"), words);
  }
  announced = firing;
}
