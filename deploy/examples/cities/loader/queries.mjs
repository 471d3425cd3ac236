// The questions of README.md with their answers, computed from the data set and not from a server.

const BY_ID = 'ch-zh-112-zurich-7f1becfa';

/**
 * Each: what is asked, the path that asks it, whether the order of the answer is settled, and the answer.
 * Where rows are sorted and cut, the sort values around the cut differ, so that there is one right answer.
 */
const QUERIES = [
  {
    name: 'one city by its key',
    path: `/City/${BY_ID}?select(id,name,country,admin1,admin2,lat,lng)`,
    ordered: true,
    answer: (cities) => cities.find((city) => city.id === BY_ID),
  },
  {
    name: 'the keys of all cities of a country',
    path: '/City/?country=CH&select(id)',
    ordered: false,
    answer: (cities) => cities.filter(({ country }) => country === 'CH').map(({ id }) => id),
  },
  {
    name: 'cities by the beginning of the name',
    path: '/City/?name=sw=Z%C3%BC&select(name,country)',
    ordered: false,
    answer: (cities) => select(cities.filter(({ name }) => name.startsWith('Zü')), 'name', 'country'),
  },
  {
    name: 'a country and the beginning of the name',
    path: '/City/?country=MX&name=sw=San%20&select(id)',
    ordered: false,
    answer: (cities) =>
      cities.filter(({ country, name }) => country === 'MX' && name.startsWith('San ')).map(({ id }) => id),
  },
  {
    name: 'a band of latitude',
    path: '/City/?lat=gt=46&lat=lt=46.1&select(id,lat)',
    ordered: false,
    answer: (cities) => select(cities.filter(({ lat }) => lat > 46 && lat < 46.1), 'id', 'lat'),
  },
  {
    name: 'the five northernmost cities',
    path: '/City/?lat=gt=70&sort(-lat)&limit(5)&select(name,country,lat)',
    ordered: true,
    answer: (cities) =>
      select(cities.filter(({ lat }) => lat > 70).sort((a, b) => b.lat - a.lat).slice(0, 5), 'name', 'country', 'lat'),
  },
  {
    name: 'the second page of a country by name',
    path: '/City/?country=IS&sort(name)&limit(5,10)&select(name,admin1)',
    ordered: true,
    answer: (cities) =>
      select(cities.filter(({ country }) => country === 'IS').sort(byName).slice(5, 10), 'name', 'admin1'),
  },
  {
    name: 'the last five names of a country',
    path: '/City/?country=CH&sort(-name)&limit(5)&select(name)',
    ordered: true,
    answer: (cities) =>
      cities
        .filter(({ country }) => country === 'CH')
        .sort((a, b) => byName(b, a))
        .slice(0, 5)
        .map(({ name }) => name),
  },
];

/** The number of records and, for each query, `{ name, path, ordered, count, answer }`. */
export function expectations(cities) {
  const queries = QUERIES.map(({ name, path, ordered, answer }) => {
    const value = answer(cities);
    return { name, path, ordered, count: Array.isArray(value) ? value.length : 1, answer: value };
  });
  return { records: cities.length, queries };
}

/** Whether a server's answer is the expected one: rows in any order unless the query settles it. */
export function matches({ ordered, answer }, got) {
  const rows = (value) => (Array.isArray(value) && !ordered ? value.map(canonical).sort() : [canonical(value)]);
  return rows(answer).join('\n') === rows(got).join('\n');
}

// The same text for equal values, whatever the order of an object's members.
function canonical(value) {
  return JSON.stringify(value, (_, inner) =>
    inner && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function select(cities, ...attributes) {
  return cities.map((city) =>
    Object.fromEntries(attributes.filter((name) => name in city).map((name) => [name, city[name]])),
  );
}

// The server sorts text by its UTF-8 bytes.
function byName(a, b) {
  return Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}
