// client.mjs TRANSPORT PORT AUTHORITY : mqtt.js against a server, over tcp, tls or ws.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const [transport, port, authority] = process.argv.slice(2);
const urls = { tcp: `mqtt://localhost:${port}`, tls: `mqtts://localhost:${port}`, ws: `ws://localhost:${port}/mqtt` };
const SILENCE_MS = 300;
let checks = 0;

function check(what, expected, found) {
  assert.deepEqual(found, expected, what);
  checks += 1;
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// A client that is connected, with the messages that it is told in `told`.
async function connect(clientId, version, options = {}) {
  const client = mqtt.connect(urls[transport], {
    clientId,
    protocolVersion: version,
    username: 'admin',
    password: 'for-this-test',
    ca: transport === 'tls' ? readFileSync(authority) : undefined,
    reconnectPeriod: 0,
    connectTimeout: 10_000,
    ...options,
  });
  client.told = [];
  client.on('message', (topic, payload, packet) => client.told.push({ topic, payload: payload.toString(), packet }));
  client.connack = await new Promise((done, fail) => {
    client.once('connect', done);
    client.once('error', fail);
  });
  return client;
}

// Takes the next message of a client.
async function next(client) {
  for (const deadline = Date.now() + 10_000; client.told.length === 0; await sleep(5)) {
    assert(Date.now() < deadline, 'nothing came');
  }
  return client.told.shift();
}

// A session that outlives its connection.
const lasting = (version) => ({ clean: false, properties: version === 5 ? { sessionExpiryInterval: 60 } : undefined });

async function sameInBothVersions(version) {
  await assert.rejects(connect('wrong', version, { password: 'wrong' }), 'a wrong login');
  const [subscriber, publisher] = [await connect('s', version), await connect('p', version)];
  for (const qos of [0, 1, 2]) {
    const granted = await subscriber.subscribeAsync('Dog/#', { qos });
    check('granted', qos, granted[0].qos);
    await publisher.publishAsync(`Dog/a/${qos}`, 'x', { qos });
    const { topic, payload, packet } = await next(subscriber);
    check('a message', [`Dog/a/${qos}`, 'x', qos, false], [topic, payload, packet.qos, packet.retain]);
  }
  await publisher.publishAsync('Dog/kept', '{"name":"Rex"}', { qos: 1, retain: true });
  await next(subscriber);
  const late = await connect('late', version);
  await late.subscribeAsync('Dog/+', { qos: 1 });
  const kept = await next(late);
  check('a retained message', ['Dog/kept', true], [kept.topic, kept.packet.retain]);
  await publisher.publishAsync('Dog/kept', '', { qos: 1, retain: true });
  await Promise.all([late.endAsync(), subscriber.endAsync()]);
  let durable = await connect('durable', version, lasting(version));
  check('no session before', false, durable.connack.sessionPresent);
  await durable.subscribeAsync('Dog/durable', { qos: 2 });
  await durable.endAsync();
  const numbers = ['0', '1', '2', '3', '4'];
  for (const number of numbers) await publisher.publishAsync('Dog/durable', number, { qos: 2 });
  durable = await connect('durable', version, lasting(version));
  check('the session', true, durable.connack.sessionPresent);
  for (const number of numbers) check('what was missed', number, (await next(durable)).payload);
  await sleep(SILENCE_MS);
  check('nothing more', 0, durable.told.length);
  await durable.endAsync();
  await (await connect('durable', version)).endAsync();
  const mourner = await connect('mourner', version);
  await mourner.subscribeAsync('Dog/will', { qos: 1 });
  const mortal = await connect('mortal', version, { will: { topic: 'Dog/will', payload: 'gone', qos: 1, retain: false } });
  mortal.stream.destroy();
  check('a will', 'gone', (await next(mourner)).payload);
  await Promise.all([mourner.endAsync(), publisher.endAsync()]);
}

async function whatMqtt5Adds() {
  const [subscriber, publisher] = [await connect('s', 5), await connect('p', 5)];
  await subscriber.subscribeAsync('Dog/v5', { qos: 1, nl: true, properties: { subscriptionIdentifier: 7 } });
  await subscriber.publishAsync('Dog/v5', 'own', { qos: 1 });
  const properties = {
    responseTopic: 'Dog/answer',
    correlationData: Buffer.from([7]),
    contentType: 'text/plain',
    userProperties: { who: 'me' },
  };
  await publisher.publishAsync('Dog/v5', 'x', { qos: 1, properties });
  const { payload, packet } = await next(subscriber);
  check('no local', 'x', payload);
  const { responseTopic, correlationData, contentType, userProperties, subscriptionIdentifier } = packet.properties;
  check('properties', properties, { responseTopic, correlationData, contentType, userProperties: { ...userProperties } });
  check('the identifier', 7, subscriptionIdentifier);
  const shared = [await connect('shared-0', 5), await connect('shared-1', 5)];
  for (const client of shared) await client.subscribeAsync('$share/group/Dog/shared', { qos: 1 });
  const numbers = Array.from({ length: 20 }, (_, number) => String(number));
  for (const number of numbers) await publisher.publishAsync('Dog/shared', number, { qos: 1 });
  await sleep(SILENCE_MS);
  const taken = shared.flatMap((client) => client.told.map((message) => message.payload));
  check('each message once', numbers.toSorted(), taken.toSorted());
  await Promise.all([subscriber, publisher, ...shared].map((client) => client.endAsync()));
}

for (const version of [4, 5]) await sameInBothVersions(version);
await whatMqtt5Adds();
console.log(`${checks} checks`);
process.exit(0);
