/* Markdown: a text that grows, as elements.
 *
 * In    the text so far, again and again, and whether it is complete
 * Out   elements below one given element, always the same ones as a single parse of the same text would make
 * Rule  no string is ever read as HTML: tokens become known elements, links only http, https and mailto, pictures
 *       become links; a block is left alone once a later block starts on a complete line
 * Why   parsing all for each of a thousand pieces costs the square of the length; and a bot's words are not code
 */

import "../vendor/markdown-it.js"; // Its build that leaves one global name is the smallest.

const CODE_LINES = 25; // Of one element: the browser lays out again only the element that grows.
const LINK = /^(?:https?:\/\/[^/]|mailto:)/i;
const ELEMENT = {
  blockquote_open: "blockquote", bullet_list_open: "ul", list_item_open: "li", thead_open: "thead", tbody_open: "tbody",
  tr_open: "tr", strong_open: "strong", em_open: "em", s_open: "s", paragraph_open: "p",
};

const parser = globalThis.markdownit({ html: false, linkify: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

export class MarkdownStream {
  #root;
  #text = "";
  #final = 0; // Characters, and elements, that no later text can change.
  #finalNodes = 0;
  #references = {};

  /** Nothing else may change what is in `root`. */
  constructor(root) {
    this.#root = root;
  }

  /** Show the whole text so far. */
  show(text, complete) {
    const clean = normal(text, complete);
    if (!clean.startsWith(this.#text)) this.#restart();
    this.#text = clean;
    const env = { references: { ...this.#references } };
    const tokens = parser.parse(clean.slice(this.#final), env);
    const late = Object.keys(env.references).length > 0;
    if (complete && late) return this.#once(); // A definition may stand below its use: only the whole text knows.
    patch(this.#root, build(tokens), this.#finalNodes);
    if (!complete) this.#settle(tokens);
  }

  #once() {
    this.#restart();
    patch(this.#root, build(parser.parse(this.#text, {})), 0);
  }

  #restart() {
    this.#final = this.#finalNodes = 0;
    this.#references = {};
  }

  /** Move the border between what is final and what is not. */
  #settle(tokens) {
    const tail = this.#text.slice(this.#final);
    const starts = lineStarts(tail);
    const blocks = tokens.filter((token) => token.level === 0 && token.nesting >= 0 && token.map);
    for (let place = blocks.length - 1; place > 0; place--) {
      const line = blocks[place].map[0];
      const needs = blocks[place].type === "table_open" ? line + 2 : line + 1; // A table is one by its second line.
      if (needs >= starts.length) continue;
      const end = starts[line];
      const env = { references: this.#references };
      parser.parse(tail.slice(0, end), env); // Keeps the link definitions of what is final.
      this.#references = env.references ?? {};
      this.#final += end;
      this.#finalNodes += place;
      return;
    }
  }
}

/** The elements of a whole text, at once. */
export function showOnce(root, text) {
  new MarkdownStream(root).show(text, true);
}

function normal(text, complete) {
  if (!text.includes("\r")) return text;
  const whole = !complete && text.endsWith("\r") ? text.slice(0, -1) : text; // Its "\n" may be on the way.
  return whole.replace(/\r\n?/g, "\n");
}

function lineStarts(text) {
  const starts = [0];
  for (let place = text.indexOf("\n"); place >= 0; place = text.indexOf("\n", place + 1)) starts.push(place + 1);
  return starts;
}

// --- Tokens to a tree of {tag, attrs, kids} and strings --------------------------------------------------------------
function build(tokens) {
  const root = node("root");
  const open = [root];
  for (const token of tokens) {
    const here = open.at(-1);
    if (token.nesting < 0) {
      if (!token.hidden) open.pop();
    } else if (token.nesting > 0) {
      if (token.hidden) continue; // The paragraphs of a tight list.
      const [outer, inner] = opened(token);
      here.kids.push(outer);
      open.push(inner);
    } else {
      leaf(token, here);
    }
  }
  return root.kids;
}

/** The element of an opening token, and the one that takes its content. */
function opened(token) {
  const attrs = Object.fromEntries(token.attrs ?? []);
  switch (token.type) {
    case "heading_open": // Below the heading of the message.
      return same(node(`h${Math.min(6, Number(token.tag[1]) + 2)}`, { "data-level": token.tag[1] }));
    case "ordered_list_open":
      return same(node("ol", attrs.start === undefined ? {} : { start: String(attrs.start) }));
    case "table_open": {
      const table = node("table");
      return [node("div", { class: "wide", role: "group", "aria-label": "Table", tabindex: "0" }, [table]), table];
    }
    case "th_open": case "td_open": {
      const align = /text-align:(\w+)/.exec(attrs.style ?? "")?.[1];
      return same(node(token.type.slice(0, 2), align ? { "data-align": align } : {}));
    }
    case "link_open":
      return same(link(attrs.href ?? ""));
    default:
      return same(node(ELEMENT[token.type] ?? "span"));
  }
}

function same(made) {
  return [made, made];
}

function leaf(token, here) {
  switch (token.type) {
    case "inline":
      here.kids.push(...build(token.children ?? []));
      return;
    case "fence": case "code_block":
      here.kids.push(code(token.content, (token.info ?? "").trim().split(/\s+/)[0]));
      return;
    case "code_inline":
      here.kids.push(node("code", {}, [token.content]));
      return;
    case "image": {
      const address = token.attrGet("src") ?? "";
      here.kids.push({ ...link(address), kids: [token.content || address] });
      return;
    }
    case "hr": case "hardbreak":
      here.kids.push(node(token.type === "hr" ? "hr" : "br"));
      return;
    default:
      words(here, token.type === "softbreak" ? "\n" : token.content);
  }
}

/** Neighbouring texts are one text, so that the element that shows it can stay. */
function words(here, text) {
  if (typeof here.kids.at(-1) === "string") here.kids.push(here.kids.pop() + text);
  else if (text) here.kids.push(text);
}

function link(address) {
  if (!LINK.test(address)) return node("span");
  return node("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
}

function code(content, language) {
  const lines = content.split(/(?<=\n)/);
  const chunks = [];
  for (let place = 0; place < lines.length; place += CODE_LINES) {
    chunks.push(node("span", { class: "lines" }, [lines.slice(place, place + CODE_LINES).join("")]));
  }
  const name = language || "Code";
  return node("div", { class: "code" }, [
    node("div", { class: "code-head" }, [
      node("span", {}, [name]),
      node("button", { type: "button", class: "quiet", "data-copy": "" }, ["Copy"]),
    ]),
    node("pre", { tabindex: "0", role: "group", "aria-label": name }, [node("code", {}, chunks)]),
  ]);
}

function node(tag, attrs = {}, kids = []) {
  return { tag, attrs, kids };
}

// --- The tree into the document --------------------------------------------------------------------------------------
/** Make the children of `parent` from place `from` on those of the tree, keeping every element that fits. */
function patch(parent, tree, from) {
  tree.forEach((wanted, index) => {
    const there = parent.childNodes[from + index];
    if (there === undefined) parent.append(create(wanted));
    else if (!fits(there, wanted)) there.replaceWith(create(wanted));
    else if (typeof wanted === "string") grow(there, wanted);
    else update(there, wanted);
  });
  while (parent.childNodes.length > from + tree.length) parent.lastChild.remove();
}

function fits(there, wanted) {
  return typeof wanted === "string" ? there.nodeType === Node.TEXT_NODE : there.localName === wanted.tag;
}

function grow(there, text) {
  if (there.data === text) return;
  if (text.startsWith(there.data)) there.appendData(text.slice(there.data.length));
  else there.data = text;
}

function update(there, wanted) {
  for (const name of there.getAttributeNames()) if (!(name in wanted.attrs)) there.removeAttribute(name);
  for (const [name, value] of Object.entries(wanted.attrs)) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  patch(there, wanted.kids, 0);
}

function create(wanted) {
  if (typeof wanted === "string") return document.createTextNode(wanted);
  const made = document.createElement(wanted.tag);
  for (const [name, value] of Object.entries(wanted.attrs)) made.setAttribute(name, value);
  made.append(...wanted.kids.map(create));
  return made;
}
