// One keep-alive HTTP/1.1 connection for writes, one request at a time. `node:http` costs a client three times the
// processor time for each request, which on a small machine is taken from the server.

import net from 'node:net';
import tls from 'node:tls';

const ANSWER_TIMEOUT_MS = 30_000;
const HEAD_BYTES_MAX = 64 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');

/** A fault of the connection and not of the request: worth another try. */
export class Disconnected extends Error {}

export class Connection {
  #url;
  #head;
  #socket = null;
  #received = null;
  #settle = null;

  /** `url` is the server's, `authorization` the value of that header or undefined. */
  constructor(url, authorization) {
    this.#url = url;
    this.#head =
      `Host: ${url.host}\r\nContent-Type: application/json\r\n` +
      (authorization ? `Authorization: ${authorization}\r\n` : '');
  }

  /** Sends a PUT. Resolves to `{ status, text }`, where `text` tells why a status is not a success. */
  put(path, body) {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#received = null;
      this.#socket ??= this.#connect();
      this.#socket.write(
        `PUT ${path} HTTP/1.1\r\n${this.#head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    });
  }

  close() {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #connect() {
    const secure = this.#url.protocol === 'https:';
    const host = this.#url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(this.#url.port) || (secure ? 443 : 80);
    const socket = secure ? tls.connect({ host, port, servername: net.isIP(host) ? '' : host }) : net.connect(port, host);
    socket.setNoDelay(true);
    socket.setTimeout(ANSWER_TIMEOUT_MS);
    socket.on('data', (chunk) => this.#read(socket, chunk));
    socket.on('timeout', () => socket.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1000} s`)));
    socket.on('error', (error) => this.#lost(socket, error.message));
    socket.on('close', () => this.#lost(socket, 'the connection was closed'));
    return socket;
  }

  #read(socket, chunk) {
    if (socket !== this.#socket || !this.#settle) return;
    this.#received = this.#received ? Buffer.concat([this.#received, chunk]) : chunk;
    const headEnd = this.#received.indexOf(HEAD_END);
    if (headEnd < 0) {
      if (this.#received.length > HEAD_BYTES_MAX) socket.destroy(new Error('the answer is not HTTP'));
      return;
    }
    const status = Number(this.#received.latin1Slice(9, 12));
    const text = status === 204 ? '' : this.#received.toString('utf8', headEnd + HEAD_END.length);
    const { resolve } = this.#settle;
    this.#settle = null;
    // Only a 204 surely has no body. Any other answer is rare here, and ends the connection rather than being framed.
    if (status !== 204 || this.#received.length !== headEnd + HEAD_END.length) this.close();
    resolve({ status, text });
  }

  #lost(socket, reason) {
    if (socket !== this.#socket) return;
    this.close();
    const settle = this.#settle;
    this.#settle = null;
    settle?.reject(new Disconnected(reason));
  }
}
