// The page Now keeps itself up to date: it is sent what is new, or asks for it where that does not work.
import { drawCharts } from "./charts.js";
import { count } from "./ticking.js";

const EVERY_MS = 5000;
const PATIENCE_MS = 15000;
const HISTORY_EVERY = 12;

export function keepUpToDate(now) {
  const live = document.getElementById("live");
  const history = document.getElementById("history");
  // What is shown, so that only what differs from it is sent.
  const query = () => `?${now.dataset.query ? `${now.dataset.query}&` : ""}known=${live.dataset.state ?? ""}.${history?.dataset.state ?? ""}`;
  let asked = 0;
  let missed = false;
  const trouble = document.getElementById("trouble");
  let polling = null;
  let heard = Date.now();
  let gone = false;

  const say = (text, link) => {
    trouble.hidden = !text;
    trouble.textContent = text;
    if (link) {
      const a = document.createElement("a");
      [a.href, a.textContent] = [location.href, link];
      trouble.append(" ", a);
    }
  };

  // What moves by itself can be held still.
  const pause = document.getElementById("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Paused: go on" : "Pause";
    if (!paused) ask();
  });

  const show = (fresh) => {
    heard = Date.now();
    now.dataset.heard = Number(now.dataset.heard ?? 0) + 1;
    if (pause.getAttribute("aria-pressed") === "true") return;
    if (gone) say("");
    gone = false;
    if (fresh.live) replace(live, fresh.live, fresh.liveState);
    count(live, fresh.at, fresh.now);
    // A chart that is read as a table stays as it is; what came meanwhile is asked for afterwards.
    const read = history?.querySelector("details[open]");
    if (fresh.history && !read) {
      replace(history, fresh.history, fresh.historyState);
      drawCharts(history);
      missed = false;
    } else if (fresh.history) {
      missed = true;
    } else if (missed && !read) {
      missed = false;
      asked = 0;
      ask();
    }
  };

  const lost = () => {
    gone = true;
    say("The server does not answer; what is shown is from before. Trying again…");
  };

  const ended = () => {
    source?.close();
    clearInterval(polling);
    clearInterval(watching);
    say("The session has ended, or its key was revoked or has expired.", "Sign in again");
  };

  const ask = async () => {
    try {
      const more = asked++ % HISTORY_EVERY ? "" : "&history=yes";
      const answer = await fetch(`${now.dataset.live}/data${query()}${more}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) return ended();
      if (!answer.ok) return lost();
      show(await answer.json());
    } catch {
      lost();
    }
  };

  const poll = () => {
    polling ??= setInterval(ask, EVERY_MS);
  };

  let source = null;
  const listen = () => {
    source = new EventSource(`${now.dataset.live}/events${query()}`);
    source.addEventListener("open", () => {
      clearInterval(polling);
      polling = null;
      heard = Date.now();
    });
    source.addEventListener("fresh", (event) => show(JSON.parse(event.data)));
    source.addEventListener("trouble", lost);
    source.addEventListener("ended", ended);
    source.addEventListener("error", () => {
      // It tries again by itself, unless it was told not to; meanwhile, and then, the page asks.
      ask();
      poll();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 4 * EVERY_MS);
    });
  };
  const watching = setInterval(() => {
    if (Date.now() - heard > PATIENCE_MS) {
      ask();
      poll();
    }
  }, EVERY_MS);
  if ("EventSource" in window) listen();
  else poll();
}

// Puts new HTML in the place of the old; what had the focus, and how far was scrolled, stay.
function replace(element, html, state) {
  element.dataset.state = state;
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  const scrolled = [...element.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
  element.innerHTML = html;
  [...element.querySelectorAll(".scroll")].forEach((each, i) => {
    if (scrolled[i]) [each.scrollLeft, each.scrollTop] = scrolled[i];
  });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}
