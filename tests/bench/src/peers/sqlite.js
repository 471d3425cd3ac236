// The 20-row query of `query` on SQLite: Node's http module and better-sqlite3, with a statement prepared once.
// Arguments: address, port, records, groups, bytes of text in a record.

const http = require('node:http');
const Database = require('better-sqlite3');

const [address, port, records, groups, textBytes] = process.argv.slice(2).map((word, at) => (at ? Number(word) : word));
const name = (number, letters) => String(number).padStart(letters, '0');

const database = new Database(':memory:');
database.exec('CREATE TABLE item (id TEXT PRIMARY KEY, "group" TEXT, text TEXT); CREATE INDEX by_group ON item ("group")');
const insert = database.prepare('INSERT INTO item VALUES (?, ?, ?)');
database.transaction(() => {
  for (let at = 0; at < records; at += 1) {
    insert.run(`item-${name(at, 6)}`, `group-${name(at % groups, 4)}`, 'x'.repeat(textBytes));
  }
})();
const select = database.prepare('SELECT id, "group", text FROM item WHERE "group" = ? ORDER BY id');

const server = http.createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  const group = new URL(request.url, 'http://localhost').searchParams.get('group');
  const body = JSON.stringify(select.all(group));
  response.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))]);
  response.end(body);
});
server.listen(port, address);
process.on('SIGTERM', () => process.exit(0));
