// The list at the side. Names are made when their vendor is opened, so that ten thousand schemas cost nothing until then.

import * as catalog from './catalog.js';
import { fill, h, to } from './dom.js';

const MOST = 200;

let tree;
let filter;
let here = {};

/** Makes the list and the field above it work. */
export function start(treeElement, filterElement) {
  tree = treeElement;
  filter = filterElement;
  filter.addEventListener('input', show);
  filter.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      filter.value = '';
      show();
    } else if (event.key === 'ArrowDown') {
      event.preventDefault();
      places()[0]?.focus();
    } else if (event.key === 'Enter') {
      tree.querySelector('a')?.click();
    }
  });
  tree.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = places();
    const next = all.indexOf(document.activeElement) + step;
    (next < 0 ? filter : (all[next] ?? document.activeElement)).focus();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.target.closest('input, textarea, select, dialog')) return;
    event.preventDefault();
    filter.focus();
  });
}

/** Marks where one is. */
export function mark(vendor, name) {
  here = { vendor, name };
  for (const link of tree.querySelectorAll('a[aria-current]')) link.removeAttribute('aria-current');
  const opened = [...tree.querySelectorAll('details')].find((details) => details.dataset.vendor === vendor);
  if (opened && name) opened.open = true;
  for (const link of tree.querySelectorAll('a')) {
    if (link.dataset.vendor !== vendor || link.dataset.name !== name) continue;
    link.setAttribute('aria-current', 'page');
    link.scrollIntoView({ block: 'nearest' });
  }
}

/** Shows the catalogue as it is now, or what the field asks for. */
export function show() {
  const query = filter.value.trim();
  if (query) {
    const { found, more } = catalog.search(query, MOST);
    fill(
      tree,
      found.map((one) => link(one, true)),
      found.length === 0 && h('p', { class: 'faint' }, 'No schema has this name.'),
      more && h('p', { class: 'faint' }, `The first ${MOST}; another word finds less.`),
    );
    return;
  }
  const vendors = catalog.all();
  const alone = vendors.size === 1;
  fill(
    tree,
    [...vendors].map(([vendor, names]) => group(vendor, names, alone || vendor === here.vendor)),
    vendors.size === 0 && h('p', { class: 'faint' }, 'No schema that may be seen without a key, or with this one.'),
  );
}

function group(vendor, names, open) {
  const list = h('div');
  const details = h(
    'details',
    { 'data-vendor': vendor },
    h('summary', { title: vendor }, vendor, h('span', { class: 'count' }, names.length)),
    list,
  );
  // The event comes late: what is opened here is filled at once.
  const make = () => {
    if (!list.firstChild) fill(list, names.map((one) => link(one, false)));
  };
  details.addEventListener('toggle', () => details.open && make());
  if (open) {
    make();
    details.open = true;
  }
  return details;
}

function link(one, withVendor) {
  const current = one.vendor === here.vendor && one.name === here.name;
  return h(
    'a',
    {
      href: to(one.vendor, one.name, one.format, one.versions[0]),
      'data-vendor': one.vendor,
      'data-name': one.name,
      'aria-current': current && 'page',
    },
    one.name,
    one.format !== 'jsonschema' && h('span', { class: 'faint' }, ` ${one.format}`),
    withVendor && h('span', { class: 'vendor' }, one.vendor),
  );
}

function places() {
  return [...tree.querySelectorAll('a, summary')].filter((place) => place.checkVisibility());
}
