// The live page of the cities example, as a person sees it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { Server } from './server.mjs';

const PANELS = ['sse', 'websocket', 'mqtt'];
const PATIENCE_MS = 20_000;
const OPTIONS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** Waits until every panel shows a line. */
const shown = (page, line) => Promise.all(PANELS.map((panel) =>
  page.locator(`#${panel} li`, { hasText: line }).first().waitFor({ timeout: PATIENCE_MS })));

const open = (page) => Promise.all(PANELS.map((panel) =>
  page.locator(`#${panel} .state.open`).waitFor({ timeout: PATIENCE_MS })));

/** Writes a city with the form of the page. */
async function write(page, key, name) {
  await page.getByLabel('Key').fill(key);
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: 'Write' }).click();
}

async function withPage(isSecure, check) {
  const server = await Server.make(isSecure);
  await server.start();
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: OPTIONS });
  try {
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    await page.goto(`${server.origin}/`);
    await open(page);
    await check(page, server);
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
    await server.end();
  }
}

async function everyProtocolTells(page) {
  await write(page, 'zz-1', 'Atlantis');
  await shown(page, 'put zz-1: Atlantis (ZZ)');
  await write(page, 'zz-1', 'Atlantis at sea');
  await shown(page, 'put zz-1: Atlantis at sea (ZZ)');
  await page.getByRole('button', { name: 'Delete' }).click();
  await shown(page, 'delete zz-1');
  for (const panel of PANELS) {
    assert.equal(await page.locator(`#${panel} li`).count(), 3, `${panel}: each once`);
  }
}

test('every protocol tells the page what happens, and goes on after a restart', async () => {
  await withPage(false, async (page, server) => {
    await everyProtocolTells(page);
    if (process.env.HARPER_SCREENSHOT) await page.screenshot({ path: process.env.HARPER_SCREENSHOT });
    await server.stop();
    await page.locator('#sse .state:not(.open)').waitFor({ timeout: PATIENCE_MS });
    await server.start();
    // before the browser is back, so that it has missed this
    await fetch(`${server.origin}/City/zz-2`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'Missed', country: 'ZZ', lat: 0, lng: 0 }),
    });
    await open(page);
    for (const panel of ['sse', 'websocket']) {
      await page.locator(`#${panel} li`, { hasText: 'put zz-2: Missed' }).waitFor({ timeout: PATIENCE_MS });
    }
    await write(page, 'zz-3', 'After');
    await shown(page, 'put zz-3: After (ZZ)');
    // neither twice nor again
    assert.equal(await page.locator('#sse li').count(), 5);
    assert.equal(await page.locator('#websocket li').count(), 5);
  });
});

test('the same over one connection of HTTP/2', async () => {
  await withPage(true, async (page, server) => {
    await everyProtocolTells(page);
    assert.equal(await server.metric('harper_websocket_open'), 2);
    const connections = await server.metric('harper_connections');
    assert.ok(connections <= 2, `${connections} connections for the page, its event stream and two sockets`);
  });
});
