#!/usr/bin/env node
// Loads the cities data set into a running server over REST. Needs Node 20 or later, npm and tar; `--help` tells the rest.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Connection, Disconnected } from './loader/connection.mjs';
import { cities, SOURCE } from './loader/dataset.mjs';
import { Progress } from './loader/progress.mjs';
import { expectations, matches } from './loader/queries.mjs';

const HELP = `Loads ${SOURCE.records.toLocaleString('en')} cities (npm package ${SOURCE.package}@${SOURCE.version}, ${SOURCE.licence}) into a Harper server.

usage: node load.mjs [options]

  --url URL            the server (default http://localhost:9926)
  --username NAME      default: HDB_ADMIN_USERNAME; without a name no credentials are sent
  --password TEXT      default: HDB_ADMIN_PASSWORD, or the text of the file HDB_ADMIN_PASSWORD_FILE
  --concurrency N      connections, each with one write in flight (default 64)
  --limit N            load only the first N records
  --force              write every record; otherwise those that the server has are left as they are
  --json               print the summary as JSON
  --check              load nothing: ask the documented queries and compare with answers computed from the data
  --expect             load nothing, ask nothing: print those queries and answers as JSON
  --help               print this

An interrupted load goes on where it stopped: run the same command again.
Exit status: 0 done, 1 failed, 64 wrong usage.`;

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;

const ATTEMPTS_MAX = 12;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 5_000;
const LIST_TIMEOUT_MS = 120_000;
const CONCURRENCY_MAX = 1_024;

class Usage extends Error {}

async function main() {
  const options = parse();
  if (options.help) return console.log(HELP);
  if (options.expect) return console.log(JSON.stringify(expectations(cities()), null, 2));
  if (options.check) return check(options);
  return load(options);
}

/** Puts every record that the server lacks, over `concurrency` connections, and prints the summary. */
async function load(options) {
  const wanted = cities().slice(0, options.limit);
  const present = options.force ? new Set() : await presentKeys(options);
  const missing = wanted.filter(({ id }) => !present.has(id));
  const progress = new Progress(missing.length);
  const counts = { written: 0, retries: 0 };
  const started = performance.now();

  let next = 0;
  let failed = false;
  // Each connection takes the next record when it has its answer, so that a slow one holds up nobody.
  const lane = async () => {
    const connection = new Connection(options.url, options.authorization);
    try {
      while (next < missing.length && !failed) {
        const retries = await put(connection, missing[next++], () => failed);
        counts.retries += retries;
        progress.done = ++counts.written;
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      connection.close();
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: options.concurrency }, lane));
  const seconds = (performance.now() - started) / 1000;
  progress.end();

  const failure = lanes.find(({ status }) => status === 'rejected')?.reason;
  report(options, { ...counts, total: wanted.length, present: wanted.length - missing.length, seconds, failure });
  if (failure) throw failure;
}

/** Writes one record and answers how often it had to try again. A PUT has the same effect once or twice. */
async function put(connection, { id, ...record }, abandoned) {
  const body = JSON.stringify(record);
  for (let attempt = 1; ; attempt++) {
    const { status, text } = await connection.put(`/City/${id}`, body).catch((error) => {
      if (!(error instanceof Disconnected)) throw error;
      return { status: 0, text: error.message };
    });
    if (status >= 200 && status < 300) return attempt - 1;
    const temporary = status === 0 || status === 429 || status === 503;
    if (!temporary || attempt === ATTEMPTS_MAX || abandoned()) {
      const answer = status === 0 ? text : `status ${status} ${text.slice(0, 400)}`;
      throw new Error(`PUT /City/${id}, attempt ${attempt}: ${answer}`);
    }
    const backoff = Math.min(BACKOFF_FIRST_MS * 2 ** attempt, BACKOFF_MAX_MS);
    await new Promise((resolve) => setTimeout(resolve, backoff * (0.5 + Math.random() / 2)));
  }
}

/** The keys that the server has. The key is derived from the content, so a key that is there needs no second write. */
async function presentKeys(options) {
  return new Set(await get(options, '/City/?select(id)'));
}

async function get({ url, authorization }, path) {
  const response = await fetch(new URL(path, url), {
    headers: { Accept: 'application/json', ...(authorization && { Authorization: authorization }) },
    signal: AbortSignal.timeout(LIST_TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`GET ${path}: status ${response.status} ${text.slice(0, 400)}`);
  return JSON.parse(text);
}

/** Asks the documented queries of a server that holds the whole data set. */
async function check(options) {
  const { records, queries } = expectations(cities());
  const present = await presentKeys(options);
  let wrong = tell(present.size === records, `${present.size} of ${records} records are there`);
  for (const query of queries) {
    const started = performance.now();
    const got = await get(options, query.path);
    const milliseconds = (performance.now() - started).toFixed(1);
    wrong += tell(matches(query, got), `${query.name}: ${query.count} in ${milliseconds} ms  ${query.path}`);
  }
  if (wrong > 0) throw new Error(`${wrong} of ${queries.length + 1} answers are wrong`);
}

function tell(right, sentence) {
  console.log(`${right ? 'ok   ' : 'WRONG'} ${sentence}`);
  return right ? 0 : 1;
}

function report(options, { written, retries, total, present, seconds, failure }) {
  const perSecond = seconds > 0 ? Math.round(written / seconds) : 0;
  if (options.json) {
    const { concurrency } = options;
    const summary = { records: total, present, written, retries, seconds, perSecond, concurrency, complete: !failure };
    return console.log(JSON.stringify(summary));
  }
  const number = (value) => value.toLocaleString('en');
  console.log(
    `${number(written)} of ${number(total)} records written in ${seconds.toFixed(1)} s: ${number(perSecond)} records/s` +
      ` (${number(present)} were there, ${number(retries)} retries, ${options.concurrency} connections)`,
  );
}

function parse() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        url: { type: 'string', default: 'http://localhost:9926' },
        username: { type: 'string', default: process.env.HDB_ADMIN_USERNAME },
        password: { type: 'string' },
        concurrency: { type: 'string', default: '64' },
        limit: { type: 'string', default: String(SOURCE.records) },
        force: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        check: { type: 'boolean', default: false },
        expect: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new Usage(error.message);
  }
  if (!URL.canParse(values.url) || !/^https?:/.test(values.url)) {
    throw new Usage(`--url ${values.url} is not an http or https address`);
  }
  return {
    ...values,
    url: new URL(values.url),
    concurrency: count('concurrency', values.concurrency, CONCURRENCY_MAX),
    limit: count('limit', values.limit, SOURCE.records),
    authorization: authorization(values),
  };
}

function count(name, text, max) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Usage(`--${name} ${text} is not a number from 1 to ${max}`);
  return Math.min(value, max);
}

function authorization({ username, password }) {
  if (!username) return undefined;
  const file = process.env.HDB_ADMIN_PASSWORD_FILE;
  const secret = password ?? process.env.HDB_ADMIN_PASSWORD ?? (file && readFileSync(file, 'utf8').trimEnd());
  if (secret === undefined) throw new Usage(`no password for ${username}: give --password or HDB_ADMIN_PASSWORD`);
  return `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`;
}

try {
  await main();
} catch (error) {
  const reason = error.cause?.message ? `${error.message}: ${error.cause.message}` : error.message;
  console.error(`load.mjs: ${reason}`);
  process.exitCode = error instanceof Usage ? EXIT_USAGE : EXIT_FAILED;
}
