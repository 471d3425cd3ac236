// A Node http server that answers every request with the same bytes: the floor of anything that is built on Node.
// Arguments: address, port, and the file that holds the response to repeat.

const http = require('node:http');
const { readFileSync } = require('node:fs');

const [address, port, file] = process.argv.slice(2);
const OWN_HEADERS = ['date', 'connection', 'keep-alive'];

const bytes = readFileSync(file);
const headEnd = bytes.indexOf('\r\n\r\n');
const [statusLine, ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
const status = Number(statusLine.split(' ')[1]);
const body = bytes.subarray(headEnd + 4);
const headers = lines
  .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])
  .filter(([name]) => !OWN_HEADERS.includes(name.toLowerCase()))
  .flat();

const server = http.createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  response.writeHead(status, headers);
  response.end(body);
});
server.listen(Number(port), address);
process.on('SIGTERM', () => process.exit(0));
