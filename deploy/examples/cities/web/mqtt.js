// As much of MQTT 5 as a page needs that only listens: https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html

const CONNECT = 0x10, CONNACK = 2, PUBLISH = 3, SUBSCRIBE = 0x82, SUBACK = 9, PINGREQ = 0xc0;
const CLEAN_START = 2;
const KEEP_ALIVE_S = 30;
/** Do not send the records that are there (§3.8.3.1). */
const NO_RETAINED = 2 << 4;

/**
 * Subscribes over a WebSocket.
 * @param {string} url of the server
 * @param {string} filter of topics
 * @param {{open(): void, message(topic: string, payload: Uint8Array): void, closed(): void}} listener
 */
export function subscribe(url, filter, listener) {
  const socket = new WebSocket(url, 'mqtt');
  socket.binaryType = 'arraybuffer';
  let received = new Uint8Array();
  let timer;
  socket.onopen = () => {
    socket.send(packet(CONNECT, [...text('MQTT'), 5, CLEAN_START, 0, KEEP_ALIVE_S, 0, ...text('')]));
    timer = setInterval(() => socket.send(packet(PINGREQ, [])), KEEP_ALIVE_S * 500);
  };
  socket.onmessage = ({ data }) => {
    received = joined(received, new Uint8Array(data));
    for (let next; (next = take(received)); received = next.rest) {
      if (next.kind === CONNACK) {
        if (next.body[1] !== 0) return socket.close();
        socket.send(packet(SUBSCRIBE, [0, 1, 0, ...text(filter), NO_RETAINED]));
      } else if (next.kind === SUBACK) {
        if (next.body.at(-1) >= 0x80) return socket.close();
        listener.open();
      } else if (next.kind === PUBLISH) {
        listener.message(...message(next.body));
      }
    }
  };
  socket.onclose = () => {
    clearInterval(timer);
    listener.closed();
  };
}

/** A packet of at most 2 MB: its first byte, its length in groups of seven bits, what it carries (§1.5.5, §2.1). */
function packet(first, body) {
  const length = [];
  for (let rest = body.length; ; ) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    if ((rest >>= 7) === 0) return Uint8Array.of(first, ...length, ...body);
  }
}

function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** The first packet of the bytes, and what follows it; nothing while it is not whole. */
function take(bytes) {
  const length = varint(bytes, 1);
  if (!length || bytes.length < length.end + length.value) return undefined;
  const end = length.end + length.value;
  return { kind: bytes[0] >> 4, body: bytes.subarray(length.end, end), rest: bytes.subarray(end) };
}

function varint(bytes, at) {
  for (let value = 0, shift = 0; at < bytes.length; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, end: at };
  }
  return undefined;
}

function text(value) {
  const bytes = new TextEncoder().encode(value);
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

/** Topic and payload of a PUBLISH of QoS 0, which has no identifier (§3.3). */
function message(body) {
  const end = 2 + ((body[0] << 8) | body[1]);
  const properties = varint(body, end);
  return [new TextDecoder().decode(body.subarray(2, end)), body.subarray(properties.end + properties.value)];
}
