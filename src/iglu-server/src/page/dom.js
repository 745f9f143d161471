// Elements made of data. Texts become text nodes, never markup: what a schema says cannot become part of the page.

/**
 * An element: h('a', {href: '#/', class: 'x', onclick: f}, 'text', element, [more], null).
 * An attribute that is null or false is left out; one that is true is set without a value.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Puts these in place of whatever an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** A link within the page; every part of its path is encoded. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

/** A table. Each row is an array of cells: text, element, or {class, content}. */
export function table(heads, rows) {
  const cell = (content) =>
    content !== null && typeof content === 'object' && !(content instanceof Node) && !Array.isArray(content)
      ? h('td', { class: content.class }, content.content)
      : h('td', {}, content);
  return h(
    'div',
    { class: 'scroll', tabindex: '0' },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, head)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map(cell)))),
    ),
  );
}

/** A remark, of a kind: good, doubt, bad. */
export function note(kind, ...children) {
  return h('div', { class: `note ${kind}`, role: 'status' }, ...children);
}

/** Text that is at most so long. */
export function cut(text, length = 160) {
  return text.length <= length ? text : h('span', { title: text.slice(0, 4000) }, `${text.slice(0, length)}…`);
}
