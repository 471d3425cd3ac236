// What `fanout` compares with: each body that is put goes to every WebSocket and every event stream.
// Arguments: address, port.

const http = require('node:http');
const { WebSocketServer } = require('ws');

const [address, port] = process.argv.slice(2);
const streams = new Set();
let sequence = 0;

function tell(key, value) {
  sequence += 1;
  const event = JSON.stringify({ id: key, localTime: Date.now(), value, version: sequence, type: 'put' });
  for (const socket of sockets.clients) socket.send(event);
  const frame = `id: ${sequence}\ndata: ${event}\n\n`;
  for (const stream of streams) stream.write(frame);
}

const server = http.createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    streams.add(response);
    response.on('close', () => streams.delete(response));
    return;
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const id = request.url.slice(request.url.lastIndexOf('/') + 1);
    tell(id, { id, ...JSON.parse(Buffer.concat(parts)) });
    response.writeHead(204).end();
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
server.listen({ host: address, port, backlog: 4096 });
process.on('SIGTERM', () => process.exit(0));
