// A person at the schema registry's page with headless Chromium: node registry_page.cjs REGISTRY_URL, the key on standard input.
// Publishes com.acme/signup 1-0-0 and 1-0-1, and reads, compares and validates them. Prints what the page showed:
// {"fields": [ROW], "columns": [ROW], "comparison": TEXT, "verdicts": [TEXT], "list_ms": N, "find_ms": N}, a row being its cells' texts.
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { readFileSync } = require('node:fs');

const modules = createRequire(join(process.env.SNOWMELT_TOOLS, 'node', 'package.json'));
const { chromium } = modules('playwright-core');
const [registry] = process.argv.slice(2);
const key = readFileSync(0, 'utf8').trim();

const META = 'http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#';
// Whoever publishes a schema can write anything into it.
const HOSTILE = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>';
const SCHEMA = `{
  "$schema": "${META}",
  "description": ${JSON.stringify(HOSTILE)},
  "self": { "vendor": "com.acme", "name": "signup", "format": "jsonschema", "version": "1-0-0" },
  "type": "object",
  "properties": {
    "plan": { "type": "string", "maxLength": 20, "description": ${JSON.stringify(HOSTILE)} },
    "seats": { "type": "integer", "minimum": 0, "maximum": 9223372036854775807, "description": "s" }
  },
  "required": ["plan"],
  "additionalProperties": false
}`;

function ensure(holds, what) {
  if (!holds) throw new Error(what);
}

async function visit() {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const troubles = [];
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.setDefaultTimeout(15_000);
    page.on('pageerror', (error) => troubles.push(error.message));
    page.on('dialog', (dialog) => troubles.push(dialog.message()));
    page.on('console', (message) => /Content Security Policy/.test(message.text()) && troubles.push(message.text()));
    page.on('request', (request) => {
      if (!request.url().startsWith(registry)) troubles.push(`somebody else is asked: ${request.url()}`);
      if (request.url().includes(key)) troubles.push(`the key is in an address: ${request.url()}`);
    });
    const main = page.locator('main');
    const rows = async (table) => {
      const all = [];
      for (const row of await table.locator('tbody tr').all()) all.push(await row.locator('td').allInnerTexts());
      return all;
    };
    const tab = async (name, shows) => {
      await page.click(`.tabs a:has-text("${name}")`);
      await main.locator(shows).first().waitFor();
    };

    // Ten thousand schemas; one is found with nothing but the keyboard.
    let began = Date.now();
    await page.goto(registry);
    await page.locator('#tree summary').first().waitFor();
    const listMs = Date.now() - began;
    began = Date.now();
    await page.keyboard.press('/');
    await page.keyboard.type('many 7 9876');
    await page.locator('#tree a').waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.locator('h1:has-text("schema_9876")').waitFor();
    const findMs = Date.now() - began;
    await page.locator('#filter').press('Escape');

    // Without a key nothing is published.
    await page.click('text=Publish');
    await page.fill('textarea', SCHEMA);
    await page.click('button:has-text("Publish")');
    await main.locator('.note.bad:has-text("A key is needed")').waitFor();

    await page.click('#key');
    await page.fill('dialog input', '5fb4713d-73ad-4163-93a9-2b82f0177c5b');
    await page.click('dialog button:has-text("Use")');
    await page.locator('dialog .note.bad').waitFor();
    await page.fill('dialog input', key);
    await page.click('dialog button:has-text("Use")');
    await page.locator('dialog').waitFor({ state: 'detached' });
    await page.locator('#key:has-text("Key in use")').waitFor();

    await main.locator('textarea').waitFor();
    await page.fill('textarea', SCHEMA.replace('"maxLength": 20', '"maxLength": "x"'));
    await page.click('button:has-text("Publish")');
    await main.locator('.badge.bad').first().waitFor();
    await page.fill('textarea', SCHEMA);
    await page.click('button:has-text("Check")');
    await main.locator('.note.good').first().waitFor();
    await page.click('button:has-text("Publish")');
    await main.locator('.note.good a').click();
    await page.locator('h1:has-text("signup")').waitFor();
    await page.locator('#tree a[aria-current]:has-text("signup")').waitFor();
    const fields = await rows(main.locator('table'));

    // Another version, made of this one: no digit of a large number is lost.
    await page.click('a:has-text("New version")');
    await main.locator('textarea').waitFor();
    const next = await page.inputValue('textarea');
    ensure(next.includes('9223372036854775807') && next.includes('"1-0-1"'), next);
    await page.fill('textarea', next.replace('"maxLength": 20', '"maxLength": 30'));
    await page.click('button:has-text("Publish")');
    await main.locator('.note.good a').click();
    await main.locator('h1:has-text("signup")').waitFor();
    await tab('Postgres', 'pre');
    const columns = await rows(main.locator('table'));
    await tab('Compare', '.note');
    const comparison = (await main.locator('.note').innerText()) + (await main.locator('table').innerText());

    await tab('Validate', 'textarea');
    const verdicts = [];
    for (const data of ['{"plan": "gold"}', '{"plan": 5}', '{"schema": "iglu:com.acme/signup/jsonschema/1-0-0", "data": {"plan": "gold"}}', 'no JSON']) {
      await page.fill('textarea', data);
      const before = await main.locator('.note').count();
      if (before > 0) await main.locator('.note').first().evaluate((note) => note.remove());
      await page.click('button:has-text("Validate")');
      verdicts.push(await main.locator('.note').first().innerText());
    }

    // A link leads there, in the dark too; the key is this tab's alone, and goes when it is forgotten.
    const other = await browser.newPage({ colorScheme: 'dark' });
    await other.goto(`${registry}/#/com.acme/signup/jsonschema/1-0-1`);
    await other.locator('main .note.bad').waitFor();
    const paper = await other.evaluate(() => getComputedStyle(document.body).backgroundColor);
    ensure(paper === 'rgb(20, 23, 28)', `the dark page is ${paper}`);
    await page.goto(`${registry}/#/com.acme/signup/jsonschema/1-0-0/json`);
    await main.locator('pre').waitFor();
    const kept = await page.evaluate(() => [localStorage.length, document.cookie.length, Boolean(window.broken)]);
    ensure(kept.join() === '0,0,false', `left in the browser: ${kept}`);
    await page.click('#key');
    await page.click('dialog button:has-text("Forget")');
    await main.locator('.note.bad').waitFor();
    ensure(!(await page.content()).includes(key), 'the key is in the page');

    if (troubles.length > 0) throw new Error(troubles.join('\n'));
    return { fields, columns, comparison, verdicts, list_ms: listMs, find_ms: findMs };
  } finally {
    await browser.close();
  }
}

visit()
  .then((seen) => console.log(JSON.stringify(seen)))
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
