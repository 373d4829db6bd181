/* Options: the fields of a behaviour, from the defaults that the service lists.
 *
 * In    {"pause_s": "0.05", "prefix": "You said: ", "strict": "false"}: defaults as text
 * Out   fields {name, label, kind: number | truth | text, value}; from what was typed, the options to send
 * Rule  only what differs from its default is sent; the service judges the values
 * Why   a new behaviour gets its form without a line of code here
 */

export function fields(defaults) {
  return Object.entries(defaults).map(([name, shown]) => ({ name, label: name.replace(/_s$/, " (seconds)").replaceAll("_", " "), ...kindOf(shown) }));
}

export function chosen(known, typed) {
  const options = {};
  for (const { name, kind, value } of known) {
    const now = typed[name] ?? value;
    if (now === value) continue;
    if (kind === "truth") options[name] = now === "true";
    else options[name] = kind === "number" && now.trim() !== "" && Number.isFinite(Number(now)) ? Number(now) : now;
  }
  return options;
}

function kindOf(shown) {
  const text = String(shown ?? "");
  if (text === "true" || text === "false") return { kind: "truth", value: text };
  if (/^-?\d+(\.\d+)?(e-?\d+)?$/i.test(text)) return { kind: "number", value: text };
  return { kind: "text", value: text };
}
