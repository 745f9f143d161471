// Publishing: a self-describing schema is checked, then sent under its own identity.

import * as catalog from './catalog.js';
import { fill, h, note, to } from './dom.js';
import { key } from './key.js';
import { ask, path } from './registry.js';
import { issues } from './schema.js';

const META = 'http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#';

const EXAMPLE = {
  $schema: META,
  description: 'What it means',
  self: { vendor: 'com.acme', name: 'example', format: 'jsonschema', version: '1-0-0' },
  type: 'object',
  properties: { id: { type: 'string', maxLength: 64, description: 'What it is' } },
  required: ['id'],
  additionalProperties: false,
};

/** The page; `from` is the path of a schema of which a new version is made. `published` is called with the identity. */
export async function publishView(main, from, published, signal) {
  document.title = 'Publish';
  const start = from ? await next(from, signal) : { text: JSON.stringify(EXAMPLE, null, 2), isPublic: false };
  const text = h('textarea', { spellcheck: 'false', 'aria-label': 'Schema', name: 'schema' });
  text.value = start.text;
  const isPublic = h('input', { type: 'checkbox', name: 'public', checked: start.isPublic });
  const target = h('code');
  const said = h('div');
  const buttons = [h('button', { type: 'submit' }, 'Publish'), h('button', { type: 'button', class: 'quiet' }, 'Check')];

  const identity = () => {
    const read = selfOf(text.value);
    fill(target, read.id ? `${read.id.vendor}/${read.id.name}/${read.id.format}/${read.id.version}` : '');
    return read;
  };
  const work = async (task) => {
    const { id, fault } = identity();
    if (fault) return fill(said, note('bad', fault));
    if (!key()) return fill(said, note('bad', 'A key is needed; the button is at the top.'));
    buttons.forEach((button) => (button.disabled = true));
    try {
      fill(said, await task(id));
    } catch (refusal) {
      fill(said, note('bad', refusal.message), refusal.body?.report && issues(refusal.body.report));
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  };
  const check = () =>
    work(async () => {
      const answer = await ask('api/validation/validate/schema/jsonschema', { method: 'POST', body: text.value });
      const errors = (answer.report ?? []).some((issue) => issue.level === 'ERROR');
      return [
        answer.report && note(errors ? 'bad' : 'good', errors ? 'It cannot be published like this.' : 'It can be published; some of it could be better.'),
        issues(answer.report ?? []),
      ];
    });
  const publish = (event) => {
    event.preventDefault();
    return work(async (id) => {
      const address = `api/schemas/${path(id)}?isPublic=${isPublic.checked}`;
      const answer = await ask(address, { method: 'PUT', body: text.value });
      await published(id);
      return note('good', `${answer.message}: `, h('a', { href: to(id.vendor, id.name, id.format, id.version) }, answer.location));
    });
  };
  buttons[1].addEventListener('click', check);
  text.addEventListener('input', identity);
  fill(
    main,
    h('h1', {}, 'Publish'),
    h('p', { class: 'faint' }, 'A schema with its ', h('code', {}, 'self'), ', which says under which name and version it is published.'),
    h(
      'form',
      { onsubmit: publish },
      text,
      h('div', { class: 'row' }, ...buttons, h('label', {}, isPublic, 'Everybody may read it'), target),
    ),
    said,
  );
  identity();
}

/** The identity in a text, or why there is none. */
function selfOf(text) {
  let schema;
  try {
    schema = JSON.parse(text);
  } catch (error) {
    return { fault: `Not JSON: ${error.message}` };
  }
  const self = schema?.self;
  const missing = ['vendor', 'name', 'format', 'version'].filter((part) => typeof self?.[part] !== 'string' || !self[part]);
  if (missing.length > 0) return { fault: `self lacks ${missing.join(', ')}.` };
  if (schema.$schema !== META) return { fault: `$schema has to be ${META}` };
  return { id: { vendor: self.vendor, name: self.name, format: self.format, version: self.version } };
}

/** The schema with the version after the newest of its model. */
async function next([vendor, name, format, version], signal) {
  const { text, metadata } = await ask(`ui/schemas/${path({ vendor, name, format, version })}`, { signal });
  const model = version.split('-')[0];
  const newest = catalog.find(vendor, name, format)?.versions.find((one) => one.split('-')[0] === model) ?? version;
  const [, revision, addition] = newest.split('-');
  // The text is changed as a text, for numbers to keep all their digits. What identifies a schema stands in front.
  const bare = text.replace(/^ {2}"\$supersededBy": "[^"]*",\n/m, '').replace(/^ {2}"\$supersedes": \[[^\]]*\],\n/m, '');
  const to = `"version": "${model}-${revision}-${Number(addition) + 1}"`;
  return { text: bare.replace(/"version": "[^"]*"/, to), isPublic: metadata.isPublic };
}
