// Shows on stderr how far the load is: a bar that redraws itself on a terminal, otherwise a line now and then.

const BAR_WIDTH = 30;
const REDRAW_MS = 100;
const LINE_MS = 5_000;

export class Progress {
  /** Records written so far; the loader counts it up. */
  done = 0;
  #total;
  #started = performance.now();
  #timer;

  constructor(total) {
    this.#total = total;
    this.#timer = setInterval(() => this.#show(), process.stderr.isTTY ? REDRAW_MS : LINE_MS);
  }

  end() {
    clearInterval(this.#timer);
    if (process.stderr.isTTY) {
      this.#show();
      process.stderr.write('\n');
    }
  }

  #show() {
    const share = this.#total > 0 ? this.done / this.#total : 1;
    const perSecond = Math.round(this.done / ((performance.now() - this.#started) / 1000));
    const number = (value) => value.toLocaleString('en');
    const figures = `${number(this.done)} of ${number(this.#total)} records, ${number(perSecond)}/s`;
    if (process.stderr.isTTY) {
      const full = Math.round(share * BAR_WIDTH);
      const bar = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
      process.stderr.write(`\r\x1b[K${bar} ${String(Math.floor(share * 100)).padStart(3)} % ${figures}`);
    } else {
      process.stderr.write(`${figures}\n`);
    }
  }
}
