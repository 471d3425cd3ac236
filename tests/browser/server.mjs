// The real server on a root of its own, with the cities example.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A port that nobody has. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Server {
  #root = mkdtempSync(join(tmpdir(), 'harper-browser-'));
  #process;

  /** A server that will have the same port each time it is started. */
  static async make(isSecure) {
    const server = new Server();
    server.isSecure = isSecure;
    server.port = await freePort();
    server.origin = `${isSecure ? 'https' : 'http'}://localhost:${server.port}`;
    return server;
  }

  async start() {
    const [mine, other] = this.isSecure ? ['securePort', 'port'] : ['port', 'securePort'];
    const settings = {
      [`http.${mine}`]: `127.0.0.1:${this.port}`,
      [`http.${other}`]: 'null',
      'http.http2': 'true',
      'admin.port': '127.0.0.1:0',
      'operationsApi.network.port': 'null',
      'mqtt.network.port': 'null',
      'authentication.authorizeLocal': 'true',
      'shutdown.delay': '0',
    };
    const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const { HARPER_SERVER_BIN, HARPER_EXAMPLE } = process.env;
    const env = { ...process.env, HDB_ADMIN_USERNAME: 'admin', HDB_ADMIN_PASSWORD: 'for-this-test' };
    this.#process = spawn(HARPER_SERVER_BIN, ['run', HARPER_EXAMPLE, '--root', this.#root, ...set], { env });
    this.#process.stderr.resume();
    for await (const line of createInterface({ input: this.#process.stdout })) {
      const [, address] = line.match(/metrics and probes on ([0-9.:]+)/) ?? [];
      if (address) {
        this.admin = `http://${address}`;
        this.#process.stdout.resume();
        return;
      }
    }
    throw new Error('the server did not start');
  }

  /** The value of a metric without labels. */
  async metric(name) {
    const page = await (await fetch(`${this.admin}/metrics`)).text();
    const line = page.split('\n').find((line) => line.startsWith(`${name} `));
    if (!line) throw new Error(`no metric ${name}`);
    return Number(line.split(' ')[1]);
  }

  async stop(signal = 'SIGTERM') {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill(signal);
      await once(this.#process, 'exit');
    }
  }

  async end() {
    await this.stop('SIGKILL');
    rmSync(this.#root, { recursive: true });
  }
}
