// Counts on what goes on, so that it need not be sent anew.

// A duration in its two largest units, as the server writes it.
export function duration(millis) {
  const whole = Math.round(millis);
  if (whole < 1000) return whole > 0 ? `${whole} ms` : "0 s";
  if (whole < 10000) return `${Math.floor(whole / 100) / 10} s`;
  const s = Math.floor(whole / 1000);
  if (s < 60) return `${s} s`;
  const two = (outer, large, inner, small) => `${Math.floor(s / outer).toLocaleString("en")} ${large} ${String(Math.floor((s % outer) / inner)).padStart(2, "0")} ${small}`;
  if (s < 3600) return two(60, "m", 1, "s");
  if (s < 172800) return two(3600, "h", 60, "m");
  return two(86400, "d", 3600, "h");
}

// Writes how long everything in an element has gone on, at a moment of the server's clock, and what time that is.
export function count(element, at, now) {
  for (const each of element.querySelectorAll("[data-since]")) write(each, duration(at - Number(each.dataset.since)));
  for (const each of element.querySelectorAll("[data-now]")) write(each, now);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
