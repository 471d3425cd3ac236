// Shows what happens to the cities, as each protocol tells it.

import { subscribe } from './mqtt.js';

const SHOWN_MAX = 50;
const RETRY_MS = 1000;
const SOCKETS = location.origin.replace(/^http/, 'ws');

/** Where a protocol shows what it hears. */
function panel(id) {
  const section = document.getElementById(id);
  const [state, list] = [section.querySelector('.state'), section.querySelector('ol')];
  return {
    state(text, isOpen) {
      state.textContent = text;
      state.classList.toggle('open', isOpen);
    },
    show(type, id, value) {
      const item = document.createElement('li');
      const kind = document.createElement('b');
      kind.textContent = type;
      item.append(kind, ` ${id}${value ? `: ${value.name} (${value.country})` : ''}`);
      list.prepend(item);
      while (list.children.length > SHOWN_MAX) list.lastChild.remove();
    },
  };
}

/** The browser reconnects by itself, and the server goes on after the last event that was heard. */
function listenToEvents({ state, show }) {
  state('connecting', false);
  const source = new EventSource(`/City/?startTime=${Date.now()}`);
  source.onopen = () => state('open', true);
  source.onerror = () => state(source.readyState === EventSource.CLOSED ? 'refused' : 'reconnecting', false);
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    show(event.type, event.id, event.value);
  };
}

/** After a break it goes on from the time of the last event; what was heard already is left out. */
function listenToSocket({ state, show }, since = Date.now(), last = 0) {
  state('connecting', false);
  const socket = new WebSocket(`${SOCKETS}/City/?startTime=${Math.floor(since)}`);
  socket.onopen = () => state('open', true);
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (!event.version || event.version <= last) return;
    since = last = event.version;
    show(event.type, event.id, event.value);
  };
  socket.onclose = ({ code }) => {
    state(`closed (${code}), reconnecting`, false);
    setTimeout(listenToSocket, RETRY_MS, { state, show }, since, last);
  };
}

function listenToMqtt({ state, show }) {
  state('connecting', false);
  subscribe(`${SOCKETS}/mqtt`, 'City/#', {
    open: () => state('open', true),
    message(topic, payload) {
      const value = payload.length > 0 ? JSON.parse(new TextDecoder().decode(payload)) : undefined;
      show(value ? 'put' : 'delete', topic.slice('City/'.length), value);
    },
    closed() {
      state('closed, reconnecting', false);
      setTimeout(listenToMqtt, RETRY_MS, { state, show });
    },
  });
}

function writeOnRequest() {
  const form = document.getElementById('change');
  const outcome = document.getElementById('outcome');
  const send = async (method, body) => {
    const key = encodeURIComponent(form.elements.id.value);
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`/City/${key}`, { method, headers, body });
    outcome.textContent = response.ok ? '' : `${response.status} ${response.statusText}`;
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send('PUT', JSON.stringify({ name: form.elements.name.value, country: 'ZZ', lat: 0, lng: 0 }));
  });
  document.getElementById('delete').addEventListener('click', () => send('DELETE'));
}

document.getElementById('origin').textContent = location.origin;
listenToEvents(panel('sse'));
listenToSocket(panel('websocket'));
listenToMqtt(panel('mqtt'));
writeOnRequest();
