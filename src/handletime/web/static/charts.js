// Charts by uPlot; each figure holds its data, and beneath it the same as a table.

const drawn = new Map();
const COLORS = {
  interactive: "--interactive",
  nonResponsiveConsumer: "--consumer",
  nonResponsiveAgent: "--agent",
  abandoned: "--abandoned",
  median: "--interactive",
  p90: "--agent",
  all: "--ink",
};

// As handletime/answers/words.py has it; a test compares the two.
export function duration(millis) {
  const whole = Math.trunc(millis);
  if (whole < 1000) return whole ? `${whole} ms` : "0 s";
  if (whole < 10000) return `${Math.floor(whole / 1000)}.${Math.floor(whole / 100) % 10} s`;
  if (whole < 60000) return `${Math.floor(whole / 1000)} s`;
  const [large, name, small, rest, digits] = whole < 3600000 ? [60000, "min", 1000, "s", 1] : [3600000, "h", 60000, "min", 2];
  const more = Math.floor((whole % large) / small);
  const most = Math.floor(whole / large).toLocaleString("en");
  return more ? `${most} ${name} ${String(more).padStart(digits, "0")} ${rest}` : `${most} ${name}`;
}

export function drawCharts(within) {
  for (const [figure, plot] of drawn) {
    if (!figure.isConnected || within.contains(figure)) {
      plot.destroy();
      drawn.delete(figure);
    }
  }
  for (const figure of within.querySelectorAll("[data-chart]")) drawn.set(figure, draw(figure));
}

addEventListener("resize", () => {
  for (const [figure, plot] of drawn) {
    const width = figure.querySelector(".plot").clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
  }
});

function draw(figure) {
  const chart = JSON.parse(figure.dataset.chart);
  const place = figure.querySelector(".plot");
  const details = figure.querySelector("details");
  details.addEventListener("toggle", () => details.querySelector("table") ?? fill(details, chart));
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const starts = chart.bounds.slice(0, -1).map((millis) => millis / 1000);
  const shown = chart.stacked ? stacked(chart.series) : chart.series.map((series) => series.values);
  // The last part of a stack is drawn first, behind the others.
  const order = chart.series.map((_, i) => i);
  if (chart.stacked) order.reverse();
  const grid = { stroke: color("--line"), width: 1 };
  // Sizes follow the screen, as those of texts do.
  const rem = parseFloat(style.fontSize);
  const axis = { stroke: color("--quiet"), grid, ticks: grid, font: `${0.75 * rem}px system-ui, sans-serif` };
  const interval = (millis) => Math.max(chart.bounds.findLastIndex((bound, i) => bound <= millis && i < starts.length), 0);
  const text = (chart.unit === "millis" ? duration : (value) => value.toLocaleString("en"));
  const plot = new uPlot(
    {
      width: place.clientWidth || 600,
      height: Math.round(13.75 * rem),
      // Room for half of the last date.
      padding: [null, 2.4 * rem, null, null],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), chart.zone === "UTC" ? "Etc/UTC" : chart.zone),
      hooks: { drawClear: [(u) => hatch(u, chart, color("--line"))] },
      cursor: { drag: { x: false, y: false }, points: { show: !chart.stacked }, dataIdx: (_, __, nearest, x) => (chart.stacked ? interval(x * 1000) : nearest) },
      scales: { x: { time: true, range: [chart.bounds[0] / 1000, chart.bounds.at(-1) / 1000] }, y: { range: (_, low, high) => [0, high ? high * 1.06 : 1] } },
      axes: [{ ...axis, size: 3.1 * rem, space: 6 * rem, values: (_, splits, __, ___, step) => clocks(splits, step, chart.zone, chart.language) }, { ...axis, size: (_, values) => Math.max(4, 1.5 + 0.42 * Math.max(0, ...(values ?? []).map((text) => text?.length ?? 0))) * rem, values: (_, splits) => splits.map((each) => (chart.unit === "count" && !Number.isInteger(each) ? "" : text(each))), incrs: chart.unit === "millis" ? MILLIS : undefined }],
      // A line's mark is a piece of that line.
      legend: { markers: { dash: (u, i) => (i > order.length ? "dotted" : u.series[i].dash ? "dashed" : "solid") } },
      series: [
        { label: "from", value: said(chart.times) },
        ...order.map((i) => {
          const series = chart.series[i];
          const stroke = color(COLORS[series.kind]);
          return {
            label: series.name,
            value: said(series.texts),
            ...(chart.stacked
              ? { fill: stroke, stroke, width: 0, points: { show: false }, paths: bars(chart.bounds) }
              : { stroke, class: "line", width: 2, dash: series.kind === "p90" ? [9, 4] : undefined, spanGaps: false, points: { show: starts.length < 60, size: 0.3 * rem } }),
          };
        }),
        ...chart.before.map((series) => ({
          label: series.name,
          value: said(series.texts),
          stroke: color(COLORS[series.kind]),
          class: "line",
          width: 1.5,
          dash: [3, 3],
          spanGaps: false,
          points: { show: false },
          ...(chart.stacked ? { paths: steps(chart.bounds) } : {}),
        })),
      ],
    },
    [starts, ...order.map((i) => shown[i]), ...chart.before.map((series) => series.values)],
    place,
  );
  // A click goes down to the segments behind the bar or point.
  plot.over.addEventListener("click", () => {
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) return;
    const at = chart.stacked ? interval(plot.posToVal(plot.cursor.left, "x") * 1000) : plot.cursor.idx;
    const value = plot.posToVal(plot.cursor.top, "y");
    const part = chart.stacked ? shown.findIndex((values) => value <= values[at]) : chart.series.findIndex((s) => s.values[at] !== null);
    if (part >= 0) location.href = behind(chart.series[part], chart.bounds, at);
  });
  return plot;
}

