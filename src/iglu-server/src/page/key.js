// The key: typed by its owner, kept for this tab and this session only.

import { fill, h, note } from './dom.js';
import { ask } from './registry.js';

const PLACE = 'registry-key';
const FORM = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The key, or nothing. */
export function key() {
  return sessionStorage.getItem(PLACE) ?? '';
}

/** Makes the button work; `changed` is called when another key counts. */
export function start(button, changed) {
  const show = () => {
    fill(button, key() ? 'Key in use' : 'Key');
    button.classList.toggle('good', Boolean(key()));
  };
  show();
  button.addEventListener('click', () =>
    open(() => {
      show();
      changed();
    }),
  );
}

function open(changed) {
  const input = h('input', {
    type: 'password', name: 'key', autocomplete: 'off', spellcheck: 'false', 'aria-label': 'Key', value: key(),
    placeholder: '00000000-0000-0000-0000-000000000000',
  });
  const said = h('div');
  const use = async () => {
    const text = input.value.trim();
    if (text && !FORM.test(text)) return fill(said, note('bad', 'A key is a UUID.'));
    if (text) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
    changed();
    if (!text) return dialog.close();
    try {
      const { authInfo } = await ask('api/meta/server');
      fill(said, rights(authInfo));
      if (authInfo.schema || authInfo.key.length) dialog.close();
    } catch (refusal) {
      fill(said, note('bad', refusal.message));
    }
  };
  const forget = () => {
    input.value = '';
    use();
  };
  const form = h(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault();
        use();
      },
    },
    h('h1', {}, 'Key'),
    h('p', { class: 'faint' }, 'Shows schemas that are not public, validates and publishes. It is kept in this tab until it is closed.'),
    input,
    said,
    h(
      'div',
      { class: 'row' },
      h('button', { type: 'submit' }, 'Use'),
      h('button', { type: 'button', class: 'quiet', onclick: forget }, 'Forget'),
      h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close() }, 'Close'),
    ),
  );
  const dialog = h('dialog', { 'aria-label': 'Key', onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
}

function rights(info) {
  if (!info.schema && !info.key.length) return note('bad', 'This key may do nothing here; perhaps it is not a key of this registry.');
  return note('good', `${info.vendor || 'All vendors'}: ${[info.schema, ...info.key].filter(Boolean).join(', ')}`);
}
