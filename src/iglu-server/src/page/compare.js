// Two versions of a schema beside each other: what changed, and whether the step between their versions says so.

import * as catalog from './catalog.js';
import { cut, fill, h, note, table, to } from './dom.js';
import { ask, path } from './registry.js';

const STEPS = {
  addition: 'an addition: all earlier data stays good',
  revision: 'a revision: some data that was good is refused',
  model: 'a model: the table cannot hold both',
};

/** The tab: asks with which version, and shows what changed. */
export async function compareView(content, { id, given, signal }) {
  const versions = catalog.find(id.vendor, id.name, id.format)?.versions ?? [];
  const others = versions.filter((version) => version !== id.version);
  if (others.length === 0) return fill(content, h('p', { class: 'faint' }, 'There is no other version.'));
  // Versions stand newest first: the next one is the one before.
  const before = versions[versions.indexOf(id.version) + 1] ?? others[others.length - 1];
  const other = others.includes(given[0]) ? given[0] : before;
  const select = h(
    'select',
    {
      'aria-label': 'Other version',
      onchange: (event) => {
        location.hash = to(id.vendor, id.name, id.format, id.version, 'compare', event.target.value);
      },
    },
    others.map((version) => h('option', { value: version, selected: version === other }, version)),
  );
  const found = h('div', {}, h('p', { class: 'faint' }, 'Comparing …'));
  fill(content, h('div', { class: 'row' }, h('label', {}, `${id.version} with`, select)), found);
  const answer = await ask(`ui/compare/${path(id)}/${encodeURIComponent(other)}`, { signal });
  fill(found, verdict(answer), changes(answer.comparison.changes));
}

function verdict({ versions, comparison }) {
  const step = `${versions.older} → ${versions.newer}`;
  if (!comparison.needs) return note('good', `${step}: nothing changed.`);
  const needs = STEPS[comparison.needs];
  if (comparison.fits) return note('good', `${step} fits. The changes ask for ${needs}.`);
  return note('bad', `${step} is too small a step. The changes ask for ${needs}.`);
}

function changes(all) {
  if (all.length === 0) return null;
  const signs = { added: ['added', 'good'], removed: ['removed', 'bad'], changed: ['changed', 'doubt'], column: ['column', 'bad'] };
  return table(
    ['', 'Field', 'What', 'Before', 'After', 'Asks for'],
    all.map((change) => {
      const [sign, kind] = signs[change.kind];
      return [
        h('span', { class: `badge ${kind}` }, sign),
        { class: 'mono', content: change.path || '(the whole)' },
        change.keyword ?? (change.kind === 'column' ? 'type' : 'field'),
        { class: 'limits', content: shown(change.before) },
        { class: 'limits', content: shown(change.after) },
        change.needs,
      ];
    }),
  );
}

function shown(text) {
  return text === null ? h('span', { class: 'faint' }, '–') : cut(text);
}
