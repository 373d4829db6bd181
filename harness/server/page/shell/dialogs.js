/* Dialogs: launching a bot, removing one.
 *
 * In    clicks; the behaviours that the service lists
 * Out   calls of the service; the launched or removed bot's name, through `actions`
 * Rule  native <dialog>: the browser keeps the focus inside and gives it back; what went wrong is said inside
 * Why   every option of a behaviour can be set, and nobody has to know them to start
 */

import { chosen, fields } from "../core/options.js";
import { attribute, el, get, text } from "./dom.js";
import { launchBot, listBots, removeBot } from "./http.js";

await new Promise((there) => { // Whoever imports this gets dialogs that are dressed.
  document.head.append(el("link", { rel: "stylesheet", href: "/static/styles/dialogs.css", on: { load: there, error: there } }));
});

export function launchDialog(actions) {
  const dialog = get("launch");
  let behaviours = {}, wanted = "", known = [];

  get("launch-close").addEventListener("click", () => dialog.close());
  get("launch-form").addEventListener("submit", (event) => { event.preventDefault(); go(); });
  get("launch-behaviours").addEventListener("change", (event) => pick(event.target.value));

  async function open(name = "") {
    fault("");
    get("launch-name").value = name;
    get("launch-more").open = false;
    list();
    dialog.showModal();
    try {
      const answer = await listBots();
      actions.listed(answer);
      if (JSON.stringify(answer.behaviours) === JSON.stringify(behaviours)) return; // What was chosen meanwhile stays.
      behaviours = answer.behaviours ?? {};
      list();
      if (!Object.keys(behaviours).length) fault("The service knows no behaviours.");
    } catch (error) {
      fault(error.message);
    }
  }

  function list() {
    const names = Object.keys(behaviours).sort();
    if (!names.includes(wanted)) wanted = names.includes("echo") ? "echo" : names[0] ?? "";
    get("launch-behaviours").replaceChildren(...names.map((name) =>
      el("label", { class: "choice" }, el("input", { type: "radio", name: "behaviour", value: name, checked: name === wanted }), el("span", {}, name))));
    pick(wanted);
  }

  function pick(name) {
    wanted = name;
    known = fields(behaviours[name] ?? {});
    get("launch-options").replaceChildren(
      ...known.map((field) => input(field.name, field.label, field)),
      input("seed", "seed of its dice", { name: "seed", kind: "number", value: "" }));
  }

  async function go() {
    const typed = Object.fromEntries([...get("launch-options").querySelectorAll("[name]")].map((one) => [one.name, one.value]));
    const { seed, ...rest } = typed;
    const name = get("launch-name").value.trim();
    const wish = { behaviour: wanted, options: chosen(known, rest) };
    if (name) wish.name = name;
    if (seed.trim()) wish.seed = Number(seed);
    fault("");
    get("launch-go").disabled = true;
    try {
      const status = await launchBot(wish);
      dialog.close();
      actions.launched(status);
    } catch (error) {
      fault(error.message);
    } finally {
      get("launch-go").disabled = false;
    }
  }

  function fault(words) {
    text(get("launch-fault"), words);
  }

  return { open };
}

export function removeDialog(actions) {
  const dialog = get("remove");
  let bot = "";
  get("remove-cancel").addEventListener("click", () => dialog.close());
  get("remove-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await removeBot(bot);
      dialog.close();
      actions.removed(bot);
    } catch (error) {
      text(get("remove-fault"), error.message);
    }
  });
  return {
    open(name) {
      bot = name;
      text(get("remove-title"), `Remove ${name}?`);
      text(get("remove-text"), "The bot is stopped. Its sessions and messages stay, and come back with a bot of the same name.");
      text(get("remove-fault"), "");
      dialog.showModal();
    },
  };
}

function input(name, label, { kind, value }) {
  const id = `option-${name}`;
  let made;
  if (kind === "truth") {
    made = el("select", { id, name }, ...["false", "true"].map((one) => el("option", { value: one, selected: one === value }, one === "true" ? "yes" : "no")));
  } else {
    made = el("input", { id, name, type: "text", inputmode: kind === "number" ? "decimal" : "text", autocomplete: "off", spellcheck: "false" });
    made.value = value;
    attribute(made, "placeholder", name === "seed" ? "0" : null);
  }
  return el("div", { class: "field" }, el("label", { for: id }, label), made);
}
