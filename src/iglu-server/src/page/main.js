// Where one is: the part of the address after # says what is shown.
//   #/                                        vendors
//   #/VENDOR, #/VENDOR/NAME                   its schemas, its newest version
//   #/VENDOR/NAME/FORMAT/VERSION[/TAB[/...]]  one schema
//   #publish[/VENDOR/NAME/FORMAT/VERSION]     a new schema, or a new version of one
//   #interface                                what programs may ask

import * as catalog from './catalog.js';
import { fill, h, note, table, to } from './dom.js';
import { interfaceView } from './interface.js';
import * as keys from './key.js';
import * as nav from './nav.js';
import { publishView } from './publish.js';
import { forget, schemaView } from './schema.js';

const main = document.getElementById('main');
let running = new AbortController();

function parts(text) {
  return text.split('/').filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

async function view(signal) {
  const hash = location.hash.slice(1);
  const [first, ...rest] = parts(hash);
  if (hash.startsWith('publish')) {
    nav.mark();
    return publishView(main, rest.length === 4 ? rest : null, published, signal);
  }
  if (hash === 'interface') {
    nav.mark();
    return interfaceView(main, signal);
  }
  const [name, format, version, ...tab] = rest;
  nav.mark(first, name);
  if (version) return schemaView(main, { vendor: first, name, format, version }, tab, signal);
  if (name) {
    const found = catalog.find(first, name, format);
    if (!found) return fill(main, note('bad', 'There is no such schema, or it may not be seen without a key.'));
    return location.replace(to(first, name, found.format, found.versions[0]));
  }
  return first ? vendorView(first) : overview();
}

async function show() {
  if (location.hash === '#main') return main.focus();
  running.abort();
  running = new AbortController();
  const { signal } = running;
  try {
    await view(signal);
  } catch (refusal) {
    if (signal.aborted) return;
    fill(main, note('bad', refusal.message));
  }
}

function overview() {
  document.title = 'Schemas';
  const { vendors, names, schemas } = catalog.counts();
  const rows = [...catalog.all()].slice(0, 1000).map(([vendor, all]) => [h('a', { href: to(vendor) }, vendor), String(all.length)]);
  fill(
    main,
    h('h1', {}, 'Schemas'),
    h('p', { class: 'faint' }, `${schemas.toLocaleString('en')} versions of ${names.toLocaleString('en')} schemas by ${vendors.toLocaleString('en')} vendors.`),
    rows.length > 0
      ? table(['Vendor', 'Schemas'], rows)
      : note('doubt', 'Nothing to see. Schemas that are not public show with a key; new ones are published with one.'),
  );
}

function vendorView(vendor) {
  document.title = vendor;
  const names = catalog.all().get(vendor) ?? [];
  if (names.length === 0) return fill(main, note('bad', 'There is no such vendor, or it may not be seen without a key.'));
  const most = 1000;
  fill(
    main,
    h('h1', {}, vendor),
    table(
      ['Schema', 'Newest', 'Versions'],
      names.slice(0, most).map((one) => [
        h('a', { href: to(vendor, one.name, one.format, one.versions[0]) }, one.name),
        one.versions[0],
        String(one.versions.length),
      ]),
    ),
    names.length > most && h('p', { class: 'faint' }, `The first ${most} of ${names.length}; the field at the side finds the others.`),
  );
}

async function published(id) {
  forget();
  await catalog.load();
  nav.show();
  nav.mark(id.vendor, id.name);
}

async function reload() {
  forget();
  try {
    await catalog.load();
    nav.show();
  } catch (refusal) {
    return fill(main, note('bad', refusal.message));
  }
  await show();
}

nav.start(document.getElementById('tree'), document.getElementById('filter'));
keys.start(document.getElementById('key'), reload);
addEventListener('hashchange', show);
reload();
