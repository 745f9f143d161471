// One schema: its fields, its table, its text, what the lint says.

import * as catalog from './catalog.js';
import { compareView } from './compare.js';
import { cut, fill, h, note, table, to } from './dom.js';
import { ask, path } from './registry.js';
import { validateView } from './validate.js';

const TABS = [
  ['fields', 'Fields', fields],
  ['columns', 'Postgres', columns],
  ['json', 'JSON', json],
  ['lint', 'Lint', lint],
  ['compare', 'Compare', compareView],
  ['validate', 'Validate', validateView],
];

let last = {};

/** Shows a schema in `main`; `rest` names the tab and what it is given. */
export async function schemaView(main, id, rest, signal) {
  const address = path(id);
  // Going from tab to tab asks for nothing.
  if (last.address !== address || rest.length === 0) last = { address, details: await ask(`ui/schemas/${address}`, { signal }) };
  const details = last.details;
  const [tab = 'fields', ...given] = rest;
  const [, , view] = TABS.find(([name]) => name === tab) ?? TABS[0];
  const content = h('section');
  fill(main, head(id, details), tabs(id, tab, details), content);
  document.title = `${id.name} ${id.version} · ${id.vendor}`;
  await view(content, { id, details, given, signal });
}

/** What was read may have changed. */
export function forget() {
  last = {};
}

function head(id, details) {
  const versions = catalog.find(id.vendor, id.name, id.format)?.versions ?? [id.version];
  const select = h(
    'select',
    {
      'aria-label': 'Version',
      onchange: (event) => {
        location.hash = to(id.vendor, id.name, id.format, event.target.value);
      },
    },
    versions.map((version) => h('option', { value: version, selected: version === id.version }, version)),
  );
  const { isPublic, createdAt, updatedAt } = details.metadata;
  const day = (instant) => instant.slice(0, 10);
  return [
    h('p', { class: 'trail' }, h('a', { href: to(id.vendor) }, id.vendor)),
    h(
      'div',
      { class: 'title' },
      h('h1', {}, id.name),
      select,
      h('span', { class: 'badge' }, isPublic ? 'public' : 'private'),
      h('span', { class: 'badge', title: createdAt }, `published ${day(createdAt)}`),
      updatedAt !== createdAt && h('span', { class: 'badge', title: updatedAt }, `changed ${day(updatedAt)}`),
      h('a', { class: 'push', href: `#publish/${path(id)}` }, 'New version'),
    ),
    details.description && h('p', { class: 'faint' }, details.description),
    details.supersededBy &&
      note('doubt', 'Superseded by ', h('a', { href: to(id.vendor, id.name, id.format, details.supersededBy) }, details.supersededBy), ': data of this version is judged by that one.'),
  ];
}

function tabs(id, current, details) {
  const faults = details.issues.filter((issue) => issue.level !== 'INFO').length;
  return h(
    'nav',
    { class: 'tabs', 'aria-label': 'Parts of the schema' },
    TABS.map(([name, label]) =>
      h(
        'a',
        { href: to(id.vendor, id.name, id.format, id.version, name), 'aria-current': name === current && 'page' },
        label,
        name === 'lint' && faults > 0 && ` (${faults})`,
      ),
    ),
  );
}

/** Types as a person says them. */
export function typesOf(types) {
  return types.length === 0 ? 'anything' : types.join(' or ');
}

const many = (n, what) => `${n} ${what}${n === '1' ? '' : 's'}`;

const SAID = {
  minLength: (n) => `at least ${many(n, 'character')}`,
  maxLength: (n) => `at most ${many(n, 'character')}`,
  minItems: (n) => `at least ${many(n, 'item')}`,
  maxItems: (n) => `at most ${many(n, 'item')}`,
  minimum: (n) => `≥ ${n}`,
  maximum: (n) => `≤ ${n}`,
  multipleOf: (n) => `a multiple of ${n}`,
  pattern: (text) => `like ${text}`,
  format: (text) => text,
  enum: (values) => `one of ${values.replace(/^\[|\]$/g, '').replaceAll('","', '", "')}`,
};

function limits(field) {
  const parts = Object.entries(field.limits).map(([name, value]) => {
    const say = Object.hasOwn(SAID, name) ? SAID[name] : (other) => `${name} ${other}`;
    return h('div', {}, cut(say(value)));
  });
  if (field.types.includes('object') && !field.open) parts.push(h('div', {}, 'nothing else'));
  return parts;
}

function fields(content, { details }) {
  const [root, ...others] = details.fields;
  const rows = others.map((field) => [
    { class: 'mono', content: field.path },
    typesOf(field.types),
    // Items are there as often as they are there.
    field.required ? 'yes' : h('span', { class: 'faint' }, field.path.endsWith(']') ? '' : 'no'),
    field.description ?? '',
    { class: 'limits', content: limits(field) },
  ]);
  fill(
    content,
    rows.length > 0
      ? table(['Field', 'Type', 'Required', 'Description', 'Limits'], rows)
      : h('p', { class: 'faint' }, 'The schema names no fields.'),
    root && h('p', { class: 'faint' }, `The whole: ${typesOf(root.types)}`, limits(root)),
  );
}

function columns(content, { details }) {
  if (details.noTable) return fill(content, note('bad', `No table can be made: ${details.noTable}`));
  if (!details.table) return fill(content, h('p', { class: 'faint' }, 'This schema gives no table.'));
  const rows = details.table.columns.map((column) => [
    { class: 'mono', content: column.name },
    { class: 'mono', content: column.type },
    column.nullable ? h('span', { class: 'faint' }, 'yes') : 'no',
    column.from.length > 0 ? column.from.join(', or ') : h('span', { class: 'faint' }, 'of the event'),
  ]);
  fill(
    content,
    h('p', {}, 'Table ', h('code', {}, details.table.name), ' of this model, with all versions up to this one.'),
    table(['Column', 'Type', 'NULL', 'Filled from'], rows),
    h('h2', {}, 'Statements'),
    h('pre', { tabindex: '0' }, details.table.sql),
  );
}

function json(content, { details }) {
  const { text } = details;
  const copy = h(
    'button',
    {
      type: 'button',
      class: 'quiet',
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          fill(copy, 'Copied');
        } catch {
          fill(copy, 'The browser does not allow it');
        }
      },
    },
    'Copy',
  );
  fill(content, h('div', { class: 'row' }, h('code', {}, details.uri), copy), h('pre', { tabindex: '0' }, text));
}

function lint(content, { details }) {
  fill(content, issues(details.issues));
}

/** What a lint says, worst first. */
export function issues(found) {
  if (found.length === 0) return note('good', 'Nothing to say against it.');
  const kinds = { ERROR: 'bad', WARNING: 'doubt', INFO: '' };
  return table(
    ['Level', 'Where', 'What'],
    found.map((issue) => [
      h('span', { class: `badge ${kinds[issue.level] ?? ''}` }, String(issue.level).toLowerCase()),
      { class: 'mono', content: issue.pointer },
      issue.message,
    ]),
  );
}
