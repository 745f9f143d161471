// Sends a few events with the real Node tracker: node node_tracker.cjs ENDPOINT get|post APP_ID. Prints how many.
const { join } = require('node:path');
const { createRequire } = require('node:module');
const tracker = createRequire(join(process.env.SNOWMELT_TOOLS, 'node', 'package.json'))('@snowplow/node-tracker');

const [endpoint, method, appId] = process.argv.slice(2);
const page = {
  schema: 'iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0',
  data: { id: '5f1c4f0e-7a54-4f6f-9b3c-6a3f8d1b2c4d' },
};
const events = [
  [tracker.buildPageView({ pageUrl: 'https://shop.example.com/', pageTitle: 'Läden', referrer: 'https://t.co/x' }), [page]],
  [tracker.buildPagePing({ pageUrl: 'https://shop.example.com/', pageTitle: 'Läden', minYOffset: 0, maxYOffset: 300 })],
  [tracker.buildStructEvent({ category: 'cart', action: 'add', label: 'boot', property: 'boots', value: 219 })],
  [tracker.buildLinkClick({ targetUrl: 'https://shop.example.com/p/1' }), [page]],
  [tracker.buildSiteSearch({ terms: ['boots'], totalResults: 3 })],
];

let sent = 0;
const t = tracker.newTracker(
  { namespace: 'nd', appId, encodeBase64: method === 'post' },
  {
    endpoint,
    eventMethod: method,
    bufferSize: 1,
    onRequestSuccess: (batch) => {
      sent += batch.length;
      if (sent === events.length) console.log(sent);
    },
    onRequestFailure: (failure) => {
      console.error('not accepted:', JSON.stringify(failure));
      process.exitCode = 1;
    },
  },
);
for (const [event, context] of events) t.track(event, context);
t.flush();
