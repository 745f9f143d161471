// Requests to the registry, with the key when there is one. The key travels in a header, never in an address.

import { key } from './key.js';

/** The registry said no, or could not be reached. */
export class Refusal extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** Asks, and gives back the JSON that is answered. `body` is sent as it is. */
export async function ask(path, { method = 'GET', body, signal } = {}) {
  const headers = {};
  if (key()) headers.apikey = key();
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal, credentials: 'omit', redirect: 'error' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, 'The registry cannot be reached.');
  }
  const text = await answer.text();
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    if (answer.ok) throw new Refusal(answer.status, 'The registry answered something that is not JSON.');
  }
  if (!answer.ok) throw new Refusal(answer.status, value?.message || `The registry answered ${answer.status}.`, value);
  return value;
}

/** The path of an identity, each part encoded. */
export function path({ vendor, name, format, version }) {
  return [vendor, name, format, version].map(encodeURIComponent).join('/');
}
