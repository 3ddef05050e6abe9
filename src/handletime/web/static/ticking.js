// Counts on what goes on, so that it need not be sent anew.

import { duration } from "./charts.js";

// Writes how long everything in an element has gone on, at a moment of the server's clock, and what time that is.
export function count(element, at, now) {
  for (const each of element.querySelectorAll("[data-since]")) write(each, duration(at - Number(each.dataset.since)));
  for (const each of element.querySelectorAll("[data-until]")) write(each, duration(Math.max(Number(each.dataset.until) - at, 0)));
  for (const each of element.querySelectorAll("[data-now]")) write(each, now);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
