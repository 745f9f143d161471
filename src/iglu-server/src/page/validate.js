// Data pasted in, judged by a schema.

import { fill, h, note, table } from './dom.js';
import { key } from './key.js';
import { ask } from './registry.js';

/** The tab. Data may come alone or wrapped with its schema. */
export function validateView(content, { id, details }) {
  const text = h('textarea', { spellcheck: 'false', 'aria-label': 'Data', name: 'data' });
  text.value = '{\n  \n}';
  const said = h('div');
  const button = h('button', { type: 'submit' }, 'Validate');
  const submit = async (event) => {
    event.preventDefault();
    let wrapped;
    try {
      const data = JSON.parse(text.value);
      // Sent as it was typed: numbers keep all their digits.
      const isWrapped = data !== null && typeof data === 'object' && typeof data.schema === 'string' && 'data' in data;
      wrapped = isWrapped ? text.value : `{"schema":${JSON.stringify(details.uri)},"data":${text.value}}`;
    } catch (error) {
      return fill(said, note('bad', `Not JSON: ${error.message}`));
    }
    button.disabled = true;
    try {
      fill(said, verdict(await ask('api/validation/validate/instance', { method: 'POST', body: wrapped })));
    } catch (refusal) {
      fill(said, note('bad', refusal.status === 404 && !key() ? 'Validating needs a key.' : refusal.message));
    } finally {
      button.disabled = false;
    }
  };
  fill(
    content,
    h(
      'form',
      { onsubmit: submit },
      h('p', { class: 'faint' }, `Data of ${id.name} ${id.version}, alone or with its schema around it.`),
      text,
      h('div', { class: 'row' }, button, !key() && h('span', { class: 'faint' }, 'Validating needs a key, with whatever rights.')),
    ),
    said,
  );
}

function verdict(answer) {
  if (!answer.report) return note('good', answer.message);
  return [
    note('bad', answer.message),
    table(
      ['Where', 'What', 'Keyword'],
      answer.report.map((one) => [{ class: 'mono', content: one.path ?? '' }, one.message, one.keyword ?? '']),
    ),
  ];
}