// What the legend says of the interval that is pointed at; of none it says nothing.
const said = (texts) => (_, __, ___, at) => texts[at] ?? "";

// The segments behind a value.
function behind(series, bounds, at) {
  return `${document.documentElement.dataset.base}${series.link}&from=${bounds[at]}&to=${bounds[at + 1]}`;
}

// The same as a table, made when it is asked for.
function fill(details, chart) {
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const row = (...cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  };
  const all = [...chart.series, ...chart.before];
  const head = element("thead", "");
  head.append(row(element("th", "From", { scope: "col" }), ...all.map((each) => element("th", each.name, { scope: "col", class: "n" }))));
  const body = element("tbody", "");
  chart.times.forEach((time, at) => {
    const cells = all.map((series, part) => {
      const bounds = part < chart.series.length ? chart.bounds : chart.compared;
      const td = element("td", series.values[at] ? "" : series.texts[at], { class: "n" });
      if (series.values[at]) td.append(element("a", series.texts[at], { href: behind(series, bounds, at) }));
      return td;
    });
    body.append(row(element("th", time, { scope: "row" }), ...cells));
  });
  const table = element("table", "");
  table.append(head, body);
  const scroll = element("div", "", { class: "scroll low", role: "region", "aria-label": `${chart.title} by interval`, tabindex: "0" });
  scroll.append(table);
  details.append(scroll);
}

// Hatches the intervals that are not whole: that are not over, or that the span cuts off.
function hatch(plot, chart, color) {
  const { ctx, bbox } = plot;
  for (const part of chart.parts) {
    const [left, right] = [part, part + 1].map((at) => plot.valToPos(chart.bounds[at] / 1000, "x", true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, right - left, bbox.height);
    ctx.clip();
    ctx.strokeStyle = color;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += 7 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
}

// The times on the axis: the day where it is a new one, else the clock, with its offset in an hour that comes twice.
// As handletime/answers/clocks.py writes them: in the reader's language, years and digits as everywhere here.
export function clocks(splits, step, zone, language) {
  const offset = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "longOffset" });
  const offsetAt = (seconds) => offset.formatToParts(seconds * 1000).find((part) => part.type === "timeZoneName").value.slice(3) || "+00:00";
  // Sweden writes dates as ISO 8601 does: 2026-11-20.
  const [locale, same] = [language || "sv", { timeZone: zone, calendar: "gregory", numberingSystem: "latn" }];
  const day = new Intl.DateTimeFormat(locale, { ...same, year: "numeric", month: "numeric", day: "numeric" });
  const clock = new Intl.DateTimeFormat(locale, { ...same, timeStyle: "short" });
  let before = null;
  return splits.map((seconds) => {
    const [on, at] = [day.format(seconds * 1000), clock.format(seconds * 1000)];
    const isNew = on !== before;
    before = on;
    if (step >= 86400) return on;
    const twice = [-3600, -1800, 1800, 3600].some((by) => day.format((seconds + by) * 1000) === on && clock.format((seconds + by) * 1000) === at);
    const which = twice ? ` ${offsetAt(seconds)}` : "";
    return isNew ? `${at}${which}\n${on}` : at + which;
  });
}

const MILLIS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800].map((s) => s * 1000);

// Bars as wide as their intervals, which the first, the last, and days when clocks change make unequal.
function bars(bounds) {
  return (plot, index, low, high) => {
    const fill = new Path2D();
    const floor = plot.valToPos(0, "y", true);
    for (let i = low; i <= high; i++) {
      const [left, right] = [i, i + 1].map((at) => plot.valToPos(bounds[at] / 1000, "x", true));
      const gap = Math.min((right - left) * 0.12, 6);
      const top = plot.valToPos(plot.data[index][i], "y", true);
      fill.rect(left + gap / 2, top, Math.max(right - left - gap, 1), floor - top);
    }
    return { fill, stroke: null, clip: null, band: null, gaps: null, flags: 1 };
  };
}

// A line with a step for each interval, over bars.
function steps(bounds) {
  return (plot, index, low, high) => {
    const stroke = new Path2D();
    let drawn = false;
    for (let i = low; i <= high; i++) {
      const value = plot.data[index][i];
      if (value === null) {
        drawn = false;
        continue;
      }
      const [left, right] = [i, i + 1].map((at) => plot.valToPos(bounds[at] / 1000, "x", true));
      const y = plot.valToPos(value, "y", true);
      if (drawn) stroke.lineTo(left, y);
      else stroke.moveTo(left, y);
      stroke.lineTo(right, y);
      drawn = true;
    }
    return { stroke, fill: null, clip: null, band: null, gaps: null, flags: 1 };
  };
}

function stacked(all) {
  const sums = all[0].values.map(() => 0);
  return all.map((series) => series.values.map((value, i) => (sums[i] += value ?? 0)));
}
