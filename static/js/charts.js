// Charts of live pages: a snapshot over HTTP, then the newest points from the socket.
// <div data-chart="chart:deployment:42" data-chart-src="/deployments/42/frame/" data-chart-most="2">
// data-chart-minutes: how much is kept on the time axis. A panel without a bound has no limit; one with `palette` has
// lines of any names.
(() => {
  "use strict";
  const KEEP = 15; // minutes on the time axis
  const GAP = 20 * 1000; // frames carry this much: what is older has been missed
  const POLL_EVERY = 5000;
  const COLOURS = { canary: "--run", service: "--run", baseline: "--idle", limit: "--bad", ink: "--ink-soft", line: "--line-soft" };
  const PALETTE = ["--run", "--glass", "--ok", "--due", "--waived", "--bad", "--idle"];
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");
  const clock = uPlot.fmtDate("{HH}:{mm}:{ss}");
  const charts = new Set();

  // A canvas knows no custom property: the browser resolves it on an element.
  function colours() {
    const probe = document.body.appendChild(document.createElement("span"));
    const found = {};
    for (const [name, property] of [...Object.entries(COLOURS), ...PALETTE.map((property) => [property, property])]) {
      probe.style.color = `var(${property})`;
      found[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    return found;
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function number(value) {
    if (value === null || value === undefined) return "no data";
    const size = Math.abs(value);
    return size >= 1000 ? Math.round(value).toLocaleString("en").replace(/,/g, " ") : size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
  }

  function withUnit(value, unit) {
    // What is counted has no unit, and no halves.
    if (!unit) return Number.isInteger(value) && Math.abs(value) < 1000 ? String(value) : number(value);
    return value === null || value === undefined ? number(value) : `${number(value)} ${unit}`;
  }

  // The bound at each point: of the value itself, or of its distance from the baseline.
  function limits(panel, times, lines) {
    if (panel.bound === null) return [];
    if (!panel.against) return [times.map(() => panel.bound)];
    const baseline = lines[panel.lines.indexOf("baseline")];
    if (!baseline) return [times.map(() => null)];
    return [baseline.map((value) => (value === null ? null : panel.against === "ratio" ? value * panel.bound : value + panel.bound))];
  }

  class Panel {
    constructor(panel, chart) {
      this.panel = panel;
      this.chart = chart;
      this.root = make("figure", "panel");
      const caption = this.root.appendChild(make("figcaption"));
      caption.append(make("span", "panel-title", panel.title));
      this.legend = caption.appendChild(make("span", "panel-legend"));
      this.values = {};
      this.names = panel.bound === null ? panel.lines : [...panel.lines, "limit"];
      for (const [n, name] of this.names.entries()) {
        const entry = this.legend.appendChild(make("span", panel.palette ? `key key-line-${n % PALETTE.length}` : `key key-${name}`));
        entry.append(make("span", "key-line"), make("span", "key-name", name === "limit" && panel.bound !== null ? `limit ${panel.operator}` : name));
        this.values[name] = entry.appendChild(make("strong", "", "…"));
      }
      this.place = this.root.appendChild(make("div", "plot"));
      this.place.setAttribute("aria-hidden", "true");
      if (chart.wide) this.addTable();
      this.observer = new ResizeObserver(() => this.fit());
      this.observer.observe(this.place);
    }

    addTable() {
      const details = this.root.appendChild(make("details", "panel-table"));
      details.append(make("summary", "", "As a table"));
      this.table = details.appendChild(make("div", "scroll"));
      details.addEventListener("toggle", () => this.fillTable());
      this.details = details;
    }

    get height() { return this.chart.wide ? 176 : 116; }

    data() {
      const times = this.chart.times(this.panel);
      const lines = this.panel.lines.map((name) => times.map((t) => this.chart.series.get(`${this.panel.key}:${name}`)?.get(t) ?? null));
      return [times.map((t) => t / 1000), ...lines, ...limits(this.panel, times, lines)];
    }

    draw() {
      const data = this.data();
      if (!data[0].length) return;
      if (this.plot) this.plot.setData(data); else this.begin(data);
      this.show(data[0].length - 1);
      this.fillTable();
    }

    begin(data) {
      const tint = colours();
      const { panel } = this;
      const axis = { stroke: tint.ink, font: "11px system-ui, sans-serif", grid: { stroke: tint.line, width: 1 }, ticks: { show: false } };
      const stroke = (name, n) => (panel.palette ? tint[PALETTE[n % PALETTE.length]] : tint[name]);
      const limit = { label: "limit", stroke: tint.limit, width: 1.25, dash: [5, 4], points: { show: false } };
      const line = (name, n) => ({ label: name, stroke: stroke(name, n), width: name === "baseline" ? 1.5 : 2, points: { show: false } });
      this.plot = new uPlot({
        width: Math.max(this.place.clientWidth, 80),
        height: this.height,
        tzDate: utc,
        legend: { show: false },
        cursor: { y: false, drag: { setScale: false }, sync: { key: this.chart.root.dataset.chart } },
        padding: [18, 18, 0, 0],
        scales: { x: { time: true }, y: { range: (plot, low, high) => this.range(low, high) } },
        axes: [
          { ...axis, size: 24, space: 56, incrs: [60, 120, 300, 600, 900, 1800, 3600], values: (plot, ticks) => ticks.map((t) => uPlot.fmtDate("{HH}:{mm}")(utc(t))) },
          { ...axis, size: 46, space: 30, values: (plot, ticks) => ticks.map((tick) => `${+tick.toPrecision(6)}${panel.unit === "%" ? " %" : ""}`) },
        ],
        series: [{}, ...panel.lines.map(line), ...(panel.bound === null ? [] : [limit])],
        hooks: {
          drawClear: [(plot) => this.shade(plot, tint)],
          draw: [(plot) => this.mark(plot, tint)],
          setCursor: [(plot) => this.show(plot.cursor.idx ?? plot.data[0].length - 1)],
        },
      }, data, this.place);
    }

    range(low, high) {
      const bound = this.panel.against ? 0 : this.panel.bound ?? 0;
      const top = Math.max(high ?? 0, bound);
      const bottom = Math.min(low ?? 0, bound, 0);
      const room = (top - bottom || 1) * 0.14;
      return [bottom < 0 ? bottom - room : 0, top + room];
    }

    // What lies beyond the bound is faintly red.
    shade(plot, tint) {
      if (this.panel.against || this.panel.bound === null) return;
      const { ctx, bbox } = plot;
      const at = Math.min(Math.max(plot.valToPos(this.panel.bound, "y", true), bbox.top), bbox.top + bbox.height);
      ctx.save();
      ctx.globalAlpha = 0.06;
      ctx.fillStyle = tint.limit;
      if (this.panel.operator.startsWith(">")) ctx.fillRect(bbox.left, bbox.top, bbox.width, at - bbox.top);
      else ctx.fillRect(bbox.left, at, bbox.width, bbox.top + bbox.height - at);
      ctx.restore();
    }

    // Where stages began.
    mark(plot, tint) {
      const { ctx, bbox } = plot;
      const scale = devicePixelRatio;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = tint.ink;
      ctx.lineWidth = scale;
      ctx.textAlign = "left";
      ctx.textBaseline = "alphabetic";
      ctx.font = `${10.5 * scale}px system-ui, sans-serif`;
      let free = -Infinity;
      for (const marker of this.chart.markers) {
        const x = Math.round(plot.valToPos(marker.t / 1000, "x", true));
        if (x < bbox.left - 1 || x > bbox.left + bbox.width) continue;
        ctx.globalAlpha = 0.55;
        ctx.setLineDash([2 * scale, 3 * scale]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const width = ctx.measureText(marker.label).width;
        const left = Math.min(x - scale, bbox.left + bbox.width - width);
        if (left <= free) continue;
        ctx.globalAlpha = 1;
        ctx.fillText(marker.label, left, bbox.top - 5 * scale);
        free = left + width + 4 * scale;
      }
      ctx.restore();
    }

    show(index) {
      if (!this.plot) return;
      this.names.forEach((name, n) => {
        const unit = this.panel.unit;
        this.values[name].textContent = withUnit(this.plot.data[n + 1][index], unit);
      });
    }

    fillTable() {
      if (!this.details?.open || !this.plot) return;
      const table = make("table", "table");
      const { names } = this;
      const head = table.appendChild(make("thead")).appendChild(make("tr"));
      head.append(make("th", "", "Time (UTC)"), ...names.map((name) => make("th", "num", name)));
      const body = table.appendChild(make("tbody"));
      const times = this.plot.data[0];
      for (let index = times.length - 1; index >= Math.max(0, times.length - 24); index -= 2) {
        const row = body.appendChild(make("tr"));
        row.append(make("td", "", clock(utc(times[index]))));
        names.forEach((name, n) => row.append(make("td", "num", withUnit(this.plot.data[n + 1][index], this.panel.unit))));
      }
      this.table.replaceChildren(table);
    }

    fit() {
      const width = this.place.clientWidth;
      if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
    }

    end() {
      this.observer.disconnect();
      this.plot?.destroy();
      this.root.remove();
    }
  }

  class Chart {
    constructor(root) {
      this.root = root;
      this.wide = root.classList.contains("charts-wide");
      this.most = Number(root.dataset.chartMost) || 6;
      this.keep = (Number(root.dataset.chartMinutes) || KEEP) * 60 * 1000;
      this.series = new Map();
      this.markers = [];
      this.panels = [];
      this.newest = 0;
      root.addEventListener("frame", (event) => this.hear(event.detail));
      this.fetch();
    }

    async fetch() {
      if (this.asking) return;
      this.asking = true;
      try {
        const answer = await fetch(this.root.dataset.chartSrc, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(String(answer.status));
        this.take(await answer.json());
      } catch {
        if (!this.panels.length) this.say("The chart cannot be read now; it is asked for again.");
      } finally {
        this.asking = false;
      }
    }

    hear(frame) {
      if (frame.t - this.newest > GAP) this.fetch();
      this.take(frame);
    }

    take(frame) {
      if (!frame.series) return;
      this.newest = Math.max(this.newest, frame.t);
      this.step = frame.step;
      this.markers = frame.markers;
      for (const [name, points] of Object.entries(frame.series)) {
        const kept = this.series.get(name) || new Map();
        points.forEach(([t, value]) => kept.set(t, value));
        const last = Math.max(...kept.keys());
        kept.forEach((value, t) => { if (t < last - this.keep) kept.delete(t); });
        this.series.set(name, kept);
      }
      this.arrange(frame.panels.slice(0, this.most));
      this.panels.forEach((panel) => panel.draw());
    }

    arrange(panels) {
      if (!panels.length) {
        this.say(this.wide ? "Nothing is measured: the plan has no guardrail on a metric, and no metric gate." : "");
        return;
      }
      if (JSON.stringify(panels) === this.shape) return;
      this.shape = JSON.stringify(panels);
      this.panels.forEach((panel) => panel.end());
      this.root.replaceChildren();
      this.panels = panels.map((panel) => new Panel(panel, this));
      this.root.append(...this.panels.map((panel) => panel.root));
    }

    // All lines of a panel share their times; a hole in one is a hole, not a zero.
    times(panel) {
      const all = new Set();
      panel.lines.forEach((name) => this.series.get(`${panel.key}:${name}`)?.forEach((value, t) => all.add(t)));
      return [...all].sort((a, b) => a - b);
    }

    say(text) {
      this.root.replaceChildren(...(text ? [make("p", "soft small", text)] : []));
    }

    repaint() {
      this.shape = "";
      this.arrange(this.panels.map((panel) => panel.panel));
      this.panels.forEach((panel) => panel.draw());
    }
  }

  function begin() {
    charts.forEach((chart) => { if (!chart.root.isConnected) charts.delete(chart); });
    document.querySelectorAll("[data-chart]").forEach((root) => {
      if (root.drawn) return;
      root.drawn = new Chart(root);
      charts.add(root.drawn);
    });
  }

  const isLive = () => document.documentElement.dataset.liveState === "live";
  const fetchAll = () => charts.forEach((chart) => chart.fetch());

  document.addEventListener("DOMContentLoaded", () => {
    begin();
    document.body.addEventListener("htmx:afterSettle", begin);
    document.addEventListener("theme", () => charts.forEach((chart) => chart.repaint()));
    setInterval(() => { if (!isLive() && !document.hidden) fetchAll(); }, POLL_EVERY);
    // Whatever was missed while nobody listened.
    new MutationObserver(() => { if (isLive()) fetchAll(); }).observe(document.documentElement, { attributeFilter: ["data-live-state"] });
  });
})();
