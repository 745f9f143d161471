// One visit of a person with headless Chromium to a page with the real browser tracker, which is of another site than the
// collector: node browser_tracker.cjs ENDPOINT get|post APP_ID PROFILE_DIR. Two visits with one profile are of the same person.
// Prints what the tracker sent and what the browser was left with: {"events": {EVENT_ID: TYPE}, "cookie": NETWORK_ID}.
const { createServer } = require('node:http');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { existsSync, mkdirSync, readFileSync, writeFileSync } = require('node:fs');

const modules = createRequire(join(process.env.SNOWMELT_TOOLS, 'node', 'package.json'));
const { chromium } = modules('playwright-core');
const [endpoint, method, appId, profile] = process.argv.slice(2);

const scripts = ['browser-tracker', 'browser-plugin-link-click-tracking', 'browser-plugin-form-tracking'].map((name) =>
  readFileSync(join(process.env.SNOWMELT_TOOLS, 'node/node_modules/@snowplow', name, 'dist/index.umd.min.js')),
);
const page = `<!doctype html><meta charset="utf-8"><title>Läden</title><link rel="icon" href="data:,">
<a id="boots" class="teaser big" href="#boots">Winter <b>boots</b></a>
<form id="order" class="plain"><input name="size" id="size"><select name="colour"><option>red<option>blue</select>
<button>Order</button></form>
${scripts.map((_, n) => `<script src="/${n}.js"></script>`).join('')}
<script>
  const { newTracker, enableActivityTracking, trackPageView } = snowplowBrowserTracking;
  newTracker('br', ${JSON.stringify(endpoint)}, {
    appId: ${JSON.stringify(appId)},
    eventMethod: '${method}',
    encodeBase64: ${method === 'get'},
    contexts: { webPage: true, session: true, browser: true },
    plugins: [snowplowLinkClickTracking.LinkClickTrackingPlugin(), snowplowFormTracking.FormTrackingPlugin()],
  });
  enableActivityTracking({ minimumVisitLength: 1, heartbeatDelay: 1 });
  snowplowLinkClickTracking.enableLinkClickTracking({ trackContent: true });
  snowplowFormTracking.enableFormTracking();
  document.forms[0].addEventListener('submit', (event) => event.preventDefault());
  trackPageView();
</script>`;

/** Id and type of each event of a request of the tracker's. */
function eventsOf(request) {
  if (request.method() === 'GET') {
    const query = new URL(request.url()).searchParams;
    return [[query.get('eid'), query.get('e')]];
  }
  return request.postDataJSON().data.map((event) => [event.eid, event.e]);
}

/** Tries again until it is so; a browser tells nobody when its person has seen enough. */
async function until(what, isSo) {
  for (let tries = 0; tries < 150; tries++) {
    if (await isSo()) return;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  throw new Error(`not within 15 s: ${what}`);
}

/** Debian's Chromium refuses the cookies of other sites; this person has allowed them. */
function allowCookiesOfOtherSites() {
  const preferences = join(profile, 'Default', 'Preferences');
  if (existsSync(preferences)) return;
  mkdirSync(join(profile, 'Default'), { recursive: true });
  writeFileSync(preferences, JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
}

async function visit(url) {
  allowCookiesOfOtherSites();
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  try {
    const events = {};
    const troubles = [];
    const tab = await browser.newPage();
    tab.on('pageerror', (error) => troubles.push(error.message));
    browser.on('requestfailed', (request) => troubles.push(`${request.url()}: ${request.failure().errorText}`));
    browser.on('response', (response) => {
      const request = response.request();
      if (!request.url().startsWith(endpoint) || request.method() === 'OPTIONS') return;
      if (response.status() !== 200) troubles.push(`${request.url()}: ${response.status()}`);
      for (const [id, type] of eventsOf(request)) events[id] = type;
    });
    const sent = (type) => Object.values(events).filter((sent) => sent === type).length;

    await tab.goto(url);
    await tab.click('#boots');
    await tab.fill('#size', '43');
    await tab.selectOption('select', 'blue');
    await tab.click('button');
    await until('a page ping', async () => {
      await tab.mouse.move(10 + 100 * Math.random(), 10 + 100 * Math.random());
      return sent('pp') > 0;
    });
    // The tracker keeps in the page's storage what it has not been able to send yet.
    await until('an empty queue', () =>
      tab.evaluate(() =>
        Object.entries(localStorage).every(([key, queue]) => !key.startsWith('snowplowOutQueue') || queue === '[]'),
      ),
    );
    await tab.close();
    if (troubles.length > 0) throw new Error(troubles.join('\n'));
    const cookie = (await browser.cookies(endpoint)).find((cookie) => cookie.name === 'sp');
    return { events, cookie: cookie?.value };
  } finally {
    await browser.close();
  }
}

const site = createServer((request, answer) => {
  const script = scripts[Number(/^\/(\d)\.js$/.exec(request.url)?.[1])];
  answer.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
  answer.end(script ?? page);
});
site.listen(0, '127.0.0.1', () =>
  visit(`http://localhost:${site.address().port}/?q=b%C3%B6ots`)
    .then((seen) => console.log(JSON.stringify(seen)))
    .catch((error) => {
      console.error(error);
      process.exitCode = 1;
    })
    .finally(() => site.close()),
);
