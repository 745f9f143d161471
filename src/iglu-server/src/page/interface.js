// What programs may ask of the registry, as its own description says.

import { fill, h, table } from './dom.js';
import { ask } from './registry.js';

/** The page. */
export async function interfaceView(main, signal) {
  document.title = 'Interface';
  const { paths } = await ask('api/openapi.json', { signal });
  const rows = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      { class: 'mono', content: `${method.toUpperCase()} ${path}` },
      operation.summary,
      Object.entries(operation.responses).map(([status, answer]) => h('div', {}, `${status} ${answer.description}`)),
    ]),
  );
  fill(
    main,
    h('h1', {}, 'Interface'),
    h('p', { class: 'faint' }, 'The key goes into the header ', h('code', {}, 'apikey'), '. Described for programs in ', h('a', { href: 'api/openapi.json' }, 'api/openapi.json'), '.'),
    table(['Request', 'What for', 'Answers'], rows),
  );
}
