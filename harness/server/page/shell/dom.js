/* Elements: made, found and changed in few words.
 *
 * In    names, attributes, texts
 * Out   elements
 * Rule  text is set as text; nothing here takes HTML
 * Why   under `require-trusted-types-for 'script'` a string of HTML is an error, and it should be
 */

/** @param {string} id @returns {any} */
export function get(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

/** @param {string} tag @param {Record<string, any>} attrs @param {...(Node|string|null)} kids */
export function el(tag, attrs = {}, ...kids) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (name === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else attribute(made, name, value);
  }
  made.append(...kids.filter((kid) => kid !== null));
  return made;
}

/** Set, or remove for null, undefined and false. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : String(value));
}

/** Change a text only if it differs: a live region speaks on every change. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** A picture of the sprite in index.html. @param {string} name */
export function icon(name) {
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg"), use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Make the children of `parent` these, moving as little as possible. @param {Element} parent @param {Element[]} wanted */
export function arrange(parent, wanted) {
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}
