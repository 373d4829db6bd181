/* Elements: made, found and changed in few words.
 *
 * In    names, attributes, texts
 * Out   elements
 * Rule  text is set as text; nothing here takes HTML
 * Why   under `require-trusted-types-for 'script'` a string of HTML is an error, and it should be
 */

export function get(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

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

/** Make the children of `parent` these, moving as little as possible. */
export function arrange(parent, wanted) {
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}
